"""Each exercise takes a right answer and, for wrong ones, says what to look at again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from amkd_viz import Recipe, example
from amkd_viz.boundary import bss, sample_targets, select_bases
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import load
from amkd_viz.export import export
from amkd_viz.models import wrap
from amkd_viz.runs import Job, Run, distill, fork, resume
from amkd_viz.training import DIGITS, SPIRALS
from amkd_viz.views import View, boundary_map, distances
from exercises import check, example_folder, exercises


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMKD_VIZ_CACHE", str(folder))
        yield folder


def said(name: str, answer: Any) -> str:
    """What a wrong answer is told."""
    verdict = check(name, answer)
    assert verdict.right is False, verdict
    assert repr(verdict) in verdict._repr_html_().replace("&#x27;", "'").replace("&lt;", "<").replace(
        "&gt;", ">"
    ).replace("&amp;", "&").replace("&quot;", '"')
    return verdict.text


def test_names_and_questions() -> None:
    asked = exercises()
    per_notebook = [sum(name.startswith(f"{n:02d}.") for name in asked) for n in range(7)]
    assert all(2 <= count <= 3 for count in per_notebook)
    for name, question in asked.items():
        verdict = check(name)
        assert verdict.right is None
        assert not verdict
        assert question in repr(verdict)
    with pytest.raises(InputError, match=r"exercise '09\.a'"):
        check("09.a", 1)


@pytest.mark.parametrize("name", ["00.a", "02.a", "03.a", "04.a", "05.a", "05.b"])
@pytest.mark.parametrize("answer", ["many", None, [1, 2], float("nan"), torch.zeros(3), object()])
def test_anything_that_is_no_number_is_told_so(name: str, answer: Any) -> None:
    assert "give" in said(name, answer) or "cannot be checked" in said(name, answer)


@pytest.mark.parametrize("name", ["01.a", "01.b", "01.c", "02.c", "03.b", "03.c", "04.b", "06.a", "06.b", "06.c"])
@pytest.mark.parametrize("answer", ["?", None, 7.5, object()])
def test_an_answer_may_be_anything_at_all(name: str, answer: Any) -> None:
    assert said(name, answer)


def test_numbers() -> None:
    assert check("02.a", 0.6)
    assert "paper" in said("02.a", 0.15)
    assert "direction" in said("02.a", 2.4)
    assert check("03.a", torch.tensor(0.1))
    assert "zeros" in said("03.a", 0.3)
    assert "cuts off" in said("03.a", (0.3 + -0.1 + -0.8) / 3)
    assert check("05.a", 0.27)
    assert check("05.a", math.sqrt(0.15**2 / 3 + 0.44**2 / 3))
    assert "mean of three" in said("05.a", 0.465)
    assert "squares" in said("05.a", 0.59)
    assert check("05.b", 39)
    assert "few" in said("05.b", 12)
    assert "few" in said("05.b", 38)
    assert "many" in said("05.b", 40)
    assert check("05.c", "Too high")
    assert "images" in said("05.c", "fair")


def test_the_last_attack_is_the_objective_s_own() -> None:
    live = [e for e in range(1, DIGITS.epochs + 1) if "boundary" in DIGITS.objective.batches(e / DIGITS.epochs)]
    assert check("04.a", live[-1])
    assert "exactly 0" in said("04.a", live[-1] + 1)
    assert said("04.a", 200)


def test_terms_and_negatives() -> None:
    assert check("00.b", "boundary_triplet")
    assert check("00.b", "boundary_triplet(variant=A)")
    assert "bss has" in said("00.b", "boundary_kd")
    assert "no term" in said("00.b", "triplets")
    assert check("03.b", {0, 1, 2, 4, 5, 6, 7, 9})
    assert "undo" in said("03.b", set(range(10)) - {3})
    assert "near both" in said("03.b", set(range(10)) - {8})
    assert said("03.b", {1})


@pytest.mark.slow
def test_boundaries() -> None:
    run = example("spirals", "kd")
    data = run.dataset()
    view = boundary_map({"teacher": run.teacher(), "kd": run.student()}, data)
    agree = 100 * view.notes["kd.agreement"]
    assert check("00.a", round(100 - agree, 1))
    assert "agree" in said("00.a", agree)
    assert "per cent" in said("00.a", (100 - agree) / 100)
    assert said("00.a", 60)

    apart = view.arrays["teacher.winner"] != view.arrays["kd.winner"]
    (i, j), (p, q) = apart.nonzero(), (~apart).nonzero()
    x, y = view.arrays["x"], view.arrays["y"]
    assert check("01.a", (x[j[0]], y[i[0]]))
    assert "both say" in said("01.a", (x[q[0]], y[p[0]]))
    assert "outside" in said("01.a", (99, 0))
    assert check("01.b", "smaller")
    assert said("01.b", "larger")

    recipe = SPIRALS.replace(method="kd")
    assert "more data" in check("01.c", recipe.replace(num_train=400)).text
    longer = check("01.c", recipe.replace(epochs=200))
    assert longer
    assert "num_train=400" in longer.text
    assert "100 points" in said("01.c", recipe.replace(seed=1))
    assert "exactly one" in said("01.c", recipe.replace(student="mlp", num_train=400))
    assert "exactly one" in said("01.c", recipe)
    assert "200" in said("01.c", recipe.replace(epochs=1000))


@pytest.fixture(scope="module")
def digits(cache: Path) -> Run:
    """A run with the teacher of the example, and a student of a few epochs."""
    return distill(DIGITS.replace(epochs=3, evaluate_every=3, magsim_samples=0), cache / "short")


@pytest.mark.slow
def test_samples_and_distances(digits: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import exercises.samples as topic

    monkeypatch.setattr(topic, "example", lambda name: digits)  # only its teacher is asked
    assert check("02.b", 0.06)
    assert "Too long" in said("02.b", 0.3)
    assert "Too short" in said("02.b", 0.01)
    assert "step_size" in said("02.b", -1)
    x, y, teacher = digits.dataset().test.floats(), digits.dataset().test.y, digits.teacher()
    with torch.no_grad():
        first, second, third = teacher(x[:8]).topk(3).indices.T
    assert check("02.c", second)
    assert check("02.c", second.tolist())
    assert "stays" in said("02.c", first)
    assert "second" in said("02.c", third)
    assert "8 images" in said("02.c", second[:3])
    assert "whole" in said("02.c", second.float())

    nets = {"teacher": teacher, "student": digits.student()}
    index = select_bases(teacher(x), nets["student"](x), y, 16)
    samples = bss(teacher, x[index], sample_targets(teacher(x[index]), generator("cpu", "test")))
    views = {m: distances(nets, digits.dataset(), samples, margin=m) for m in (0.0, 4.0)}
    assert "too little" in said("03.c", views[0.0])
    assert "more than" in said("03.c", views[4.0])
    between = View(views[0.0].figure, views[0.0].arrays, {"student.active": 0.5})
    assert check("03.c", between)


def test_runs(tmp_path: Path) -> None:
    recipe = Recipe(dataset="moons", teacher="mlp-tiny", student="mlp-tiny", epochs=4, teacher_epochs=1, num_train=60)
    recipe = recipe.replace(batch_size=20, magsim_samples=0)
    job = Job(recipe, tmp_path / "job")
    job.step_epoch()
    assert job.settle(60) == "paused"
    job.set(**{"boundary_triplet.margin": 0.5})
    job.step_epoch()
    assert job.settle(60) == "paused"
    job.stop()
    assert job.settle(60) == "idle"
    assert job.run is not None
    assert "not finished" in said("04.b", job.run)
    finished = resume(job.run)
    assert check("04.b", finished)
    plain = distill(recipe, tmp_path / "plain")
    assert "no such change" in said("04.b", plain)
    assert "no parent" in said("04.c", plain)
    child = fork(plain, 2, tmp_path / "child", learning_rate=0.02)
    assert "resume" in said("04.c", child)
    assert check("04.c", resume(child))
    assert "parent's" in said("04.c", resume(fork(plain, 2, tmp_path / "same")))

    made = export(plain, tmp_path / "student.pt2", format="torch-export")
    assert check("06.b", made)
    assert "export()" in said("06.b", made.path) or "export" in said("06.b", made.path)
    made.card.unlink()
    assert "does not exist" in said("06.b", made)
    assert check("06.c", (plain, 1.0))
    assert "count" in said("06.c", (plain, 12))


def test_wrapping() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    assert check("06.a", wrap(net, shape=(3, 64, 64), mean=[0.5] * 3, std=[0.25] * 3))
    assert "ImageNet" in said("06.a", wrap(net, shape=(3, 64, 64)))
    assert "64" in said("06.a", wrap(net, shape=(3, 32, 32), mean=[0.5] * 3, std=[0.25] * 3))
    assert "wrap(" in said("06.a", net)


def test_a_folder_in_place_of_your_own(tmp_path: Path) -> None:
    folder = example_folder(tmp_path / "pictures", classes=(0, 7), most=5)
    assert example_folder(folder, classes=(0, 7), most=5) == folder
    data = load(f"folder:{folder}")
    assert data.classes == ("digit-0", "digit-7")
    assert len(data.train) + len(data.val) + len(data.test) == 10
    with pytest.raises(InputError, match="never overwritten"):
        example_folder(tmp_path)
    with pytest.raises(InputError, match="two or more"):
        example_folder(tmp_path / "other", classes=(3,))
    with pytest.raises(InputError, match="3 to 150"):
        example_folder(tmp_path / "other", most=1)
