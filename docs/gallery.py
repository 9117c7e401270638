"""Every view on one page, with data that needs no download: ``python -m docs.gallery OUT.html``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from amkd_viz.boundary import BoundarySamples, bss, refine, sample_targets, select_bases
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset, load
from amkd_viz.models import Classifier, build
from amkd_viz.views import View, boundary_map, boundary_path, distances, embedding, epochs, gallery, plane_map, triplets
from amkd_viz.views.labels import plural, safe
from amkd_viz.views.mark import refuse_others, write_own
from amkd_viz.views.page import document
from amkd_viz.views.slices import NAMES
from amkd_viz.views.writers import figure_block
from docs.where import results
from docs.where import view as study_view

__all__ = ["gallery_page", "views"]


def views() -> Iterator[View]:
    """One of each view of single nets, on digits and spirals; nets are trained on the way, in seconds."""
    spirals = load("spirals")
    teacher, student = _net("mlp", spirals, 30)[30], _net("mlp-small", spirals, 20)
    last = student[20]
    points = spirals.test.floats(slice(25))
    target = sample_targets(teacher(points), generator("cpu", "gallery"))
    samples = bss(teacher, points, target, step_rule="newton", step_size=1.05, steps=20, keep_path=True)
    yield boundary_map({"teacher": teacher, "student": last}, spirals, samples=refine(teacher, samples))
    yield epochs(student, spirals, teacher=teacher)

    digits = load("digits")
    teacher, last = _net("cnn", digits, 6)[6], _net("cnn-small", digits, 6)[6]
    nets = {"teacher": teacher, "student": last}
    x, y = digits.test.floats(), digits.test.y
    index = select_bases(teacher(x), last(x), y, 40)
    target = sample_targets(teacher(x[index]), generator("cpu", "gallery"))
    samples = bss(teacher, x[index], target, step_rule="newton", step_size=1.05, steps=10, keep_path=True)
    yield _showcase(nets, samples, digits, index)
    longest = int((samples.steps * samples.crossed).argmax())
    yield boundary_path(nets, samples, longest, digits.classes)
    others = x[(y != samples.base[longest]) & (y != samples.target[longest])]
    images = torch.stack([x[index[longest]], samples.x[longest], others[0]])
    yield _titled(plane_map(nets, images, digits.classes, names=NAMES), "Plane map through a boundary sample")
    images = torch.stack([x[index[0]], x[index[1]], others[1]])
    yield _titled(plane_map(nets, images, digits.classes), "Plane map through any three images")
    for how, word in (("pca", "PCA"), ("umap", "UMAP")):
        view = embedding(nets, digits, samples=samples, how=how)
        yield _titled(view, f"{view.title}, {word}")
    yield triplets(teacher, last, digits, samples, longest)
    yield distances(nets, digits, samples)
    yield study_view(results("map"))


def gallery_page(path: str | Path) -> Path:
    """Write the page, over an earlier one but no other file; returns its path."""
    refuse_others(Path(path), "gallery")
    body = "".join(f"<h2>{safe(view.title)}</h2>{figure_block(view)}" for view in views())
    return write_own(Path(path), document("Every view of amkd_viz", body), "gallery")


def _titled(view: View, title: str) -> View:
    return replace(view, title=title)


def _showcase(nets: Mapping[str, Classifier], samples: BoundarySamples, digits: Dataset, index: Tensor) -> View:
    """The first four samples that crossed, and the first one that did not; the caption says that it was chosen."""
    there, missed = (which.nonzero()[:, 0] for which in (samples.crossed, ~samples.crossed))
    order = torch.cat([there[:4], missed[:1], there[4:], missed[1:]])
    names = [f"test {int(i)}" for i in digits.test.index[index[order]]]
    view = gallery(nets, samples[order], digits.classes, names=names, most=5)
    if not len(missed):
        return view
    miss = f"The last row was chosen to show a miss: {plural(len(missed), 'sample')} did not cross within the steps."
    return replace(view, caption=f"{view.caption} {miss}")


def _net(name: str, dataset: Dataset, count: int) -> dict[int, Classifier]:
    """Epoch -> net, trained by cross-entropy; only every fifth epoch and the last are kept."""
    net, kept = build(name, dataset, seed=1), {}
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    x, y, chance = dataset.train.floats(), dataset.train.y, generator("cpu", "gallery", name)
    for epoch in range(1, count + 1):
        net.train()
        for batch in torch.randperm(len(y), generator=chance).split(64):
            optimiser.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimiser.step()
        if epoch in (1, 2, 3, count) or epoch % 4 == 0:
            copy = build(name, dataset)
            copy.load_state_dict(net.state_dict())
            kept[epoch] = copy.eval().requires_grad_(False)
    return kept


if __name__ == "__main__":
    print(gallery_page(sys.argv[1] if len(sys.argv) > 1 else "gallery.html"))
