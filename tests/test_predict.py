"""A prediction is locked before its result appears; guesses of a class become a histogram; hints come one by one."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import IPython.display
import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from amkd_viz import build, load
from amkd_viz.boundary import bss
from amkd_viz.core.errors import InputError
from amkd_viz.objectives.metric import triplet_hinge
from amkd_viz.views import View, boundary_map, distances
from exercises import (
    Seeds,
    TripletCircle,
    check,
    checking,
    classroom,
    exercises,
    guesses,
    hinge_losses,
    hint,
    live,
    predict,
    predictions,
    questions,
    share,
    triplet_circle,
    walk,
)
from tests.lab import browser, chromium, panel_page
from tests.recipes import POINTS

PLOTLY = "application/vnd.plotly.v1+json"


class Cell:
    """Stands for the outputs of a cell: what is shown where now."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.widgets: list[Any] = []
        self.places: dict[str, dict[str, Any]] = {}
        monkeypatch.setattr(predictions, "display", self.display)
        monkeypatch.setattr(live, "display", self.display)
        monkeypatch.setattr(predictions, "update_display", self.update)
        monkeypatch.delenv("AMKD_REVEAL", raising=False)

    def display(self, what: Any, raw: bool = False, display_id: str = "") -> None:
        if raw:
            self.places[display_id] = what
        else:
            self.widgets.append(what)

    def update(self, what: dict[str, Any], raw: bool, display_id: str) -> None:
        assert display_id in self.places
        self.places[display_id] = what

    @property
    def html(self) -> str:
        return "\n".join(what.get("text/html", "") for what in self.places.values())

    @property
    def figures(self) -> int:
        return sum(PLOTLY in what for what in self.places.values())


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:

    monkeypatch.setattr(classroom, "_where", [])
    monkeypatch.setattr(classroom, "_typed", {})
    return Cell(monkeypatch)


@pytest.fixture(scope="module")
def maps() -> Any:
    data = load("spirals", n=60)
    nets = {"teacher": build("mlp", data)} | {
        name: build("mlp-tiny", data, seed=i) for i, name in enumerate(("ce", "kd", "bss", "amkd", "student"))
    }
    return data, nets, boundary_map(nets, data, resolution=24)


def test_a_word_is_locked_by_its_button_and_only_then_is_the_map_there(cell: Any, maps: Any) -> None:
    _, _, view = maps
    predict("00.map", view)
    buttons = cell.widgets[0].children[1].children
    assert [button.description for button in buttons] == ["ce", "kd", "bss", "amkd"]
    assert cell.figures == 0
    assert "once you have locked" in cell.html
    buttons[1].click()
    best = max(("ce", "kd", "bss", "amkd"), key=lambda name: view.notes[f"{name}.agreement"])
    assert cell.figures == 1
    assert (f"It is: {best}." in cell.html) is (best != "kd")
    assert all(button.disabled for button in buttons)


def test_a_number_is_locked_and_its_distance_from_the_truth_drawn(cell: Any, maps: Any) -> None:
    _, _, view = maps
    arrays = view.arrays
    apart = arrays["teacher.winner"] != arrays["student.winner"]
    truth = 100 * float((arrays["teacher.confidence"] > 0.9)[apart].mean())
    predict("01.sure", view)
    slider, _, button = cell.widgets[0].children[1].children
    slider.value = 80.0
    button.click()
    assert f"You predicted 80 %; it is {truth:.3g} %" in cell.html
    svg = cell.html
    line = next(float(w) for w, h in re.findall(r'width="([\d.]+)" height="([\d.]+)"', svg) if h == "3.0")
    assert line == pytest.approx(480 * abs(80 - truth) / 100, abs=0.1)


def test_a_place_is_clicked_and_joined_to_where_the_attack_ended(cell: Any, maps: Any) -> None:
    data, nets, _ = maps
    samples = bss(nets["teacher"], data.test.floats(slice(0, 1)), torch.tensor([1]), keep_path=True)
    predict("01.landing", boundary_map({"teacher": nets["teacher"]}, data, samples={"teacher": samples}), samples)
    canvas, button = cell.widgets[0].children[1:]
    assert button.disabled
    canvas.point = [0.5, -0.25]
    button.click()
    assert not canvas.interactive
    x, y = samples.x[0].tolist()
    assert f"{((x - 0.5) ** 2 + (y + 0.25) ** 2) ** 0.5:.2f} units" in cell.html
    traces = next(
        w["application/vnd.plotly.v1+json"] for w in cell.places.values() if len(w) > 2 or "data" in str(w)[:60]
    )
    assert [list(t["x"]) for t in traces["data"][-2:]] == [[0.5, pytest.approx(x)], [0.5]]


def test_a_guess_in_code_is_locked_at_once_and_checked(cell: Any, maps: Any) -> None:
    _, _, view = maps
    predict("01.sure", view, guess=50)
    assert cell.figures == 1
    for name, wrong in (("01.sure", 101), ("01.sure", "many"), ("00.map", "dkd"), ("01.landing", (1,))):
        with pytest.raises(InputError):
            predict(name, view, view, guess=wrong)
    with pytest.raises(InputError, match="prediction '09"):
        predict("09.x", view)


def test_every_question_of_words_has_a_truth_among_its_words() -> None:
    for name, asked in questions().items():
        assert asked.choices or asked.of or asked.low < asked.high, name
        assert asked.text.endswith(("?", ".", ")")), name


def test_guesses_of_a_class_are_files_and_typed_numbers(cell: Any, maps: Any, tmp_path: Path, capsys: Any) -> None:
    _, _, view = maps
    share(tmp_path, "Ada B.")
    predict("01.sure", view, guess=40)
    assert json.loads((tmp_path / "01.sure" / "Ada-B.json").read_text()) == 40
    (tmp_path / "01.sure" / "broken.json").write_text("{")
    (tmp_path / "01.sure" / "wild.json").write_text('"1e999"')
    (tmp_path / "01.sure" / "words.json").write_text('"lots"')
    shown: list[Any] = []
    monkey = pytest.MonkeyPatch()
    monkey.setattr(IPython.display, "display", shown.append)
    assert guesses("01.sure", 60, 62) == "3 predictions"
    monkey.undo()
    svg = shown[0].data
    bars = [float(h) for w, h in re.findall(r'width="([\d.]+)" height="([\d.]+)"', svg) if w == "22.0"]
    assert sorted(bars) == [20.0, 40.0]  # one at 40, two in the bin of 60
    with pytest.raises(InputError):
        guesses("01.sure", "lots")


def test_each_exercise_has_two_hints_and_then_the_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checking, "_given", {})
    for name in exercises():
        first, second, answer = repr(hint(name)), repr(check(name, "hint")), repr(hint(name))
        assert first.startswith("Hint 1 of 2: ")
        assert second.startswith("Hint 2 of 2: ")
        assert first[12:] != second[12:]
        assert answer.startswith("The answer: ")
        assert f'check("{name}"' in answer
    monkeypatch.setattr(checking, "ANSWERS", tmp_path / "none.md")
    assert "no further hint" in repr(hint("00.b"))


def wrong(name: str, answer: Any) -> str:
    verdict = check(name, answer)
    assert verdict.right is False
    return verdict.text


def test_what_is_off_in_a_loss_of_your_own_is_named() -> None:
    def right(s: Any, z: Any, t: Any) -> Any:
        return -((z / t).softmax(1) * (s / t).log_softmax(1)).sum(1)

    assert check("00.a", right)
    assert check("00.a", lambda s, z, t: None).right is None
    assert "sign" in wrong("00.a", lambda s, z, t: -right(s, z, t))
    assert "temperature is missing" in wrong("00.a", lambda s, z, t: right(s, z, 1.0))
    assert "teacher's side only" in wrong("00.a", lambda s, z, t: right(s * t, z, t))
    assert "student's side only" in wrong("00.a", lambda s, z, t: right(s, z * t, t))
    assert "exchanged" in wrong("00.a", lambda s, z, t: right(z, s, t))
    assert "shape" in wrong("00.a", lambda s, z, t: right(s, z, t).mean())
    assert "factor" in wrong("00.a", lambda s, z, t: 7 * right(s, z, t))
    assert "function itself" in wrong("00.a", 3)
    assert "RuntimeError" in wrong("00.a", lambda s, z, t: s @ z)


def test_what_is_off_in_a_step_of_your_own_is_named() -> None:
    def right(x: Any, gap: Any, g: Any, a: Any) -> Any:
        return x + a * gap[:, None] * g / g.norm(dim=1)[:, None]

    assert check("02.a", right)
    assert "sign" in wrong("02.a", lambda x, gap, g, a: right(x, -gap, g, a))
    assert "norm is missing" in wrong("02.a", lambda x, gap, g, a: x + a * gap[:, None] * g)
    assert "whole batch" in wrong("02.a", lambda x, gap, g, a: x + a * gap[:, None] * g / g.norm())
    assert "Newton" in wrong("02.a", lambda x, gap, g, a: x + a * gap[:, None] * g / g.norm(dim=1)[:, None] ** 2)
    assert "gap is missing" in wrong("02.a", lambda x, gap, g, a: right(x, gap / gap, g, a))
    assert "add x" in wrong("02.a", lambda x, gap, g, a: right(0 * x, gap, g, a))

    data = load("spirals", n=60)
    net, x = build("mlp", data), data.test.floats(slice(0, 12))
    target = net(x).topk(2).indices[:, 1]
    own, ours = walk(net, x, target, right, a=0.1), bss(net, x, target, step_size=0.1, steps=20, space="pixel", eps=0)
    torch.testing.assert_close(own.x, ours.x)
    assert own.steps.tolist() == ours.steps.tolist()
    assert own.status.tolist() == ours.status.tolist()


def test_what_is_off_in_a_hinge_of_your_own_is_named(capsys: Any) -> None:
    def right(p: Any, n: Any, m: Any) -> Any:
        return (p[:, None] - n + m).clamp(min=0).mean(1)

    assert check("03.a", right)
    assert "sign" in wrong("03.a", lambda p, n, m: (n - p[:, None] + m).clamp(min=0).mean(1))
    assert "margin is missing" in wrong("03.a", lambda p, n, m: right(p, n, 0))
    assert "not cut off" in wrong("03.a", lambda p, n, m: (p[:, None] - n + m).mean(1))
    assert "first" in wrong("03.a", lambda p, n, m: (p[:, None] - n + m).mean(1).clamp(min=0))
    assert "sum" in wrong("03.a", lambda p, n, m: (p[:, None] - n + m).clamp(min=0).sum(1))

    data = load("digits")
    nets = {"teacher": build("cnn-tiny", data), "student": build("cnn-tiny", data, seed=1)}
    x = data.test.floats(slice(0, 5))
    samples = bss(nets["teacher"], x, nets["teacher"](x).topk(2).indices[:, 1])
    view = distances(nets, data, samples)
    lines = hinge_losses(view, data, samples, right, margins=(1.0,)).splitlines()
    valid = (data.test.y[None] != samples.base[:, None]) & (data.test.y[None] != samples.target[:, None])
    d_an = torch.zeros(valid.shape, dtype=torch.float64)
    d_an[valid] = torch.as_tensor(view.arrays["student.d_an"]).double()
    d_ap = torch.as_tensor(view.arrays["student.d_ap"])
    slow = [max(0.0, float(d_ap[i] - d_an[i, j] + 1)) for i in range(5) for j in range(len(valid[0])) if valid[i, j]]
    by_anchor, k = [], 0
    for count in valid.sum(1).tolist():
        by_anchor.append(sum(slow[k : k + count]) / count)
        k += count
    assert float(lines[1].split()[2]) == pytest.approx(sum(by_anchor) / 5, abs=6e-4)
    hinge_losses(view, data, samples, lambda p, n, m: None)
    assert "library's function" in capsys.readouterr().out


def test_seeds_are_drawn_one_by_one_and_the_interval_shrinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from exercises import seeds

    monkeypatch.setattr(seeds, "cache_folder", lambda: tmp_path)
    tiny = POINTS.replace(epochs=1, teacher_epochs=1)
    real = Seeds(tiny, ("ce", "kd"))
    real.draw()
    assert len(list((tmp_path / "seeds").iterdir())) == 2
    assert "One seed has no interval" in real.sentence()
    assert Seeds(tiny, ("ce", "kd"))._accuracy("kd", 0) == real.shares[0][1]  # from the cache

    drawn = Seeds(tiny, ("kd", "bss"))
    monkeypatch.setattr(drawn, "_accuracy", lambda m, seed: 0.8 + (m == "bss") * (0.01 + 0.03 * (-1) ** seed))
    drawn.draw(2)
    assert drawn.differences == pytest.approx([4.0, -2.0])
    assert drawn.sentence() == (
        "Seed 1: kd is ahead by 2.0 points. bss - kd = +1.00 points, 95 % interval [-37.12, +39.12] over 2 seeds, "
        "of which bss wins 1: the two are not distinguishable."
    )
    drawn.draw(38)
    assert "+1.00 points, 95 % interval [+0.03, +1.97]" in drawn.sentence()
    assert drawn.sentence().endswith("of which bss wins 20: bss is better.")
    drawn.draw()
    assert len(drawn.shares) == 40
    assert len(drawn.figure().data) == 40  # 39 intervals and the dots


SEEDS = """from amkd_viz.training import SPIRALS
from exercises import Seeds

seeds = Seeds(SPIRALS, ("kd", "bss"))
seeds._accuracy = lambda method, seed: 0.8 + 0.01 * (seed % 3) * (method == "bss")
seeds"""


@pytest.mark.slow
@pytest.mark.browser
def test_each_seed_is_drawn_in_jupyterlab(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    path = f"{root}{os.pathsep}{root / 'notebooks'}"
    with panel_page(tmp_path, SEEDS, lambda made: made.run(), PYTHONPATH=path) as made:

        def dots() -> int:
            return int(made.page.locator(".js-plotly-plot .scatterlayer .point").count())

        for word, expected in (("Draw a seed", 1), ("Draw a seed", 2), ("Draw five", 7)):
            made.page.get_by_role("button", name=word).click()
            made.until(lambda expected=expected: dots() == expected, 60)
        assert "over 7 seeds" in made.page.locator(".amkd-live").inner_text()


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_the_circle_has_the_library_s_loss_and_its_gradient() -> None:
    circle = TripletCircle()
    with browser() as context:
        page = context.new_page()
        page.set_content("<body><div id=here></div></body>")
        page.evaluate(
            """async ([code, state]) => {
                const { default: widget } = await import("data:text/javascript;base64," + code);
                const heard = [];
                window.model = {
                    get: (name) => state[name],
                    set: (name, value) => ((state[name] = value), heard.forEach((react) => react())),
                    save_changes: () => null, on: (_, react) => heard.push(react), off: () => null,
                };
                widget.render({ model: window.model, el: document.getElementById("here") });
            }""",
            [base64.b64encode(circle._esm.encode()).decode(), circle.get_state(["angles", "margin", "words"])],
        )

        def loss() -> float:
            return float(page.evaluate("() => document.querySelector('[data-loss]').dataset.loss"))

        assert loss() == pytest.approx(circle.loss, abs=1e-9)
        d = 2 - 2 * torch.cos(torch.tensor(circle.angles[1:]) - circle.angles[0])
        library, _ = triplet_hinge(d[:1], d[None, 1:], torch.ones(1, 3, dtype=torch.bool), circle.margin)
        assert circle.loss == pytest.approx(float(library), abs=1e-6)
        states = page.locator("[data-active]").evaluate_all("all => all.slice(2).map(e => e.dataset.active)")
        assert states == [str(bool(p)).lower() for p in d[0] - d[1:] + circle.margin > 0]
        box = page.locator("[data-i='1'] circle").bounding_box()
        page.mouse.move(box["x"] + 9, box["y"] + 9)
        page.mouse.down()
        page.mouse.move(box["x"] + 60, box["y"] + 90, steps=3)
        page.mouse.up()
        circle.angles = page.evaluate("() => window.model.get('angles')")
        assert circle.angles[1] != pytest.approx(1.0, abs=0.1)
        assert loss() == pytest.approx(circle.loss, abs=1e-9)
        before = loss()
        page.locator("[data-i='1']").focus()
        page.keyboard.press("ArrowLeft")  # towards the anchor
        assert loss() < before


def test_a_circle_takes_the_distances_of_a_view(cell: Any) -> None:
    view = View(go.Figure(), {"d_an": np.array([0.5, 3.0]), "low": np.zeros((4, 2))}, {"d_ap": 0.7})
    triplet_circle(view)
    box = cell.widgets[0]
    box.children[0].children[2].click()
    angles = np.array(box.children[1].angles)
    assert 2 - 2 * np.cos(angles[1:] - angles[0]) == pytest.approx([0.7, 0.5, 3.0])
    with pytest.raises(InputError, match="triplets"):
        triplet_circle(View(go.Figure()))
