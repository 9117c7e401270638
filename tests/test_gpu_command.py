"""``make gpu`` where only torch and numpy are installed: all of it on a CPU, from a plain checkout."""

from __future__ import annotations

import copy
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from amkd_viz.runs import prepare
from amkd_viz.training import Recipe
from benchmarks import gpu, reproduce
from benchmarks.gpu_step import Cost
from benchmarks.launch import LAUNCHES, launched

ROOT = Path(__file__).parents[1]


def needed(name: str) -> Iterator[metadata.Distribution]:
    """Yield an installed distribution and all that it cannot do without."""
    wanted, seen = [name], set()
    while wanted:
        if (one := wanted.pop()) not in seen:
            seen.add(one)
            found = metadata.distribution(one)
            yield found
            rules = [Requirement(text) for text in found.requires or ()]
            wanted += [r.name for r in rules if r.marker is None or r.marker.evaluate({"extra": ""})]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command with the base interpreter, which finds torch, numpy and what these need, and nothing else."""
    site = tmp_path_factory.mktemp("site")
    for found in itertools.chain(needed("torch"), needed("numpy")):
        for top in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    places = {"PYTHONPATH": str(site), "AMKD_VIZ_CACHE": str(site.parent / "cache"), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [getattr(sys, "_base_executable", sys.executable), "-S", "-s", *words]
        return subprocess.run(command, cwd=ROOT, env=os.environ | places, capture_output=True, text=True, check=False)

    return run


def test_the_bare_interpreter_is_bare(bare: Callable[..., Any]) -> None:
    names = "pytest safetensors tqdm PIL plotly sklearn ipywidgets anywidget umap torchvision scipy"
    found = bare("-c", f"import torch, numpy, importlib.util as u; print(*filter(u.find_spec, {names.split()}))")
    assert (found.returncode, found.stdout) == (0, "\n"), found.stderr
    assert bare("-c", "import amkd_viz.training").returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(3000)  # a compiler on busy cores
def test_the_whole_command_on_a_cpu(bare: Callable[..., Any], tmp_path: Path) -> None:
    words = ("-m", "benchmarks.gpu", "--dry", "--minutes", "60", "--out", str(tmp_path / "gpu"))
    done = bare(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    files = {name: json.loads((tmp_path / "gpu" / f"{name}.json").read_text()) for name in gpu.STEPS}
    for file in files.values():
        assert file.keys() == {"what", "dry", "goal", "results", "command", "versions", "device", "wall_seconds"}
        assert file["dry"] is True
        assert file["versions"]["torch"] == torch.__version__
    checks, step, run, memory, compiled, table = (file["results"] for file in files.values())
    assert list(checks) == list(gpu.gpu_checks.CHECKS)
    for precision in ("fp32", "bf16"):
        assert set(step[precision]["published step over ours"]) == {
            f"{method}, {how}" for method in ("kd", "bss", "amkd") for how in ("graph", "kernels")
        }
        assert step[precision]["why a graph is not used"] == {}
        for bound in step[precision]["bounds"].values():
            assert all(share > 0 for share in bound["share"].values())
        assert {f"{method}, graph" for method in gpu.METHODS} < memory[precision].keys()
        assert min(memory[precision].values()) > 0
    assert run["2 epochs of packed_400"]["train_seconds"] > 0
    assert min(run["an epoch, graph"], run["an epoch, kernels"]) > 0
    if "not possible" not in compiled["a step"]:  # no C++ compiler
        terms = compiled["a step"]["terms"]
        assert terms["compile"] == pytest.approx(terms["graph"], rel=0.05, abs=0.05)
        assert compiled["an epoch"] > 0
    assert table["runs on packed_400"] == len(table["packed_400"]["rows"]) == 4
    assert {f"cnn-tiny {method}" for method in gpu.METHODS} == table["packed_400"]["means"].keys()
    assert table["packed_400"]["means"]["cnn-tiny amkd"]["seeds_per_hour"] > 0
    assert not [line for line in done.stderr.splitlines() if "Traceback" in line]


def pieces_of(late: tuple[str, ...] = (), broken: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Return a step of four pieces, of which some are out of time or raise an error."""

    def step(setting: Any) -> Iterator[tuple[str, Any]]:
        for name in "abcd":

            def work(found: Any, name: str = name) -> str:
                setting.noted.append(name)
                if name in late:
                    raise gpu.OutOfTime
                if name in broken:
                    raise ValueError("broken")
                return name.upper()

            yield name, work

    return step


class Noting(gpu.Setting):
    noted: list[str]


def go_on(steps: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch, looks: float = 100) -> Any:
    """Return what ``go_on`` returns, and which pieces it has done; the time is over after ``looks`` at the clock."""
    clock = itertools.count()
    monkeypatch.setattr(reproduce, "now", lambda: next(clock))
    monkeypatch.setattr(gpu, "STEPS", steps)
    setting = Noting(Recipe(), out, looks, 1, 1, True)
    object.__setattr__(setting, "noted", [])
    return *gpu.go_on(setting, out), "".join(setting.noted)


def test_it_stops_in_time_goes_on_and_does_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"one": pieces_of(), "two": pieces_of()}
    assert go_on(steps, tmp_path, monkeypatch, looks=3) == (0, False, "abc")
    assert json.loads((tmp_path / "one.json").read_text())["results"] == {"a": "A", "b": "B", "c": "C"}
    assert not (tmp_path / "two.json").exists()
    assert go_on(steps, tmp_path, monkeypatch) == (0, True, "dabcd")
    assert go_on(steps, tmp_path, monkeypatch) == (0, True, "")


def test_a_failure_is_written_down_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert go_on({"one": pieces_of(broken=("b",))}, tmp_path, monkeypatch) == (1, True, "abcd")
    assert json.loads((tmp_path / "one.json").read_text())["results"]["b"]["failed"] == "ValueError: broken"
    assert go_on({"one": pieces_of()}, tmp_path, monkeypatch) == (0, True, "b")


def test_a_piece_that_is_out_of_time_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert go_on({"one": pieces_of(late=("c",))}, tmp_path, monkeypatch) == (0, False, "abc")
    assert go_on({"one": pieces_of()}, tmp_path, monkeypatch) == (0, True, "cd")


def test_operations_and_bytes_are_those_of_a_convolution() -> None:
    x, w = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(4, 3, 3, 3)
    with Cost() as cost:
        y = torch.conv2d(x, w, padding=1)
    assert cost.operations == 2 * y.numel() * 3 * 9
    assert cost.bytes == 4 * (x.numel() + w.numel() + y.numel())
    with Cost() as back:
        torch.autograd.grad(y, x, torch.ones_like(y))
    assert back.operations == cost.operations  # to the input alone


def test_without_a_gpu_it_names_the_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="torch sees none here; --dry tries it on a CPU"):
        gpu.main()


def test_each_way_to_launch_a_step_computes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a C++ compiler: the same graphs of operations, run by PyTorch."""
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    base = prepare(gpu.gpu_checks.recipe_for("cpu", tmp_path))
    trainings = {how: launched(base, how, backend="aot_eager") for how in LAUNCHES}
    assert base.student.body._compiled_call_impl is None  # nothing that is shared was compiled
    assert base.teacher.body._compiled_call_impl is None
    for net in trainings["compile"].nets.values():
        assert net.body._compiled_call_impl is not None
    for batch, _ in zip(base.loader.epoch(0), range(4), strict=False):
        terms = {how: training.step(*batch).terms for how, training in trainings.items()}
        for how in ("compile", "kernels"):
            for name, value in terms["graph"].items():
                assert float(terms[how][name]) == pytest.approx(float(value), rel=1e-3, abs=1e-4), (how, name)
    assert copy.deepcopy(trainings["compile"].student).body._compiled_call_impl is None  # pictures take such copies
