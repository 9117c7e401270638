"""One training on two ranks: the student of one process, whatever is killed, and one sentence where ranks differ."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from recipes import POINTS, flags

from amkd_viz.core.errors import InputError
from amkd_viz.core.ranks import join, mean_of
from amkd_viz.data import Augment
from amkd_viz.runs import Run, distill, resume
from amkd_viz.training import Recipe
from amkd_viz.training.teachers import fingerprint

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of torchrun in /proc"),
    pytest.mark.processes,
]

IMAGES = Recipe(
    dataset="digits",
    teacher="cnn",
    student="cnn-tiny",
    epochs=2,
    teacher_epochs=5,
    num_train=90,
    batch_size=30,
    max_boundary_samples=9,
    magsim_samples=0,
    device="cpu",
)
LATE = {"boundary_kd.weight": 1.0, "boundary_triplet.weight": 1.0}
EQUAL = {
    "amkd": IMAGES.replace(method="amkd", overrides=LATE),
    "joint": IMAGES.replace(
        method="amkd", overrides=LATE | {"boundary_triplet.variant": "B", "boundary_triplet.mining": "random"},
        boundary_bn="joint",
    ),
    "noise": IMAGES.replace(method="bss", sampler="noise", overrides={"boundary_kd.weight": 1.0}),
    "rkd": IMAGES.replace(method="rkd"),
    "crd": IMAGES.replace(method="crd"),  # learns modules
    "mlkd": IMAGES.replace(method="mlkd"),  # a second view
    "peer": POINTS.replace(peer="mlp-tiny", num_train=45, batch_size=15),
}  # fmt: skip
APART = {"apart": IMAGES.replace(method="amkd", overrides=LATE, batch_statistics="rank", batch_relations="rank")}
SCRIPT = """
import json, os, sys
from pathlib import Path
from amkd_viz.core.errors import InputError
from amkd_viz.core.ranks import join
from amkd_viz.runs import distill, prepare
from amkd_viz.runs.recording import take_part
from amkd_viz.training import Recipe, events
from amkd_viz.training.teachers import fingerprint

out, found = Path(sys.argv[1]), {}
cases = {name: Recipe.from_json(r) for name, r in json.loads((out / "cases.json").read_text()).items()}
with join() as ranks:
    for name, recipe in cases.items():
        os.chdir(out / f"machine{ranks.rank}")
        try:
            if name == "apart":
                training = prepare(recipe)
                for event in events(training):
                    pass
                found[name] = fingerprint(training.student), training.averages()
            elif ranks.rank:
                take_part(recipe)
            else:
                distill(recipe, out / name)
        except InputError as error:
            found[name] = str(error)
    found["means"] = ranks.each(ranks.rank + 1)
found["threads"] = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
(out / f"found{ranks.rank}.json").write_text(json.dumps(found))
"""


def torchrun(*words: str | Path, restarts: int = 0) -> subprocess.Popen[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    start += [f"--max-restarts={restarts}", "--monitor-interval=0.1", *map(str, words)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.Popen(start, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def process_of(rank: int, parent: int) -> int | None:
    """Return the process of a rank that torchrun, ``parent``, has started."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            words = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"RANK={rank}".encode() in words:
            return int(child)
    return None


def apart(one: Run, other: Run) -> float:
    """Return the largest difference of two students' weights and batch statistics."""
    a, b = one.student().state_dict(), other.student().state_dict()
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train every case on two ranks, which see different folders."""
    out = tmp_path_factory.mktemp("ranks")
    x, y = np.random.default_rng(0).normal(size=(60, 2)).astype("float32"), np.arange(60) % 3
    for rank, labels in enumerate((y, y[::-1].copy())):
        (out / f"machine{rank}").mkdir()
        np.savez(out / f"machine{rank}" / "other.npz", x=x, y=labels)
    np.savez(out / "machine0" / "missing.npz", x=x, y=y)
    wrong = {name: POINTS.replace(dataset=f"npz:{name}.npz", num_train=None) for name in ("other", "missing")}
    few = {"few": POINTS.replace(batch_size=3)}
    cases = {name: recipe.to_json() for name, recipe in {**wrong, **few, **EQUAL, **APART}.items()}
    (out / "cases.json").write_text(json.dumps(cases))
    (out / "script.py").write_text(SCRIPT)
    done = torchrun(out / "script.py", out)
    printed = done.communicate(timeout=300)[0]
    assert done.returncode == 0, printed
    return out


@pytest.mark.parametrize("name", EQUAL)
def test_two_ranks_give_the_student_of_one_process(name: str, found: Path, tmp_path: Path) -> None:
    one, two = distill(EQUAL[name], tmp_path / "one"), Run.open(found / name)
    assert apart(one, two) < 1e-5
    assert two.config["versions"]["ranks"] == "2"
    assert one.summary["test_accuracy"] == two.summary["test_accuracy"]
    for a, b in zip(one.metrics(), two.metrics(), strict=True):
        assert a["terms"] == pytest.approx(b["terms"], rel=1e-4, abs=1e-5)
        assert a.get("metrics", {}) == pytest.approx(b.get("metrics", {}), rel=1e-4, abs=1e-5)
    if name == "amkd":
        assert one.metrics()[-1]["metrics"]["attack.crossed"] > 0.1  # there are boundary samples


def test_ranks_with_batches_of_their_own_learn_one_student(found: Path, tmp_path: Path) -> None:
    first, second = (json.loads((found / f"found{rank}.json").read_text()) for rank in (0, 1))
    assert first["apart"] == second["apart"]
    assert first["means"] == second["means"] == [1, 2]
    own = fingerprint(distill(APART["apart"], tmp_path / "one").student())
    assert first["apart"][0] != own  # which one process, with one batch, does not learn


def test_no_thread_of_the_ranks_outlives_them(found: Path) -> None:
    """A thread of gloo that lets go of a tensor while Python shuts down would abort the process."""
    for rank in (0, 1):
        threads = json.loads((found / f"found{rank}.json").read_text())["threads"]
        assert threads
        assert not [name for name in threads if "gloo" in name]


def test_ranks_that_differ_are_refused_in_a_sentence(found: Path) -> None:
    first, second = (json.loads((found / f"found{rank}.json").read_text()) for rank in (0, 1))
    for name in ("other", "missing", "few"):
        assert first[name] == second[name]
        assert not (found / name).exists()
    assert re.fullmatch(
        r"All ranks must have the same data, but rank 1 has \w{10}, rank 0 \w{10}; copy npz:other\.npz to each machine "
        r"again, or share one folder\.",
        first["other"],
    )
    assert first["missing"].startswith("Rank 1 of 2: File not found: missing.npz")
    assert first["few"].startswith("Each of 2 ranks needs 2 samples of a batch, but a batch has 3;")


@pytest.mark.slow
def test_a_killed_rank_ends_with_a_checkpoint_and_torchrun_or_one_process_goes_on(tmp_path: Path) -> None:
    recipe, out = POINTS.replace(epochs=200, magsim_samples=0), tmp_path / "run"
    done = torchrun("-m", "amkd_viz", "distill", *flags(recipe), "--out", out, restarts=1)
    begun = []
    for kill in (1, 2):  # torchrun starts all ranks again after the first
        before = Run.open(out).epochs_done if kill > 1 else 0
        for _ in range(1200):
            if (out / "config.json").exists() and Run.open(out).epochs_done > before + 3:
                break
            assert done.poll() is None, done.communicate()[0]
            time.sleep(0.05)
        process = process_of(1, done.pid)
        assert process is not None
        begun.append(process)
        os.kill(process, signal.SIGKILL)
    printed = done.communicate(timeout=60)[0]
    assert done.returncode != 0
    assert len(set(begun)) == 2
    sentences = [line for line in printed.splitlines() if line.startswith("amkd-viz distill: ")]
    assert len(sentences) == 2, printed
    for sentence in sentences:
        assert re.search(
            r"another rank has ended\. The run .* has a checkpoint of epoch \d+, batch \d+; resume it\.", sentence
        )
    run = Run.open(out)
    state = run.load_checkpoint()
    assert state is not None
    assert f"epoch {state['epoch']}, batch {state.get('batch', 0)}" in sentences[1]
    assert not any("damaged" in line.get("text", "") for line in run.lines())
    assert 6 < run.epochs_done < 200
    assert apart(resume(run), distill(recipe, tmp_path / "whole")) < 1e-5  # on one rank, where two have begun
    assert any("goes on with ranks 1 (begun with 2)" in line.get("text", "") for line in run.lines())


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", 4), ("LOCAL_WORLD_SIZE", 4), ("RANK", 0), ("LOCAL_RANK", 0)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"4 ranks need a GPU each, but this machine has 2; give torchrun --nproc-per"):
        join(on_gpu=True).__enter__()


def test_other_commands_take_no_part(call: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, err = call("methods")  # type: ignore[operator]
    assert (status, err.count("\n")) == (2, 1)
    assert "only 'distill' takes part" in err


def test_rows_of_a_batch_take_their_part_of_its_draws() -> None:
    for augment, x in (
        (Augment(pad=2), torch.randint(256, (7, 3, 8, 8), dtype=torch.uint8)),
        (Augment(pad=0, flip=False, jitter=0.5), torch.randn(7, 2)),
    ):
        whole = augment(x, torch.Generator().manual_seed(1))
        for rows in (slice(0, 3), slice(3, 7)):
            assert augment(x[rows], torch.Generator().manual_seed(1), rows, 7).equal(whole[rows])


def test_means_over_ranks() -> None:
    assert mean_of([{"a": {"x": 1.0}}, {"a": {"x": 2.0, "y": 5.0}}]) == {"a": {"x": 1.5, "y": 5.0}}
