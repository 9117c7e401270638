"""What EmbeddingLab shows: samples of a run, their places in the layouts of both nets, and how far to trust them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from amkd_viz.boundary import BoundarySamples, sample_targets, select_bases
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.panels.attack_controls import attack_code, sampler_of
from amkd_viz.panels.scatter import identities
from amkd_viz.runs import Run
from amkd_viz.training import Recipe
from amkd_viz.views import View, embedding
from amkd_viz.views.anchors import Anchored
from amkd_viz.views.chosen import Chosen, choose, class_triplets
from amkd_viz.views.decisions import logits_at
from amkd_viz.views.joint import Outputs, Quality, facts, outputs, projection_quality, triplets_of
from amkd_viz.views.labels import number, percent, plural
from amkd_viz.views.picture import picture
from amkd_viz.views.projection import joint_layout
from amkd_viz.views.quality import Aligned
from amkd_viz.views.scene import Mark, Panel, Scene

__all__ = ["PARTS", "SampleSet", "Picture", "code_for", "quality_table", "gather", "lay_out"]

PARTS = {"test": "test", "validation": "val", "training": "train"}


@dataclasses.dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples of a run, and what does not depend on the student's epoch.

    Attributes:
        part: a key of ``PARTS``. most, rings: how many samples and boundary samples were asked for.
        bases: (M,) published index of the base of each boundary sample.
        last: epoch of the student that the bases were chosen with. there: number of samples of the part.
        triplets: (T, 3), those whose order is checked.
        first: embedding kind -> the teacher's UMAP (N, 2), once it is computed.
    """

    chosen: Chosen
    part: str
    most: int
    rings: int
    samples: BoundarySamples
    bases: Tensor
    last: int
    there: int
    teacher: Outputs
    triplets: NDArray[np.int64]
    first: dict[str, NDArray[Any]] = dataclasses.field(default_factory=dict)


def gather(
    run: Run, data: Dataset, nets: Mapping[str, Classifier], last: int, part: str, most: int, rings: int
) -> SampleSet:
    """Choose samples, attack the bases on which teacher and student (after epoch ``last``) differ most, and evaluate
    the teacher on all.

    Raises:
        InputError: this part of the data is empty.
    """
    split, recipe, teacher = getattr(data, PARTS[part]), run.settled, nets["teacher"]
    if not len(split):
        raise InputError(f"{data.name} has no {part} sample; choose another set.")
    clean = choose(split, most=most)
    before = logits_at(teacher, clean.x)
    bases = select_bases(before, logits_at(nets["student"], clean.x), torch.from_numpy(clean.label), rings)
    targets = sample_targets(before[bases], generator("cpu", "embedding lab"))
    sampler = sampler_of({**vars(recipe), "sampler": "bss"})
    samples = sampler(teacher, clean.x[bases], targets, generator("cpu", "attack"))
    published = torch.from_numpy(clean.index)[bases]
    chosen = choose(split, samples, published, most=most)
    seen, triplets = outputs(teacher, chosen.x, "teacher"), class_triplets(chosen.label)
    return SampleSet(chosen, part, most, rings, samples, published, last, len(split), seen, triplets)


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """One state of the map: embeddings, places and facts, the teacher's first; ``shown`` are its settings."""

    sample_set: SampleSet
    kind: str
    epoch: int
    how: str
    spaces: tuple[NDArray[Any], NDArray[Any]]
    laid: tuple[Aligned, Aligned]
    facts: NDArray[Any]

    def quality(self) -> tuple[Quality, Quality]:
        """Return the projection quality of both nets' layouts."""
        teacher, student = (
            projection_quality(high, laid, self.sample_set.triplets)
            for high, laid in zip(self.spaces, self.laid, strict=True)
        )
        return teacher, student

    def triplets(self, which: int, margin: float) -> Anchored:
        """Return the triplets of the sample at position ``which``; raise InputError if it has none."""
        teacher, student = (laid.points for laid in self.laid)
        return triplets_of(*self.spaces, teacher, student, self.sample_set.chosen, which, margin)

    def view(self, nets: Mapping[str, Classifier], data: Dataset) -> View:
        """Return the same as a figure."""
        data = dataclasses.replace(data, test=getattr(data, PARTS[self.sample_set.part]))
        return embedding(
            nets, data, samples=self.sample_set.samples, most=self.sample_set.most, kind=self.kind, how=self.how
        )

    def still(self) -> Image.Image:
        """Draw both layouts side by side, boundary samples ringed, for readers without a kernel."""
        chosen, layouts = self.sample_set.chosen, [laid.points for laid in self.laid]
        low, high = np.min([p.min(0) for p in layouts], 0), np.max([p.max(0) for p in layouts], 0)
        half = max(float((high - low).max()), 1e-9) * 0.54
        (x, y) = (low + high) / 2
        marks = [Mark("dots", points, chosen.label, panel=n, size=2.5) for n, points in enumerate(layouts)]
        marks += [Mark("ring", points[chosen.boundary], panel=n) for n, points in enumerate(layouts)]
        panels = [Panel("teacher"), Panel("student", f"epoch {self.epoch}")]
        return picture(Scene(panels, (x - half, x + half, y - half, y + half), marks), titles=True)

    @property
    def shown(self) -> dict[str, Any]:
        """Return the values of the controls that this picture was made with."""
        chosen = {name: getattr(self.sample_set, name) for name in ("part", "most", "rings")}
        return chosen | {"kind": self.kind, "epoch": self.epoch, "how": self.how}

    def words(self) -> str:
        """Say what the map shows."""
        chosen, rings = self.sample_set.chosen, int(self.sample_set.chosen.boundary.sum())
        shown, there, part = len(chosen) - rings, self.sample_set.there, self.sample_set.part
        many = (
            f"{shown:,} {part} samples (all there are)" if shown == there else f"{shown:,} of {there:,} {part} samples"
        )
        stride = -(-there // self.sample_set.most)
        every = f" (one in {stride}, at most {self.sample_set.most:,})" if shown < there else ""
        few = " (no more that both nets get right)" if rings < self.sample_set.rings else ""
        return (
            f"{self.how.upper()} of the {self.kind} embeddings of {many}{every} and {plural(rings, 'boundary sample')}"
            f"{few}, student after epoch {self.epoch}"
        )


def lay_out(sample_set: SampleSet, student: Outputs, kind: str, epoch: int, how: str) -> Picture:
    """Lay out both nets' embeddings together; the teacher's UMAP is fitted once."""
    spaces = sample_set.teacher.space(kind), student.space(kind)
    laid = joint_layout(spaces, how, first=sample_set.first.get(kind) if how == "umap" else None)
    if how == "umap":
        sample_set.first[kind] = laid[0].points
    table = facts(sample_set.teacher, student, sample_set.chosen, kind)
    return Picture(sample_set, kind, epoch, how, spaces, (laid[0], laid[1]), table)


def quality_table(teacher: Quality, student: Quality) -> str:
    """Return the projection quality as an HTML table."""
    rows = "".join(
        f"<tr><td>{name}</td><td>{number(own.trustworthiness)}</td><td>{residual}</td>"
        f"<td>{percent(own.kept, 0)}</td></tr>"
        for name, own, residual in (
            ("teacher", teacher, "reference"),
            ("student", student, number(student.residual)),
        )
    )
    return (
        '<table class="amkd-table"><tr><th>projection quality</th>'
        '<th title="are the 15 nearest neighbours on the map near in truth? 1 is best">'
        "trust&shy;worthiness, k = 15</th>"
        '<th title="how much the shapes of both layouts differ after alignment; 0: the same shape">'
        "Pro&shy;crustes disparity</th>"
        '<th title="triplets whose order of distances is the same on the map as in truth">triplets kept</th></tr>'
        f"{rows}</table>"
    )


def code_for(opened: str, recipe: Recipe, v: Mapping[str, Any], picture: Picture | None, picked: int | None) -> str:
    """Return Python that draws the picture of the run that the expression ``opened`` gives, with the settings ``v``.

    Args:
        picked: identity of the sample whose triplets are on show.
    """
    part = PARTS[v["part"]]
    other = "" if part == "test" else f"data = dataclasses.replace(data, test=data.{part})\n"
    call = attack_code("teacher", "clean.x[bases]", "target", {**vars(recipe), "sampler": "bss"})
    last = v["epoch"] if picture is None else picture.sample_set.last
    at: Any = [] if picture is None else np.flatnonzero(identities(picture.sample_set.chosen) == picked)
    anchor = ""
    if picture is not None and len(at):
        word = f"the boundary sample of {part} {-1 - picked}" if picked and picked < 0 else f"{part} {picked}"
        anchor = (
            f"\nchosen = choose(data.test, samples, torch.from_numpy(clean.index)[bases], most={v['most']})\n"
            f"which = {at[0]}  # {word}\n"
            'parts = [view.arrays[f"{name}.{part}"] for part in ("high", "low") for name in nets]\n'
            f"triplets_of(*parts, chosen, which, margin={v['margin']:g})\n"
        )
    return (
        ("import dataclasses\n\n" if other else "") + "import torch\nfrom amkd_viz import Run, example\n"
        "from amkd_viz.boundary import sample_targets, samplers, select_bases\n"
        "from amkd_viz.core.rng import generator\n"
        "from amkd_viz.views import embedding\n"
        "from amkd_viz.views.chosen import choose\n"
        "from amkd_viz.views.decisions import logits_at\n"
        "from amkd_viz.views.joint import triplets_of\n\n"
        f"run = {opened}\n"
        f"data, teacher, student = run.dataset(), run.teacher(), run.student({v['epoch']})\n{other}"
        f"clean = choose(data.test, most={v['most']})\n"
        "before, label = logits_at(teacher, clean.x), torch.from_numpy(clean.label)\n"
        f"after = logits_at(run.student({last}), clean.x)  # the last student: where it differs most is attacked\n"
        f"bases = select_bases(before, after, label, {v['rings']})\n"
        'target = sample_targets(before[bases], generator("cpu", "embedding lab"))\n'
        f"samples = {call}\n"
        'nets = {"teacher": teacher, "student": student}\n'
        f"view = embedding(nets, data, samples=samples, most={v['most']}, kind={v['kind']!r}, how={v['how']!r})\n"
        f"view\n{anchor}"
    )
