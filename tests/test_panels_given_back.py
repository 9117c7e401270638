"""What a closed panel gives back: trainings, runs, nets, widgets, threads; counted after ten panels of each kind."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("anywidget")

import ipywidgets as widgets
import plotly.graph_objects as go
from ipywidgets.widgets.widget import _instances
from torch import nn

from amkd_viz import Run
from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset
from amkd_viz.panels import BoundaryLab, DistillLab, EmbeddingLab, FleetView, MethodRace, SampleLab
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.view_widget import ViewWidget
from amkd_viz.runs import Job, Race, distill
from amkd_viz.training import Training
from tests.recipes import IMAGES, ONE_EPOCH, POINTS
from tests.waiting import until

OPENED = 10
HEAVY = (Training, Dataset, nn.Module)  # what a closed panel drops, even where somebody keeps the panel
KINDS = (*HEAVY, Panel, Run, Job, Race, widgets.Widget)
TINY = POINTS.replace(epochs=2, teacher_epochs=1, magsim_samples=0)
DIGITS = IMAGES.replace(method="ce", epochs=1, teacher_epochs=1, num_train=40, batch_size=20, magsim_samples=0)


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all, so that a teacher is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("panels")
        patch.chdir(path)
        yield path


def trained() -> Panel:
    panel = DistillLab(TINY)
    panel.start()
    until(lambda: panel.status.kind == "done")
    return panel.wait()


def race() -> Panel:
    panel = MethodRace("blobs", ["ce", "kd"]).set(epochs=2, num_train=40).wait()
    panel.start()
    until(lambda: panel.state == "done")
    return panel.wait()


def fleet() -> Panel:
    if not Path("one").exists():
        distill(ONE_EPOCH, "one")
    panel = FleetView(".").wait()
    panel.set(run="one").wait()
    return panel


def on_digits(kind: Callable[[Run], Panel]) -> Callable[[], Panel]:
    def make() -> Panel:
        run = Run.open("digits") if Path("digits").exists() else distill(DIGITS, "digits")
        return kind(run)

    return make


PANELS: dict[str, Callable[[], Panel]] = {
    "DistillLab": trained,
    "BoundaryLab": lambda: BoundaryLab("blobs").set(epochs=1, num_train=40).wait(),
    "SampleLab": on_digits(lambda run: SampleLab(run, attack_steps=3).wait()),
    "EmbeddingLab": on_digits(lambda run: EmbeddingLab(run, how="pca", most=50).wait()),
    "MethodRace": race,
    "FleetView": fleet,
}


def alive(*kinds: type) -> Counter[str]:
    """Count the objects of some kinds, by kind."""
    gc.collect()
    gc.collect()  # what the first one finalised
    types = [type(thing) for thing in gc.get_objects()]
    return Counter(kind.__name__ for own in types for kind in kinds if issubclass(own, kind))


def settled(before: set[threading.Thread]) -> None:
    """Wait for the end of the threads that were started since."""
    until(lambda: not [thread for thread in threading.enumerate() if thread not in before])


@pytest.mark.parametrize("name", PANELS)
@pytest.mark.slow
def test_ten_panels_that_were_closed_leave_nothing(name: str) -> None:
    PANELS[name]().close()  # what is made once: modules, palettes, the teacher
    threads = set(threading.enumerate())
    settled(threads)
    before, heavy, open_ = alive(*KINDS), alive(*HEAVY), len(_instances)
    kept: list[Any] = []  # as the notebook's Out[n] does
    for _ in range(OPENED):
        panel = PANELS[name]()
        kept.append(panel)
        panel.close()
        del panel
    settled(threads)
    assert len(kept) == OPENED
    assert alive(*HEAVY) == heavy, "a closed panel keeps what it showed"
    assert len(_instances) == open_, "a widget was not closed"
    kept.clear()
    assert alive(*KINDS) == before, "something holds the closed panels"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda run: EmbeddingLab(run, most=-1), "most must be between"),
        (lambda run: SampleLab(run, attack_steps=-1), "attack_steps must be between"),
        (lambda run: SampleLab(run, nonsense=1), "nonsense"),
    ],
)
def test_a_panel_that_is_refused_leaves_neither_thread_nor_widget(make: Callable[[Run], Panel], words: str) -> None:
    run = Run.open("digits") if Path("digits").exists() else distill(DIGITS, "digits")
    threads, before, open_ = set(threading.enumerate()), alive(Panel), len(_instances)
    with pytest.raises(InputError, match=words):
        make(run)
    settled(threads)
    assert (alive(Panel), len(_instances)) == (before, open_)


def test_no_watcher_of_a_file_holds_a_widget() -> None:
    kinds = [ViewWidget]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert len(kinds) > 5
    files = [kind.__dict__.get(key, "") for kind in kinds for key in ("_esm", "_css")]
    assert [file for file in files if hasattr(file, "changed")] == []


class Figures(Panel):
    title, about = "Figures", "A panel of one's own, with a figure of plotly."

    def __init__(self) -> None:
        super().__init__()
        self.assemble({}, [go.FigureWidget()])


def test_a_figure_widget_of_plotly_is_given_back_too() -> None:
    Figures().close()
    before = alive(Panel, go.FigureWidget)
    for _ in range(OPENED):
        Figures().close()
    assert alive(Panel, go.FigureWidget) == before


def test_a_note_about_a_file_does_not_hold_a_closed_panel() -> None:
    panel, threads = Figures(), set(threading.enumerate())
    panel.tell_file("Wrote something.")  # shown for some seconds: by a timer
    panel.close()
    until(lambda: not [t for t in threading.enumerate() if t not in threads and isinstance(t, threading.Timer)])
