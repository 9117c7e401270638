"""Fused stages and exits: golden numbers of the published code, and slow loops."""

from __future__ import annotations

import pytest
import torch
from golden_cases import check, outputs, step_of, stored, total
from small_nets import gen
from torch import nn
from torch.nn.functional import cross_entropy

from amkd_viz.models import build, pre
from amkd_viz.objectives import methods, shapes_of
from amkd_viz.objectives.zoo.relations import info_nce
from amkd_viz.objectives.zoo.review import Fuse, Fusion, byot, fused, hcl, ofa_branches, pyramid, responses


@pytest.mark.parametrize(("case", "places"), [("tap1", [1]), ("tap2", [2]), ("tap3", [3]), ("same", [1, 2, 3])])
def test_pyramids_are_those_of_the_published_code(case, places):
    numbers = stored("zoo_hcl")
    maps = {f"tap{i}_s": numbers[f"tap{i}_s"].requires_grad_() for i in places}
    found = sum(pyramid(numbers[f"tap{i}_s"], numbers[f"tap{i}_t"]).mean() for i in places)
    check(found, maps, numbers[f"{case}.loss"], {name: numbers[f"{case}.grad_{name}"] for name in maps})


def test_pyramids_with_pooled_features():
    numbers = stored("seed1_reviewkd")
    maps = {f"student_{i}": numbers[f"student_{i}"].requires_grad_() for i in range(3)}
    found = sum(pyramid(numbers[f"student_{i}"], numbers[f"teacher_{i}"]).mean() for i in range(3))
    check(found, maps, numbers["hcl"], {f"student_{i}": numbers[f"hcl_grad_{i}"] for i in range(3)})


def test_a_fusion_is_that_of_the_published_code():
    numbers = stored("seed1_reviewkd")
    level = Fuse(8, 16, 12, deepest=False).double()
    names = {
        "conv1.0": "conv1_0",
        "conv1.1": "conv1_1",
        "conv2.0": "conv2_0",
        "conv2.1": "conv2_1",
        "attention": "att_conv_0",
    }
    for ours, theirs in names.items():
        for kind in ("weight", "bias"):
            if f"abf_{theirs}_{kind}" in numbers:
                getattr(level.get_submodule(ours), kind).data.copy_(numbers[f"abf_{theirs}_{kind}"])
    x, deep = numbers["student_0"].requires_grad_(), numbers["deep"].requires_grad_()
    out, residual = level(x, deep)
    torch.testing.assert_close(out, numbers["abf_out"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(residual, numbers["abf_residual"], rtol=1e-9, atol=1e-12)
    grads = torch.autograd.grad((out * numbers["probe"]).sum(), [x, deep])
    for grad, name in zip(grads, ("abf_grad_x", "abf_grad_deep"), strict=True):
        assert (grad - numbers[name]).abs().max() <= 1e-8 * numbers[name].abs().max()


def test_exits_are_those_of_the_published_code():
    numbers = stored("seed1_byot")
    y, names = numbers["labels"], [*(f"logits_{i}" for i in ("final", 1, 2, 3)), "feature_1"]
    inputs = {name: numbers[name].requires_grad_() for name in names}
    final = outputs(numbers["logits_final"].detach(), numbers["feature_final"].flatten(1))
    loss = 0.9 * cross_entropy(inputs["logits_final"], y)
    for i in (1, 2, 3):
        loss = loss + byot().exit(numbers[f"feature_{i}"].flatten(1), numbers[f"logits_{i}"], final, y).mean()
    expected = {f"logits_{i}": numbers[f"grad_{i}"] for i in ("final", 1, 2, 3)}
    check(loss, inputs, numbers["total"], expected | {"feature_1": numbers["grad_feature_1"]})


@pytest.mark.parametrize(
    ("file", "s", "t"), [("zoo_ofa", "logits_s", "logits_t"), ("seed2_ofa", "s_logits", "t_logits")]
)
def test_branches_have_the_loss_of_the_published_code(file, s, t):
    numbers = stored(file)
    z = numbers[s].requires_grad_()
    found = ofa_branches(eps=1.5).exit(z, z, outputs(numbers[t]), numbers["labels"]).mean()
    case = (
        ("eps1.5_T1.loss", "eps1.5_T1.grad_logits_s") if file == "zoo_ofa" else ("loss_eps1.5_T1", "grad_s_eps1.5_T1")
    )
    check(found, {"z": z}, numbers[case[0]], {"z": numbers[case[1]]})


# ------------------------------------------------------------------ terms on nets


def nets():
    return {
        "student": build("cnn-tiny", num_classes=4, shape=(1, 8, 8)).train(),
        "teacher": build("cnn-small", num_classes=4, shape=(1, 8, 8)).eval(),
    }


def seen(term, pair):
    """Outputs of both nets for a term, and its learned part."""
    reads = [*term.reads(), ("teacher", "clean", None)]
    x = torch.rand(6, 1, 8, 8, generator=gen())
    return [net.outputs(x, term.layers()) for net in pair.values()], term.module(shapes_of(pair, reads), pair)


def test_review_against_its_parts():
    pair = nets()
    (s, t), made = seen(hcl(), pair)
    assert isinstance(made, Fusion)
    maps = made([s.layers[pre(-2)], s.layers[pre(-1)], s.features[..., None, None]])
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 8, 8), (16, 4, 4), (16, 1, 1)]
    theirs = [t.layers[pre(-2)], t.layers[pre(-1)], t.features[..., None, None]]
    expected = sum(float(pyramid(m, n).mean().detach()) for m, n in zip(maps, theirs, strict=True))
    found = total(hcl(), step_of(s, t, modules={"hcl": made}))
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_fused_against_its_parts():
    pair = nets()
    (s, t), made = seen(fused(width=5), pair)
    expected = 0.0
    ours, theirs = made.student([s.layers[-2], s.layers[-1]]), made.teacher([t.layers[-2], t.layers[-1]])
    for m, n in zip(ours, theirs, strict=True):
        expected += float(info_nce(m.mean((2, 3)), n.mean((2, 3)), 0.1).detach())
    assert float(total(fused(width=5), step_of(s, t, modules={"fused": made})).detach()) == pytest.approx(expected)


def test_exits_read_no_teacher_and_their_last_stage_gets_no_gradient():
    pair = nets()
    (s, _), made = seen(byot(), pair)
    assert byot().reads() == [("student", "clean", None), ("student", "clean", -2)]
    assert isinstance(made, nn.ModuleList)
    step = step_of(s, s, modules={"byot": made})
    total(byot(), step).backward()
    assert pair["student"].head.weight.grad is None
    assert made[0].head.weight.grad is not None
    assert pair["student"].body.stage1[0].weight.grad is not None


@pytest.mark.parametrize("name", ["review", "fused", "byot", "ofa"])
def test_finite_on_equal_maps_also_in_bfloat16(name):
    pair = nets()
    objective = methods[name]()
    modules = objective.modules(pair)
    x = torch.zeros(4, 1, 8, 8)
    layers = [layer for _, _, layer in objective.reads() if layer is not None]
    s, t = (net.outputs(x, list(dict.fromkeys(layers))) for net in pair.values())
    step = step_of(s, t, torch.arange(4), modules=modules)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(step)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in pair["student"].parameters())


def test_answers_of_stages_against_a_loop():
    nets = {name: build(arch, shape=(1, 8, 8), num_classes=5, seed=3) for name, arch in
            (("student", "cnn-tiny"), ("teacher", "cnn"))}  # fmt: skip
    term = responses(temperature=2)
    shapes = {("student", None): (6,), ("teacher", None): (7,), ("student", -2): (3, 4, 4), ("teacher", -2): (4, 4, 4)}
    part = term.module(shapes, nets)
    z = torch.randn(2, 4, 5, generator=gen())
    m, n = torch.randn(4, 3, 4, 4, generator=gen(1), requires_grad=True), torch.randn(4, 4, 4, 4, generator=gen(2))
    y = torch.tensor([0, 1, 2, 4])
    step = step_of(outputs(z[0], layers={-2: m}), outputs(z[1], layers={-2: n}), y, {"responses": part})
    loss = term(step)
    a, b = part[0][0](m)[1].detach(), part[1][0](n)[1].detach()
    for i in range(4):
        expected = -a[i].log_softmax(0)[y[i]] - b[i].log_softmax(0)[y[i]]
        for target in (b[i], z[0, i]):
            p = (target / 2).softmax(0)
            expected = expected + 4 * (p * (p.log() - (a[i] / 2).log_softmax(0))).sum()
        torch.testing.assert_close(loss[i].detach(), expected)
    loss.sum().backward()
    teacher_head = part[1][0].head.weight
    of_labels = torch.autograd.grad(cross_entropy(part[1][0](n)[1], y, reduction="sum"), teacher_head)[0]
    torch.testing.assert_close(teacher_head.grad, of_labels)  # a teacher's exit learns from labels alone
