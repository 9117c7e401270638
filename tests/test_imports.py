"""The import rule: data -> models -> boundary -> objectives -> training -> views -> panels, and only leftwards."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "amkd_viz"
ORDER = ["core", "data", "models", "boundary", "objectives", "training", "runs", "views", "panels"]
BELOW = ["core"]
BARE = ORDER[: ORDER.index("runs") + 1]  # a bare torch + numpy machine must run these
HEAVY = ("plotly", "ipywidgets", "IPython", "sklearn.manifold", "umap")


def there(name: str) -> bool:
    return (PACKAGE / name / "__init__.py").is_file()


def imported(file: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in the file; relative ones are resolved."""
    package = ["amkd_viz", *file.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def parts_used(file: Path) -> set[str]:
    """Packages and modules directly under amkd_viz that a file imports."""
    return {name.split(".")[1] for name in imported(file) if name.startswith("amkd_viz.")}


def files_of(name: str) -> list[Path]:
    return sorted((PACKAGE / name).rglob("*.py"))


def test_resolver_sees_every_kind_of_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    file = tmp_path / "data" / "x.py"
    file.parent.mkdir()
    file.write_text("def f():\n    from ..views import maps\n    from . import y\n    import amkd_viz.panels.a as b\n")
    assert parts_used(file) == {"views", "data", "panels"}


@pytest.mark.parametrize("name", [n for n in ORDER if there(n)])
def test_packages_import_only_leftwards(name):
    allowed = {*ORDER[: ORDER.index(name) + 1], *BELOW, "__version__"}
    assert files_of(name)
    wrong = {str(file.relative_to(PACKAGE)): parts_used(file) - allowed for file in files_of(name)}
    assert not {file: parts for file, parts in wrong.items() if parts}


@pytest.mark.parametrize("name", [n for n in BARE if there(n)])
def test_what_trains_names_no_picture_library(name):
    wrong = {
        str(file.relative_to(PACKAGE)): [m for m in imported(file) if f"{m}.".startswith(tuple(f"{h}." for h in HEAVY))]
        for file in files_of(name)
    }
    assert not {file: modules for file, modules in wrong.items() if modules}


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    return set(done.stdout.split())


def test_importing_every_module_up_to_training_loads_no_picture_library():
    names = [
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for package in BARE
        if there(package)
        for file in files_of(package)
    ]
    assert len(names) > 30
    loaded = modules_after("\n".join(f"import {name}" for name in names))
    assert set(names) <= loaded
    assert not loaded & set(HEAVY)


TOP = {"export": "runs", "tracking": "training"}  # modules on top, and what they may reach


@pytest.mark.parametrize(("name", "reach"), TOP.items())
def test_modules_on_top_reach_no_further_than_they_say(name, reach):
    assert parts_used(PACKAGE / f"{name}.py") <= {*ORDER[: ORDER.index(reach) + 1], *BELOW}


def test_no_package_imports_a_module_on_top():
    files = [file for name in ORDER if there(name) and name != "panels" for file in files_of(name)]
    assert not [file for file in files if parts_used(file) & {*TOP, "replay", "cli", "flags"}]


def test_the_replay_stands_on_the_lowest_modules_alone():
    assert parts_used(PACKAGE / "replay.py") <= set(BELOW)
    loaded = modules_after("import amkd_viz; amkd_viz.replay_view")
    assert {"amkd_viz.replay", "plotly.graph_objects", "numpy", "PIL"} <= loaded
    assert not loaded & {"torch", "sklearn", "umap", "ipywidgets", "amkd_viz.views", "amkd_viz.training"}


def test_importing_the_library_alone_does_not_load_torch():
    loaded = modules_after("import amkd_viz")
    assert "amkd_viz" in loaded
    assert "torch" not in loaded
    assert not loaded & set(HEAVY)
