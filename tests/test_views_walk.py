"""A sample's way to the boundary in numbers, and the map that grows from coarse to fine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from amkd_viz import build, load
from amkd_viz.boundary import bss, deepfool, fgsm, noise
from amkd_viz.core.errors import InputError
from amkd_viz.views.neighbour import nearest_image
from amkd_viz.views.planes import Plane
from amkd_viz.views.slices import plane_area, plane_levels, plane_regions
from amkd_viz.views.walk import magnifier, walk


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def nets(digits):
    torch.manual_seed(0)
    return {"teacher": build("cnn-tiny", digits).eval(), "student": build("cnn-tiny", digits).eval()}


@pytest.fixture(scope="module")
def attacked(digits, nets):
    x = digits.test.floats(slice(0, 4))
    target = nets["teacher"](x).topk(2).indices[:, 1]
    return bss(nets["teacher"], x, target, steps=20, keep_path=True)


def test_both_nets_are_followed_along_the_attacked_nets_path(nets, attacked):
    way = walk(nets, attacked, 1)
    steps = int(attacked.steps[1])
    assert way.steps == steps
    assert len(way.path) == len(way.at) == steps + 2
    assert torch.equal(way.path[steps], attacked.x[1])
    assert way.crossed == bool(attacked.crossed[1])
    for name, net in nets.items():
        z = net(way.path).detach()
        torch.testing.assert_close(way.logits[name], z)
        np.testing.assert_allclose(way.gap(name), z[:, way.base] - z[:, way.target])
    assert way.l2()[0] == 0
    assert way.difference().shape == (steps + 2, 8, 8)
    assert way.leading(4)[:2] == [way.base, way.target]
    assert len(set(way.leading(4))) == 4


def test_each_net_leaves_its_own_class_at_its_crossing(nets, attacked):
    for which in range(len(attacked)):
        way = walk(nets, attacked, which)
        for name, crossings in way.crossings.items():
            winner = way.logits[name][:-1].argmax(1)
            if not crossings:
                assert (winner == winner[0]).all()
                continue
            crossing = crossings[0]
            first = int((winner != winner[0]).nonzero()[0])
            assert first - 1 < crossing.at <= first
            assert int(nets[name](crossing.x[None]).argmax()) != int(winner[0])


def test_a_sample_that_stays_has_no_crossing(digits, nets):
    x = digits.test.floats([0])
    own = nets["teacher"](x).argmax(1)
    way = walk(nets, bss(nets["teacher"], x, own, keep_path=True))
    assert way.steps == 0
    assert not way.crossed
    assert way.crossings == {"teacher": [], "student": []}


def test_columns_are_where_something_changes(nets, attacked):
    """Nineteen steps that change nothing and one that does: the columns are about that one."""
    way = walk(nets, attacked, 1)
    still = torch.cat([way.path[:1].expand(19, -1, -1, -1), way.path[:-1]])
    found = attacked[1:2]
    made = walk(nets, replace(found, path=still[:, None], steps=torch.tensor([len(still) - 1])))
    columns = made.changed(6)
    assert columns[0] == 0
    assert columns[-1] == made.steps == len(still) - 1
    assert set(columns[1:]) <= set(range(18, len(still)))
    assert len(columns) == min(6, 1 + way.steps + (way.steps < 5))


def test_samples_without_a_path_are_refused(nets, attacked):
    with pytest.raises(InputError, match="keep_path"):
        walk(nets, fgsm(nets["teacher"], attacked.origin, attacked.target))
    with pytest.raises(InputError, match="which must be 0 to"):
        walk(nets, attacked, 9)


@pytest.mark.parametrize("sampler", [fgsm, noise, deepfool])
def test_every_sampler_can_keep_its_path(sampler, nets, attacked):
    found = sampler(nets["teacher"], attacked.origin, attacked.target, keep_path=True)
    assert torch.equal(found.path[0], attacked.origin)
    for i in range(len(found)):
        assert torch.equal(found.path[int(found.steps[i]), i], found.x[i])
    assert sampler(nets["teacher"], attacked.origin, attacked.target).path is None


def test_a_difference_is_magnified_until_it_just_fits():
    assert magnifier(np.array([0.0])) == 100
    assert magnifier(np.array([0.05, -0.1])) == 10
    assert magnifier(np.array([3.0])) == 1


def test_the_nearest_image_of_the_classes_is_found(digits):
    x = digits.test.floats()
    for wanted in ({3}, {0, 7}):
        found = nearest_image(digits.test, x[0], wanted)
        assert int(digits.test.y[found]) in wanted
        allowed = torch.tensor([int(y) in wanted for y in digits.test.y])
        assert (x[found] - x[0]).norm() == (x[allowed] - x[0]).flatten(1).norm(dim=1).min()
    own = int(digits.test.y[0])
    assert nearest_image(digits.test, x[0], {own}) == 0
    assert nearest_image(digits.test, x[0], {own}, without=0) != 0
    with pytest.raises(InputError, match="choose another class"):
        nearest_image(digits.test, x[0], ())


def test_a_map_grows_from_coarse_to_fine_and_ends_as_it_is_in_one_go(digits, nets):
    plane = Plane.through(digits.test.floats([0, 1, 2]))
    area = plane_area(plane)
    levels = list(plane_levels(nets["teacher"], plane, area, 100))
    assert len(levels) > 2
    asked = [level.evaluations for level in levels]
    assert asked == sorted(asked)
    assert asked[0] < 400
    whole = plane_regions(nets["teacher"], plane, area, 100)
    np.testing.assert_array_equal(levels[-1].decisions.winner, whole.decisions.winner)
    assert levels[0].decisions.winner.min() >= 0
    np.testing.assert_array_equal(levels[-1].again(1.0).confidence, whole.decisions.confidence)
