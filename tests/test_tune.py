"""Tuning: equal trials for each method, on validation alone; it goes on where it was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipes import POINTS

from amkd_viz.core.errors import InputError
from amkd_viz.runs import engines
from amkd_viz.runs.trial import Attempt
from amkd_viz.runs.tune import FRESH, Trial, Tuned, _limits, confirm, format_tuned, search_space, tune
from amkd_viz.training import Recipe
from amkd_viz.training.training import Training
from amkd_viz.views.tuning import tuning

pytestmark = pytest.mark.processes

pytest.importorskip("optuna")

RECIPE = POINTS.replace(epochs=4, method="kd")


def listed(tuned: Any) -> list[list[Trial]]:
    return [list(one.trials) for one in tuned]


def test_each_method_gets_as_many_trials_and_the_test_split_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, read = Training.evaluate, []

    def evaluate(self: Training, split: str) -> dict[str, Any]:
        read.append(split)
        return usual(self, split)

    monkeypatch.setattr(Training, "evaluate", evaluate)
    heard: list[tuple[str, int]] = []
    tuned = tune(RECIPE, ["kd", "bss"], 5, tmp_path / "t", seeds=2, jobs=1, listen=lambda *about: heard.append(about))
    # the teacher, which is trained first, is a run like any other and reads the test split once
    assert read.count("test") <= 1
    for method in ("kd", "bss"):
        assert [count for name, count in heard if name == method] == [1, 2, 3, 4, 5]
    for one in tuned:
        space = search_space(RECIPE.replace(method=one.method))
        assert len(one.trials) == 5
        assert all(low <= trial.settings[n] <= high for trial in one.trials for n, (low, high) in space.items())
        first = one.trials[0].settings  # the recipe's own numbers
        assert first["learning_rate"] == pytest.approx(RECIPE.learning_rate)
        assert first["kd.scale"] == pytest.approx(1)
        finished = [trial for trial in one.trials if trial.accuracy is not None]
        assert all(trial.epochs == 8 for trial in finished)
        best = max(finished, key=lambda trial: trial.accuracy or 0)
        assert one.accuracy == best.accuracy
        assert one.best.learning_rate == best.settings["learning_rate"]
        assert one.best.overrides == {n: v for n, v in best.settings.items() if "." in n}
    assert list(search_space(RECIPE.replace(method="bss")))[-2:] == ["boundary_kd.scale", "boundary_kd.temperature"]
    assert "boundary_triplet.margin" in search_space(RECIPE.replace(method="amkd"))
    assert format_tuned(tuned).splitlines()[1].split()[:2] == ["kd", "5"]
    view = tuning(tuned)
    np.testing.assert_allclose(view.arrays["kd.best"][-1], tuned[0].accuracy)
    assert (np.diff(view.arrays["bss.best"]) >= 0).all()
    assert view.notes["kd.epochs"] == sum(trial.epochs for trial in tuned[0].trials)


def test_the_same_call_goes_on_and_tries_what_one_whole_call_would(tmp_path: Path) -> None:
    whole = tune(RECIPE, ["kd"], 11, tmp_path / "whole", jobs=1)
    assert len({tuple(trial.settings.values()) for trial in whole[0].trials}) == 11
    tune(RECIPE, ["kd"], 3, tmp_path / "parts", jobs=1)
    (tmp_path / "parts" / "trials" / "kd-0001.json").unlink()  # as a process that was killed leaves it
    assert listed(tune(RECIPE, ["kd"], 11, tmp_path / "parts", jobs=1)) == listed(whole)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.json")}
    assert listed(tune(RECIPE, ["kd"], 11, tmp_path / "parts", jobs=1)) == listed(whole)  # nothing is left to try
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.json")} == before
    with pytest.raises(InputError, match="holds the trials of another recipe"):
        tune(RECIPE.replace(epochs=5), ["kd"], 11, tmp_path / "parts")
    (tmp_path / "parts" / "trials" / "kd-0002.json").write_text("{")
    with pytest.raises(InputError, match=r"kd-0002\.json is not a valid trial: .*; delete it, and the same command"):
        tune(RECIPE, ["kd"], 11, tmp_path / "parts", jobs=1)


def test_a_trial_stops_where_half_of_the_earlier_ones_were_better(tmp_path: Path) -> None:
    def tried(*values: float) -> Trial:
        return Trial({}, None, len(values), tuple(enumerate(values, 1)))

    assert _limits([], 8) == ()
    assert _limits([tried(0.5, 0.6, 0.7, 0.8)], 8) == ((2, 0.6), (4, 0.8))
    # the third was stopped at the first rung; of four and itself the better two go on, of three and itself too
    earlier = [tried(0, 0.2, 0, 0.9), tried(0, 0.4, 0, 0.7), tried(0, 0.1), tried(0, 0.3, 0, 0.8)]
    assert _limits(earlier, 8) == ((2, 0.3), (4, 0.8))

    settings = {"learning_rate": 1e-5, "kd.scale": 1.0, "kd.temperature": 4.0}  # too small to learn anything
    for name, limits, epochs in (("whole", ((2, 0.0),), 8), ("stopped", ((2, 0.0), (6, 1.0)), 6)):
        file = tmp_path / f"{name}.json"
        Attempt(RECIPE, settings, 2, limits).train(file, lambda event: None)
        trial = Trial.open(file)
        assert (trial.epochs, len(trial.curve), trial.settings) == (epochs, epochs, settings)
        assert (trial.accuracy is None) == (name == "stopped")
        if trial.accuracy is not None:
            assert trial.accuracy == pytest.approx((trial.curve[3][1] + trial.curve[7][1]) / 2)


KILLED = """
import sys
from recipes import POINTS
from amkd_viz.runs.tune import tune
def listen(*about):
    print(*about, flush=True)
tune(POINTS.replace(epochs=400, method="kd"), ["kd"], 3, sys.argv[1], jobs=1, listen=listen)
"""


def test_a_trial_whose_process_was_killed_is_tried_again(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "t")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "kd 1\n"
    time.sleep(0.3)  # within the second trial
    process.send_signal(signal.SIGKILL)
    process.wait()
    recipe = POINTS.replace(epochs=400, method="kd")
    (one,) = tune(recipe, ["kd"], 3, tmp_path / "t", jobs=1)
    assert len(one.trials) == 3
    assert len({tuple(trial.settings.values()) for trial in one.trials}) == 3


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.slow
def test_the_trials_do_not_depend_on_the_number_of_processes_nor_on_one_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPE.replace(epochs=12)
    one = tune(recipe, ["kd", "bss"], 6, tmp_path / "1", jobs=1)
    start, workers = engines._worker, []

    def worker() -> Any:
        workers.append(start())
        return workers[-1]

    def kill(method: str, count: int) -> None:
        if len(workers) == 2 and count == 1:  # in the first batch, which has trials of both methods left
            os.kill(workers[0].pid, signal.SIGKILL)

    monkeypatch.setattr(engines, "_worker", worker)
    two = tune(recipe, ["kd", "bss"], 6, tmp_path / "2", jobs=2, listen=kill)
    assert workers[0].returncode == -signal.SIGKILL
    assert listed(two) == listed(one)
    assert sorted(file.name for file in (tmp_path / "2" / "trials").iterdir()) == [
        f"{method}-{n:04d}.json" for method in ("bss", "kd") for n in range(6)
    ]


def test_a_process_that_dies_again_and_again_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def worker() -> Any:
        return subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.exit(9)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    monkeypatch.setattr(engines, "_worker", worker)
    monkeypatch.setattr("amkd_viz.runs.tune.RETRIES", 1)
    with pytest.raises(InputError) as error:
        tune(RECIPE, ["kd"], 2, tmp_path / "t", jobs=2)
    assert str(error.value) == (
        "2 of 2 trials did not finish (kd-0000, kd-0001: its process ended with exit status 9, 2 times); the same "
        "command goes on with them."
    )


def test_a_training_that_diverges_is_a_trial_of_accuracy_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Training.end_epoch

    def end_epoch(self: Training) -> dict[str, Any]:
        if self.recipe.overrides and self.recipe.overrides["kd.scale"] != 1:
            raise InputError("The loss is not finite in epoch 1.")
        return usual(self)

    monkeypatch.setattr(Training, "end_epoch", end_epoch)
    (one,) = tune(RECIPE, ["kd"], 3, tmp_path / "t", jobs=1)
    assert [trial.accuracy for trial in one.trials[1:]] == [0, 0]
    assert one.best.overrides["kd.scale"] == 1


def test_the_best_are_confirmed_with_seeds_that_no_trial_has_had(tmp_path: Path) -> None:
    best = RECIPE.replace(overrides={"kd.scale": 2})
    runs = confirm([Tuned("kd", best, ())], 2, tmp_path / "c", jobs=1)
    assert [run.recipe.seed for run in runs] == [FRESH, FRESH + 1]
    assert all(run.recipe.overrides == best.overrides and "test_accuracy" in run.summary for run in runs)


def test_bad_input_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for numbers, sentence in (
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"trials": 1, "seeds": 0}, "seeds must be at least 1, got 0"),
        ({"trials": 1, "methods": ["dq"]}, "Unknown method 'dq'"),
        ({"trials": 1, "overrides": {"rkd.scale": 2}}, "None of kd has the term of rkd.scale"),
    ):
        with pytest.raises(InputError, match=sentence):
            tune(RECIPE, **{"methods": ["kd"], "out": tmp_path / "t", **numbers})
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files and is never overwritten"):
        tune(RECIPE, ["kd"], 1, tmp_path)


def test_the_command_tunes_confirms_and_draws(tmp_path: Path, call: Any) -> None:
    data = "--dataset spirals:n=60 --teacher mlp-tiny --student mlp-tiny --epochs 2 --teacher-epochs 2 --batch-size 9"
    words = f"tune {data} --methods ce,kd --trials 2 --seeds 1 --confirm 2 --magsim-samples 0 --device cpu"
    more = "--set kd.scale=4 --out"
    status, out, error = call(*words.split(), *more.split(), str(tmp_path / "t"))
    assert status == 0, error
    assert "Test, 2 seeds that no trial has had:" in out
    assert (tmp_path / "t" / "tuning.html").exists()
    assert sorted(path.name for path in (tmp_path / "t" / "confirmed").iterdir() if path.is_dir()) == [
        f"{method}-seed{FRESH + k}" for method in ("ce", "kd") for k in range(2)
    ]


def test_recipes_of_the_space_are_allowed() -> None:
    for method in ("ce", "kd", "bss", "triplet-kd", "amkd"):
        recipe = Recipe(method=method)
        for end in (0, 1):
            values = {name: bounds[end] for name, bounds in search_space(recipe).items()}
            made = recipe.replace(learning_rate=values.pop("learning_rate"), overrides={**recipe.overrides, **values})
            assert made.overrides == values
