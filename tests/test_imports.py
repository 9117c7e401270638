"""The import rule: packages import only leftwards, modules never in a cycle, wherever in a file the import stands."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "amkd_viz"
ORDER = ["core", "data", "models", "boundary", "objectives", "training", "runs", "views", "experiments", "panels"]
ORDER += ["playground"]
# Modules, and the commands, beside these packages: each may import what stands left of it, and the package named here
# with all before it.
TOP = {"tracking": "training", "progress": "runs", "export": "runs", "flags": "runs", "doctor": "views"}
TOP |= {"demo": "playground", "commands": "playground", "cli": "playground", "__main__": "playground"}
TOP |= {"__init__": "playground"}
BARE = ORDER[: ORDER.index("runs") + 1]  # a machine with only torch and numpy must run these
HEAVY = ("plotly", "ipywidgets", "IPython", "sklearn.manifold", "umap")


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


@cache
def imported(file: Path) -> frozenset[str]:
    """Full names of everything that a file imports, also inside functions and for type checkers."""
    package = name_of(file).split(".") if file.name == "__init__.py" else name_of(file).split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def modules_used(file: Path) -> set[str]:
    """Modules of the package that a file imports, the file itself left out."""
    found = set()
    for name in imported(file):
        while name and name not in FILES:
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {"", name_of(file)}


def part(module: str) -> str:
    """``views`` of ``amkd_viz.views.scene``; ``__init__`` of ``amkd_viz``."""
    return [*module.split("."), "__init__"][1]


def test_the_resolver_sees_every_kind_of_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "amkd_viz")
    file = tmp_path / "amkd_viz" / "data" / "x.py"
    file.parent.mkdir(parents=True)
    file.write_text("def f():\n    from ..views import maps\n    from . import y\n    import amkd_viz.panels.a as b\n")
    assert imported(file) == {"amkd_viz.views.maps", "amkd_viz.data.y", "amkd_viz.panels.a"}


def test_no_module_imports_itself_by_way_of_others():
    graph = {name: modules_used(file) for name, file in FILES.items()}
    assert sum(map(len, graph.values())) > 300
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", FILES)
def test_imports_run_only_leftwards(module):
    own, order = part(module), [*ORDER, *TOP]
    reach = order.index(own) if own in ORDER else ORDER.index(TOP[own])
    allowed = {*order[: reach + 1], *([] if own in ORDER else order[len(ORDER) : order.index(own) + 1])}
    assert {part(used) for used in modules_used(FILES[module])} <= allowed


def test_what_trains_names_no_picture_library():
    files = [file for name, file in FILES.items() if part(name) in BARE]
    heavy = tuple(f"{name}." for name in HEAVY)
    assert not {f: names for f in files if (names := [n for n in imported(f) if f"{n}.".startswith(heavy)])}


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    return set(done.stdout.split())


def test_importing_every_module_up_to_runs_loads_no_picture_library():
    names = {name for name in FILES if part(name) in BARE}
    loaded = modules_after("\n".join(f"import {name}" for name in sorted(names)))
    assert names <= loaded
    assert not loaded & set(HEAVY)


def test_importing_the_package_alone_loads_neither_torch_nor_pictures():
    loaded = modules_after("import amkd_viz")
    assert "amkd_viz" in loaded
    assert not loaded & {"torch", *HEAVY}
