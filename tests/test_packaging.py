"""The packaging files tell one story: versions, commands and Pythons are the same wherever they are written."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("packaging")
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
DEV = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["dev"]]
PYTHONS = SpecifierSet(PROJECT["project"]["requires-python"])
MINORS = [minor for minor in range(6, 20) if f"3.{minor}" in PYTHONS]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, flags=re.MULTILINE))

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def lines(name: str) -> list[str]:
    """The lines of a file that say something."""
    stripped = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in stripped if line]


def pins() -> dict[str, str]:
    """Name -> version of constraints.txt."""
    found: dict[str, str] = {}
    for line in lines("constraints.txt"):
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert match, f"constraints.txt holds exact public versions only, not {line!r}"
        name = canonicalize_name(match[1])
        assert name not in found, f"constraints.txt names {name} twice"
        found[name] = match[2]
    return found


def tracked() -> list[Path]:
    git = shutil.which("git")
    listing = git and subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if not listing or listing.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("requirement", RUNTIME + DEV, ids=lambda r: r.name)
def test_each_dependency_is_a_range_and_its_pin_lies_inside(requirement: Requirement) -> None:
    operators = {part.operator for part in requirement.specifier}
    assert operators & {">=", ">"}, f"{requirement} has no lower bound"
    assert not operators & {"==", "==="}, f"{requirement} is a pin; pins belong in constraints.txt"
    name = canonicalize_name(requirement.name)
    assert name in pins(), f"constraints.txt does not pin {name}"
    assert pins()[name] in requirement.specifier


def test_numpy_is_one_whose_archives_can_refuse_pickles() -> None:
    """savez_compressed(allow_pickle=) is of NumPy 2.2; earlier ones would store an array of that name."""
    numpy = next(requirement for requirement in RUNTIME if requirement.name == "numpy")
    assert "2.1.3" not in numpy.specifier
    assert "2.2.0" in numpy.specifier


def test_constraints_cover_what_the_dependencies_bring_along() -> None:
    pinned, missing = pins(), []
    queue = [(requirement, "") for requirement in RUNTIME + DEV]
    seen: set[tuple[str, str]] = set()
    while queue:
        requirement, parent = queue.pop()
        name = canonicalize_name(requirement.name)
        if name not in pinned:
            missing.append(f"{name} (wanted by {parent or 'pyproject.toml'})")
            continue
        try:
            installed = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if installed.version != pinned[name]:
            continue  # another version may want other things
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in installed.requires or []:
                child = Requirement(line)
                if child.marker is None or child.marker.evaluate({"extra": extra}):
                    queue.append((child, name))
    assert seen, "nothing that constraints.txt pins is installed in that version"
    assert not missing


def test_torch_and_torchvision_are_the_matched_pair() -> None:
    assert (pins()["torch"], pins()["torchvision"]) == ("2.14.1", "0.29.1")


def test_what_the_brief_asks_for_comes_with_a_plain_install() -> None:
    asked = {"torch", "torchvision", "jupyterlab", "ipywidgets", "plotly", "umap-learn", "scikit-learn"}
    assert asked <= {canonicalize_name(requirement.name) for requirement in RUNTIME}


def test_one_range_of_pythons_everywhere() -> None:
    assert MINORS == [11, 12, 13]
    bounds = re.search(r"\(3, (\d+)\) <= sys\.version_info\[:2\] <= \(3, (\d+)\)", MAKEFILE)
    assert bounds, "the Makefile no longer checks the version of Python"
    assert [int(bounds[1]), int(bounds[2])] == [MINORS[0], MINORS[-1]]
    classifiers = re.findall(r"Python :: 3\.(\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert [int(minor) for minor in classifiers] == MINORS
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py3{MINORS[0]}"
    assert PROJECT["tool"]["mypy"]["python_version"] == f"3.{MINORS[0]}"


def test_conda_environment_installs_this_project_with_the_same_versions() -> None:
    yaml = pytest.importorskip("yaml")
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["project"]["name"]
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (python,) = [entry for entry in plain if entry.startswith("python=")]
    assert python.removeprefix("python=").strip("=") in PYTHONS
    assert "pip" in plain
    (through_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert through_pip == ["-c constraints.txt", "-e .[dev]"]
    # conda brings Python alone: a second source of torch or numpy would break the matched pair
    assert {re.split(r"[=<> ]", entry)[0] for entry in plain} == {"python", "pip"}


def test_one_version_number() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "amkd_viz/core/version.py"
    (cited,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert importlib.import_module("amkd_viz").__version__ == cited


def test_console_script_resolves() -> None:
    module, _, function = PROJECT["project"]["scripts"]["amkd-viz"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_makefile_has_the_targets_and_installs_the_pinned_versions() -> None:
    wanted = {"help", "install", "demo", "test", "test-quick", "lab", "lint", "bench", "clean"}
    assert wanted <= TARGETS
    assert re.search(r"pip install .*-c constraints\.txt .*-e '\.\[dev\]'", MAKEFILE)
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert phony, "a folder named `test` would hide the target"
    assert set(phony[1].split()) == TARGETS


def test_lab_listens_on_this_machine_alone_and_keeps_its_token() -> None:
    (recipe,) = re.findall(r"jupyterlab .*", MAKEFILE)
    assert "--ServerApp.ip=127.0.0.1" in recipe
    assert not re.search("token|password", recipe)
    # a flag for root, and for nobody else
    assert re.search(r"\[ .*id -u.* = 0 \] && echo --allow-root", recipe)


def make_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder that holds the packaging files and nothing else."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    clean = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    settings = ("PYTHON", "OUT", "SEEDS", "JOBS", "ARGS")
    clean = {key: value for key, value in clean.items() if key not in settings}
    return subprocess.run(["make", *words], cwd=folder, env=clean, capture_output=True, text=True, timeout=60)


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@needs_make
def test_make_refuses_another_python_in_one_sentence(tmp_path: Path) -> None:
    other = script(tmp_path / "bin" / "otherpython", "exit 1")
    result = make_in(tmp_path, "install", f"PYTHON={other}")
    assert result.returncode != 0
    said = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1, result.stderr
    assert all(f"3.{minor}" in said[0] for minor in MINORS), said
    assert str(other) in said[0]
    assert not (tmp_path / ".venv").exists()


@needs_make
def test_make_demo_reuses_the_environment_and_takes_a_free_folder(tmp_path: Path) -> None:
    script(tmp_path / ".venv" / "bin" / "python", 'echo "ran $*"')
    make_in(tmp_path, "help")  # copies the files, so that the stamp below is newer
    (tmp_path / ".venv" / ".installed").touch()
    future = (tmp_path / "Makefile").stat().st_mtime + 60
    os.utime(tmp_path / ".venv" / ".installed", (future, future))
    for taken, free in [(None, "demo-out"), ("demo-out", "demo-out-2"), ("demo-out-2", "demo-out-3")]:
        if taken:
            (tmp_path / taken).mkdir()
        result = make_in(tmp_path, "demo")
        assert result.returncode == 0, result.stderr
        ran = [line for line in result.stdout.splitlines() if line.startswith("ran ")]
        assert ran == [f"ran -m amkd_viz demo --out {free} --seeds 3"]


def test_ci_runs_make_test() -> None:
    runner = ROOT / ".ci" / "run"
    assert os.access(runner, os.X_OK)
    code = lines(".ci/run")
    assert "set -euo pipefail" in code
    assert re.fullmatch(r"exec timeout --foreground (\d+)m make test", code[-1])
    assert int(re.findall(r"(\d+)m make test", code[-1])[0]) < 90


def test_git_ignores_results_but_no_source(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("needs git")
    subprocess.run([git, "init", "-q", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    names = [".venv/x", "demo-out/x", "demo-out-2/x", "runs/x", "data/x", "amkd_viz/__pycache__/x.pyc"]
    source = ["amkd_viz/data/x.py", "amkd_viz/panels/x.js", "notebooks/x.ipynb", "benchmarks/results/x.json"]
    command = [git, "check-ignore", "--no-index", *names, *source]
    ignored = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout.split()
    assert ignored == names


def test_no_tracked_file_names_a_package_registry() -> None:
    hosts = ["py" + "pi.org", "python" + "hosted.org", "download.py" + "torch.org", "ana" + "conda.org"]
    options = ["--index" + "-url", "--extra-index" + "-url", "--find" + "-links"]
    files = tracked()
    assert files
    found = []
    for path in files:
        content = path.read_bytes()
        found += [f"{path.relative_to(ROOT)}: {word}" for word in hosts + options if word.encode() in content]
    assert not found


def test_readme_states_the_same_facts() -> None:
    path = ROOT / "README.md"
    if not path.exists():
        pytest.skip("no README.md yet")
    text = path.read_text()
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL))
    commands = set(re.findall(r"\bmake ([a-z][a-z-]*)", code))
    assert commands >= {"demo", "test", "lab"}, "README.md shows how to see, test and use it"
    assert commands <= TARGETS, f"README.md names targets that the Makefile lacks: {sorted(commands - TARGETS)}"
    pythons = {int(minor) for minor in re.findall(r"\bPython\D{0,4}3\.(\d+)", text)}
    assert pythons, "README.md says which Python it needs"
    assert pythons <= set(MINORS), f"README.md names Pythons outside {PYTHONS}"
    assert f"3.{MINORS[0]}" in text
    named = dict(re.findall(r"\b(torch|torchvision)==([0-9.]+[0-9])", text))
    assert all(pins()[name] == version for name, version in named.items()), named
