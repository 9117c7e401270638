"""Losses on features and on relations of samples: golden numbers of the published code, slow loops, and zero rows."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from golden_cases import check, outputs, step_of, stored, total
from small_nets import gen
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from amkd_viz.core.errors import InputError
from amkd_viz.models import build
from amkd_viz.objectives import Batch, ce, shapes_of, terms
from amkd_viz.objectives.zoo import relations
from amkd_viz.objectives.zoo.pair import Pair, kl
from amkd_viz.objectives.zoo.relations import (
    Centres,
    Embeddings,
    affinity,
    align,
    cc,
    crd,
    far,
    info_nce,
    leaf,
    neighbour_products,
    pkt,
    prototypes,
    rkd,
    sp,
)

CASES = [
    ("zoo_rkd", "d25_a50", rkd(), "f_t"),
    ("zoo_rkd", "distance", rkd(distance=1, angle=0), "f_t"),
    ("zoo_rkd", "angle", rkd(distance=0, angle=1), "f_t"),
    ("zoo_rkd", "wide_d25_a50", rkd(), "f_t_wide"),
    ("zoo_pkt", "pooled", pkt(), "f_t"),
    ("zoo_pkt", "wide", pkt(), "f_t_wide"),
    ("zoo_sp", "pooled", sp(), "f_t"),
    ("zoo_sp", "wide", sp(), "f_t_wide"),
]


@pytest.mark.parametrize(("file", "case", "term", "teacher"), CASES)
def test_relations_are_those_of_the_published_code(file, case, term, teacher):
    numbers = stored(file)
    f = numbers["f_s"].requires_grad_()
    found = total(term, step_of(*(outputs(features=x, layers={-1: x}) for x in (f, numbers[teacher]))))
    check(found, {"f": f}, numbers[f"{case}.loss"], {"f": numbers[f"{case}.grad_f_s"]})


def test_similarities_of_the_last_maps():
    numbers = stored("zoo_sp")
    s, t = numbers["tap3_s"].requires_grad_(), numbers["tap3_t"]
    found = total(sp(), step_of(outputs(layers={-1: s}), outputs(layers={-1: t})))
    check(found, {"s": s}, numbers["tap3.loss"], {"s": numbers["tap3.grad_tap3_s"]})


def test_products_of_neighbours():
    numbers = stored("zoo_cc")
    f = numbers["f_s"].requires_grad_()
    found = neighbour_products(f, numbers["f_t"])
    check(found, {"f": f}, numbers["pooled.loss"], {"f": numbers["pooled.grad_f_s"]})


def test_normalised_features():
    numbers = stored("zoo_srd")
    f, s = numbers["f_s"].requires_grad_(), numbers["logits_s"].requires_grad_()
    found = far(f, numbers["f_t"]) + kl(s, numbers["logits_t"]).mean()
    grads = {name: numbers[f"exp4_T1.grad_{key}"] for name, key in (("f", "f_s"), ("s", "logits_s"))}
    check(found, {"f": f, "s": s}, numbers["exp4_T1.loss"], grads)


def test_likeness_of_places():
    numbers = stored("seed1_affinity")
    s = numbers["student_1"].requires_grad_()
    step = step_of(outputs(layers={-2: s}), outputs(layers={-2: numbers["teacher_1"]}))
    check(total(affinity(), step), {"s": s}, numbers["self_affinity"], {"s": numbers["self_affinity_grad"]})


# ------------------------------------------------------------------ without a published number


def random(n: int = 7, narrow: int = 3, wide: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(n, narrow, generator=gen()).double(), torch.randn(n, wide, generator=gen(1)).double()


def test_contrast_against_a_loop():
    (f, _), (g, _) = random(), random(narrow=4)
    made = Embeddings(3, 4, 6).double()
    e, u = made.student(f).detach(), made.teacher(g).detach()
    cosines = [[float(cosine_similarity(a, b, dim=0)) / 0.07 for b in u] for a in e]
    value = 0.0
    for i in range(7):
        row, column = cosines[i], [cosines[j][i] for j in range(7)]
        value -= sum(x[i] - math.log(sum(map(math.exp, x))) for x in (row, column)) / 7
    step = step_of(outputs(features=f), outputs(features=g), modules={"crd": made})
    assert float(total(crd(), step).detach()) == pytest.approx(value)
    assert float(info_nce(u, u, 0.01).detach()) < 0.1 < float(info_nce(u, -u, 0.01).detach())


def test_features_themselves_against_a_loop():
    f, g = random()
    linear = nn.Linear(3, 5).double()
    expected = sum(float((linear(a) - b).square().sum().detach()) for a, b in zip(f, g, strict=True)) / 7
    step = step_of(outputs(features=f), outputs(features=g), modules={"leaf": linear})
    assert float(total(leaf(), step).detach()) == pytest.approx(expected)


def test_distances_to_centres_against_a_loop():
    f, g = random()
    made, t = Centres(3, 5, 4).double(), torch.randn(7, 4, generator=gen(2)).double()
    y = torch.tensor([0, 0, 1, 3, 3, 3, 1])  # no sample of class 2
    unit = g / g.norm(dim=1, keepdim=True)
    made.centres[3] = torch.ones(5)  # of earlier batches
    means = [unit[y == k].mean(0) if (y == k).any() else torch.zeros(5) for k in range(4)]
    centres = [*means[:3], 0.9 * torch.ones(5) + 0.1 * means[3]]
    value = 0.0
    for row, logits in zip(made.head(f).detach(), t, strict=True):
        d = [-float((row / row.norm() - c).square().sum()) / 0.1 for c in centres]
        p, log_z = logits.softmax(0).tolist(), math.log(sum(map(math.exp, d)))
        value += sum(a * (math.log(a) - (b - log_z)) for a, b in zip(p, d, strict=True)) / 7
    step = step_of(outputs(features=f, logits=None), outputs(t, g), y, modules={"prototypes": made})
    assert float(total(prototypes(), step).detach()) == pytest.approx(value)
    torch.testing.assert_close(made.centres, torch.stack(centres).double())


def test_centres_at_the_boundary_against_a_loop():
    (f, g), at_boundary = random(), torch.randn(4, 3, generator=gen(3)).double()
    y, labels = torch.tensor([0, 0, 1, 2, 2, 3, 3]), torch.tensor([1, 0, 1, 2])
    made = Centres(3, 5, 4).double()
    unit = g / g.norm(dim=1, keepdim=True)
    centres = [unit[y == k].mean(0) for k in range(4)]
    e = made.head(at_boundary).detach()
    e = e / e.norm(dim=1, keepdim=True)
    value = 0.0
    for k in range(3):  # no boundary sample of class 3
        own = e[labels == k].mean(0)
        similar = [float(cosine_similarity(own, c, dim=0)) / 0.1 for c in centres]
        value -= (similar[k] - math.log(sum(map(math.exp, similar)))) / 3
    step = step_of(outputs(features=f), outputs(features=g), y, modules={"align": made})
    step.sources["boundary"] = lambda step: Batch(torch.zeros(5, 1), torch.cat([labels, labels[:1]]), torch.arange(5))
    step._outputs["student", "boundary"] = outputs(features=torch.cat([at_boundary, at_boundary[:1]]))
    step.batch("boundary")
    step._batches["boundary"] = replace(step.batch("boundary"), first=torch.arange(5) < 4)  # the last one is a repeat
    assert float(total(align(), step).detach()) == pytest.approx(value)
    assert ("teacher", "boundary", None) not in align().reads()


RELATIONS = [kind for kind in terms.values() if kind.__module__ == relations.__name__]


@pytest.mark.parametrize("kind", RELATIONS)
@pytest.mark.parametrize("value", [0.0, 1.0, 120.0])
def test_equal_rows_have_finite_gradients_also_in_bfloat16(kind, value):
    s = torch.full((6, 8), value).requires_grad_()
    t = torch.zeros(6, 8)
    t[:, 0] = value
    maps = s.view(6, 2, 2, 2)
    nets = dict.fromkeys(("student", "teacher"), SimpleNamespace(num_classes=8))
    shapes = {(net, layer): shape for net in nets for layer, shape in ((None, (8,)), (-1, (2, 2, 2)), (-2, (2, 2, 2)))}
    made = kind().module(shapes, nets)
    student = outputs(s, s, {-1: maps, -2: maps})
    step = step_of(
        student,
        outputs(t, t, {-1: t.view(6, 2, 2, 2), -2: t.view(6, 2, 2, 2)}),
        modules={} if made is None else {kind.__name__: made},
        boundary=(student, None),
    )
    with torch.autocast("cpu", torch.bfloat16):
        loss = total(kind(), step)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert s.grad.isfinite().all()


def test_maps_are_asked_for_in_one_sentence_before_training():
    nets = {name: build("mlp", shape=(2,), num_classes=3) for name in ("student", "teacher")}
    with pytest.raises(InputError, match=r"affinity needs maps \(C, H, W\), but layer -2 of the student is \(128,\)"):
        (ce() + affinity()).modules(nets)


def test_learned_parts_fit_both_nets():
    nets = {"student": build("cnn-tiny"), "teacher": build("cnn")}
    for kind in (cc, crd, leaf):
        term = kind()
        assert isinstance(term, Pair)
        made = term.module(shapes_of(nets, term.reads()), nets)
        assert {p.shape[1] for p in made.parameters() if p.ndim == 2} <= {8, 128}
