"""Losses on boundary samples: golden numbers of the published code, and the terms against loops."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from golden_cases import check, outputs, step_of, stored, total
from small_nets import gen
from torch.nn.functional import cross_entropy

from amkd_viz.boundary import samplers
from amkd_viz.boundary.attacks.particles import nudges, particles
from amkd_viz.models import build
from amkd_viz.objectives import methods
from amkd_viz.objectives.zoo.boundary import crossing, loss_match, raw_triplet, triplet_margin
from amkd_viz.objectives.zoo.pair import kl


def test_triplets_are_those_of_the_published_code():
    numbers = stored("seed1_triplet_kd")
    inputs = {name: numbers[name].requires_grad_() for name in ("student", "student_negative")}
    expected = {"student": numbers["triplet_grad_student"], "student_negative": numbers["triplet_grad_negative"]}
    found = triplet_margin(numbers["teacher"], *inputs.values(), 5.0).mean()
    check(found, inputs, numbers["triplet"], expected)
    grads = {"student": numbers["loss_2020_grad_student"], "student_negative": numbers["loss_2020_grad_negative"]}
    found = triplet_margin(numbers["teacher"], *inputs.values(), 5.0).mean()
    check(cross_entropy(inputs["student"], numbers["labels"]) + 2 * found, inputs, numbers["loss_2020"], grads)
    grads = {"student": numbers["loss_2022_grad_student"], "student_negative": numbers["loss_2022_grad_negative"]}
    s, t = inputs["student"], numbers["teacher"]
    found = 2 * triplet_margin(t, *inputs.values(), 5.0).mean() + cross_entropy(s, numbers["labels"]) + kl(s, t).mean()
    check(found, inputs, numbers["loss_2022"], grads)


def test_values_of_the_loss_are_those_of_the_published_code():
    numbers = stored("seed1_tald")
    s = numbers["logits_student"].requires_grad_()
    step = step_of(outputs(s), outputs(numbers["logits_teacher"]), numbers["labels_all"])
    check(total(loss_match(), step), {"s": s}, numbers["match_loss"], {"s": numbers["match_grad_logits"]})


def test_raw_triplets_take_negatives_outside_both_classes():
    clean, edge, anchors = torch.randn(3, 8, 4, generator=gen()).double()
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    base, target = torch.tensor([0, 1, 2, 0, 0, 1, 2, 3]), torch.tensor([1, 2, 0, 2, 1, 0, 1, 0])
    step = step_of(outputs(clean), outputs(clean), y, boundary=(outputs(edge), outputs(anchors)))
    step.sources["boundary"] = lambda step: replace(step.clean, samples=SimpleNamespace(base=base, target=target))
    order = torch.rand(8, 8, generator=gen())
    each = []
    for i in range(8):
        allowed = [j for j in range(8) if int(y[j]) not in (int(base[i]), int(target[i]))]
        j = min(allowed, key=lambda j: float(order[i, j]))
        near, far = ((anchors[i] - other + 1e-6).norm() for other in (edge[i], clean[j]))
        each.append(max(0.0, float(near - far) + 5))
    assert float(total(raw_triplet(), step)) == pytest.approx(sum(each) / 8)


def test_the_change_across_a_boundary_is_the_published_part_on_edges():
    numbers = stored("seed2_ffg2m")
    i, j = numbers["src"], numbers["dst"]
    s, t = numbers["s_logits"].requires_grad_(), numbers["t_logits"]
    sides = {"boundary": (outputs(s[i]), outputs(t[i])), "inside": (outputs(s[j]), outputs(t[j]))}
    step = step_of(outputs(s), outputs(t), **sides)
    step.sources["boundary"] = lambda step: replace(step.clean, y=step.clean.y[i])
    check(total(crossing(), step), {"s": s}, numbers["high"], {"s": numbers["grad_s_high"]})
    back = step_of(outputs(s), outputs(t), boundary=(outputs(s[i]), outputs(t[i])))
    back.sources["boundary"] = lambda step: replace(step.clean, y=step.clean.y[j], rows=j)
    check(total(crossing(other="clean"), back), {"s": s}, numbers["high"], {"s": numbers["grad_s_high"]})
    assert methods["graph-edge"]().batches() == {"clean", "boundary"}
    assert methods["two-sides"]().batches() == {"clean", "boundary", "inside"}


def test_sums_with_amkd():
    assert methods["amkd-dkd"]().names == ("ce", "dkd", "boundary_kd", "boundary_triplet")
    assert methods["amkd-ls-kd"]().weights(0.1)["ls_kd"] == 9
    assert methods["tald"]().names == ("ce", "kd", "loss_match", "loss_match:boundary")
    assert "boundary" not in methods["boundary-margin"]().batches(0.8)


def test_particles_are_those_of_the_published_code():
    numbers = stored("seed1_tald")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16, False), torch.nn.Tanh())
    net.append(torch.nn.Linear(16, 10, False)).double()
    net[1].weight.data, net[3].weight.data = numbers["W1"].T.contiguous(), numbers["W2"].T.contiguous()
    x, y = numbers["x01"].repeat(4, 1, 1, 1), numbers["labels"].repeat(4)
    about = {"start": x + numbers["ald_noise"], "label": y}
    target = (net(x).argmax(1) + 1) % 10
    for name, sigma in (("default", 1e-3), ("sigma005", 0.05)):
        found = particles(net, x, target, sigma=sigma, **about)
        torch.testing.assert_close(found.x, numbers[f"ald_pgd_{name}"], rtol=0, atol=1e-12)
    apart = particles(net, x, target, **about).x - x  # by the median distance
    assert (apart - (found.x - x)).abs().max() > 1e-3
    drawn = samplers["particles"]()(net, x, target, torch.Generator().manual_seed(1))
    assert (drawn.x - x).abs().max() <= 0.031 + 1e-9


def test_nudges_are_those_of_the_published_code():
    numbers = stored("seed1_tald")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16, False), torch.nn.Tanh())
    net.append(torch.nn.Linear(16, 10, False)).double()
    net[1].weight.data, net[3].weight.data = numbers["W1"].T.contiguous(), numbers["W2"].T.contiguous()
    x = numbers["x"].repeat(4, 1, 1, 1)
    target = (net(x).argmax(1) + 1) % 10
    for name, about in (
        ("x_released", {}),
        ("x_sigma05_xi1_eps05", {"sigma": 0.5, "reach": 1, "epsilon": 0.5}),
    ):
        found = nudges(net, x, target, space="pixel", start=numbers["uniform"] - 0.5, check=False, **about)
        apart = (found.x - numbers[name]).abs().max()
        assert apart <= 1e-5 * about.get("epsilon", 5e-4)  # logits are read in float32
    image = build("cnn-tiny", shape=(1, 8, 8), num_classes=3, mean=[0.5], std=[0.25]).eval()
    x = torch.rand(4, 1, 8, 8, generator=gen())
    made = samplers["particles-released"](epsilon=1.0)(image, x, torch.tensor([0, 1, 2, 0]), gen())
    length = ((made.x - x) / 0.25).flatten(1).norm(dim=1)
    assert ((length > 0.5) & (length <= 1 + 1e-5)).all()  # shorter where pixels meet an end of their range
