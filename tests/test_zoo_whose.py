"""Whose knowledge: golden numbers of routers, neighbours and fused heads; past selves; the teacher's head reused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from golden_cases import check, outputs, step_of, stored
from small_nets import gen

from amkd_viz.core.errors import InputError
from amkd_viz.models import build
from amkd_viz.objectives.selves import selves
from amkd_viz.objectives.zoo.pair import kl
from amkd_viz.objectives.zoo.peers import RAMP, FusionHead, ffl, mutual, towards
from amkd_viz.objectives.zoo.whose import Gate, Reused, balance, knn, mst, neighbours_kl, simkd, swapped
from amkd_viz.runs.prepare import prepare
from amkd_viz.training import Recipe


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=gen(seed), dtype=torch.float64)


def test_labels_of_neighbours_are_those_of_the_published_code():
    numbers = stored("seed1_knn_kd")
    for tau in (10, 100):
        s = numbers["student"].requires_grad_()
        found = neighbours_kl(s, numbers["neighbour_distances"], numbers["neighbour_labels"], tau).sum()
        check(found, {"s": s}, numbers[f"loss_sum_t{tau}"], {"s": numbers[f"grad_t{tau}"]})


def test_neighbours_of_a_sample_leave_it_out():
    features, y = random(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    s = random(3, 3, seed=1)
    step = step_of(outputs(s), outputs(s), y[:3])
    step.known = lambda net: (outputs(random(7, 3), features), y)
    loss = knn(k=2, tau=0.5)(step)
    d = (features[:3, None] - features[None]).norm(dim=2)
    d[range(3), range(3)] = torch.inf
    near, rows = d.topk(2, 1, largest=False)
    p = torch.zeros(3, 3, dtype=torch.float64)
    for i in range(3):
        share = (-near[i] / (0.5 * near.median())).softmax(0)
        for j in range(2):
            p[i, y[rows[i, j]]] += share[j]
    torch.testing.assert_close(loss, torch.xlogy(p, p).sum(1) - (p * s.log_softmax(1)).sum(1))


def routed(numbers, route: str, teachers: int = 4, top: int = 1):
    s = numbers["s_logits"].clone().requires_grad_()
    step = step_of(outputs(s), outputs(numbers["teachers"][0]), torch.arange(16) % 10)
    for place in range(2, teachers + 1):
        step.nets = {**step.nets, f"teacher{place}": None}
        step._outputs[f"teacher{place}", "clean"] = outputs(numbers["teachers"][place - 1])
    gate = Gate(10, teachers).double()
    gate.load_state_dict({f"{n}.{p}": numbers[f"gate_{n}_{p}"] for n in ("fc1", "fc2") for p in ("weight", "bias")})
    step.modules["mst"] = gate
    return s, step, gate, mst(teachers=teachers, route=route, top=top)(step)


def test_a_router_as_released():
    numbers = stored("seed2_mst")
    for top in (1, 2):
        s, _, gate, loss = routed(numbers, "code", top=top)
        torch.testing.assert_close(gate(s).detach(), numbers["gate_prob"], rtol=1e-9, atol=0)
        torch.testing.assert_close(balance(gate(s)).detach(), numbers["load_balance_kl"], rtol=1e-9, atol=1e-12)
        chosen = loss.mean() - balance(gate(s))
        check(chosen, {"s": s}, numbers[f"kd_top{top}"], {"s": numbers[f"grad_s_top{top}"]})


def test_a_soft_router_mixes_as_released_and_learns_whom_to_choose():
    numbers = stored("seed2_mst")
    s, step, gate, loss = routed(numbers, "soft")
    check(loss.mean(), {"s": s}, numbers["kd_weighted"], {"s": numbers["grad_s_weighted"]})
    s, step, gate, loss = routed(numbers, "soft")
    each = torch.stack([16 * kl(s, t, 4) for t in numbers["teachers"]], 1)
    loss.mean().backward()
    wrong = torch.stack([F.cross_entropy(t, step.clean.y, reduction="none") for t in numbers["teachers"]], 1)
    before = gate(s.detach())
    with torch.no_grad():
        for p in gate.parameters():
            p -= 0.01 * p.grad
    cost = (each + wrong).detach()
    assert (gate(s.detach()) * cost).sum(1).mean() < (before * cost).sum(1).mean()
    _, _, _, best = routed(numbers, "best")
    torch.testing.assert_close(best, each.gather(1, wrong.argmin(1, keepdim=True))[:, 0])


def test_a_fused_head_is_that_of_the_published_code():
    numbers = stored("seed1_ffl")
    inputs = {name: numbers[name].requires_grad_() for name in ("logits_1", "logits_2", "fmap_1", "fmap_2")}
    y, part = numbers["labels"], FusionHead(16, 8, 10).double()
    names = (
        "conv1_weight",
        "bn1_weight",
        "bn1_bias",
        "conv1_1_weight",
        "bn1_1_weight",
        "bn1_1_bias",
        "fc2_weight",
        "fc2_bias",
    )
    weights = {".".join(n.rsplit("_", 1)): numbers[f"fm_{n}"] for n in names}
    part.load_state_dict(weights, strict=False)
    step = step_of(outputs(inputs["logits_1"], layers={-1: inputs["fmap_1"]}), outputs(inputs["logits_1"]), y)
    step.nets = {**step.nets, "peer": None}
    step._outputs["peer", "clean"] = outputs(inputs["logits_2"], layers={-1: inputs["fmap_2"]})
    step.modules["ffl"] = part
    step.progress = RAMP / 2
    torch.testing.assert_close(
        part(inputs["fmap_1"], inputs["fmap_2"]).detach(), numbers["fused_logits"], rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(towards(numbers["fused_logits"], inputs["logits_1"], 3).mean().detach(), numbers["kl_1"])
    total = ffl()(step).mean() + F.cross_entropy(inputs["logits_1"], y)
    check(total, inputs, numbers["total"], {name: numbers[f"grad_{name}"] for name in inputs})


def test_mutual_learning_teaches_both():
    s, p = random(6, 4).requires_grad_(), random(6, 4, seed=1).requires_grad_()
    step = step_of(outputs(s), outputs(s), torch.arange(6) % 4)
    step.nets, step._outputs["peer", "clean"] = {**step.nets, "peer": None}, outputs(p)
    loss = mutual()(step)
    q, r = s.softmax(1).detach(), p.softmax(1).detach()
    labels = -p.log_softmax(1)[range(6), step.clean.y]
    expected = labels + (r * (r / q).log()).sum(1) + (q * (q / r).log()).sum(1)
    torch.testing.assert_close(loss.detach(), expected.detach())
    loss.sum().backward()
    torch.testing.assert_close(s.grad, q - r)


def test_a_mended_teacher_predicts_the_label():
    t, y = torch.tensor([[3.0, 1, 2], [0, 5, 1]]), torch.tensor([2, 1])
    s = torch.zeros(2, 3, requires_grad=True)
    swapped(temperature=1).rows(s, t, y).sum().backward()
    mended = torch.tensor([[2.0, 1, 3], [0, 5, 1]]).softmax(1)
    torch.testing.assert_close(s.grad, 1 / 3 - mended)


def test_the_teachers_head_is_the_students():
    nets = {name: build(name_, shape=(1, 8, 8), num_classes=5, seed=3).eval() for name, name_ in
            (("student", "cnn-tiny"), ("teacher", "cnn"))}  # fmt: skip
    term = simkd()
    part = term.module({(n, None): (nets[n].feature_width,) for n in nets}, nets)
    assert isinstance(part, Reused)
    x = torch.rand(4, 1, 8, 8, generator=gen())
    s, t = (nets[n].outputs(x) for n in ("student", "teacher"))
    part(s.features)  # moves the running statistics
    part.eval()
    part.after_step(nets)
    s = nets["student"].outputs(x)
    torch.testing.assert_close(s.logits, nets["teacher"].head(part(s.features)))
    loss = term(step_of(s, t, modules={"simkd": part}))
    torch.testing.assert_close(loss, (part(s.features) - t.features).square().mean(1))
    nets["student"].head = torch.nn.Sequential(nets["student"].head)
    with pytest.raises(
        InputError, match="simkd needs nets with one linear head, but that of the student is another one"
    ):
        term.module({}, nets)


def test_past_selves_follow_the_student():
    student = build("cnn-tiny", shape=(1, 8, 8), num_classes=4)
    x = torch.rand(3, 1, 8, 8, generator=gen())
    made = {name: kind(student) for name, kind in selves.items()}
    votes = [student.eval()(x).detach()] * 3
    for epoch in range(3):
        for p in student.parameters():
            p.data += 0.3 * torch.randn(p.shape, generator=gen(epoch))
        before = made["ema"].net.head.weight.clone()
        made["ema"].after_step(student, 200)
        torch.testing.assert_close(made["ema"].net.head.weight, 0.99 * before + 0.01 * student.head.weight)
        for own in made.values():
            own.after_epoch(student)
        votes = [*votes[1:], student(x).detach()]
        torch.testing.assert_close(made["past"].net(x), votes[-1])
        mean = torch.stack([(z / 4).softmax(1) for z in votes]).mean(0)
        torch.testing.assert_close((made["vote"].net(x) / 4).softmax(1), mean)
    fresh = selves["ema"](build("cnn-tiny", shape=(1, 8, 8), num_classes=4, seed=9))
    fresh.after_step(student, 0)  # the first update replaces the fresh net
    torch.testing.assert_close(fresh.net(x), student(x))


def test_a_missing_peer_is_named_before_a_teacher_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path))
    recipe = Recipe(dataset="blobs", teacher="mlp-tiny", student="mlp-tiny", method="dml", device="cpu")
    with pytest.raises(InputError, match="A term reads the net 'peer', but this recipe has student, teacher"):
        prepare(recipe)
    assert list(tmp_path.iterdir()) == []
