"""SampleLab: without a browser what the traits say, in a real JupyterLab what the page does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amkd_viz import build, load
from amkd_viz.boundary import bss, samplers
from amkd_viz.boundary.samples import Status
from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels import SampleLab
from amkd_viz.panels.sample_lab import FINE, PAGE
from amkd_viz.panels.session import Session
from amkd_viz.runs import Run, distill
from amkd_viz.views.walk import walk
from tests.recipes import IMAGES


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = IMAGES.replace(num_train=100, batch_size=50, teacher_epochs=6)
    return distill(recipe, tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture(scope="module")
def shared(run: Run) -> Iterator[SampleLab]:
    made = SampleLab(run, attack_steps=20, step_size=0.2)
    yield made.wait()
    made.close()
    made.close()


@pytest.fixture
def lab(shared: SampleLab) -> SampleLab:
    shared.set(sampler="bss", net="teacher", target="drawn", predict=False, temperature=1.0, negative="nearest")
    shared.set(shown="all", space="normalised", step_rule="gap", attack_steps=20, step_size=0.2)
    return shared.wait()


def test_the_way_is_what_the_library_says(lab: SampleLab, run: Run) -> None:
    data, teacher, student = run.dataset(), run.teacher(), run.student()
    index = int(data.test.index[5])
    lab.set(target=3)
    found = lab.pick(index)
    expected = bss(teacher, data.test.floats([5]), torch.tensor([3]), step_size=0.2, steps=20, keep_path=True)
    torch.testing.assert_close(found.x, expected.x, rtol=1e-4, atol=1e-5)
    way, frame = walk({"teacher": teacher, "student": student}, expected), lab.walk.frame
    assert frame["steps"] == way.steps == lab.walk.step
    gaps = np.frombuffer(frame["gap"], "<f4").reshape(2, -1)
    np.testing.assert_allclose(gaps[0], way.gap("teacher"), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(gaps[1], way.gap("student"), rtol=1e-3, atol=1e-3)
    p = np.frombuffer(frame["p"], "<f4").reshape(2, way.steps + 2, -1)
    shown = [int(row["name"]) for row in frame["rows"]]
    np.testing.assert_allclose(p[1], way.logits["student"].softmax(1)[:, shown], rtol=1e-3, atol=1e-4)
    assert frame["base"] == str(way.base)
    assert frame["target"] == "3"
    assert f"towards 3: after {way.steps} step" in lab.status.text


def test_the_first_image_has_an_attack_that_can_be_seen(tmp_path_factory: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))
    made = SampleLab().wait()
    try:
        assert made._shown is not None
        found, path = made._shown.samples, made._shown.path
        assert 3 <= path.steps <= 10
        assert int(found.status) == Status.TARGET
        assert [c.after for c in path.crossings["teacher"]] == [path.target]
        assert path.l2()[-2] > 0.2
        assert made.walk.frame["factor"] <= 10
    finally:
        made.close()


def test_the_plane_goes_through_base_boundary_sample_and_negative(lab: SampleLab) -> None:
    found = lab.pick(int(lab._data.test.index[2]))
    ground = lab.plane.ground
    assert torch.equal(ground.images[0], found.origin[0])
    assert torch.equal(ground.images[1], found.x[0])
    assert ground.labels[2] not in (int(found.base), int(found.target))
    assert lab.canvas.frame["side"] == FINE
    assert [m["title"] for m in lab.canvas.frame["maps"]] == ["teacher", "student"]
    assert len(lab.canvas.frame["maps"][0]["winner"]) == FINE**2
    kinds = {m.kind for m in lab.canvas.marks}
    assert {"box", "image", "ring", "path", "label"} <= kinds
    assert "outside" in lab.plane.numbers.value
    assert "agree on" in lab.plane.numbers.value
    view = lab.view()
    winner = np.frombuffer(lab.canvas.frame["maps"][0]["winner"], np.uint8).reshape(FINE, FINE)
    np.testing.assert_array_equal(winner, view.arrays["teacher.winner"])


def test_a_negative_can_be_a_class_or_an_image(lab: SampleLab) -> None:
    base = int(lab._data.test.index[2])
    found = lab.pick(base)
    other = next(k for k in range(10) if k not in (int(found.base), int(found.target), int(lab._data.test.y[2])))
    lab.set(negative=other).wait()
    assert lab.plane.ground.labels[2] == other
    third = int(lab._data.test.index[9])
    lab.thumbs.second = third
    lab.wait()
    assert lab["negative"] == "chosen"
    assert torch.equal(lab.plane.ground.images[2], lab._data.test.floats([9])[0])
    lab.thumbs.second = None
    lab.set(negative=int(lab._data.test.y[2])).wait()
    assert lab.plane.ground is None
    assert "choose another class for the negative" in lab.canvas.empty


def test_a_point_of_the_plane_is_an_image(lab: SampleLab) -> None:
    lab.attack()
    anchors = lab.plane.ground.plane.anchors
    first = lab.plane.point.frame
    assert first["inside"] in (True, False)
    lab.look(*anchors[0])
    assert lab.plane.point.frame["images"] == lab.walk.frame["images"][:64]
    assert lab.plane.point.frame["inside"]
    lab.look(float(anchors[0][0] + 50), 0.0)
    assert not lab.plane.point.frame["inside"]
    assert "outside the valid pixel range" in lab.plane.point.frame["words"][1]


def test_every_sampler_and_space_has_a_way(lab: SampleLab) -> None:
    names = {"attack_steps" if f.name == "steps" else f.name for kind in samplers.values() for f in fields(kind)}
    for sampler, kind in samplers.items():
        lab.set(sampler=sampler).wait()
        assert lab.status.kind == "idle", lab.status.text
        assert lab.walk.frame["steps"] >= 1
        free = {name for name in names if lab.controls[name].layout.display != "none"}
        assert free == {"attack_steps" if field.name == "steps" else field.name for field in fields(kind)}
        assert f"samplers[{sampler!r}](" in lab.code()
    lab.set(sampler="bss")
    normalised = lab.attack().x
    lab.set(space="pixel")
    assert not torch.equal(lab.attack().x, normalised)


def test_the_student_can_be_attacked(lab: SampleLab) -> None:
    lab.set(net="student")
    found = lab.attack()
    assert lab.walk.frame["nets"] == ["teacher", "student"]
    assert lab.walk.frame["attacked"] == 1
    base = int(found.base)
    assert int(lab._nets["student"](found.origin).argmax()) == base


def test_temperature_softens_and_keeps_step_and_classes(lab: SampleLab) -> None:
    lab.attack()
    lab.scrub(1)
    sharp, winner = lab.walk.frame["p"], lab.canvas.frame["maps"][0]["winner"]
    lab.set(temperature=4.0).wait()
    assert lab.walk.step == 1
    assert np.frombuffer(lab.walk.frame["p"], "<f4").max() < np.frombuffer(sharp, "<f4").max()
    assert lab.canvas.frame["maps"][0]["winner"] == winner


def test_the_way_waits_for_a_prediction(lab: SampleLab) -> None:
    lab.set(predict=True)
    found = lab.attack()
    assert lab.walk.frame["hidden"]
    assert len(lab.walk.frame["images"]) == 64
    assert lab.canvas.frame == {}
    assert "Answer first" in lab.canvas.empty
    assert lab.view() is None
    lab.answer(Status((int(found.status) + 1) % 3))
    lab.wait()
    assert "No" in lab.prediction.question.value
    assert not lab.walk.frame["hidden"]
    assert lab.canvas.frame["side"] == FINE
    lab.pick(int(lab._data.test.index[7]))
    lab.answer(int(lab._shown.samples.status))
    lab.wait()
    assert "Right" in lab.prediction.question.value
    assert "1 of 2" in lab.prediction.question.value


def test_a_target_that_is_the_base_says_what_to_do(lab: SampleLab) -> None:
    base = int(lab.attack().base)
    lab.set(target=base).wait()
    assert "choose another target" in lab.status.text
    assert "choose another target" in lab.canvas.empty
    assert lab.walk.frame["steps"] == 0


def test_the_strip_shows_a_class_page_by_page(lab: SampleLab) -> None:
    lab.set(shown=4).wait()
    frame = lab.thumbs.frame
    assert set(frame["names"]) == {"4"}
    test = lab._data.test
    of_class = test.index[test.y == 4].tolist()
    assert frame["ids"] == of_class[:PAGE]
    assert frame["pages"] == -(-len(of_class) // PAGE)
    lab.thumbs.page = 1
    lab.wait()
    assert lab.thumbs.frame["ids"] == of_class[PAGE : 2 * PAGE]
    with pytest.raises(InputError, match="no test image 99999"):
        lab.pick(99999)


def test_the_strip_turns_to_the_image_on_show(lab: SampleLab, run: Run) -> None:
    last = int(lab._data.test.index[-1])
    lab.pick(last)
    assert lab.thumbs.frame["ids"][-1] == lab.thumbs.chosen == last
    lab.set(shown=0).wait()
    assert lab.thumbs.frame["page"] == 0  # of another class
    again = SampleLab(run, image=last).wait()
    try:
        assert last in again.thumbs.frame["ids"]
    finally:
        again.close()


def test_session_export_and_code(lab: SampleLab, run: Run, tmp_path: Path) -> None:
    index = int(lab._data.test.index[4])
    lab.set(attack_steps=7, target=1)
    lab.pick(index)
    page = lab.export(tmp_path / "page.html").read_text()
    assert "logit gap" in page
    assert lab.view().title in page
    saved = lab.save_session(tmp_path / "session.json")
    again = SampleLab(Session.open(saved)).wait()
    try:
        assert again.thumbs.chosen == index
        assert again["attack_steps"] == 7
        assert again["target"] == 1
        assert again.walk.frame["gap"] == lab.walk.frame["gap"]
    finally:
        again.close()
    names: dict[str, Any] = {}
    exec(lab.code(), names)
    torch.testing.assert_close(names["samples"].x, lab.attack().x, rtol=1e-4, atol=1e-5)


def test_nets_that_are_not_from_a_run() -> None:
    data = load("digits")
    torch.manual_seed(1)
    lab = SampleLab(teacher=build("cnn-tiny", data), dataset=data, target=2, sampler="deepfool").wait()
    try:
        assert lab["target"] == 2
        assert lab.walk.frame["nets"] == ["teacher"]
        assert "disagreement" not in lab.canvas.frame
        assert "the ones that you gave" in lab.code()
        with pytest.raises(InputError, match="no run"):
            lab.save_session()
    finally:
        lab.close()


def test_large_colour_images_are_sent_small() -> None:
    x = torch.randint(0, 256, (24, 3, 160, 200), dtype=torch.uint8)
    y = torch.arange(24) % 3
    base = load("digits")
    split = type(base.test)(x, y, torch.arange(24))
    data = Dataset("pictures", ("a", "", "c"), split, split, split, (0.5,) * 3, (0.25,) * 3)
    net = torch.nn.Sequential(torch.nn.AvgPool2d(40), torch.nn.Flatten(), torch.nn.Linear(60, 3))
    lab = SampleLab(teacher=net, student=net, dataset=data, space="pixel", step_size=1.0).wait()
    try:
        assert lab.status.kind == "idle", lab.status.text
        assert lab.walk.frame["size"] == [128, 102, 3]
        assert "class 1" in lab.thumbs.frame["names"]
    finally:
        lab.close()


def test_what_cannot_be_shown_is_refused(run: Run, tmp_path: Path) -> None:
    data = load("digits")
    net = build("cnn-tiny", data)
    with pytest.raises(InputError, match="BoundaryLab"):
        SampleLab(teacher=net, dataset=load("moons", n=40))
    with pytest.raises(InputError, match="not both"):
        SampleLab(run, teacher=net, dataset=data)
    with pytest.raises(InputError, match="dataset="):
        SampleLab(teacher=net)
    wrong: Classifier = build("cnn-tiny", num_classes=3, shape=(1, 8, 8))
    with pytest.raises(InputError, match="of 3 classes"):
        SampleLab(teacher=wrong, dataset=data)
    with pytest.raises(InputError, match="not finished"):
        SampleLab(Run.create(tmp_path / "new", run.recipe))
    with pytest.raises(InputError, match="stepsize"):
        SampleLab(run, stepsize=1)


# in a browser

CELL = "from amkd_viz.panels import SampleLab\nlab = SampleLab('digits')\nlab"
WALK = "document.querySelector('.amkd-walk')"
PICTURE = "document.querySelector('.amkd-picture-now canvas').toDataURL()"


def begin(notebook: Any) -> None:
    notebook.run()
    notebook.settled("From", seconds=180)
    notebook.page.wait_for_selector(f".amkd-maps[data-side='{FINE}']", timeout=90_000)


def settle(notebook: Any, code: str = "") -> Any:
    """Run code in the kernel, wait until the panel has followed and the page has drawn it."""
    told = notebook.ask(
        f"{code}\nimport json\nlab.wait(); print(json.dumps([lab.walk.frame['serial'], lab.walk.step]))"
    )
    notebook.page.wait_for_function(
        f"([serial, step]) => {WALK}.dataset.serial == serial && {WALK}.dataset.step == step", arg=told, timeout=30_000
    )
    return told


@pytest.mark.slow
@pytest.mark.browser
def test_it_shows_thumbnails_the_way_and_the_plane(notebook: Any) -> None:
    page = notebook.page
    assert page.locator(".amkd-thumbs-strip button").count() == PAGE
    assert page.locator(".amkd-map").count() == 3
    assert page.locator(".amkd-walk-plot polyline").count() == 2
    page.wait_for_selector(".amkd-point-row .amkd-answers > div")
    for part in page.locator(".amkd-panel button, .amkd-panel input, .amkd-panel select").all():
        name = part.evaluate("e => e.ariaLabel || e.title || e.textContent || e.closest('label')?.textContent")
        assert name


@pytest.mark.slow
@pytest.mark.browser
def test_scrubbing_changes_the_picture_without_the_kernel(notebook: Any) -> None:
    page = notebook.page
    settle(notebook, "lab.set(step_size=0.1, attack_steps=20)")
    steps = int(page.evaluate(f"{WALK}.dataset.steps"))
    assert steps >= 2
    page.evaluate(
        """() => {
            window.sent = [];
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            kernel.anyMessage.connect((_, m) => m.direction === 'recv' && window.sent.push(m.msg));
        }"""
    )
    slider = page.locator(".amkd-walk input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function(f"{WALK}.dataset.step === '0'")
    seen = {page.evaluate(PICTURE)}
    for step in range(1, steps + 1):
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"{WALK}.dataset.step === '{step}'")
        seen.add(page.evaluate(PICTURE))
    assert len(seen) > steps / 2  # the last steps change less than a grey level
    notebook.until(lambda: f"step {steps}" in slider.get_attribute("aria-valuetext"))
    updates = page.evaluate(
        "window.sent.map(m => m.content.data || {}).filter(d => d.method === 'update').map(d => Object.keys(d.state))"
    )
    assert updates == []  # the kernel was told, but sent nothing
    notebook.until(lambda: notebook.ask("print(lab.walk.step)") == steps)


@pytest.mark.slow
@pytest.mark.browser
def test_play_goes_to_the_boundary_and_a_slider_burst_ends_on_the_last_value(notebook: Any) -> None:
    page = notebook.page
    settle(notebook, "lab.set(step_size=0.15, attack_steps=20)\nlab.wait()\nlab.scrub(0)")
    page.locator(".amkd-walk-bar button").first.click()
    page.wait_for_function(f"{WALK}.dataset.step === {WALK}.dataset.steps", timeout=30_000)
    page.wait_for_function("document.querySelector('.amkd-walk-bar button').textContent.includes('play')")
    page.locator(".amkd-walk-bar button").nth(1).click()
    page.wait_for_function(f"Number({WALK}.dataset.step) === Number({WALK}.dataset.steps) + 1")
    settle(notebook, "lab.set(step_size=0.1)\nlab.wait()\nbefore = lab.walk.frame['serial']")
    page.locator("[aria-label='step size'].noUi-handle").focus()
    for _ in range(50):
        page.keyboard.press("ArrowRight")
    notebook.until(lambda: 0.95 < notebook.ask("print(lab.wait()['step_size'])") < 1.05)
    settle(notebook)
    assert notebook.ask("print(lab.walk.frame['serial'] - before)") < 50
    assert notebook.ask("print(lab._shown.values['step_size'] == lab['step_size'])") == "True"
    settle(notebook, "lab.set(step_size=0.15)")


@pytest.mark.slow
@pytest.mark.browser
def test_a_thumbnail_is_chosen_by_keyboard_and_another_as_negative(notebook: Any) -> None:
    page = notebook.page
    settle(notebook, "lab.set(shown='all', negative='nearest'); lab.wait(); lab.pick(lab._data.test.index[0])")
    page.wait_for_selector(".amkd-thumbs[data-page='0']")  # the strip turned to it
    before = page.evaluate(f"{WALK}.dataset.serial")
    page.locator(".amkd-thumbs-strip button[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"{WALK}.dataset.serial !== '{before}'", timeout=30_000)
    notebook.until(lambda: notebook.ask("print(lab.thumbs.chosen == lab.thumbs.frame['ids'][1])") == "True")
    notebook.until(lambda: page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true")
    assert "test" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.locator(".amkd-thumbs-strip button").nth(6).click(modifiers=["Shift"])
    chosen = "lab.wait(); print(lab['negative'], lab.thumbs.second == lab.thumbs.frame['ids'][6])"
    notebook.until(lambda: notebook.ask(chosen) == "chosen True")
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")  # over the edge: the next page
    page.wait_for_selector(".amkd-thumbs[data-page='1']")
    page.keyboard.press("PageUp")
    page.wait_for_selector(".amkd-thumbs[data-page='0']")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # no key reached the notebook


@pytest.mark.slow
@pytest.mark.browser
def test_dragging_on_the_plane_shows_the_image_there(notebook: Any) -> None:
    page = notebook.page
    settle(notebook)
    box = page.locator(".amkd-map canvas").first.bounding_box()
    place = "document.querySelector('.amkd-point-row').dataset.at"
    before = page.evaluate(place)
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    for share in (0.5, 0.6, 0.7):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
    page.mouse.up()
    page.wait_for_function(f"{place} !== '{before}'")
    x0, x1, *_ = notebook.ask("import json; print(json.dumps(lab.canvas.frame['area']))")
    point: list[float] = []

    def followed() -> bool:  # the page sends its newest place when the kernel has answered the one before
        point[:] = notebook.ask("import json; lab.wait(); print(json.dumps(lab.canvas.point))")
        shown = [float(v) for v in page.evaluate(place).split()]
        return (point[0] - x0) / (x1 - x0) == pytest.approx(0.7, abs=0.06) and shown == pytest.approx(point, abs=2e-3)

    notebook.until(followed)


@pytest.mark.slow
@pytest.mark.browser
def test_what_will_happen_is_asked_in_the_page(notebook: Any) -> None:
    page = notebook.page
    settle(notebook, "lab.set(predict=True)")
    assert page.evaluate(f"{WALK}.dataset.steps") == "0"
    assert page.locator(".amkd-walk input[type=range]").is_disabled()
    notebook.until(page.get_by_text("Answer first: then the plane opens.").is_visible)
    page.get_by_role("button", name="in the target class").click()
    page.wait_for_function("document.querySelector('.amkd-asked').innerText.includes('1 so far')")
    page.wait_for_selector(".amkd-map canvas")
    settle(notebook, "lab.set(predict=False)")
    notebook.until(lambda: not page.locator(".amkd-asked").is_visible())


@pytest.mark.slow
@pytest.mark.browser
def test_both_themes_and_a_window_of_1000_pixels(notebook: Any) -> None:
    page = notebook.page
    styles = []
    for theme in ("dark", "light"):
        notebook.theme(theme)
        style = page.evaluate(
            """() => [['.amkd-panel', 'backgroundColor'], ['.amkd-net-0', 'stroke'], ['.amkd-side', 'fill']]
                .map(([what, name]) => getComputedStyle(document.querySelector(what))[name])"""
        )
        assert len(set(style)) == 3
        styles.append(style)
    assert all(a != b for a, b in zip(*styles, strict=True))
    page.set_viewport_size({"width": 1000, "height": 1300})
    beyond = """() => {
        const panel = document.querySelector('.amkd-pictures'), right = panel.getBoundingClientRect().right;
        return panel.clientWidth < 900 && [...panel.querySelectorAll('canvas, svg, button, input')]
            .every(e => e.offsetParent === null || e.getBoundingClientRect().right <= right + 1);
    }"""
    page.wait_for_function(beyond)
    page.set_viewport_size({"width": 1500, "height": 1300})
