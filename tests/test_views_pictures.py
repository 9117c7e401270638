"""Each view of nets: what it shows is what the nets say, and the cases at the edge are drawn."""

from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples, Status, bss, refine
from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, Split, load
from amkd_viz.models import Classifier, build
from amkd_viz.objectives.metric import embed
from amkd_viz.views import (
    Regime,
    View,
    boundary_map,
    boundary_path,
    distances,
    embedding,
    epochs,
    gallery,
    plane_map,
    regimes,
    triplets,
)
from amkd_viz.views.decisions import Decisions, letters
from amkd_viz.views.distances import class_distances
from amkd_viz.views.figure import figure, slider
from amkd_viz.views.labels import class_label, class_letter, number, percent
from amkd_viz.views.layout import blank
from amkd_viz.views.neighbour import nearest_image
from amkd_viz.views.picture import picture
from amkd_viz.views.scene import Mark, Panel, Scene
from amkd_viz.views.slices import telling_triple, window
from amkd_viz.views.theme import LIGHT, THEMES, class_colour
from docs.gallery import views as gallery_views


def pictures(shape: tuple[int, ...], classes: int, n: int) -> Dataset:
    """Random images; class names long, empty and HTML."""
    chance = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, *shape), generator=chance, dtype=torch.uint8)
    split = Split(x, torch.arange(n) % classes, torch.arange(n))
    names = tuple(
        ["<b>bold</b>", "", "a name that does not end for a very long time"] + [f"c{k}" for k in range(classes)]
    )
    mean = (0.5,) * shape[0]
    return Dataset("pictures", names[:classes], split, split, split, mean, mean)


def pair(dataset: Dataset) -> dict[str, Classifier]:
    name = "cnn-tiny" if dataset.kind == "images" else "mlp-tiny"
    return {who: build(name, dataset, seed=seed).eval() for who, seed in (("teacher", 1), ("student", 2))}


def attacked(net: nn.Module, x: Tensor, **how: object) -> BoundarySamples:
    target = net(x).topk(2).indices[:, 1]
    return bss(net, x, target, keep_path=True, **how)  # type: ignore[arg-type]


def case(
    shape: tuple[int, ...] = (1, 8, 8), classes: int = 3, n: int = 12, *, take: int = 4
) -> tuple[Dataset, dict[str, Classifier], BoundarySamples]:
    """Return random images, two nets, and the teacher's boundary samples of the first ``take`` images."""
    dataset = pictures(shape, classes, n)
    nets = pair(dataset)
    return dataset, nets, attacked(nets["teacher"], dataset.test.floats(slice(take)))


CASES = [((1, 8, 8), 2, 20), ((1, 8, 8), 3, 1), ((3, 64, 64), 200, 40)]


# maps of points


def test_the_2d_map_is_what_the_net_says() -> None:
    dataset = load("spirals", n=60)
    nets = pair(dataset)
    view = boundary_map(nets, dataset, resolution=25)
    at = torch.from_numpy(np.stack(np.meshgrid(view.arrays["x"], view.arrays["y"]), -1)).reshape(-1, 2)
    for name, net in nets.items():
        with torch.no_grad():
            p = net(at).softmax(1)
        assert (view.arrays[f"{name}.winner"].ravel() == p.argmax(1).numpy()).all()
        assert np.allclose(view.arrays[f"{name}.confidence"].ravel(), p.amax(1), atol=1e-6)
    same = (view.arrays["teacher.winner"] == view.arrays["student.winner"]).mean()
    assert view.notes["student.agreement"] == pytest.approx(same)


def test_the_window_depends_on_the_data_alone_and_holds_them() -> None:
    dataset = load("moons", n=50)
    x0, x1, y0, y1 = window(dataset)
    assert x1 - x0 == pytest.approx(y1 - y0)
    x = dataset.train.x
    assert ((x > torch.tensor([x0, y0])) & (x < torch.tensor([x1, y1]))).all()


class Never(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 3), torch.nan)


def test_2d_maps_at_the_edge() -> None:
    dataset = load("spirals", n=20)
    net = build("mlp-tiny", dataset)
    view = boundary_map({"a": net, "b": copy.deepcopy(net), "again": net}, dataset, resolution=9)
    assert view.notes["b.agreement"] == 1
    assert "again.agreement" not in view.notes  # one net on several maps, as for several samplers
    view = boundary_map({"a": net, "never": Never()}, dataset, resolution=9)
    assert view.notes["never.undecided"] == 1
    assert view.notes["never.agreement"] == 0
    assert any("undecided 100.0" in note.text for note in view.figure.layout.annotations)
    many = load("blobs", n=10_000, classes=200)
    view = boundary_map(build("mlp-tiny", many), many, resolution=9, points=10_000)
    assert any(trace.type == "scattergl" and len(trace.x) == 10_000 for trace in view.figure.data)
    with pytest.raises(InputError, match="plane_map"):
        boundary_map(net, pictures((1, 8, 8), 2, 4))
    with pytest.raises(InputError, match="at least one"):
        boundary_map({}, dataset)


def test_samples_are_drawn_where_they_are() -> None:
    dataset = load("spirals", n=30)
    net = build("mlp", dataset, seed=3).eval()
    found = refine(net, attacked(net, dataset.test.x[:6], step_rule="newton", step_size=1.05, steps=20))
    view = boundary_map(net, dataset, samples=found, resolution=9)
    drawn = [t for t in view.figure.data if t.type == "scatter"]
    rings = next(t for t in drawn if t.marker.symbol == "circle-open")
    assert np.allclose(np.stack([rings.x, rings.y], 1), found.x)
    lines = next(t for t in drawn if t.mode == "lines")
    assert lines.x[0] == pytest.approx(float(found.origin[0, 0]))


def test_epochs_have_a_frame_each_and_a_gif(tmp_path: Path) -> None:
    dataset = load("moons", n=40)
    nets = {epoch: build("mlp-tiny", dataset, seed=epoch) for epoch in (5, 1, 3)}
    view = epochs(nets, dataset, teacher=nets[5], resolution=16)
    assert [frame.name for frame in view.figure.frames] == ["1", "3", "5"]
    assert view.arrays["winner"].shape == (3, 16, 16)
    assert view.notes["agreement"][-1] == 1
    page = view.save(tmp_path / "x.html").read_text()
    assert '"frames"' in page
    with Image.open(view.save(tmp_path / "x.gif")) as animation:
        assert animation.n_frames == 3
        assert animation.width > 1.6 * animation.height  # the teacher beside the student
        assert animation.height > 480  # and the caption beneath both
        beneath = animation.convert("RGB").crop((0, 462, animation.width, animation.height))
        assert len(np.unique(np.asarray(beneath).reshape(-1, 3), axis=0)) > 2  # words on paper
    many = epochs(dict.fromkeys(range(130), nets[1]), dataset, resolution=4)
    assert set(np.diff(many.arrays["epoch"])) == {3}
    with pytest.raises(InputError, match="at least one net"):
        epochs({}, dataset)


def test_epochs_of_images_are_drawn_on_a_plane(tmp_path: Path) -> None:
    dataset = pictures((1, 8, 8), 3, 12)
    nets = pair(dataset)
    anchors = dataset.test.floats(slice(3))
    how = {"teacher": nets["teacher"], "anchors": anchors, "labels": (0, 1, 2), "resolution": 12}
    view = epochs({1: nets["teacher"], 2: nets["student"]}, dataset, **how)
    alone = plane_map(nets, anchors, dataset.classes, resolution=12)
    assert (view.arrays["winner"][1] == alone.arrays["student.winner"]).all()
    assert view.notes["agreement"] == [1.0, alone.notes["student.agreement"]]
    assert "boundary: class 1" in [note.text for note in view.figure.layout.annotations]
    for frame in view.figure.frames:  # two maps, and the anchors in the teacher's
        assert len(frame.layout.images) == 2 + 3
        assert f"epoch {frame.name}, agrees on" in frame.layout.annotations[1].text
    outside = percent(1 - float(alone.arrays["inside"].mean()), 0)
    assert f"{outside} of the map lies outside" in view.caption
    assert '"sliders"' in view.save(tmp_path / "x.html").read_text()
    with pytest.raises(InputError, match="three to lay a plane through"):
        epochs({1: nets["teacher"]}, dataset)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_painter_puts_a_mark_where_it_is(theme: str) -> None:
    """The same scene by Plotly and by Pillow: a dark corner, a veil, and a dot in the colour of its class."""
    decided = Decisions(np.array([[0, 1], [-1, 1]], np.int16), np.ones((2, 2), np.float32), np.ones((2, 2), np.float32))
    marks = [Mark("dots", [[0.25, 0.25]], [2], ["here"]), Mark("box", [[0, 0], [1, 0], [1, 0.5], [0, 0.5]])]
    scene = Scene([Panel("net", "", decided)], (0, 1, 0, 1), marks, ["a", "b", "c"])
    drawn, paper = picture(scene, 100, theme), THEMES[theme].paper
    assert drawn.getpixel((25, 75)) == ImageColor.getrgb(class_colour(2))
    assert drawn.getpixel((25, 25)) == ImageColor.getrgb(paper)  # undecided: nothing but paper
    inside, veiled = (np.array(drawn.getpixel((75, y)), int) for y in (90, 10))
    assert np.abs(veiled - ImageColor.getrgb(paper)).sum() < np.abs(inside - ImageColor.getrgb(paper)).sum()
    figure_ = figure(scene)
    dot = next(trace for trace in figure_.data if trace.mode == "markers" and trace.text)
    assert (dot.x[0], dot.y[0], dot.marker.color[0]) == (0.25, 0.25, class_colour(2))
    assert figure_.layout.shapes[0].path.count("L") == 6  # the area, and the hole of the box


def test_regions_of_more_than_ten_classes_carry_letters() -> None:
    """Each letter stands where its region is widest; thin regions and few classes have none."""
    winner = np.repeat(np.arange(12, dtype=np.int16) % 4, 10)[:, None] + 4 * np.repeat(np.arange(3, dtype=np.int16), 40)
    winner[:, 0] = 12  # a thin line
    map_ = Decisions(winner, np.ones_like(winner, np.float32), np.ones_like(winner, np.float32))
    (places,) = letters([map_], 13)
    assert sorted(places) == list(range(12))
    for k, (row, column) in places.items():
        assert winner[row, column] == k
        assert (winner[row - 4 : row + 5, column] == k).all()  # the bands are ten high
        assert (winner[row, column - 4 : column + 5] == k).all()
    assert letters([map_, map_], 10) == [{}, {}]
    names = [*"abcdefghij", "kiwi", "l", "m"]
    without = np.array(picture(Scene([Panel("net", "", map_)], (0, 1, 0, 1)), 360))
    drawn = np.array(picture(Scene([Panel("net", "", map_)], (0, 1, 0, 1), (), names), 360))
    inked = (drawn != without).any(2)
    for k, (row, column) in places.items():
        across, down = 3 * column + 1, 359 - (3 * row + 1)
        assert inked[down - 8 : down + 9, across - 8 : across + 9].any(), k
    assert inked.mean() < 0.05
    assert [class_letter(names, k) for k in (0, 10, 13)] == ["a", "10", "13"]
    few = picture(Scene([Panel("net", "", map_)], (0, 1, 0, 1), (), names[:10]), 360)
    assert (np.array(few) == without).all()

    def written(drawn: Any) -> dict[str, tuple[float, float]]:
        return {a.text: (a.x, a.y) for a in drawn.layout.annotations if a.text.startswith("<b>") and a.xref == "x"}

    plotly = written(figure(Scene([Panel("", "", map_)], (0, 1, 0, 1), (), names)))
    for k, (row, column) in places.items():
        assert plotly[f"<b>{class_letter(names, k)}</b>"] == pytest.approx(((column + 0.5) / 120, (row + 0.5) / 120))
    assert written(figure(Scene([Panel("", "", map_)], (0, 1, 0, 1), (), names[:10]))) == {}


def test_letters_follow_the_slider_over_epochs() -> None:
    """Each scene has its own, also where it has fewer than the one before."""
    sides = np.zeros((2, 40, 40), np.int16)
    sides[0, :20] = 11
    scenes = []
    for winner in sides:
        map_ = Decisions(winner, np.ones_like(winner, np.float32), np.ones_like(winner, np.float32))
        scenes.append(Scene([Panel("net", "", map_)], (0, 1, 0, 1), (), ["a", *map(str, range(1, 12))]))
    drawn = slider(scenes, ["1", "2"], "epoch ")
    seen = [[a.text for a in frame.layout.annotations if a.visible is not False] for frame in drawn.frames]
    assert seen == [["<b>net</b>", "<b>a</b>", "<b>11</b>"], ["<b>net</b>", "<b>a</b>"]]
    assert len({len(frame.layout.annotations) for frame in drawn.frames}) == 1
    assert drawn.layout.annotations == drawn.frames[-1].layout.annotations


# images


@pytest.mark.parametrize(("shape", "classes", "n"), CASES)
def test_the_gallery_shows_what_the_nets_say(shape: tuple[int, ...], classes: int, n: int) -> None:
    dataset, nets, found = case(shape, classes, n)
    view = gallery(nets, found, dataset.classes, names=["<i>x</i>"] * 4)
    assert np.allclose(view.arrays["difference"], (found.x - found.origin).numpy())
    with torch.no_grad():
        assert np.allclose(view.arrays["student.boundary"], nets["student"](found.x).softmax(1), atol=1e-6)
    assert view.notes["crossed"] == pytest.approx(float(found.crossed.float().mean()))
    text = view.figure.to_json()
    assert "<b>bold" not in text
    assert "<i>x" not in text
    (a, b), (c, d) = view.figure.layout.xaxis2.domain, view.figure.layout.xaxis3.domain
    assert b - a == pytest.approx(d - c)  # before and after are compared by eye
    assert all(trace.cliponaxis is False for trace in view.figure.data[:4])  # whole at 0 and 100 %


def test_what_a_caption_calls_dotted_is() -> None:
    points, dataset = load("moons", n=40), pictures((1, 8, 8), 10, 60)  # of three classes PCA hides nothing
    for view in (boundary_map(pair(points), points, resolution=9), embedding(pair(dataset), dataset, how="pca")):
        assert "dotted" in view.caption.lower()
        dashes = {trace.line.dash for trace in view.figure.data if trace.line.dash not in (None, "solid")}
        assert dashes == {"1.5px,3px"}  # "dot" is 3 px of line and 3 px of none: dashes


def test_a_sample_that_never_crossed_is_told_and_faint() -> None:
    dataset, nets, found = case(take=3)
    found = dataclasses.replace(found, status=torch.tensor([Status.TARGET, Status.NOT_CROSSED, Status.OTHER]))
    view = gallery(nets, found, dataset.classes)
    rows = [note.text for note in view.figure.layout.annotations if "L2" in note.text]
    assert ["not crossed" in row for row in rows] == [False, True, False]
    faint = [False] * 4 + [True] * 2 + [False] * 3  # of the sample that stayed, but not its base image
    assert [image.opacity < 1 for image in view.figure.layout.images] == faint
    for trace in view.figure.data[:4]:
        faint = [False, False, trace.xaxis == "x3", trace.xaxis == "x3", False, False]
        assert [opacity < 1 for opacity in trace.marker.opacity] == faint
    assert "faint samples ended on the base's side" in view.caption
    crossed = dataclasses.replace(found, status=torch.full((3,), int(Status.TARGET)))
    assert "faint" not in gallery(nets, crossed, dataset.classes).caption


def test_a_gallery_says_where_each_walk_ended_and_which_leapt_far() -> None:
    """A net on the sum of the pixels: small steps stop just past its boundary, long ones go far."""
    data = pictures((1, 8, 8), 3, 12)

    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            at = x.flatten(1).mean(1) * 60 - 30
            return torch.stack([-at, at, at * 0 - 99], 1)

    x, target = torch.full((1, 1, 8, 8), 0.4), torch.tensor([1])
    seen = {}
    for size in (0.01, 1.0):
        found = bss(Sum(), x, target, step_size=size, steps=90, space="pixel")
        view = gallery(Sum(), found, data.classes)
        (words,) = [n.text for n in view.figure.layout.annotations if "L2" in str(n.text)]
        seen[size] = view.notes["far"], words, view.caption
        largest = Sum()(found.x).softmax(1).sort(1, descending=True).values[0]
        assert view.notes["gap"] == pytest.approx(float(largest[0] - largest[1]))
        assert f"differ by {percent(view.notes['gap'], 0)}: 0 on its boundary" in view.caption
    assert seen[0.01][0] == 0
    assert "class 1: 5" in seen[0.01][1]  # it has no name
    assert "far" not in seen[0.01][1] + seen[0.01][2]
    assert seen[1.0][0] == 1
    assert "<b>class 1: 100" in seen[1.0][1]
    assert "far past it" in seen[1.0][1]
    assert "over 90\N{NO-BREAK SPACE}% sure of the class: 1 sample of those shown" in seen[1.0][2]


@pytest.mark.slow
def test_the_gallery_page_tells_its_views_apart() -> None:
    views = {view.title: view for view in gallery_views()}
    assert len(views) == 11
    showcase = views["Boundary samples"]
    assert 0.5 < showcase.notes["crossed"] < 1
    rows = [note.text for note in showcase.figure.layout.annotations if "L2" in note.text]
    assert ["not crossed" in row for row in rows] == [False] * 4 + [True]
    assert "The last row was chosen to show a miss" in showcase.caption
    assert "base" in [note.text for note in views["Plane map through a boundary sample"].figure.layout.annotations]
    assert "base" not in [note.text for note in views["Plane map through any three images"].figure.layout.annotations]


@pytest.mark.parametrize(("shape", "classes", "n"), CASES)
def test_embedding_spaces_are_those_of_the_objectives(shape: tuple[int, ...], classes: int, n: int) -> None:
    dataset, nets, found = case(shape, classes, n, take=2)
    view, again = (embedding(nets, dataset, samples=found, how="pca") for _ in range(2))
    assert all(np.array_equal(view.arrays[name], again.arrays[name]) for name in view.arrays)
    x = torch.cat([dataset.test.floats(), found.x])
    with torch.no_grad():
        expected = embed("logit", *nets["student"].outputs(x)[:2])
    assert np.allclose(view.arrays["student.high"], expected, atol=1e-5)
    assert view.arrays["boundary"].sum() == len(found)
    assert view.notes["teacher.residual"] == 0
    assert 0 <= view.notes["student.residual"] <= 1 or n == 1


def test_embedding_edges() -> None:
    dataset = pictures((1, 8, 8), 3, 30)
    nets = pair(dataset)
    same = embedding({"a": nets["teacher"], "b": nets["teacher"]}, dataset, how="pca")
    assert same.notes["b.residual"] == pytest.approx(0, abs=1e-12)
    absent = dataclasses.replace(dataset, test=dataset.test.take((dataset.test.y != 1).nonzero()[:, 0]))
    view = embedding(nets["teacher"], absent, how="pca")
    assert list(view.figure.data[0].marker.color) == [class_colour(int(k)) for k in view.arrays["label"]]
    ringed = embedding(nets["teacher"], dataset, samples=attacked(nets["teacher"], dataset.test.floats([0])), how="pca")
    rings = next(t for t in ringed.figure.data if "boundary sample" in (t.hovertemplate or ""))
    assert rings.marker.line.color == LIGHT.ink  # seen in the dark
    bad = build("cnn-tiny", dataset)
    nn.init.constant_(bad.head.bias, torch.nan)
    with pytest.raises(InputError, match="NaN"):
        embedding(bad, dataset, how="pca")
    many = embedding(nets_of := build("cnn-tiny", spread := pictures((1, 8, 8), 25, 100)), spread, how="pca")
    assert nets_of.num_classes == 25
    texts = [note.text for note in many.figure.layout.annotations if note.yshift == 14]
    assert set(texts) == {f"<b>{class_letter(spread.classes, k)}</b>" for k in range(25)}  # no room for names
    big = pictures((1, 8, 8), 3, 10_000)
    assert len(embedding(nets["teacher"], big, how="pca", most=500).arrays["label"]) == 500


def test_a_path_ends_on_the_boundary() -> None:
    dataset = pictures((1, 8, 8), 3, 12)
    nets = pair(dataset)
    with torch.no_grad():  # an untrained net calls everything the same; now the images lie around its boundaries
        nets["teacher"].head.bias -= nets["teacher"](dataset.test.floats()).mean(0)
    found = attacked(nets["teacher"], dataset.test.floats(), step_rule="newton", step_size=0.7, steps=30)
    which = int(found.crossed.nonzero()[0])
    view = boundary_path(nets, found, which, dataset.classes)
    gap = view.arrays["teacher.gap"]
    assert gap[0] > 0
    assert len(gap) == int(found.steps[which]) + 2
    assert abs(gap[-1]) < abs(gap[0])
    assert (gap[:-2] > -1e-6).all()
    assert view.arrays["l2"][0] == 0
    still = dataclasses.replace(found, path=None)
    with pytest.raises(InputError, match="keep_path"):
        boundary_path(nets, still, 0, dataset.classes)
    with pytest.raises(InputError, match="which must be 0 to 11, got 99"):
        boundary_path(nets, found, 99, dataset.classes)


@pytest.mark.parametrize("classes", [3, 200])
def test_triplets_and_distances_against_loops(classes: int) -> None:
    dataset, nets, found = case(classes=classes, n=60, take=5)
    with torch.no_grad():
        a = embed("logit", *nets["teacher"].outputs(found.x)[:2]).double()
        p = embed("logit", *nets["student"].outputs(found.x)[:2]).double()
        n = embed("logit", *nets["student"].outputs(dataset.test.floats())[:2]).double()
    view = distances(nets, dataset, found, margin=0.3)
    pairs, active = [], 0
    for i in range(5):
        for j in range(60):
            if int(dataset.test.y[j]) not in (int(found.base[i]), int(found.target[i])):
                pairs.append(float((a[i] - n[j]).square().sum()))
                active += float((a[i] - p[i]).square().sum()) - pairs[-1] + 0.3 > 0
    assert np.allclose(np.sort(view.arrays["student.d_an"]), np.sort(pairs), atol=1e-5)
    assert view.notes["student.active"] == pytest.approx(active / len(pairs), abs=0.01)
    assert view.arrays["student.classes"].shape == (classes, classes)
    one = triplets(nets["teacher"], nets["student"], dataset, found, 2, margin=0.3)
    assert one.notes["d_ap"] == pytest.approx(float((a[2] - p[2]).square().sum()), abs=1e-5)
    own = [float((a[2] - n[j]).square().sum()) for j in one.arrays["index"]]
    assert np.allclose(one.arrays["d_an"], own, atol=1e-5)
    assert (np.diff(own) >= -1e-6).all()


def test_what_is_compared_shares_an_axis_and_a_colour_has_its_numbers() -> None:
    dataset, nets, found = case(classes=3, n=40, take=5)
    drawn = distances(nets, dataset, found).figure
    assert drawn.layout.yaxis2.matches == "y"
    tables = [trace for trace in drawn.data if trace.type == "heatmap"]
    assert [trace.showscale for trace in tables] == [False, True, True]  # the first two have one scale
    assert (tables[0].zmin, tables[0].zmax) == (tables[1].zmin, tables[1].zmax) == (0, 4)
    for trace, zero in zip(tables, (0, 0, 0.5), strict=True):  # so that it has the colour of the paper in both themes
        assert {colour.rpartition(",")[2] for at, colour in trace.colorscale if at == zero} == {"0)"}


def test_a_legend_names_classes_and_marks() -> None:
    half = np.full((4, 4), 0.5)
    panel = Panel("net", map=Decisions(np.zeros((4, 4), int), half, half), margins=(0.25, 0.5))
    line = [[0, 0], [1, 1]]
    marks = [Mark("path", line), Mark("path", line, dash=True), Mark("ring", line), Mark("cross", line)]
    for shown in (marks, marks[:1]):
        drawn = figure(Scene([panel], (0, 1, 0, 1), shown, ["cat", "cat"]))  # two classes may have one name
        words = [trace.name for trace in drawn.data if trace.showlegend]
        named = ["path of the attack", "on the student", "boundary sample", "enters another class"]
        assert words == ["cat", "cat", *named[: len(shown)], "margin 0.25, 0.5"]


def by_class(classes: int = 6, each: int = 50) -> Dataset:
    """A test split in the order of its classes, as one folder per class gives it; published indices run backwards."""
    dataset = pictures((1, 8, 8), classes, classes * each)
    order = dataset.test.y.argsort(stable=True)
    index = torch.arange(len(order)).flip(0)
    return dataclasses.replace(dataset, test=Split(dataset.test.x[order], dataset.test.y[order], index))


def test_some_samples_of_a_split_in_the_order_of_its_classes_are_of_all_classes() -> None:
    dataset = by_class()
    nets = pair(dataset)
    found = attacked(nets["teacher"], dataset.test.floats(slice(4)))
    view = distances(nets, dataset, found, most=30)
    assert np.isfinite(view.arrays["teacher.classes"]).all()
    assert "each of 4 boundary samples" in view.caption
    assert "those of 30 of 300 test samples, taken evenly from the split" in view.caption
    one = triplets(nets["teacher"], nets["student"], dataset, found, 0, most=30, negatives=99)
    label = dataset.test.y[299 - one.arrays["index"]]  # found by what was published
    assert set(label.tolist()) == set(range(6)) - {int(found.base[0]), int(found.target[0])}
    assert "30 of 300 test samples, taken evenly from the split" in one.caption


@pytest.mark.parametrize("tries", [1, 32])
def test_a_telling_triple_has_three_classes(tries: int) -> None:
    dataset = by_class()
    net = pair(dataset)["teacher"]
    images, labels = telling_triple(net, dataset, tries=tries, step_size=1.0, steps=20)
    assert len(set(labels)) == 3
    assert any(torch.equal(images[2], x) for x in dataset.test.floats(dataset.test.y == labels[2]))
    two = by_class(2)
    assert len(telling_triple(pair(two)["teacher"], two)[0]) == 3


def test_a_nearest_image_is_looked_for_in_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = by_class()
    monkeypatch.setattr("amkd_viz.views.neighbour.MOST", 30)
    split = dataset.test
    x = split.floats([299])[0]  # of the last class, and among the candidates
    assert nearest_image(split, x, set(range(6))) == 299


@pytest.mark.parametrize("classes", [12, 20, 200])
def test_captions_say_where_colours_are_alike(classes: int) -> None:
    dataset, points = pictures((1, 8, 8), classes, 200), load("blobs", n=400, classes=classes)
    nets = pair(dataset)
    said = "nearly the same colour"
    for view in (
        embedding(nets, dataset, how="pca"),
        boundary_map(pair(points), points, resolution=20),
        epochs({1: pair(points)["student"]}, points, resolution=20),
    ):
        assert (said in view.caption) == (classes > 30)
        assert ("over over" in view.caption) == (classes > 12)
        dots = next(t for t in view.figure.data if t.type == "scatter" and len(t.x) > 1)
        assert dots.text is not None  # there is a class to read
        assert "%{text}" in dots.hovertemplate
    for bias in (0.0, 100.0):  # of each net many classes, or one
        for net in nets.values():
            nn.init.constant_(net.head.bias[:1], bias)
        view = plane_map(nets, dataset.test.floats(slice(3)), dataset.classes, resolution=50)
        assert (said in view.caption) == (classes > 30)
        named = [trace.name for trace in view.figure.data if trace.showlegend]
        here = np.concatenate([view.arrays[f"{name}.winner"].ravel() for name in nets])
        counts = np.bincount(here, minlength=classes)
        most = sorted(range(classes), key=lambda k: -counts[k])[: min(12, int((counts > 0).sum()))]
        drawn = most if classes > 12 else range(classes)
        letters_ = [class_letter(dataset.classes, k) for k in drawn]
        words = [class_label(dataset.classes, k, 24) for k in drawn]
        assert named == [w if w == n else f"<b>{n}</b> {w}" for n, w in zip(letters_, words, strict=True)]


def test_class_distances_are_those_of_pairs_of_two_samples() -> None:
    space, label = np.concatenate([np.eye(5), np.eye(5)[:1], -np.eye(5)[:2]]), np.array([0] * 5 + [1, 1, 3])
    slow = np.full((4, 4), np.nan)
    for a, b in np.ndindex(4, 4):
        pairs = [(i, j) for i in np.flatnonzero(label == a) for j in np.flatnonzero(label == b) if i != j]
        slow[a, b] = np.mean([((space[i] - space[j]) ** 2).sum() for i, j in pairs]) if pairs else np.nan
    found = class_distances(space, label, 4)
    np.testing.assert_allclose(found, slow, atol=1e-12)
    assert found[0, 0] == pytest.approx(2.0)  # 1.6 if a sample is its own pair
    assert found[1, 1] == pytest.approx(4.0)
    assert np.isnan(found[3, 3])  # a single sample
    assert np.isnan(found[2]).all()


def test_class_distances_leave_absent_classes_out() -> None:
    dataset = pictures((1, 8, 8), 3, 30)
    nets = pair(dataset)
    absent = dataclasses.replace(dataset, test=dataset.test.take((dataset.test.y != 2).nonzero()[:, 0]))
    view = distances(nets, absent, attacked(nets["teacher"], dataset.test.floats(slice(3))))
    assert np.isnan(view.arrays["student.classes"][2]).all()
    assert np.isfinite(view.arrays["student.classes"][:2, :2]).all()
    assert np.isfinite(view.notes["student.class_gap"])
    assert view.caption.endswith(" A blank cell has no pair of samples: its class has one sample here, or none.")
    assert "blank" not in distances(nets, dataset, attacked(nets["teacher"], dataset.test.floats(slice(3)))).caption


def test_without_a_sample_or_a_negative_there_is_a_sentence() -> None:
    dataset, nets, found = case(classes=2, n=8, take=2)
    with pytest.raises(InputError, match="at least one"):
        gallery(nets, found[:0], dataset.classes)
    with pytest.raises(InputError, match="no negative"):
        triplets(nets["teacher"], nets["student"], dataset, found, 0)
    assert np.isnan(distances(nets, dataset, found).notes["student.active"])


def test_a_notebook_shows_the_words_beneath_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda what, **_: shown.append(what))
    notes = {"agreement": 0.84812, "cells": 40_000, "none": float("nan"), "told": "x"}
    View(blank(), {}, notes, "Dots <are> data.")._ipython_display_()
    figure, beneath = shown
    assert "application/vnd.plotly.v1+json" in figure
    assert "text/html" not in figure  # it would hide the static picture from readers without plotly.js
    assert figure["text/plain"].startswith("View(")
    words, script, rest = re.split("(<script>.*</script>)", beneath.data, flags=re.DOTALL)
    assert "Plotly.newPlot" in script
    assert script.count("</script") == 1
    assert "Dots &lt;are&gt; data." in words
    assert "0.848" not in words  # a bare number under its key is no word
    assert rest == ""


def test_what_is_shown_tells_every_number_in_words() -> None:
    dataset, nets, found = case(n=40)
    points = load("moons", n=40)
    views = [
        boundary_map(pair(points), points, resolution=20),
        gallery(nets, found, dataset.classes),
        boundary_path(nets, found, 0, dataset.classes),
        plane_map(nets, dataset.test.floats(slice(3)), dataset.classes, resolution=50),
        embedding(nets, dataset, samples=found, how="pca"),
        triplets(nets["teacher"], nets["student"], dataset, found, 0),
        distances(nets, dataset, found),
    ]
    for view in views:
        shown = view.caption + " ".join(note.text for note in view.figure.layout.annotations)
        for name, value in view.notes.items():
            if isinstance(value, bool) or name in ("teacher.residual", "teacher.class_gap") or value != value:
                continue  # of the first net against itself
            if name.endswith("undecided") and value == 0:
                continue
            forms = {percent(value, 0), percent(value), number(value), f"{value:,}", f"{value:.1f}", f"{value:g}"}
            assert any(form in shown for form in forms), (view.title, name, value)


# ------------------------------------------------------------------ regimes

CELLS = [
    Regime("digits", "cnn-small", 5, 2.05, 0.91, 3.2, True),
    Regime("digits", "cnn-small", 10, 0.21, -0.38, 0.79, False),
    Regime("spirals", "mlp-tiny", 10, -1.64, -2.85, -0.44, True),
]


def test_a_map_of_regimes_hatches_where_nothing_is_shown():
    view = regimes(CELLS, "amkd - bss")
    nan = float("nan")
    assert np.array_equal(view.arrays["points"], [[2.05, nan], [0.21, -1.64]], equal_nan=True)
    assert np.array_equal(view.arrays["low"], [[0.91, nan], [-0.38, -2.85]], equal_nan=True)
    assert view.arrays["shown"].tolist() == [[True, False], [False, True]]
    assert view.notes == {"rows": [5, 10], "columns": ["digits, cnn-small", "spirals, mlp-tiny"], "shown": 2}
    (heat,) = view.figure.data
    assert (heat.zmin, heat.zmax) == (-2.05, 2.05)  # 0 is the colour of the paper
    assert heat.text[0] == ["<b>+2.05</b><br>[+0.91, +3.20]", ""]
    (hatched,) = view.figure.layout.shapes  # one cell; the empty one is not hatched
    ends = np.array([[float(n) for n in part.replace("L", "").split()] for part in hatched.path.split("M")[1:]])
    assert ends[:, ::2].min() >= -0.5
    assert ends[:, ::2].max() <= 0.5  # column 0
    assert ends[:, 1::2].min() >= 0.5
    assert ends[:, 1::2].max() <= 1.5  # row 1
    assert np.allclose(ends[:, 0] + ends[:, 1], ends[:, 2] + ends[:, 3])  # 45 degrees of the cell
    assert "2 of 3 regimes; 1 hatched: a difference is not shown there" in view.caption
    assert "hatched" not in regimes(CELLS[:1], "amkd - bss").caption
    thirds = regimes([Regime("spirals", "mlp-tiny", 100 / 3, 0.96, -1.04, 2.96, False)], "bss - kd")
    assert thirds.figure.layout.yaxis.ticktext == ("33",)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ([], "draws the gains of one or more regimes, got none"),
        ([CELLS[0], CELLS[0]], "digits, cnn-small with 5 labels per class is there twice"),
        ([CELLS[0]._replace(low=2.5)], r"must contain its difference, got 2\.05 in \[2\.5, 3\.2\] for digits"),
        ([CELLS[0]._replace(points=float("nan"))], "must contain its difference, got nan"),
    ],
)
def test_regimes_that_are_refused(cells, sentence):
    with pytest.raises(InputError, match=sentence):
        regimes(cells, "amkd - bss")
