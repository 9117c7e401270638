"""Each exercise takes a right answer and, for wrong ones, says what to look at again."""

from __future__ import annotations

import html
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from torch import nn

from amkd_viz import Recipe, example
from amkd_viz.boundary import bss, sample_targets, select_bases
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import load
from amkd_viz.export import export
from amkd_viz.models import build, wrap
from amkd_viz.objectives import methods
from amkd_viz.runs import Job, Run, compare, distill, fork, resume
from amkd_viz.training import DIGITS, SPIRALS
from amkd_viz.views import View, boundary_map, distances
from exercises import (
    Watch,
    attention_maps,
    check,
    example_folder,
    exercises,
    few_labels,
    questions,
    rank_lists,
    relation_maps,
    say,
    weights_over_margin,
)
from exercises.checking import TOPICS


def said(name: str, answer: Any) -> str:
    """What a wrong answer is told."""
    verdict = check(name, answer)
    assert verdict.right is False, verdict
    assert repr(verdict) in html.unescape(verdict._repr_html_())
    return verdict.text


def test_names_and_questions() -> None:
    asked = exercises()
    per_notebook = [sum(name.startswith(f"{n}.") for name in asked) for n in TOPICS]
    assert all(2 <= count <= 4 for count in per_notebook)
    for name, question in asked.items():
        verdict = check(name)
        assert verdict.right is None
        assert not verdict
        assert question in repr(verdict)
    with pytest.raises(InputError, match=r"exercise '09\.a'"):
        check("09.a", 1)


@pytest.mark.parametrize("name", ["00.b", "02.b", "03.b", "04.a", "05.a", "05.b", "08.a", "08.b", "08.c"])
@pytest.mark.parametrize("answer", ["many", None, [1, 2], float("nan"), torch.zeros(3), object()])
def test_anything_that_is_no_number_is_told_so(name: str, answer: Any) -> None:
    assert "give" in said(name, answer) or "cannot be checked" in said(name, answer)


@pytest.mark.parametrize("name", ["01.a", "01.b", "01.c", "02.d", "03.c", "03.d", "04.b", "06.a", "06.b", "06.c"])
@pytest.mark.parametrize("answer", ["?", None, 7.5, object()])
def test_an_answer_may_be_anything_at_all(name: str, answer: Any) -> None:
    assert said(name, answer)


def test_numbers() -> None:
    assert check("02.b", 0.6)
    assert "paper" in said("02.b", 0.15)
    assert "direction" in said("02.b", 2.4)
    assert check("03.b", torch.tensor(0.1))
    assert "zeros" in said("03.b", 0.3)
    assert "cuts off" in said("03.b", (0.3 + -0.1 + -0.8) / 3)
    assert check("05.a", 0.27)
    assert check("05.a", math.sqrt(0.15**2 / 3 + 0.44**2 / 3))
    assert "mean of three" in said("05.a", 0.465)
    assert "squares" in said("05.a", 0.59)
    assert check("05.b", 39)
    assert "few" in said("05.b", 12)
    assert "few" in said("05.b", 38)
    assert "many" in said("05.b", 40)
    assert check("05.c", 0.46)
    assert "number was large" in said("05.c", 0)
    assert "one method" in said("05.c", 0.3)
    assert "points" in said("05.c", 1.54)
    assert "simulate" in said("05.c", 0.9)
    assert check("08.a", 0.7)
    assert "teacher" in said("08.a", 0.3)
    assert "minimise" in said("08.a", 0.5)
    assert check("08.b", 1 / 3)
    assert "share" in said("08.b", 4 / 6)
    assert "six pairs" in said("08.b", -1)
    assert check("08.c", 0.84375)
    assert "count least" in said("08.c", 0.675)
    assert "C = 1" in said("08.c", 0.9)


def test_the_last_attack_is_the_objective_s_own() -> None:
    live = [e for e in range(1, DIGITS.epochs + 1) if "boundary" in DIGITS.objective.batches(e / DIGITS.epochs)]
    assert check("04.a", live[-1])
    assert "exactly 0" in said("04.a", live[-1] + 1)
    assert said("04.a", 200)


def test_negatives() -> None:
    assert check("03.c", {0, 1, 2, 4, 5, 6, 7, 9})
    assert "undo" in said("03.c", set(range(10)) - {3})
    assert "near both" in said("03.c", set(range(10)) - {8})
    assert said("03.c", 5) == "give a set of classes, such as {0, 1}, not 5."
    assert said("03.c", {1})


@pytest.mark.slow
def test_boundaries() -> None:
    run = example("spirals", "kd")
    data = run.dataset()
    view = boundary_map({"teacher": run.teacher(), "kd": run.student()}, data)
    agree = 100 * view.notes["kd.agreement"]
    assert check("00.b", round(100 - agree, 1))
    assert "agree" in said("00.b", agree)
    assert "per cent" in said("00.b", (100 - agree) / 100)
    assert said("00.b", 60)

    apart = view.arrays["teacher.winner"] != view.arrays["kd.winner"]
    (i, j), (p, q) = apart.nonzero(), (~apart).nonzero()
    x, y = view.arrays["x"], view.arrays["y"]
    assert check("01.a", (x[j[0]], y[i[0]]))
    assert "both say" in said("01.a", (x[q[0]], y[p[0]]))
    assert "outside" in said("01.a", (99, 0))
    cells = torch.cartesian_prod(torch.as_tensor(y), torch.as_tensor(x)).float()  # (y, x), in the order of the map
    near = torch.cdist(cells.flip(1), data.train.x).amin(1).numpy() <= 0.1
    assert check("01.b", 100 * (~apart).ravel()[near].mean())
    assert "per cent" in said("01.b", (~apart).ravel()[near].mean())
    assert "whole square" in said("01.b", 100 * (~apart).mean())
    assert "farther away" in said("01.b", 100 * (~apart).ravel()[~near].mean())
    turned = torch.cartesian_prod(*map(torch.as_tensor, (x, y))).float()
    exchanged = torch.cdist(turned, data.train.x).amin(1).numpy() <= 0.1
    assert "exchanged" in said("01.b", 100 * (~apart).ravel()[exchanged].mean())

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
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with the teacher of the example, and a student of a few epochs."""
    return distill(
        DIGITS.replace(epochs=3, evaluate_every=3, magsim_samples=0), tmp_path_factory.mktemp("runs") / "short"
    )


@pytest.mark.slow
def test_samples_and_distances(digits: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import exercises.samples as topic

    monkeypatch.setattr(topic, "example", lambda name: digits)  # only its teacher is asked
    assert check("02.c", 0.06)
    assert "Too long" in said("02.c", 0.3)
    assert "Too short" in said("02.c", 0.01)
    assert "step_size" in said("02.c", -1)
    x, y, teacher = digits.dataset().test.floats(), digits.dataset().test.y, digits.teacher()
    with torch.no_grad():
        first, second, third = teacher(x[:8]).topk(3).indices.T
    assert check("02.d", second)
    assert check("02.d", second.tolist())
    assert "stays" in said("02.d", first)
    assert "second" in said("02.d", third)
    assert "8 images" in said("02.d", second[:3])
    assert "whole" in said("02.d", second.float())

    nets = {"teacher": teacher, "student": digits.student()}
    index = select_bases(teacher(x), nets["student"](x), y, 16)
    samples = bss(teacher, x[index], sample_targets(teacher(x[index]), generator("cpu", "test")))
    views = {m: distances(nets, digits.dataset(), samples, margin=m) for m in (0.0, 4.0)}
    assert "too little" in said("03.d", views[0.0])
    assert "more than" in said("03.d", views[4.0])
    assert "student is the dict" in said("03.d", View(views[0.0].figure, {}, {"kd.active": 0.5}))
    truth, _ = questions()["03.margin"].answer("", views[4.0])
    assert truth == 100  # every triplet is active
    between = View(views[0.0].figure, views[0.0].arrays, {"student.active": 0.5})
    assert check("03.d", between)


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
    assert "pair" in said("06.b", made.path)
    assert "does not exist" in said("06.b", (tmp_path / "none.pt2", len))
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


def test_a_file_is_used_in_the_right_order_and_range(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3), nn.Softsign(), nn.Linear(3, 3))
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(net, (torch.rand(64, 3, 64, 64),)), path)

    def right(path: Path, images: torch.Tensor) -> torch.Tensor:
        return torch.export.load(path).module()(images.permute(0, 3, 1, 2).float() / 255).argmax(1)

    assert check("06.b", (path, right))
    assert check("06.b", (path, lambda path, images: None)).right is None
    assert "255" in said("06.b", (path, lambda path, images: right(path, 255 * images.float())))
    assert "order" in said("06.b", (path, lambda path, images: right(path, images.flip(1)) * 0))
    assert "one class" in said("06.b", (path, lambda path, images: right(path, images)[:3]))


def test_methods() -> None:
    def right(maps: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(maps.square().mean(1).flatten(1), dim=1)

    assert check("07.a", right)
    assert "norm is missing" in said("07.a", lambda maps: maps.square().mean(1).flatten(1))
    assert "cancel" in said("07.a", lambda maps: nn.functional.normalize(maps.mean(1).square().flatten(1), dim=1))
    assert "L2" in said("07.a", lambda maps: (e := maps.square().mean(1).flatten(1)) / e.sum(1, keepdim=True))
    assert check("07.b", 20.25)
    assert "hinton alone" in said("07.b", 9)
    assert "temperatures" in said("07.b", 2.25)
    without = set(methods()) - {name for name in methods() if any(r[0] == "teacher" for r in methods[name]().reads())}
    assert {"ce", "psd", "byot", "dml"} <= without
    assert check("07.c", without)
    assert "reads the teacher" in said("07.c", {"ce", "kd"})
    assert f"{len(without) - 1} more" in said("07.c", {"ce"})
    assert "not a method" in said("07.c", {"none"})


def test_pictures_of_what_is_transferred() -> None:
    data = load("digits")
    nets = {"teacher": build("cnn-small", data), "other": build("cnn-tiny", data, seed=1)}
    x = data.test.floats(slice(0, 200))
    view = attention_maps(nets, data)
    with torch.no_grad():
        maps = nets["teacher"].outputs(x, (-2,)).layers[-2]
    slow = torch.stack([(e := m.square().mean(0).flatten()) / e.norm() for m in maps])
    assert torch.allclose(torch.as_tensor(view.arrays["teacher"]), slow, atol=1e-5)
    assert view.notes["teacher.likeness"] == pytest.approx(1, abs=1e-4)
    assert view.notes["other.likeness"] < 0.999

    view = relation_maps(nets, data, per_class=2)
    assert view.arrays["other"].shape == (20, 20)
    order = [i for k in range(10) for i in (data.test.y == k).nonzero()[:2, 0].tolist()]
    with torch.no_grad():
        f = nets["other"].outputs(data.test.floats(order), (-1,)).layers[-1].flatten(1)
    row = torch.stack([f[3] @ v for v in f])
    assert torch.allclose(torch.as_tensor(view.arrays["other"][3]), row / row.norm(), atol=1e-5)

    view = rank_lists(nets, data, which=4)
    with torch.no_grad():
        ranks = nets["other"](data.test.floats()).argsort(1, descending=True)[:, :3]
        first = nets["teacher"](data.test.floats()).argsort(1, descending=True)[:, :3]
    assert view.notes["other.same"] == pytest.approx(float((ranks == first).all(1).float().mean()))
    with pytest.raises(InputError, match="which must be"):
        rank_lists(nets, data, which=-1)

    view, y = weights_over_margin(nets["teacher"], data), data.test.y
    with torch.no_grad():
        p = nets["teacher"](data.test.floats()).softmax(1)
    weight = [max(0.0, float(p[i, y[i]] - (p[i].sum() - p[i, y[i]]) / 9)) for i in range(40)]
    assert view.arrays["weight"][:40] == pytest.approx(weight, abs=1e-6)


class Cell:
    """Stands for the output of a cell: what was shown, one after the other."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, data: dict[str, str], **how: Any) -> Cell:
        self.shown.append(data)
        return self

    update = display

    @property
    def lines(self) -> list[str]:
        """The lines without their seconds."""
        return [data["text/plain"].partition(" (")[0] for data in self.shown]


def test_a_line_says_what_is_being_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exercises.watch.display", (cell := Cell()).display)
    monkeypatch.setattr("exercises.watch.OFTEN", 0.0)
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    recipe = Recipe(dataset="moons", teacher="mlp", student="mlp-tiny", method="amkd", epochs=2, teacher_epochs=1)
    watch = Watch()
    assert cell.lines == ["Loading the data and the networks"]  # before anything happens
    deadline = time.monotonic() + 30
    while len(cell.shown) < 2 and time.monotonic() < deadline:  # it moves before the first event
        time.sleep(0.05)
    assert set(cell.lines) == {"Loading the data and the networks"}
    assert cell.shown[-1] != cell.shown[0]
    for method in watch.over(["ce", "amkd"]):
        distill(recipe.replace(method=method), tmp_path / method, snapshots=False, listen=watch)
    expected = [
        "Student 1 of 2, ce: loading",
        "Training the teacher, mlp: epoch 1 of 1",
        "Student 1 of 2, ce: epoch 2 of 2",
        "Student 2 of 2, amkd: loading",
        "Student 2 of 2, amkd, with the attack: epoch 1 of 2",
        "Student 2 of 2, amkd, with the attack: epoch 2 of 2",
    ]
    assert [line for line in dict.fromkeys(cell.lines) if line in expected] == expected
    half = [data for data in cell.shown if 'value="0.500"' in data["text/html"]]
    assert any("with the attack: epoch 1 of 2" in data["text/plain"] for data in half)
    assert cell.lines[-1].startswith("2 students, trained in ")
    again = Watch()
    assert list(again.over(["ce"])) == ["ce"]  # nothing is trained
    assert cell.lines[-1] == "1 student, read from disk."

    watch.here()
    assert cell.lines[-1] == "Student 2 of 2, amkd, with the attack"
    grid = Watch()
    compare(recipe, ["ce", "kd"], 1, tmp_path / "grid", listen=grid, jobs=1)
    assert "1 of 2 runs. Training kd, seed 0: epoch 2 of 2" in cell.lines
    assert cell.lines[-1] == "2 of 2 runs. All are trained."


@pytest.mark.parametrize(("success", "last"), [(True, "Read from disk."), (False, "Stopped.")])
def test_the_line_of_a_cell_without_a_training_ends_with_the_cell(
    success: bool, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = InteractiveShell()
    monkeypatch.setattr("exercises.watch.display", (cell := Cell()).display)
    monkeypatch.setattr("exercises.watch.get_ipython", lambda: shell)
    Watch()
    result = ExecutionResult(None)
    result.error_in_exec = None if success else ValueError("x")
    shell.events.trigger("post_run_cell", result)
    assert cell.lines == ["Loading the data and the networks", last]
    shell.events.trigger("post_run_cell", result)  # of the next cell
    assert len(cell.lines) == 2


def test_long_lines_break_at_words(capsys: pytest.CaptureFixture[str]) -> None:
    objective = methods["amkd"]()
    say("short", f"amkd = {objective}")
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "short"
    assert len(rest) == 3
    assert max(map(len, rest)) <= 100
    assert " ".join(line.strip() for line in rest) == f"amkd = {objective}"
    assert [len(line) - len(line.lstrip()) for line in rest] == [0, 2, 2]
    say("Formula  one two three four", width=20)
    assert capsys.readouterr().out == "Formula  one two\n         three four\n"


def test_a_heavier_teacher_is_measured_as_in_the_readme() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    heading, *rows = few_labels().splitlines()
    assert heading.split()[-4:] == ["seeds", "kd", "bss", "amkd"]
    for row in rows:
        seeds, *numbers = row.split()[-4:]
        assert seeds in ("40", "32")
        assert len(numbers) == 3
        assert all(number in readme for number in numbers)
    truth, why = questions()["05.heavier"].answer(few_labels())
    assert truth == "bss"
    assert set(re.findall(r"-?\d+\.\d+", why)) <= set(re.findall(r"\d+\.\d+", readme))


def test_predictions_of_teachers_and_of_what_is_transferred() -> None:
    asked, figure = questions(), go.Figure()

    def answer(name: str, arrays: dict[str, Any], **notes: Any) -> Any:
        return asked[name].answer(View(figure, arrays, notes))[0]

    shares = {"mlp-small.accuracy": np.array([0.6, 0.8, 0.7])}
    truth, why = asked["08.gap"].answer(View(figure, shares, {"mlp-small.best": "mlp-small"}))
    assert (truth, "The curve falls" in why) == ("mlp-small", True)
    assert answer("08.ridge", {"mse": np.array([0.3, 0.2, 0.1, 0.2, 0.3, 0.4])}) == "generation 2"
    assert answer("08.labels", {"weights": np.array([1.0, 0.4, 0.6])}) == 0.4
    for relation, parameters, right in ((1.0, 1.0, "both alike"), (0.3, 1.0, "the parameters"), (1, 0, "the relation")):
        found = answer("08.scores", {}, **{"tau.relation": relation, "tau.parameters": parameters})
        assert found == right
        assert found in asked["08.scores"].choices
    likeness = {"teacher.likeness": 1.0, "ce.likeness": 0.5, "kd.likeness": 0.7, "at.likeness": 0.9}
    assert answer("07.relations", {}, **likeness) == 0.7
    assert answer("07.attention", {}, **likeness) == 0.5
