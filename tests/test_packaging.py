"""A clone installs: its pins cover and fit its dependencies, its version is one, and make does what it says."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
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
NEEDED = [
    Requirement(line)
    for line in PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"]
]
PINS = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
PINS = {canonicalize_name(name): version for name, version in PINS.items()}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.mark.parametrize("requirement", NEEDED, ids=lambda r: r.name)
def test_each_dependency_is_a_range_that_contains_its_pin(requirement: Requirement) -> None:
    assert {part.operator for part in requirement.specifier} & {">=", ">"}
    assert PINS[canonicalize_name(requirement.name)] in requirement.specifier


def test_pins_cover_the_dependencies_of_dependencies() -> None:
    missing, queue, seen = [], [(requirement, "") for requirement in NEEDED], set()
    while queue:
        requirement, parent = queue.pop()
        name = canonicalize_name(requirement.name)
        if name not in PINS:
            missing.append(f"{name} (needed by {parent or 'pyproject.toml'})")
            continue
        try:
            installed = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if installed.version != PINS[name]:
            continue  # another version may need other packages
        for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            for child in map(Requirement, installed.requires or []):
                if child.marker is None or child.marker.evaluate({"extra": extra}):
                    queue.append((child, name))
    assert seen, "no package of constraints.txt is installed in its version"
    assert not missing


def test_one_version_and_one_range_of_pythons() -> None:
    (cited,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert importlib.import_module("amkd_viz").__version__ == cited
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert classifiers == [f"3.{minor}" for minor in range(6, 20) if f"3.{minor}" in allowed]
    yaml = pytest.importorskip("yaml")
    tested = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert set(tested["python"]) <= set(classifiers)
    (conda,) = (e for e in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"] if "python=" in e)
    assert conda.removeprefix("python=").strip("=") in allowed
    module, _, function = PROJECT["project"]["scripts"]["amkd-viz"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_hosted_services_install_what_is_there() -> None:
    """Binder reads environment.yml, Codespaces the dev container; both name files and extras of this repository."""
    yaml = pytest.importorskip("yaml")
    (pip,) = (
        e["pip"] for e in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"] if isinstance(e, dict)
    )
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    words = [*" ".join(pip).split(), *container["postCreateCommand"].split()]
    files = [words[i + 1] for i, word in enumerate(words) if word == "-c"]
    extras = [words[i + 1].partition("[")[2].strip("]") for i, word in enumerate(words) if word == "-e"]
    files += container["customizations"]["codespaces"]["openFiles"]
    assert [(ROOT / name).is_file() for name in files] == [True] * 3
    assert [extra in PROJECT["project"]["optional-dependencies"] or not extra for extra in extras] == [True] * 2
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    assert container["image"].rpartition(":")[2] in allowed


def make_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder that holds the packaging files and nothing else."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    taken = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "OUT", "SEEDS", "JOBS", "ARGS")
    clean = {key: value for key, value in os.environ.items() if key not in taken}
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
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert "3.11, 3.12 or 3.13" in line
    assert str(other) in line
    assert not (tmp_path / ".venv").exists()


@needs_make
def test_make_demo_reuses_the_environment_and_takes_a_free_folder(tmp_path: Path) -> None:
    script(tmp_path / ".venv" / "bin" / "python", 'echo "ran $*"')
    assert "make demo" in make_in(tmp_path, "help").stdout  # copies the files, so that the stamp below is newer
    (tmp_path / ".venv" / ".installed").touch()
    future = (tmp_path / "Makefile").stat().st_mtime + 60
    os.utime(tmp_path / ".venv" / ".installed", (future, future))
    for taken, free in [
        (None, "demo-out"),
        ("demo-out", "demo-out-2"),
        ("demo-out-2/digits", "demo-out-2"),  # a demo that was stopped
        ("demo-out-2/report.html", "demo-out-3"),
    ]:
        if taken:
            (tmp_path / taken).mkdir(parents=True)
        result = make_in(tmp_path, "demo")
        assert result.returncode == 0, result.stderr
        ran = [line for line in result.stdout.splitlines() if line.startswith("ran ")]
        assert ran == [f"ran -m amkd_viz demo --out {free} --seeds 12"]


def test_git_ignores_results_but_no_source(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("needs git")
    subprocess.run([git, "init", "-q", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    results = [".venv/x", "demo-out-2/x", "runs/x", "notebooks/runs/x", "data/x", "notebooks/clean_00_start_here.ipynb"]
    source = ["amkd_viz/data/x.py", "amkd_viz/runs/x.py", "amkd_viz/panels/x.js", "notebooks/x.ipynb"]
    command = [git, "check-ignore", "--no-index", *results, *source]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout.split() == results


def test_no_tracked_file_names_a_package_registry() -> None:
    git = shutil.which("git")
    listing = git and subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if not listing or listing.returncode:
        pytest.skip("not a git checkout")
    hosts = ["py" + "pi.org", "python" + "hosted.org", "download.py" + "torch.org", "ana" + "conda.org"]
    words = [*hosts, "--index" + "-url", "--extra-index" + "-url", "--find" + "-links"]
    files = [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    assert files
    assert not [f"{path}: {word}" for path in files for word in words if word.encode() in path.read_bytes()]
