"""Planes through three images, their valid pixel range, and maps on them, exact and coarse to fine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_nets import Asked
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.data import load
from amkd_viz.models import build, wrap
from amkd_viz.training.evaluation import inputs_at_once
from amkd_viz.views import adaptive, plane_map
from amkd_viz.views.adaptive import adaptive_levels
from amkd_viz.views.decisions import decide, decisions
from amkd_viz.views.labels import percent
from amkd_viz.views.plane_map import PLAIN
from amkd_viz.views.planes import Plane
from amkd_viz.views.slices import NAMES, cell_centres, plane_area, plane_regions, telling_triple

CLASSES = tuple("abc")


def three(seed: int, shape: tuple[int, ...] = (3, 8, 8)) -> Tensor:
    return torch.rand(3, *shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 10_000), st.sampled_from([(1, 8, 8), (3, 8, 8), (3, 64, 64)]))
def test_anchors_lie_on_the_plane_and_are_reproduced(seed: int, shape: tuple[int, ...]) -> None:
    images = three(seed, shape)
    plane = Plane.through(images)
    assert plane.distance(images).max() < 1e-4
    assert (plane.images(plane.anchors) - images).abs().max() < 1e-5
    assert np.allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)
    assert np.allclose(plane.coordinates(images), plane.anchors, atol=1e-6)
    apart = torch.cdist(images.flatten(1).double(), images.flatten(1).double()).numpy()
    assert np.allclose(np.linalg.norm(plane.anchors[:, None] - plane.anchors[None], axis=2), apart, atol=1e-5)


@given(st.integers(0, 10_000))
def test_every_cell_is_told_inside_or_outside_the_box(seed: int) -> None:
    plane = Plane.through(three(seed))
    area = plane_area(plane, pad=1.0)
    grid = cell_centres(area, 24)
    corners, faces = plane.box(area)
    values = plane.images(grid).flatten(1).double()
    outside = torch.maximum(-values.amin(1), values.amax(1) - 1).numpy()  # by how much the worst pixel is outside
    told = plane.inside(grid, faces)
    clear = np.abs(outside) > 1e-5
    assert (told == (outside <= 0))[clear].all()
    assert told.any()
    assert not told.all()
    middle = corners.mean(0)
    a, b = (corners - middle).T, (np.roll(corners, -1, 0) - middle).T
    turn = a[0] * b[1] - a[1] * b[0]
    assert (turn >= -1e-9).all()  # convex and counter-clockwise


def test_a_clamped_anchor_is_inside() -> None:
    images = three(0)
    images[1] = (images[1] > 0.5).float()  # every pixel on a face of the box
    plane = Plane.through(images)
    _, faces = plane.box(plane_area(plane))
    assert plane.inside(plane.anchors, faces).all()


@pytest.mark.parametrize("bend", [0.0, 1e-7])
def test_three_images_on_a_line_are_a_sentence(bend: float) -> None:
    a, b, c = three(1)
    with pytest.raises(InputError, match=r"lie on one line.*choose a third"):
        plane_map(build("cnn-tiny", num_classes=3, shape=(3, 8, 8)), [a, b, a + 2.5 * (b - a) + bend * c], CLASSES)


def test_anchors_that_are_the_same_or_not_finite_are_sentences() -> None:
    a, b, _ = three(1)
    with pytest.raises(InputError, match="the same"):
        Plane.through([a, a, b])
    with pytest.raises(InputError, match="NaN"):
        Plane.through([a, b, a * float("nan")])
    with pytest.raises(InputError, match="three images, got 2"):
        Plane.through([a, b])


def test_the_exact_map_equals_direct_evaluation() -> None:
    nets = {"teacher": build("cnn-small", num_classes=3, shape=(3, 8, 8), seed=1)}
    nets["student"] = build("cnn-tiny", num_classes=3, shape=(3, 8, 8), seed=2)
    view = plane_map(nets, three(3), CLASSES, resolution=30, exact=True)
    plane = Plane.through(three(3))
    at = np.stack(np.meshgrid(view.arrays["x"], view.arrays["y"]), -1).reshape(-1, 2)
    for name, net in nets.items():
        with torch.no_grad():
            direct = net.eval()(plane.images(at)).argmax(1).reshape(30, 30).numpy()
        assert (view.arrays[f"{name}.winner"] == direct).all()
        assert view.notes[f"{name}.evaluations"] == 900
    same = view.arrays["teacher.winner"] == view.arrays["student.winner"]
    assert view.notes["student.agreement"] == pytest.approx(same.mean())


def test_only_who_knows_them_calls_three_images_base_boundary_and_negative() -> None:
    net = build("cnn-tiny", num_classes=3, shape=(3, 8, 8))
    with torch.no_grad():
        seen = [CLASSES[k] for k in net.eval()(three(3)).argmax(1).tolist()]
    for names, how in ((("image 1", "image 2", "image 3"), {}), (NAMES, {"names": NAMES})):
        view = plane_map({"a": net, "b": net}, three(3), CLASSES, resolution=8, **how)
        words = [note.text for note in view.figure.layout.annotations]
        assert [word for word in words if word in (*PLAIN, *NAMES)] == [*names] * 3
        symbols = [trace.marker.symbol for trace in view.figure.data if trace.mode == "markers"]
        assert ("circle-open" in symbols) == bool(how)
        told = [f"{name} “{k}”" for name, k in zip(names, seen, strict=True)]
        assert f"a calls {told[0]}, {told[1]} and {told[2]}." in view.caption
    with pytest.raises(InputError, match="a name for each of its three images, got 2"):
        plane_map(net, three(3), CLASSES, names=("a", "b"))


def test_disagreement_says_what_its_colour_means() -> None:
    nets = {name: build("cnn-tiny", num_classes=3, shape=(3, 8, 8), seed=i) for i, name in enumerate("abc")}
    view = plane_map({"a": nets["a"], "b": nets["b"]}, three(3), CLASSES, resolution=8)
    title = next(note.text for note in view.figure.layout.annotations if "disagreement" in note.text)
    assert "color:rgb(154,123,70)" in title  # of the pixels, in both themes
    assert view.in_theme("dark").figure.layout.annotations[2].text == title
    assert "brown where a and b predict different classes" in view.caption
    inside, (a, b) = view.arrays["inside"], (view.arrays[f"{name}.winner"] for name in "ab")
    assert f"{percent(float((a != b)[inside].mean()))} in range" in title  # what cannot be an image does not count
    assert f"agrees on {percent(float((a == b)[inside].mean()))} in range" in view.figure.layout.annotations[1].text
    assert "brown" not in plane_map(nets, three(3), CLASSES, resolution=8).caption


def wavy(points: np.ndarray, resolution: int) -> Tensor:
    """Logits of three classes with bent borders."""
    x, y = torch.from_numpy(points / resolution * 6.0).unbind(1)
    return torch.stack([torch.sin(x) + y, 3 + torch.cos(1.3 * y) * 0.5, x - 0.5], 1)


@pytest.mark.parametrize("resolution", [2, 3, 17, 100, 200])
def test_coarse_to_fine_equals_exact(resolution: int) -> None:
    *_, found = adaptive_levels(lambda points: wavy(points, resolution), resolution)
    everywhere = np.stack(np.meshgrid(*[np.arange(resolution)] * 2, indexing="ij"), -1).reshape(-1, 2)
    exact = wavy(everywhere, resolution).argmax(1).reshape(resolution, resolution).numpy()
    assert (found.decisions.winner == exact).mean() >= 0.999
    if resolution == 200:
        assert found.evaluations <= resolution**2 / 10
        assert found.evaluated.sum() <= found.evaluations


def test_coarse_to_fine_never_asks_twice_and_keeps_its_budget() -> None:
    asked: list[tuple[int, int]] = []
    noise = torch.randn(300, 300, 4, generator=torch.Generator().manual_seed(0))  # a boundary at every point

    def ask(points: np.ndarray) -> Tensor:
        asked.extend(map(tuple, points.tolist()))
        return noise[points[:, 0], points[:, 1]]

    *_, found = adaptive_levels(ask, 200)
    assert len(asked) == len(set(asked)) == found.evaluations <= 4000
    assert (found.decisions.winner >= 0).all()


def many(points: np.ndarray) -> Tensor:
    """Logits of 200 classes at points of 200 x 200."""
    centres = torch.randn(2, 200, generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(points / 100 - 1).float() @ centres * 5 - centres.square().sum(0) * 2.5


def test_a_map_of_many_classes_holds_few_logits_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with Asked() as asked:
        whole = list(adaptive_levels(many, 200))
    assert whole[-1].evaluations * 200 * 4 <= asked.most < 8e6  # all of them are 32 MB
    assert len(np.unique(whole[-1].decisions.winner)) > 20
    monkeypatch.setattr(adaptive, "AT_ONCE", 3000)  # pieces of other sizes: the same map, bit by bit
    for level, again in zip(whole, adaptive_levels(many, 200), strict=True):
        for one, other in ((level.decisions, again.decisions), (level.again(2.5), again.again(2.5))):
            for values, others in zip(one, other, strict=True):
                assert values.tobytes() == others.tobytes()
        np.testing.assert_array_equal(level.evaluated, again.evaluated)


def test_a_temperature_changes_the_confidence_as_it_does_for_all_logits() -> None:
    *_, found = adaptive_levels(many, 200, budget=10**6)
    everywhere = np.stack(np.meshgrid(*[np.arange(200)] * 2, indexing="ij"), -1).reshape(-1, 2)
    exact = decisions(many(everywhere) / 4).shaped(200, 200)
    warm, at = found.again(4.0), found.evaluated
    np.testing.assert_allclose(warm.confidence[at], exact.confidence[at], rtol=1e-5)
    np.testing.assert_allclose(warm.margin[at], exact.margin[at], atol=1e-6)
    np.testing.assert_array_equal(warm.winner, found.decisions.winner)
    assert warm.confidence.mean() < found.decisions.confidence.mean()


def test_decisions_at_many_inputs_hold_the_logits_of_one_batch() -> None:
    net, x = nn.Linear(2, 200), torch.rand(5000, 2, generator=torch.Generator().manual_seed(0))
    with Asked() as asked:
        found = decide(net, x, 500)
    assert asked.most == 500 * 200 * 4
    for one, other in zip(found, decisions(net(x).detach()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_not_finite_is_undecided() -> None:
    def ask(points: np.ndarray) -> Tensor:
        logits = wavy(points, 200)
        logits[((points - 90) ** 2).sum(1) < 900] = torch.nan
        return logits

    everywhere = np.stack(np.meshgrid(*[np.arange(200)] * 2, indexing="ij"), -1)
    hole = ((everywhere - 90) ** 2).sum(-1) < 900
    *_, found = adaptive_levels(ask, 200, budget=20_000)
    assert ((found.decisions.winner == -1) == hole).mean() > 0.999
    assert found.decisions.confidence[found.decisions.winner == -1].max() == 0


def test_the_net_is_left_as_it_was() -> None:
    net = build("cnn-tiny", num_classes=3, shape=(3, 8, 8)).train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    plane = Plane.through(three(3))
    plane_regions(net, plane, plane_area(plane), 20)
    assert net.training
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())


def test_the_negative_is_another_image_also_where_the_teacher_is_wrong() -> None:
    data = load("digits")
    teacher = build("cnn-tiny", data, seed=0)  # untrained, and one short step: nothing crosses
    images, classes = telling_triple(teacher, data, steps=1, step_size=0.01)
    assert classes[0] != int(data.test.y[0])  # the first image is taken, and the teacher is wrong on it
    assert not torch.equal(images[2], images[0])


class Square(nn.Module):
    """Its gradient vanishes at a black image, which then no attack moves."""

    def forward(self, z: Tensor) -> Tensor:
        return z.flatten(1).square()


def test_a_teacher_that_is_wrong_on_every_image_still_spans_a_plane() -> None:
    data = load("digits")
    torch.manual_seed(0)
    net = wrap(nn.Sequential(Square(), nn.Linear(64, 10)), shape=(1, 8, 8))
    x, y = data.test.x.clone(), data.test.y.clone()
    x[0] = 0
    with torch.no_grad():
        y.copy_((net(x.float() / 255).argmax(1) + 1) % 10)
    wrong = replace(data, test=replace(data.test, x=x, y=y))
    images, _ = telling_triple(net, wrong, step_size=1.0, steps=20)
    plane = Plane.through(images)  # refuses three images on one line
    assert float(plane.distance(images).max()) < 1e-4


def test_a_plane_of_large_images_holds_few_of_them_at_a_time() -> None:
    net, seen = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 5)), list[int]()
    net.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[0]))
    plane = Plane.through(three(0, (3, 64, 64)))
    found = plane_regions(net, plane, plane_area(plane), 20, exact=True)
    assert sum(seen) == 400
    assert max(seen) <= 32
    shapes = (2,), (1, 8, 8), (3, 32, 32), (3, 64, 64), (3, 224, 224)
    assert [inputs_at_once(shape, torch.device("cpu")) for shape in shapes] == [1024, 1024, 128, 32, 16]
    assert found.decisions.winner.shape == (20, 20)
