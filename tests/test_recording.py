"""A run that plays back as a page, without a kernel or a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amkd_viz.core.errors import InputError
from amkd_viz.panels.session import Session
from amkd_viz.runs import Race, Run, distill
from amkd_viz.training import Recipe
from amkd_viz.views import recording
from tests.lab import browser, chromium

RECIPE = Recipe(
    dataset="moons:n=60,classes=3", teacher="mlp-tiny", student="mlp-tiny", method="kd", epochs=4, batch_size=20
).replace(teacher_epochs=2, magsim_samples=0, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return distill(RECIPE, tmp_path_factory.mktemp("recording") / "run")


def test_a_run_is_its_snapshots_from_the_first_on(run: Run) -> None:
    view = recording(run, resolution=8)
    assert view.arrays["epoch"].tolist() == run.snapshots() == [0, 1, 2, 3, 4]
    assert view.figure.layout.sliders[0].active == 0
    assert [button.label for button in view.figure.layout.updatemenus[0].buttons] == ["Play", "Pause"]
    assert view.title == "moons: the student of kd, seed 0"
    assert len(view.notes["agreement"]) == 5


def test_images_lie_in_a_plane(tmp_path: Path) -> None:
    nets = {"dataset": "digits", "teacher": "cnn-tiny", "student": "cnn-tiny", "num_train": 50, "step_size": "auto"}
    view = recording(distill(RECIPE.replace(**nets, epochs=1), tmp_path / "run"), resolution=8)
    assert view.arrays["winner"].shape == (2, 8, 8)
    assert view.arrays["anchors"].shape == (3, 2)


def test_a_run_without_snapshots_is_refused(tmp_path: Path) -> None:
    run = distill(RECIPE.replace(epochs=1), tmp_path / "run", snapshots=False)
    with pytest.raises(InputError, match="has no snapshots, so there is nothing to play back"):
        recording(run)


def test_the_command(run: Run, call: Any, tmp_path: Path) -> None:
    session = Session("DistillLab", run.path, run.recipe.hash, {}).save(tmp_path / "session.json")
    for number, given in enumerate((run.path, session)):
        out = tmp_path / f"{number}.html"
        assert call("record", given, "--out", out) == (0, f"The recording is {out}.\n", "")
        assert call("record", given, "--out", out)[0] == 2  # never overwritten
    status, _, err = call("record", run.path, "--out", tmp_path / "x.png")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "end its name in .html" in err
    status, _, err = call("record", tmp_path / "nowhere", "--out", tmp_path / "x.html")
    assert (status, len(err.splitlines())) == (2, 1)
    race = Race.create(RECIPE, ["ce", "kd"], tmp_path / "race")
    status, _, err = call("record", race.path, "--out", tmp_path / "x.html")
    assert (status, len(err.splitlines())) == (2, 1)
    assert all(str(own.path) in err for own in race.runs.values())


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_the_page_plays_without_a_network(run: Run, tmp_path: Path) -> None:
    file = recording(run, resolution=20).save(tmp_path / "run.html")
    with browser(viewport={"width": 390, "height": 800}) as context:
        context.set_offline(True)
        context.unroute_all()  # a file
        page = context.new_page()
        page.goto(file.as_uri())
        shown = "(word) => document.querySelector('.plot')?.textContent.includes(word)"
        page.wait_for_function(shown, arg="epoch 0")
        page.click("text=Play")
        page.wait_for_function(shown, arg="epoch 4")
        box = page.locator(".slider-rail-touch-rect").bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_function(shown, arg="epoch 2")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
