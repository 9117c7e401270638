"""Where a path crosses: against a scan of thousands of points."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from amkd_viz import build, load
from amkd_viz.boundary import bss, sample_targets
from amkd_viz.views import boundary_map
from amkd_viz.views.crossings import crossings, crossings_of

SCAN = 4000  # points of a segment


def scanned(net: torch.nn.Module, path: torch.Tensor) -> list[tuple[float, int, int]]:
    """Return place, class before and class after of each change along a path, by a fine scan."""
    share = torch.arange(SCAN) / SCAN
    shape = (-1, *[1] * (path.ndim - 1))
    pieces = [a + share.view(shape) * (b - a) for a, b in pairwise(path)]
    with torch.no_grad():
        winner = net(torch.cat([*pieces, path[-1:]])).argmax(1)
    found = (winner[1:] != winner[:-1]).nonzero()[:, 0].tolist()
    return [((i + 1) / SCAN, int(winner[i]), int(winner[i + 1])) for i in found]


@pytest.fixture(scope="module")
def spirals():
    data = load("spirals")
    torch.manual_seed(0)
    net = build("mlp", data)
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(data.train.x), data.train.y).backward()
        optimiser.step()
    return data, net.eval()


@pytest.mark.parametrize(("rule", "size"), [("newton", 1.05), ("gap", 0.03)])
def test_every_crossing_of_an_attack_is_found(spirals, rule, size):
    data, net = spirals
    x = data.test.x[:40]
    samples = bss(net, x, sample_targets(net(x)), step_rule=rule, step_size=size, steps=20, keep_path=True)
    several = 0
    for i in range(len(samples)):
        path = samples.path[: int(samples.steps[i]) + 1, i]
        ours, theirs = crossings_of(net, samples, i), scanned(net, path)
        assert [(c.before, c.after) for c in ours] == [(a, b) for _, a, b in theirs]
        assert [c.at for c in ours] == pytest.approx([at for at, _, _ in theirs], abs=1.1 / SCAN)
        assert all(int(net(c.x[None]).argmax()) == c.after for c in ours)
        several += len(ours) > 1
    assert several > 0 or rule == "gap"  # leaps pass through whole arms


def test_long_random_paths_have_all_their_crossings(spirals):
    _, net = spirals
    torch.manual_seed(1)
    missed = count = 0
    for _ in range(20):
        path = torch.randn(4, 2)
        ours, theirs = crossings(net, path), scanned(net, path)
        count += len(theirs)
        missed += len(ours) != len(theirs)
    assert count > 40
    assert missed <= 1  # where a path touches a boundary


def test_images_too():
    data = load("digits")
    net = build("cnn-tiny", data).eval()
    x = data.test.floats(slice(0, 8))
    samples = bss(net, x, sample_targets(net(x)), step_size=0.3, steps=10, keep_path=True)
    for i in range(len(samples)):
        path = samples.path[: int(samples.steps[i]) + 1, i]
        ours, theirs = crossings_of(net, samples, i), scanned(net, path)
        assert [(c.before, c.after) for c in ours] == [(a, b) for _, a, b in theirs]
        assert [c.at for c in ours] == pytest.approx([at for at, _, _ in theirs], abs=1 / 2000)


def test_a_map_marks_the_crossings_and_numbers_the_steps(spirals):
    data, net = spirals
    x = data.test.x[:30]
    samples = bss(net, x, sample_targets(net(x)), step_rule="newton", step_size=1.05, steps=20, keep_path=True)
    which = max(range(len(x)), key=lambda i: len(crossings_of(net, samples, i)))
    way = crossings_of(net, samples, which)
    assert len(way) > 1
    view = boundary_map({"teacher": net}, data, samples={"teacher": samples[which : which + 1]}, resolution=20)
    assert view.arrays["teacher.crossings"].tolist() == [pytest.approx([0, *c.x.tolist()]) for c in way]
    (path,) = [t for t in view.figure.data if t.type == "scatter" and t.mode == "lines+markers+text"]
    assert list(path.text)[1:] == [str(i + 1) for i in range(int(samples.steps[which]))]
    drawn = [t for t in view.figure.data if t.type == "scatter" and not t.showlegend]
    (crosses,) = [t for t in drawn if t.marker.symbol == "x-thin"]
    assert len(crosses.x) == len(way)


def test_a_path_of_one_place_has_none(spirals):
    data, net = spirals
    assert crossings(net, data.test.x[:1]) == []
    assert crossings(net, data.test.x[:1].expand(5, -1)) == []
