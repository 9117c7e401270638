"""The embeddings of teacher and student in one layout, with gallery, table and the true distances."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as widgets
import numpy as np
from PIL import Image

from amkd_viz.core.errors import InputError
from amkd_viz.core.parse import SHARE
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.objectives.metric import EMBEDDINGS
from amkd_viz.panels.controls import choice, slider, toggle
from amkd_viz.panels.joint_picture import PARTS, Picture, SampleSet, code_for, gather, lay_out, quality_table
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.sample_list import DistanceBars, SampleList
from amkd_viz.panels.scatter import ScatterCanvas, identities
from amkd_viz.panels.scrubber import Scrubber
from amkd_viz.panels.session import Session, opened
from amkd_viz.runs import Run, example
from amkd_viz.runs.examples import EXAMPLES
from amkd_viz.training import Event
from amkd_viz.views import View
from amkd_viz.views.anchors import MARGIN
from amkd_viz.views.joint import Outputs, Quality, outputs
from amkd_viz.views.labels import percent

__all__ = ["EmbeddingLab"]

MOST = 5000  # samples
NEGATIVES = 12  # whose distances are shown


class EmbeddingLab(Panel):
    """Show samples in the teacher's and the student's layout. A lasso fills gallery and table; a picked sample shows
    its anchor, positive and negatives, on the map and as true distances.

    The panel has two states: ``values`` is what the controls say; title, code, session and export describe the picture
    on show.

    Args:
        run: a run with snapshots, a session on one, the path of either, or the name of an example: "digits",
            "spirals".
        picked: identity of the sample whose triplets are shown: a published index, or -1 - i for the boundary sample
            of base i.
        controls: first values of the controls, by name.

    Raises:
        InputError: the run has no snapshot yet; a control is unknown or does not accept its value.
    """

    title = "EmbeddingLab"
    matters = "how", "kind", "margin"
    keys = (
        "on the map, arrows go from sample to sample, Enter selects one, Shift + Enter adds it, Esc clears, + and "
        "\N{MINUS SIGN} zoom; on the slider above it, arrows go from the teacher to the student."
    )
    kept: ClassVar = {"samples": [range(2**31)], "morph?": SHARE, "only?": [range(2**31)]}
    first_steps: ClassVar = {
        "controls": "Choose a layout, or the classes to look at. PCA and UMAP distort in different ways.",
        "pictures": (
            "Every mark is a sample. Click one to see its triplets and true distances; drag around some to list them."
        ),
        "head": Panel.first_steps["head"],
    }
    about = (
        "Each mark is one sample: a circle at its place in the <i>teacher</i>'s layout, a diamond in the "
        "<i>student</i>'s; the slider above the map moves it from one to the other. Rings are <i>boundary samples</i>, "
        "images pushed just across the teacher's boundary. Drag around samples to list them; click one to see the "
        "triplets of AMKD's loss: the anchor $a$ is the teacher's embedding of it, the positive $p$ the student's, the "
        "negatives $n$ the student's embeddings of samples of other classes. A negative contributes while it is "
        "active: $[d(a,p) - d(a,n) + m]_+ > 0$, $d$ the squared distance of unit embeddings. The map projects many "
        "dimensions onto two, so read the numbers beneath it: a cross marks a triplet whose order the map reverses."
    )

    _data: Dataset  # once there are nets
    _last: int  # epoch of the last student

    def __init__(
        self, run: Run | Session | str | Path = "digits", *, picked: int | None = None, **controls: Any
    ) -> None:
        shown = opened(run, self, Run)
        session = shown if isinstance(shown, Session) else None
        if isinstance(shown, str) and shown not in EXAMPLES:
            raise InputError(
                f"EmbeddingLab shows a run: give one, its folder, or an example ({', '.join(EXAMPLES)}); got "
                f"{shown!r}. DistillLab trains on a data set."
            )
        name = shown if isinstance(shown, str) else None
        self.run: Run = session.open_run(self) if session else _example(name) if name else shown
        epochs = self.run.snapshots()
        if not epochs:
            raise InputError(f"The run {self.run.path} has no snapshot yet; train it for an epoch first.")
        super().__init__()
        self._opened = f"example({name!r})" if name else f"Run.open({str(self.run.path)!r})"
        self._nets: dict[str, Classifier] = {}
        self._student: tuple[SampleSet, int, Outputs] | None = None
        self._sample_set: SampleSet | None = None
        self._picture: Picture | None = None
        self._quality: tuple[Quality, Quality] | None = None
        self.map = ScatterCanvas(empty="Reading the run ...")
        self.list = SampleList(map=self.map)
        self.bars = DistanceBars(map=self.map, empty="Click a sample to see its triplets.")
        self.numbers = widgets.HTML()
        self._build(epochs)
        self.opens_with(**controls)
        self.watch(self.map, "picked", self._picked)
        self.say("Reading the run ...", "busy")
        self.compute.ask("read", lambda: self._read(session, picked))

    def _build(self, epochs: list[int]) -> None:
        newest = self.button("Newest", "read the run's folder again and show its newest epoch", self.newest)
        attacked = self.button("Attack in SampleLab", "attack the picked sample, beneath", self.open_sample)
        self._scrubber = Scrubber(self, epochs, newest, description="student's epoch")
        under = widgets.VBox([self.map, self._scrubber.row, self.numbers])
        side = widgets.VBox([self.bars, self.list])
        both = widgets.Box([under, side])
        both.add_class("amkd-embedding")
        self.assemble(
            {
                "Samples": {
                    "part": choice("set", "test", list(PARTS), "the part of the data to lay out"),
                    "most": slider("how many", 400, 50, MOST, 50, "maximum number of samples of the set"),
                    "rings": slider("boundary", 24, 0, 64, 1, "number of boundary samples"),
                },
                "Layout": {
                    "how": choice(
                        "layout", "umap", ["umap", "pca"], "PCA: linear, immediate; UMAP: keeps neighbourhoods"
                    ),
                    "kind": choice("embedding", "logit", list(EMBEDDINGS), "the space in which distances are measured"),
                },
                "Triplets": {
                    "margin": slider(
                        "margin", MARGIN, 0.0, 4.0, 0.05, "m: how far d(a, n) must exceed d(a, p), both 4 at most"
                    ),
                    "misleading": toggle(
                        "mark misleading triplets", False, "triplets whose order the map reverses most clearly"
                    ),
                },
            },
            [both],
            [attacked],
            parts={"Map": under, "Triplets": self.bars, "Samples": self.list},
            stage=[self.map],
        )
        self._scrubber.register()

    def changed(self, name: str, value: Any) -> None:
        if name in ("part", "most", "rings"):
            self.say("Laying out other samples ...", "busy")
            self.compute.ask("samples", self._gather)
        elif name == "margin":
            self.compute.ask("anchor", self._anchor)
        elif name == "misleading":
            self.compute.ask("mark", self._mark)
        else:
            self.compute.ask("place", self._place)

    # what a person does

    @property
    def selection(self) -> list[int]:
        """Return the selected samples: published indices, and -1 - i for the boundary sample of base i."""
        return list(self.map.selection)

    def select(self, ids: list[int], picked: int | None = None) -> None:
        """Select samples by identity, as the lasso does; ``picked`` is the one whose triplets are drawn."""
        self.wait()
        self.map.select(ids, picked)

    def pick(self, index: int) -> None:
        """Pick the sample with this published index.

        Raises:
            InputError: it is not on the map.
        """
        if index not in np.frombuffer(self.map.ids, "<i4"):
            part = self.map.part
            raise InputError(
                f"{part} {index} is not among the samples on the map: raise 'how many', or choose its set."
            )
        self.map.select([index], index)

    def open_sample(self) -> Panel:
        """Open the sample that is picked in SampleLab, beneath this panel or above it.

        Raises:
            InputError: none is picked, or it is not a test image.
        """
        picked = self.map.picked
        if picked is None or self.map.part != "test":
            raise InputError("Pick a sample of the test set first: SampleLab attacks test images.")
        index = picked if picked >= 0 else -1 - picked  # of a boundary sample its base
        opened: Panel = self.visit(
            "SampleLab", lambda kind: kind(self.run, image=index), lambda panel: panel.choose(index)
        )
        return opened

    def newest(self) -> None:
        """Read the run's folder again and show its newest epoch: another process may be training it."""
        self.compute.ask("newest", self._look_again)

    def _look_again(self) -> None:
        epochs, known = self.run.snapshots(), list(self.controls["epoch"].options)
        if epochs == known and self["epoch"] == epochs[-1]:
            self.say(f"Epoch {epochs[-1]} is the newest of this run.")
            return
        self._nets["student"], self._last = self.run.student(epochs[-1]).cpu(), epochs[-1]

        def show() -> None:
            self._scrubber.offer(epochs)
            self.compute.ask("place", self._place)

        self.paint.ask("epochs", show)

    # samples

    def _read(self, session: Session | None, picked: int | None) -> None:
        self._data = self.run.dataset()
        self._last = self.run.snapshots()[-1]
        self._nets = {"teacher": self.run.teacher().cpu(), "student": self.run.student(self._last).cpu()}
        if session is not None:
            self.paint.ask("restore", lambda: self._restore(session))
            self.paint.wait()
        self._gather()
        if picked is not None:
            self.paint.ask("selected", lambda: self.map.select(self.map.selection or [picked], picked))
        if session is not None:
            self.paint.ask("selected", lambda: self.map.select(session.state["samples"]))

    def _restore(self, session: Session) -> None:
        kept = session.state
        for name, value in kept.items():
            if name in self.controls:
                self._check(name, value)
                self.put(name, value=value)
        self.map.morph, self.map.only = float(kept.get("morph", 0.0)), list(kept.get("only", []))

    def _gather(self) -> None:
        """Choose samples, attack some of them, and evaluate the teacher on all."""
        if not self._nets:
            return
        sample_set = gather(self.run, self._data, self._nets, self._last, self["part"], self["most"], self["rings"])
        fresh = sample_set.chosen.boundary.any() and (
            self._sample_set is None or self._sample_set.part != sample_set.part
        )
        self._sample_set, self._picture, self._quality = sample_set, None, None
        names = self._data.classes

        def show() -> None:
            self.map.samples(sample_set.chosen, names, sample_set.part)
            if fresh:  # start with the base on which the nets differ most
                self.map.picked = int(-1 - sample_set.bases[0])

        self.paint.ask("samples", show)
        self._place()

    # places

    def _place(self) -> None:
        """Lay out the student of the chosen epoch: PCA at once, UMAP when it is ready."""
        sample_set = self._sample_set
        if sample_set is None:
            return
        kind, epoch, how = self["kind"], self["epoch"], self["how"]
        if self._student is None or self._student[:2] != (sample_set, epoch):
            self._student = sample_set, epoch, outputs(self.run.student(epoch).cpu(), sample_set.chosen.x, "student")
        student = self._student[2]
        shown = self._picture
        if how == "pca":
            self._show(lay_out(sample_set, student, kind, epoch, "pca"))
            return
        # between the UMAPs of two epochs, no PCA is shown
        if shown is None or (shown.sample_set, shown.kind, shown.how) != (sample_set, kind, "umap"):
            shown = lay_out(sample_set, student, kind, epoch, "pca")
            self._show(shown, busy=True)
        first = "" if "umap" in sys.modules else " (it compiles itself first, for up to half a minute)"
        text = f"Computing UMAP of {len(sample_set.chosen):,} samples{first}; the map shows {shown.words()}."
        self.say(text, "busy", cancellable=True)
        over = self.cancel_point()

        def wanted() -> bool:
            now = self["kind"], self["epoch"], self["how"]
            return sample_set is self._sample_set and now == (kind, epoch, "umap") and not over()

        def lay() -> None:
            if wanted():
                made = lay_out(sample_set, student, kind, epoch, "umap")
                if wanted():
                    self._show(made)

        self.slow.ask("umap", lay)

    def _cancel(self, count: int) -> None:
        super()._cancel(count)

        def back() -> None:
            self.put("how", value="pca")
            self.compute.ask("place", self._place)

        if self["how"] == "umap":
            self.paint.ask("how", back)

    def fail(self, text: str) -> None:
        """Show the error in the status line, and in place of the map if there is none."""
        super().fail(text)
        if self._picture is None:
            self.paint.ask("empty", lambda: setattr(self.map, "empty", text.strip().splitlines()[-1]))

    def _show(self, picture: Picture, busy: bool = False) -> None:
        self._picture = picture
        teacher, student = (laid.points for laid in picture.laid)

        def show() -> None:
            if self._picture is picture:  # its samples are still on the map
                self.map.places(teacher, student, picture.facts)

        self.paint.ask("places", show)
        self._anchor()
        if busy:
            return
        measured = picture.quality()
        if self._picture is picture:
            self._quality = measured
            self._mark()
            self.say(_words(picture))

    def _picked(self, _: Any) -> None:
        self.compute.ask("anchor", self._anchor)
        if self.status.kind == "error" and self._picture is not None:
            self.say(_words(self._picture))

    def _mark(self) -> None:
        """Show the projection quality under the map, and mark the triplets that the map contradicts."""
        if self._quality is None or self._picture is None:
            return
        ids = identities(self._picture.sample_set.chosen)
        nets = enumerate(self._quality if self["misleading"] else ())
        worst = [[net, *(int(i) for i in ids[row])] for net, quality in nets for row in quality.misleading]
        text = quality_table(*self._quality)

        def show() -> None:
            self.map.misleading = worst
            self.numbers.value = text

        self.paint.ask("numbers", show)

    # one sample's triplets

    def _anchor(self) -> None:
        picture, picked = self._picture, self.map.picked
        if picture is None:
            return
        ids = identities(picture.sample_set.chosen)
        at = np.flatnonzero(ids == picked)
        if picked is None or not len(at):
            self._no_anchor("Click a sample, on the map or in the table, to see its triplets.")
            return
        margin = self["margin"]
        try:
            anchored = picture.triplets(int(at[0]), margin)
        except InputError as error:
            self._no_anchor(str(error))
            return
        near = anchored.negative[:NEGATIVES], anchored.misleads[:NEGATIVES]
        star = {"negatives": [[int(ids[j]), bool(wrong)] for j, wrong in zip(*near, strict=True)]}
        part = picture.sample_set.part
        word = f"boundary sample of {part} {-1 - picked}" if picked < 0 else f"{part} {picked}"
        title = (
            f"Triplets of {word}: {percent(float(anchored.active.mean()), 0)} of {len(anchored.negative):,} negatives "
            f"are active; the map misleads on {int(anchored.misleads.sum()):,}. The nearest negatives:"
        )

        def show() -> None:
            self.map.star = star
            self.bars.show(anchored, ids.tolist(), margin, title, NEGATIVES)

        self.paint.ask("anchor", show)

    def _no_anchor(self, why: str) -> None:
        def show() -> None:
            self.map.star = {}
            self.bars.clear(why)

        self.paint.ask("anchor", show)

    # the picture on show: figure, session, code

    @property
    def _settings(self) -> dict[str, Any]:
        """Return the values of the controls, those of the picture on show first."""
        return self.values | (self._picture.shown if self._picture is not None else {})

    def view(self) -> View | None:
        if self._picture is None:
            return None
        nets = {"teacher": self._nets["teacher"], "student": self.run.student(self._picture.epoch)}
        return self._picture.view(nets, self._data)

    def session(self) -> Session | None:
        samples = [i for i in self.map.selection if i >= 0]
        return Session.of(
            self, self.run, **self._settings, samples=samples, morph=self.map.morph, only=list(self.map.only)
        )

    def line(self) -> str:
        words = [f"picked={self.map.picked}"] if self.map.picked is not None else []
        words += [f"epoch={self['epoch']}"] if self["epoch"] != self.controls["epoch"].options[-1] else []
        what = self._opened.partition("(")[2].removesuffix(")")
        return f"EmbeddingLab({', '.join([what, *words, *filter(None, [self.differing()])])})"

    def code(self) -> str:
        return code_for(self._opened, self.run.settled, self._settings, self._picture, self.map.picked)

    def still(self) -> Image.Image | None:
        return None if self._picture is None else self._picture.still()

    def release(self) -> None:
        self._nets, self._student, self._sample_set, self._picture = {}, None, None, None
        vars(self).pop("_data", None)


def _words(picture: Picture) -> str:
    return f"The map shows {picture.words()}. Move the slider above it from teacher to student."


def _example(name: str) -> Run:
    """Return an example; a line beneath the cell says so where it has to be trained first."""
    said: list[str] = []

    def listen(_: Event) -> None:
        if not said:
            said.append(name)
            print(f"Training the example {name}, the first time only: up to half a minute ...", flush=True)

    return example(name, listen=listen)
