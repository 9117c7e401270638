"""The playground: the exported step against the library's, in Chromium, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from amkd_viz.boundary import bss
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import mix
from amkd_viz.data import load
from amkd_viz.models import build, save_classifier
from amkd_viz.objectives import Step
from amkd_viz.playground import page as pages
from amkd_viz.playground import runtime as runtimes
from amkd_viz.playground import write_playground
from amkd_viz.playground.situations import DIGITS as DIGITS_SITUATIONS
from amkd_viz.playground.situations import SPIRALS as SITUATIONS
from amkd_viz.playground.trace import flat, logits_graph, walk_graph
from amkd_viz.runs import distill
from amkd_viz.runs.prepare import prepare
from amkd_viz.training import DIGITS, SPIRALS, Finished, Recipe, Training, events
from amkd_viz.training.schedule import learning_rate
from amkd_viz.views.decisions import decide
from amkd_viz.views.planes import Plane
from amkd_viz.views.slices import grid_points, plane_area, window
from benchmarks.playground import library
from tests.lab import chromium

# in the page: controls without an accessible name; texts with less contrast than WCAG's AA asks for
UNNAMED = """() => [...document.querySelectorAll("button, select, input, canvas:not([aria-hidden]), iframe")]
    .filter((e) => !(e.ariaLabel || (e.matches("button") && e.textContent.trim()) || e.labels?.length))
    .map((e) => e.outerHTML)"""
FAINT = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = numbers(colour);
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const behind = (e) => {
        const own = getComputedStyle(e).backgroundColor;
        return numbers(own)[3] === 0 && e.parentElement ? behind(e.parentElement) : own;
    };
    const found = [];
    for (const e of document.querySelectorAll("body *")) {
        const own = [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        if (!own || e.disabled || !e.checkVisibility() || e.closest("script")) continue;
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) found.push([e.outerHTML.slice(0, 80), ratio]);
    }
    return found;
}"""
METHODS = ("ce", "kd", "bss", "amkd")
STATES = 20
in_browser = [pytest.mark.browser, pytest.mark.slow, pytest.mark.skipif(chromium() is None, reason="needs Chromium")]


@pytest.fixture(scope="module")
def needs() -> None:
    """What writes a page; its runtime comes from npm."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    try:
        runtimes.runtime()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def file(needs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of the demo's spirals."""
    return write_playground(tmp_path_factory.mktemp("playground") / "spirals.html")


@pytest.fixture(scope="module")
def digits_file(needs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of the demo's digits."""
    return write_playground(tmp_path_factory.mktemp("playground") / "digits.html", "digits")


class Opened:
    """A page in Chromium that has no network."""

    def __init__(self, context: Any, file: Path, link: str = "") -> None:
        self.page, self.errors, self.asked = context.new_page(), [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri() + link)
        self.page.wait_for_function("document.body.dataset.ready", timeout=120_000)

    def call(self, name: str, *values: Any) -> Any:
        return self.page.evaluate(f"(values) => window.playground.{name}(...values)", list(values))

    def close(self) -> None:
        assert self.errors == []
        assert [url for url in self.asked if not url.startswith(("file:", "blob:", "data:"))] == []
        self.page.close()


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        made = own.new_context(offline=True, viewport={"width": 1200, "height": 900})
        yield made
        own.close()


@pytest.fixture(scope="module")
def opened(context: Any, file: Path) -> Iterator[Opened]:
    made = Opened(context, file)
    yield made
    made.close()


@pytest.fixture(scope="module")
def digits(context: Any, digits_file: Path) -> Iterator[Opened]:
    made = Opened(context, digits_file)
    yield made
    made.close()


def numbers(values: Any) -> list[float]:
    return [float(v) for v in values]


def in_fixed_shapes(training: Training) -> Training:
    """Let the steps of a training repeat boundary samples up to their limit, as on a GPU and in the page."""
    new_step = training.new_step

    def static(*batch: torch.Tensor) -> Step:
        step = new_step(*batch)
        step.static = True
        return step

    training.new_step = static  # type: ignore[method-assign]
    return training


def states(training: Training) -> Iterator[tuple[dict[str, Any], torch.Tensor]]:
    """Yield inputs of a step and the student after it, from ``STATES`` steps along a training by the library."""
    recipe, batches = training.recipe, len(training.loader)
    steps = recipe.epochs * batches
    wanted = {round(i * (steps - 1) / (STATES - 1)) for i in range(STATES)}
    for epoch in range(recipe.epochs):
        for number, (x, y, index) in enumerate(training.loader.epoch(epoch)):
            theta, buffers = flat(training.student), training.optimiser.state
            momentum = [
                buffers[p]["momentum_buffer"] if p in buffers else torch.zeros_like(p)
                for p in training.student.parameters()
            ]
            weights = training.objective.weights(training.progress)
            before = torch.cat([m.flatten() for m in momentum]).clone()
            step = training.step(x, y, index)
            if epoch * batches + number not in wanted:
                continue
            edge = step.made("boundary")
            limit = min(training.loader.batch_size, recipe.max_boundary_samples)
            waits = torch.ones(limit, training.dataset.num_classes)
            if edge is not None:  # the draws of the library's step, which are as many as it has boundary samples
                own = torch.Generator().manual_seed(mix(recipe.seed, "step", epoch, number))
                waits[: len(edge.x)] = torch.empty(len(edge.x), waits.shape[1]).exponential_(generator=own)
            given = {
                "x": numbers(x.flatten()),
                "y": y.tolist(),
                "waits": numbers(waits.flatten()),
                "weights": weights,
                "step_size": training.recipe.step_size,
                "rate": learning_rate(
                    recipe.schedule, recipe.learning_rate, epoch * batches + number, steps, recipe.epochs
                ),
            }
            state = {"method": recipe.method, "theta": numbers(theta), "momentum": numbers(before), "next": given}
            yield state, flat(training.student)
        training.epoch, training.batch = epoch + 1, 0


def fits_a_phone(made: Opened, scheme: str) -> None:
    made.page.set_viewport_size({"width": 390, "height": 800})
    made.page.emulate_media(color_scheme=scheme)
    made.call("step", 3)
    assert made.page.evaluate("document.documentElement.dataset.theme") == scheme
    assert made.page.evaluate("document.documentElement.scrollWidth") <= 390
    outside = made.page.evaluate(
        "() => [...document.querySelectorAll('main *, header *')]"
        ".filter((e) => e.getBoundingClientRect().right > 390.5).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert outside == []
    assert made.page.evaluate(UNNAMED) == []
    assert made.page.evaluate(FAINT) == []
    made.page.evaluate("document.documentElement.style.setProperty('--muted', 'var(--page)')")
    assert len(made.page.evaluate(FAINT)) > 5  # the check can fail
    made.close()


class TestInChromium:
    pytestmark = in_browser

    @pytest.mark.parametrize("method", METHODS)
    def test_a_step_in_the_page_is_the_librarys_step(self, opened: Opened, method: str) -> None:
        training, largest, count = prepare(SPIRALS.replace(method=method)), 0.0, 0
        for state, after in states(training):
            opened.call("set", {"step": 0, "log": []})
            opened.call("set", state)
            found = opened.call("step", 1)
            difference = np.abs(np.float32(found["theta"]) - after.numpy()).max()
            assert difference < 1e-5, (method, count)
            assert np.abs(np.float32(state["theta"]) - after.numpy()).max() > 10 * difference  # it has moved at all
            largest, count = max(largest, float(difference)), count + 1
        assert count == STATES
        print(f"{method}: largest difference of a weight over {count} steps {largest:.1e}")

    def test_decisions_on_a_grid_are_pythons(self, opened: Opened) -> None:
        training = prepare(SPIRALS)
        grid = torch.as_tensor(grid_points(window(training.full), 50), dtype=torch.float32).reshape(-1, 2)
        for number, (state, after) in enumerate(states(training)):
            if number % 5:
                continue
            opened.call("set", {"theta": numbers(after)})
            for name, net in (("student", training.student), ("teacher", training.nets["teacher"])):
                found = opened.call("decide", name, grid.tolist())
                assert found == decide(net, grid).winner.tolist(), (name, number, state["method"])

    def test_the_walk_is_the_attack_of_the_library(self, opened: Opened) -> None:
        training = prepare(SPIRALS)
        opened.call("set", {"step": 0, "log": [], "theta": numbers(flat(training.student))})
        for point in ([-0.556, 1.731], [0.5, 0.5], [-1.2, -0.4]):
            state = opened.call("set", {"point": point, "target": None})
            for name, net in (("teacher", training.nets["teacher"]), ("student", training.student)):
                walk, x = state["walks"][name], torch.tensor([point])
                made = bss(
                    net,
                    x,
                    torch.tensor([walk["target"]]),
                    step_size=SPIRALS.step_size,
                    steps=SPIRALS.attack_steps,
                    step_rule=SPIRALS.step_rule,
                    keep_path=True,
                )
                assert made.path is not None
                assert walk["base"] == int(made.base)
                assert walk["steps"] == int(made.steps)
                assert walk["crossed"] == bool(made.crossed)
                np.testing.assert_allclose(walk["path"], made.path[: walk["steps"] + 1, 0], atol=1e-4)

    def test_a_link_restores_the_state(self, context: Any, file: Path) -> None:
        first = Opened(context, file)
        first.call("set", {"seed": 3, "labels": 50, "own": [[0.25, -0.5, 1]], "log": [[0, "method", "bss"]]})
        first.call("step", 4)
        first.call("set", {"kd": 2.5})
        first.call("set", {"method": "amkd", "point": [0.5, 0.25], "target": 2})
        expected = first.call("step", 6)
        assert expected["step"] == 10
        assert expected["log"] == [[0, "method", "bss"], [4, "kd", 2.5], [4, "method", "amkd"]]
        link = first.page.evaluate("location.hash")
        first.close()
        second = Opened(context, file, link)
        assert second.page.is_hidden("#error")
        found = second.call("state")
        for name in expected:
            if name != "playing":
                assert found[name] == expected[name], name
        assert second.call("set", expected)["theta"] == expected["theta"]  # and so does the state itself
        second.close()

    @pytest.mark.parametrize(
        ("link", "sentence"),
        [
            ("#v=9", "This link has version 9, but the page reads version 1; make the link again on this page."),
            ("#seed=1", "This link has no version, but the page reads version 1; make the link again on this page."),
            ("#v=1&data=moons", "This link is of moons, but the page holds spirals; open it with the page of moons."),
            ("#v=1&seed=99", "seed must be a whole number from 0 to 9, got 99."),
            ("#v=1&step=many", "step must be a whole number from 0 to 120, got NaN."),
            ("#v=1&log=0:method:akmd", "The method must be one of ce, kd, bss, amkd, got akmd."),
            ("#v=1&log=0:kd:-1", "kd must be between 0 and 100, got -1."),
            ("#v=1&point=1", "point must be two numbers, got 1."),
            ("#v=1&own=1,2,7", "A point of your own must be two numbers and a class from 0 to 2, got 1,2,7."),
        ],
    )
    def test_a_link_that_cannot_be_shown_is_one_sentence(self, opened: Opened, link: str, sentence: str) -> None:
        before = opened.call("set", {"step": 0, "log": []})
        opened.page.evaluate("(link) => { location.hash = link; }", link)
        opened.page.wait_for_function("(text) => document.getElementById('error').textContent === text", arg=sentence)
        assert opened.page.is_visible("#error")
        assert opened.call("state")["theta"] == before["theta"]

    @pytest.mark.parametrize("lost", ["WebAssembly", "DecompressionStream"])
    def test_a_browser_that_is_too_old_gets_one_sentence(self, context: Any, file: Path, lost: str) -> None:
        page = context.new_page()
        page.add_init_script(f"delete window.{lost}")
        page.goto(file.as_uri())
        page.wait_for_selector("#error:not([hidden])")
        assert page.inner_text("#error") == (
            f"This browser has no {lost}, which the training needs; open the page in a recent one."
        )
        page.close()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_fits_a_phone(self, context: Any, file: Path, scheme: str) -> None:
        fits_a_phone(Opened(context, file), scheme)

    def test_keyboard_and_mouse(self, context: Any, file: Path) -> None:
        made = Opened(context, file)
        page = made.page
        page.keyboard.press("s")
        page.wait_for_function("window.playground.state().step === 1")
        page.keyboard.press("Space")
        page.wait_for_function("window.playground.state().step > 3")
        page.keyboard.press("Space")
        page.wait_for_function("!window.playground.state().playing")
        page.focus("[data-map=teacher] canvas")
        before = made.call("state")["point"]
        page.keyboard.press("ArrowRight")
        page.wait_for_function("(x) => window.playground.state().point[0] > x", arg=before[0])
        box = page.locator("[data-map=teacher] canvas").bounding_box()
        page.mouse.move(box["x"] + 30, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        x0, x1, y0, y1 = window(prepare(SPIRALS).full)
        page.wait_for_function(
            "(to) => { const from = window.playground.state().walks.teacher.path[0];"
            " return Math.hypot(from[0] - to[0], from[1] - to[1]) < 0.05; }",
            arg=[(x0 + x1) / 2, (y0 + y1) / 2],
        )
        assert "By the teacher the point is spiral" in page.inner_text("#walk")
        at = made.call("state")["point"]
        page.wait_for_function("(x) => location.hash.includes(`point=${+x.toFixed(3)}%2C`)", arg=at[0])
        page.focus("input[value=amkd]")
        page.keyboard.press("ArrowUp")
        page.wait_for_function("window.playground.state().method === 'bss'")
        page.focus("#slider-kd")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("window.playground.state().kd === 1.25")
        page.keyboard.press("r")
        page.wait_for_function("window.playground.state().step === 0")
        made.close()

    def test_situations_show_what_they_say(self, opened: Opened) -> None:
        """The texts hold for the page's own teacher; margins are wide, as another processor rounds otherwise."""

        def final(number: int, **changes: Any) -> dict[str, Any]:
            own = SITUATIONS[number]
            log = [[0, key, value] for key, value in (own.changes | changes).items()]
            found: dict[str, Any] = opened.call(
                "set", {"seed": own.seed, "labels": own.labels, "step": own.step, "log": log}
            )
            return found

        def apart() -> float:
            return float(opened.page.inner_text("[data-map=apart] figcaption span").split()[1]) / 100

        assert final(0)["accuracy"] > 0.85
        assert apart() > 0.1
        lengths = []
        for step_size in (3, SPIRALS.step_size):
            moved = np.array(final(1, step_size=step_size)["samples"])  # (M, 2, 2): from, to
            lengths.append(float(np.median(np.linalg.norm(moved[:, 1] - moved[:, 0], axis=1))))
        assert lengths[0] > 1.8 * lengths[1]
        assert final(2)["accuracy"] > 0.98
        assert abs(final(2)["accuracy"] - final(2, method="amkd")["accuracy"]) < 0.012
        assert final(3)["accuracy"] > final(3, method="bss")["accuracy"] + 0.02
        same = [final(4, method=method)["accuracy"] for method in ("kd", "bss", "amkd")]
        assert max(same) - min(same) < 0.02

    def test_a_situation_opens(self, opened: Opened) -> None:
        opened.page.click("#situations a >> nth=1")
        opened.page.wait_for_function("window.playground.state().step === 30")
        assert opened.call("state")["step_size"] == 3
        assert opened.page.is_hidden("#error")

    def test_parts_of_a_state(self, opened: Opened) -> None:
        opened.call("set", {"step": 0, "log": [[0, "method", "kd"], [2, "kd", 2]], "seed": 1})
        found = opened.call("step", 3)
        assert (found["method"], found["kd"], found["step"]) == ("kd", 2, 3)
        again = opened.call("set", {"step": 3})  # what is not given stays
        assert (again["theta"], again["log"]) == (found["theta"], found["log"])
        other = opened.call("set", {"step": 3, "method": "ce"})  # from the first step on
        assert (other["log"], other["kd"], other["seed"]) == ([[2, "kd", 2], [0, "method", "ce"]], 2, 1)
        assert other["theta"] != found["theta"]
        later = opened.call("set", {"method": "kd"})  # from now on
        assert later["theta"] == other["theta"]
        assert later["log"][-1] == [3, "method", "kd"]
        opened.page.evaluate("location.hash = '#v=1'")  # a link says all
        opened.page.wait_for_function("window.playground.state().step === 0")
        blank = opened.call("state")
        assert (blank["log"], blank["seed"], blank["kd"], blank["method"]) == ([], 0, 1, SPIRALS.method)

    def test_a_training_that_diverges_says_so(self, opened: Opened) -> None:
        before = opened.call("set", {"step": 0, "log": [], "next": {"rate": 1e38, "weights": {"ce": 1e30}}})
        with pytest.raises(Exception, match="The training has diverged; lower the learning rate"):
            opened.call("step", 1)
        assert opened.call("state")["theta"] == before["theta"]
        assert opened.call("step", 1)["step"] == 1  # and goes on

    def test_points_of_your_own_join_and_leave(self, opened: Opened) -> None:
        page = opened.page
        opened.call("set", {"step": 0, "log": [], "own": []})
        page.check("#draw")
        page.select_option("#class", "2")
        page.click("[data-map=student] canvas", position={"x": 100, "y": 120})
        page.wait_for_function("window.playground.state().own.length === 1")
        assert opened.call("state")["own"][0][2] == 2
        page.click("#undo")
        page.wait_for_function("window.playground.state().own.length === 0")
        page.uncheck("#draw")

    def test_it_plays_to_the_end_and_says_so(self, opened: Opened) -> None:
        page = opened.page
        opened.call("set", {"step": 110, "log": [[0, "method", "kd"]]})
        page.click("#play")
        page.wait_for_function("window.playground.state().step === 120 && !window.playground.state().playing")
        page.wait_for_function("document.getElementById('at').textContent.includes('finished')")
        final = opened.call("state")
        assert final["accuracy"] > 0.7
        page.check("input[value=amkd]")
        page.click("#play")  # again, with the settings of now
        page.wait_for_function("window.playground.state().step > 0 && window.playground.state().step < 120")
        page.click("#play")
        page.wait_for_function("!window.playground.state().playing")
        assert opened.call("state")["method"] == "amkd"
        assert len(final["decisions"]) == 100 * 100

    @pytest.mark.parametrize("method", ["kd", "amkd"])
    def test_ten_seeds_end_where_the_librarys_end(self, opened: Opened, method: str) -> None:
        """The same step in another order of the points: means agree within the standard error of their difference."""
        steps = {"labels": 100, "step": 120, "log": [[0, "method", method]]}
        there = [opened.call("set", {"seed": seed, **steps})["accuracy"] for seed in range(10)]
        here = library("spirals", method, 10)
        opened.call("set", {"seed": 0, "step": 0, "log": []})
        error = np.sqrt((np.var(there, ddof=1) + np.var(here, ddof=1)) / 10)
        print(f"{method}: page {np.mean(there):.4f}, library {np.mean(here):.4f}, standard error {error:.4f}")
        assert abs(np.mean(there) - np.mean(here)) < error
        assert np.std(there) > 0
        assert np.mean(there) > 0.85

    def test_a_page_of_a_run_opens_on_its_nets(self, context: Any, call: Any, file: Path, tmp_path: Path) -> None:
        nets = {"dataset": "moons:n=60,classes=3", "teacher": "mlp-small", "student": "mlp-tiny"}
        settings = {"method": "amkd-student", "overrides": {"kd.scale": 2.0, "boundary_triplet.margin": 0.5}}
        recipe = Recipe(**nets, **settings, epochs=8, batch_size=20, attack_steps=3, step_rule="newton", step_size=1.1)
        run = distill(recipe, tmp_path / "run", snapshots=False)
        status, out, err = call("playground", "--run", run.path, "--out", tmp_path / "moons.html")
        assert (status, err) == (0, "")
        assert out.endswith(f"The playground is {tmp_path / 'moons.html'}: open it in a browser.\n")
        made = Opened(context, tmp_path / "moons.html")
        state = made.call("state")
        assert (state["method"], state["data"], state["labels"], state["run"]) == (
            "amkd-student",
            recipe.dataset,
            54,
            True,
        )
        np.testing.assert_array_equal(np.float32(state["theta"]), flat(run.student()).numpy())
        assert state["step"] == state["steps"] == 8 * 2
        right = (decide(run.student(), run.dataset().test.x).winner == run.dataset().test.y.numpy()).mean()
        assert state["accuracy"] == pytest.approx(float(right))
        link = made.call("set", {"point": [0, 0]}) and made.page.evaluate("location.hash")
        assert made.call("set", {"step": 3})["run"] is False
        for given, after in states(prepare(recipe)):
            made.call("set", {"step": 0, "log": []})
            made.call("set", given)
            np.testing.assert_allclose(np.float32(made.call("step", 1)["theta"]), after.numpy(), atol=1e-5, rtol=0)
        made.close()
        again = Opened(context, tmp_path / "moons.html", link)
        assert again.call("state")["theta"] == state["theta"]
        again.close()
        assert call("playground", "--run", run.path, "--out", tmp_path / "moons.html")[0] == 2  # never overwritten


class TestDigits:
    pytestmark = in_browser

    @pytest.mark.parametrize("method", METHODS)
    def test_a_step_in_the_page_is_the_librarys_step(self, digits: Opened, method: str) -> None:
        training = in_fixed_shapes(prepare(DIGITS.replace(method=method)))
        largest, count, few = 0.0, 0, len(flat(training.student))
        for state, after in states(training):
            digits.call("set", {"step": 0, "log": []})
            digits.call("set", state)
            found = digits.call("step", 1)
            assert len(found["theta"]) == few > len(found["momentum"])  # batch statistics are part of the student
            difference = np.abs(np.float32(found["theta"]) - after.numpy()).max()
            assert difference < 1e-5, (method, count)
            assert np.abs(np.float32(state["theta"]) - after.numpy()).max() > 10 * difference
            largest, count = max(largest, float(difference)), count + 1
        assert count == STATES
        print(f"{method}: largest difference of a weight over {count} steps {largest:.1e}")

    def test_the_walk_is_the_attack_and_the_map_is_the_plane(self, digits: Opened) -> None:
        training = prepare(DIGITS)
        recipe, test = training.recipe, training.full.test
        nets = {"teacher": training.nets["teacher"], "student": training.student}
        state = digits.call("set", {"step": 0, "log": [], "image": 57, "target": None})
        for name, net in nets.items():
            walk, x = state["walks"][name], test.floats([57])
            attack = {"step_size": recipe.step_size, "steps": recipe.attack_steps, "keep_path": True}
            made = bss(net, x, torch.tensor([walk["target"]]), **attack)
            assert made.path is not None
            assert (walk["base"], walk["crossed"]) == (int(made.base), bool(made.crossed))
            assert walk["steps"] == int(made.steps)
            np.testing.assert_allclose(walk["path"], made.path[: walk["steps"] + 1, 0].flatten(1), atol=1e-4)
        x = test.floats()
        with torch.no_grad():
            scores = nets["teacher"](x[57:58])[0]
        far = (x - x[57]).flatten(1).norm(dim=1)
        likely = [k for k in scores.argsort(descending=True).tolist() if k != int(test.y[57])][:2]
        nearest = [int(far.masked_fill(test.y != k, torch.inf).argmin()) for k in likely]
        plane = Plane.through(x[[57, *nearest]])
        side = round(len(state["decisions"]) ** 0.5)
        images = plane.images(grid_points(plane_area(plane), side).numpy())
        same = np.array(state["decisions"]) == decide(nets["student"], images).winner.ravel()
        assert same.mean() > 0.995  # where two classes are as likely, rounding decides

    def test_choose_an_image_and_follow_its_walk(self, digits: Opened) -> None:
        page = digits.page
        digits.call("set", {"step": 0, "log": [[0, "method", "amkd"]]})
        state = digits.call("step", 12)
        assert state["samples"]
        assert len(state["samples"][0][0]) == 64
        assert f"{len(state['samples'])} of the last step" in page.inner_text("[data-strip=samples]")
        page.click("#gallery button >> nth=9")
        page.wait_for_function("(to) => window.playground.state().image !== to", arg=state["image"])
        found = digits.call("state")
        image, label = found["image"], prepare(DIGITS).full.test.y[found["image"]]
        assert found["point"] == [0, 0]
        button = page.locator("#gallery button[aria-pressed=true]")
        assert button.get_attribute("aria-label").startswith(f"Test image {image}: {int(label)}")
        assert "By the teacher the image is" in page.inner_text("#walk")
        assert page.evaluate("location.hash").find(f"image={image}") > 0
        page.focus("[data-map=teacher] canvas")
        page.keyboard.press("Shift+ArrowRight")
        page.wait_for_function("window.playground.state().point[0] > 0")
        page.wait_for_function(
            "(from) => window.playground.state().walks.teacher.path[0].some((v, i) => v !== from[i])",
            arg=found["walks"]["teacher"]["path"][0],
        )
        with pytest.raises(Exception, match="takes no points of your own"):
            digits.call("set", {"own": [[0, 0, 1]]})
        with pytest.raises(Exception, match="image must be a whole number from 0 to"):
            digits.call("set", {"image": 10_000})

    def test_it_learns(self, digits: Opened) -> None:
        found = digits.call("set", {"seed": 1, "step": 200, "log": [[0, "method", "kd"]]})
        final = [e for e in events(prepare(DIGITS.replace(method="kd", seed=1))) if isinstance(e, Finished)]
        assert found["accuracy"] == pytest.approx(final[0].summary["test_accuracy"], abs=0.06)
        assert found["accuracy"] > 0.5  # one digit in ten is right by chance

    def test_situations_show_what_they_say(self, digits: Opened) -> None:
        """The texts hold for the page's own teacher; margins are wide, as another processor rounds otherwise."""
        heavier, leaps, unlucky = DIGITS_SITUATIONS

        def shown(own: Any, changes: dict[str, Any], seed: int) -> dict[str, Any]:
            log = [[0, key, value] for key, value in changes.items()]
            found: dict[str, Any] = digits.call(
                "set", {"seed": seed, "labels": own.labels, "step": own.step, "log": log}
            )
            return found

        assert digits.page.locator("#situations a").all_text_contents() == [
            f"{own.title}{own.text}" for own in DIGITS_SITUATIONS
        ]
        best = shown(heavier, heavier.changes, heavier.seed)["accuracy"]
        assert best > 0.78
        for method in ("kd", "amkd"):
            assert shown(heavier, {"method": method}, heavier.seed)["accuracy"] < best - 0.08
        lengths = []
        for changes in (leaps.changes, {"method": "bss"}):
            moved = np.array(shown(leaps, changes, leaps.seed)["samples"])  # (M, 2, 64): from, to
            lengths.append(float(np.median(np.linalg.norm(moved[:, 1] - moved[:, 0], axis=1))))
        assert lengths[0] > 1.2 * lengths[1]
        last, lucky = (shown(unlucky, unlucky.changes, seed)["accuracy"] for seed in (unlucky.seed, 0))
        assert last < lucky - 0.04

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_fits_a_phone(self, context: Any, digits_file: Path, scheme: str) -> None:
        fits_a_phone(Opened(context, digits_file), scheme)

    def test_a_run_and_a_teacher_from_a_file(self, context: Any, call: Any, needs: None, tmp_path: Path) -> None:
        own, file = build("cnn-tiny", load("digits"), seed=3), tmp_path / "own.safetensors"
        save_classifier(own, file)
        nets = {"teacher": str(file), "student": "cnn-tiny", "trust_teacher": True}
        recipe = DIGITS.replace(**nets, method="bss", epochs=4, attack_steps=2, step_size=0.3, augment="none")
        run = distill(recipe, tmp_path / "run", snapshots=False)
        status, _, err = call("playground", "--run", run.path, "--out", tmp_path / "run.html")
        assert (status, err) == (0, "")
        made = Opened(context, tmp_path / "run.html")
        state = made.call("state")
        assert (state["method"], state["data"], state["run"], state["step"]) == ("bss", "digits", True, 4)
        np.testing.assert_array_equal(np.float32(state["theta"]), flat(run.student()).numpy())
        x = run.dataset().test.floats(slice(50))
        for name, net in (("student", run.student()), ("teacher", own.eval())):
            assert made.call("decide", name, x.flatten(1).tolist()) == decide(net, x).winner.tolist()
        made.close()


def test_the_page_says_whose_reading_the_loss_is() -> None:
    text = pages._page({"name": "spirals", "shape": (2,)}, b"", b"")
    assert "our reading of it" in text
    assert "<!--" not in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "cifar10"], "2-D problems, got 'cifar10'; choose among spirals, moons, rings, blobs, digits"),
        (["--data", "spirls"], "spirals"),
        (["--out", "page.txt"], "a name that ends in .html"),
        (["--run", "nowhere"], "nowhere"),
        (["--teacher", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--run", "nowhere", "--data", "moons"], "--run"),
    ],
)
def test_refusals_are_one_sentence(
    call: Any, tmp_path: Path, monkeypatch: Any, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pages, "runtime", lambda: runtimes.Runtime(b"", b""))
    status, out, err = call("playground", *(["--out", "page.html"] if "--out" not in words else []), *words)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert sentence in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "triplet-kd"}, "Unknown method for the playground 'triplet-kd'"),
        ({"sampler": "fgsm"}, "sampler must be bss"),
        ({"overrides": {"boundary_triplet.mining": "random"}}, "must not be random"),
        ({"peer": "mlp-tiny"}, "one teacher and one student"),
        ({"dataset": "cifar10", "teacher": "cnn", "student": "cnn-tiny"}, "this run is of cifar10"),
    ],
)
def test_recipes_that_a_page_cannot_train_by_are_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        pages._check(SPIRALS.replace(method="amkd").replace(**change))


class Odd(nn.Module):
    """A layer without an ONNX counterpart."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.airy_ai(x)


class Counts(nn.Identity):
    """A layer with a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))


@pytest.mark.slow
def test_a_net_that_cannot_be_exported_is_refused_with_its_layer() -> None:
    pytest.importorskip("onnxscript")
    net = build("mlp-tiny", num_classes=2, shape=(2,))
    net.body.add_module("odd", Odd())
    with pytest.raises(InputError, match=r"mlp-tiny cannot be exported because of its layer body\.odd \(Odd\)"):
        logits_graph(net)
    images = build("cnn-tiny", num_classes=2, shape=(1, 8, 8))
    images.body.stage2[0] = nn.Conv2d(4, 8, 3, 2, 1, groups=2)
    with pytest.raises(
        InputError, match=r"cnn-tiny cannot be exported because of its layer body\.stage2\.0 \(Conv2d\)"
    ):
        walk_graph(images, DIGITS.replace(step_size=0.3))
    net.body[-1] = Counts()
    with pytest.raises(InputError, match=r"only buffers are batch statistics, but mlp-tiny has body\.odd\.seen"):
        walk_graph(net, SPIRALS)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("amkd_viz.playground.trace.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs onnx and onnxscript; install with 'pip install onnx onnxscript'"):
        write_playground(tmp_path / "page.html")


class TestRuntime:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
        return tmp_path

    def npm(self, folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
        program = folder / "bin" / "npm"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setattr(runtimes.shutil, "which", lambda name: str(program))

    def test_without_npm(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runtimes.shutil, "which", lambda name: None)
        with pytest.raises(
            InputError, match=r"needs onnxruntime-web 1\.\d+\.\d+ from npm, which is not installed here"
        ):
            runtimes.runtime()

    def test_npm_that_fails(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.npm(folder, monkeypatch, "echo 'npm error network' >&2; exit 1")
        with pytest.raises(InputError, match=r"could not fetch .* \(npm error network\); check the network"):
            runtimes.runtime()

    def test_another_package_than_the_pinned_one(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.npm(folder, monkeypatch, "echo other > onnxruntime-web.tgz")
        with pytest.raises(InputError, match=r"another onnxruntime-web .* than the pinned one"):
            runtimes.runtime()
        assert not (folder / "cache").exists()

    def test_a_damaged_cache_is_fetched_again(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        where = folder / "cache" / f"{runtimes.NAME}-{runtimes.VERSION}"
        where.mkdir(parents=True)
        for name in runtimes.FILES:
            (where / name).write_bytes(b"damaged")
        self.npm(folder, monkeypatch, "echo 'asked again' >&2; exit 1")
        with pytest.raises(InputError, match="asked again"):
            runtimes.runtime()
