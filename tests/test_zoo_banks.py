"""Banks, codes, regions, and trust that learns: golden numbers of the published code, and what is our reading."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from golden_cases import check, outputs, step_of, stored
from small_nets import gen

from amkd_viz.core.errors import InputError
from amkd_viz.models import build
from amkd_viz.objectives.zoo.banks import Banks, Codes, bits_kl, brcd, crd_bank, masked_contrast, nt_xent, signs
from amkd_viz.objectives.zoo.geometry import Controller, geometry, tgeo
from amkd_viz.objectives.zoo.logits import dkd
from amkd_viz.objectives.zoo.regions import on_regions, regions, sdd


def test_contrast_with_a_bank_is_that_of_the_published_code():
    numbers = stored("zoo_crd")
    made, f = Banks(64, 128, 16, 64).double(), numbers["f_s"].requires_grad_()
    for part, net in ((made.student, "s"), (made.teacher, "t")):
        part.load_state_dict({name: numbers[f"embed_{net}_{name}"] for name in ("weight", "bias")})
    made.student_bank.copy_(numbers["memory_s_before"])
    made.teacher_bank.copy_(numbers["memory_t_before"])
    temperature = float(torch.tensor(0.07))  # theirs is a float32
    for case in ("first", "second"):
        e, u = F.normalize(made.student(f), dim=1), F.normalize(made.teacher(numbers["f_t_wide"]), dim=1)
        drawn = numbers["contrast_index"][:, 1:]
        found = made.contrast(e, u, numbers["index"], drawn, temperature, 0.5).mean()
        grads = {"f": numbers[f"{case}.grad_f_s"], "w": numbers[f"{case}.grad_embed_t_weight"]}
        check(found, {"f": f, "w": made.teacher.weight}, numbers[f"{case}.loss"], grads)
        if case == "first":
            torch.testing.assert_close(made.student_bank, numbers["memory_s_after"], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(made.teacher_bank, numbers["memory_t_after"], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(made.z.sort().values, numbers["Z"], rtol=1e-7, atol=0)


def test_a_bank_holds_every_sample_and_moves_only_those_of_the_batch():
    step = step_of(outputs(torch.zeros(4, 5), torch.randn(4, 6)), outputs(torch.zeros(4, 5), torch.randn(4, 7)))
    term = crd_bank(negatives=8, width=3)
    shapes = {("student", None): (6,), ("teacher", None): (7,), ("batch", None): (4, 10)}
    part = term.module(shapes, {})
    step.modules["crd_bank"] = part
    before = part.student_bank.clone()
    assert term(step).shape == (4,)
    moved = (part.student_bank != before).any(1)
    assert moved.tolist() == [True] * 4 + [False] * 6


def test_codes_are_compared_as_in_the_published_code():
    numbers = stored("seed1_brcd")
    clusters, ones = (numbers["cluster"], numbers["cluster_of_augmented"]), torch.ones(16, 32, dtype=torch.float64)
    each = (torch.arange(16), torch.arange(16) + 16)
    mask = numbers["mask_per_cluster"][numbers["cluster"]]
    codes, trust = (numbers["teacher_codes_i"], numbers["teacher_codes_j"]), torch.full((32,), 0.5).double()
    own, q = numbers["alpha_vec"], numbers["code_logits_j"].sigmoid()
    for name, grad, loss in (
        ("brcd_plain_alpha05", "brcd_plain_grad", lambda p: masked_contrast(signs(p), *codes, each, trust, ones, 0.3)),
        ("brcd_masked", "brcd_masked_grad", lambda p: masked_contrast(signs(p), *codes, clusters, own, mask, 0.3)),
        (
            "brcd_zero_mask",
            "brcd_zero_mask_grad",
            lambda p: masked_contrast(signs(p), *codes, clusters, own, 0 * mask, 0.3),
        ),
        ("ntxent", "ntxent_grad_i", lambda p: nt_xent(signs(p), signs(q), 0.3)),
        ("bernoulli_kl", "bernoulli_kl_grad_i", lambda p: bits_kl(p, q)),
    ):
        u = numbers["code_logits_i"].clone().requires_grad_()
        check(loss(u.sigmoid()), {"u": u}, numbers[name], {"u": numbers[grad]})
    assert torch.equal(signs(numbers["code_logits_i"].sigmoid()), numbers["z_i"])
    part = Codes(5, 6, 8)
    f, g = torch.randn(2, 3, 5, generator=gen()).unbind()
    wide, twin = torch.randn(2, 3, 6, generator=gen(1)).unbind()
    p, q, y = part.student(f), part.student(g), torch.arange(3)
    made = [outputs(torch.zeros(3, 4), x) for x in (f, wide, g, twin)]
    loss = brcd(bits=8)(step_of(made[0], made[1], y, {"brcd": part}, view2=(made[2], made[3])))
    c = part.teacher(wide), part.teacher(twin)  # one sample a class: all bits agree
    whole = masked_contrast(signs(p), *c, (y, y), torch.full((6,), 0.8), torch.ones(3, 8), 0.3)
    torch.testing.assert_close(loss, whole + nt_xent(signs(p), signs(q), 0.3) + 0.001 * bits_kl(p, q))


def test_regions_weigh_as_in_the_published_code():
    numbers = stored("zoo_sdd")
    t, y = numbers["patches_t"].transpose(1, 2), numbers["labels"]
    for case, own in (("sd_kd_T4", None), ("sd_dkd_a1_b2_T4", dkd(temperature=4, beta=2))):
        s = numbers["patches_s"].clone().requires_grad_()
        found = on_regions(s.transpose(1, 2), t, y, 4, own).mean()
        check(found, {"s": s}, numbers[f"{case}.loss"], {"s": numbers[f"{case}.grad_patches_s"]})
    m = torch.randn(2, 3, 8, 8, generator=gen())
    made = regions(m, (1, 2, 4))
    assert made.shape == (2, 21, 3)
    torch.testing.assert_close(made[:, 0], m.mean((2, 3)))
    torch.testing.assert_close(made[:, 4], m[:, :, 4:, 4:].mean((2, 3)))
    nets = {n: build("mlp-tiny", shape=(2,), num_classes=3) for n in ("student", "teacher")}
    shapes = {(n, at): (16,) if at is None else (8, 2, 2) for n in nets for at in (None, -1)}
    with pytest.raises(
        InputError, match="sdd needs a linear head on the means of the last map, but the student has 16"
    ):
        sdd().module(shapes, nets)


def test_a_state_and_its_trust_are_those_of_the_published_code():
    numbers = stored("seed2_tgeo")
    s, t, y = numbers["s_logits"].requires_grad_(), numbers["t_logits"], numbers["labels"]
    h = F.one_hot(y, 10).double()
    means = (h.T @ t.softmax(1)) / h.sum(0)[:, None].clamp_min(1)
    state = geometry(s.detach().softmax(1), t.softmax(1), h, h @ means)
    torch.testing.assert_close(state, numbers["state"], rtol=1e-9, atol=1e-15)
    part = Controller(10).double()
    part.load_state_dict({f"{n}.{w}": numbers[f"{n}_{w}"] for n in ("fc1", "fc2", "fc3") for w in ("weight", "bias")})
    torch.testing.assert_close(part(state).detach(), numbers["alpha"], rtol=1e-9, atol=0)

    f = torch.randn(16, 6, generator=gen(), dtype=torch.float64)
    net = build("mlp-tiny", shape=(2,), num_classes=10).double()
    net.head = torch.nn.Linear(6, 10).double()
    held = outputs(torch.zeros(16, 10, dtype=torch.float64), torch.randn(16, 6, generator=gen(1), dtype=torch.float64))
    step = step_of(outputs(s, f), outputs(t, f), y, modules={"tgeo": part}, validation=(held, None))
    step.nets = {"student": net, "teacher": None}
    step.known = lambda name: (outputs(t, f), y)
    loss = tgeo()(step)
    check(loss.mean(), {"s": s}, numbers["loss_intended"], {"s": numbers["grad_s_intended"]})

    def outer() -> float:
        share = part(state)[:, None]
        soft = 1.5 * ((s / 1.5).softmax(1) - (t / 1.5).softmax(1))
        apart = (share * soft + (1 - share) * (s.softmax(1) - h)).detach()
        head = net.head.weight - apart.T @ f / 16, net.head.bias - apart.mean(0)
        return float(F.cross_entropy(held.features @ head[0].T + head[1], y).detach())

    bias = part.fc3.bias
    (gradient,) = torch.autograd.grad(tgeo()(step).mean(), bias)
    values = []
    for side in (1, -1):
        bias.data += side * 1e-4
        values.append(outer())
        bias.data -= side * 1e-4
    assert float(gradient) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-5)
