"""Losses on predictions: golden numbers of the published code, slow loops, and logits that overflow."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from golden_cases import Case, check, outputs, step_of, stored, total
from small_nets import gen
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import ce, kd, terms
from amkd_viz.objectives.zoo import batch as of_batch
from amkd_viz.objectives.zoo.batch import batch_gram, class_gram, dist, graph, mlkd, neighbours, skd
from amkd_viz.objectives.zoo.logits import (
    ccc,
    dkd,
    ls_kd,
    margin_bins,
    margin_mse,
    nkd,
    ofa,
    pld,
    prob_mse,
    rld,
    standardised,
    top_classes,
    wttm,
)
from amkd_viz.objectives.zoo.pair import Logits, kl


def zoo(file: str, case: str, term, **more) -> Case:
    return Case(file, term, f"{case}.loss", f"{case}.grad_logits_s", **more)


def seed2(file: str, case: str, term) -> Case:
    names = {"s": "s_logits", "t": "t_logits"}
    return Case(f"seed2_{file}", term, f"loss_{case}", f"grad_s_{case}", **names)


def entropy(weight: float, temperature: float):
    """The part of t^2 H(p, q) that KL does not have."""

    def of(numbers: dict[str, Tensor]) -> Tensor:
        log_p = (numbers["logits_t"] / temperature).log_softmax(1)
        return -weight * temperature**2 * (log_p.exp() * log_p).sum(1).mean()

    return of


CASES = [
    *(zoo("zoo_kd", f"T{t}", kd(temperature=t, t2=True), extra=entropy(1, t)) for t in (1, 3, 4)),
    zoo("zoo_kd", "total", ce() * 0.1 + kd(temperature=4, t2=True) * 0.9, extra=entropy(0.9, 4)),
    zoo("zoo_ls_kd", "T2", ls_kd()),
    zoo("zoo_ls_kd", "T2_w9_ce", ce() * 0.1 + ls_kd() * 9),
    zoo("zoo_dkd", "a1_b8_T4", dkd()),
    zoo("zoo_dkd", "a1_b2_T4", dkd(beta=2)),
    zoo("zoo_dkd", "tckd_T4", dkd(beta=0)),
    zoo("zoo_dkd", "nckd_T4", dkd(alpha=0, beta=1)),
    zoo("zoo_dkd", "a1_b2_T1", dkd(beta=2, temperature=1)),
    zoo("zoo_dkd", "ls_a9_b72_T2", dkd(temperature=2, standardise=True) * 9),
    *(
        Case("seed1_dkd", term, name, f"{name}_grad", "student", "teacher")
        for name, term in (("tckd", dkd(beta=0)), ("nckd", dkd(alpha=0, beta=1)), ("dkd_1_8", dkd()))
    ),
    zoo("zoo_nkd", "paper_g1.5_T1", ce() * 0 + nkd()),
    zoo("zoo_nkd", "paper_g1.5_T2", nkd(temperature=2)),
    zoo("zoo_wttm", "wttm_0.1", wttm(gamma=0.1)),
    zoo("zoo_wttm", "wttm_0.2", wttm()),
    zoo("zoo_wttm", "ttm_0.1", wttm(gamma=0.1, weighted=False)),
    zoo("zoo_wttm", "ttm_0.2", wttm(weighted=False)),
    zoo("zoo_ofa", "eps1.0_T1", ofa()),
    zoo("zoo_ofa", "eps1.5_T1", ofa(eps=1.5)),
    zoo("zoo_ofa", "eps1.0_T4", ofa(temperature=4)),
    *(seed2("ofa", f"eps{e}_T{t}", ofa(eps=e, temperature=t)) for e in (1.0, 1.1, 1.25, 1.5) for t in (1, 4)),
    *(seed2("pld", f"tau{t}", pld(temperature=t)) for t in (1, 4)),
    seed2("margin_mse", "label_vs_teacher_hardest", margin_mse()),
    seed2("margin_mse", "label_vs_all", margin_mse(negative="all")),
    seed2("margin_mse", "interpassage", margin_mse(negative="pairs")),
    *(seed2("borup", f"alpha{a}", prob_mse(labels=a)) for a in (0.0, 0.25, 0.6, 1.0)),
    zoo("zoo_dist", "b1_g1_T1", dist(beta=1, gamma=1, temperature=1)),
    zoo("zoo_dist", "b2_g2_T4", dist()),
    zoo("zoo_dist", "inter_T1", dist(beta=1, gamma=0, temperature=1)),
    zoo("zoo_dist", "intra_T1", dist(beta=0, gamma=1, temperature=1)),
    zoo("zoo_skd", "instance_paper_T4", skd(instance=1, direction=0)),
    zoo("zoo_skd", "direction_paper", skd(instance=0, direction=1)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_those_of_the_published_code(case: Case):
    numbers = stored(case.file)
    s = numbers[case.s].requires_grad_()
    found = total(case.term, step_of(outputs(s), outputs(numbers[case.t]), numbers[case.y]))
    check(found - case.extra(numbers), {"s": s}, numbers[case.loss], {"s": numbers[case.grad]})


@pytest.mark.parametrize(("part", "function"), [("batch", batch_gram), ("class", class_gram)])
@pytest.mark.parametrize("t", [1, 4])
def test_gram_matrices_of_mlkd(part, function, t):
    numbers = stored("zoo_mlkd")
    s = numbers["logits_s"].requires_grad_()
    key = f"{part}_T{t}"
    grads = {"s": numbers[f"{key}.grad_logits_s"]}
    check(function(s, numbers["logits_t"], t), {"s": s}, numbers[f"{key}.loss"], grads)


@pytest.mark.parametrize(
    ("key", "term"),
    [
        ("whole", ce() * 0.1 + ce(on="view2") * 0.1 + mlkd() * 0.9),
        ("whole_ls_T2_w9", ce() * 0.1 + ce(on="view2") * 0.1 + mlkd(temperature=2, standardise=True) * 9),
    ],
)
def test_the_whole_of_mlkd(key, term):
    numbers = stored("zoo_mlkd")
    inputs = {name: numbers[name].requires_grad_() for name in ("logits_s", "logits_s_strong")}
    views = (outputs(inputs["logits_s_strong"]), outputs(numbers["logits_t_strong"]))
    step = step_of(outputs(inputs["logits_s"]), outputs(numbers["logits_t"]), numbers["labels"], view2=views)
    check(total(term, step), inputs, numbers[f"{key}.loss"], {n: numbers[f"{key}.grad_{n}"] for n in inputs})


def test_graph_on_the_edges_of_the_published_code():
    numbers = stored("seed2_ffg2m")
    near = neighbours(numbers["t_feat"], 3)
    ours = {(i, int(j)) for i, row in enumerate(near) for j in row}
    given = set(zip(numbers["src"].tolist(), numbers["dst"].tolist(), strict=True))
    assert given in (ours, {(j, i) for i, j in ours})
    s = numbers["s_logits"].requires_grad_()
    found = total(graph(), step_of(outputs(s), outputs(numbers["t_logits"], numbers["t_feat"])))
    grads = {"s": numbers["grad_s_low"] + numbers["grad_s_high"]}
    check(found, {"s": s}, numbers["low"] + numbers["high"], grads)


@pytest.mark.parametrize("t", [1, 4])
def test_body_of_bpkd_with_pixels_as_samples(t):
    numbers = stored("seed2_bpkd")
    parts = (numbers[name].flatten(2).transpose(1, 2) for name in ("s_logits", "t_logits", "edge_mask"))
    images = [of_batch.body(s, teacher, mask, t) for s, teacher, mask in zip(*parts, strict=True)]
    assert float(sum(images) / len(images)) == pytest.approx(float(numbers[f"body_T{t}"]), rel=1e-9)


# ------------------------------------------------------------------ without a published number


def random(seed: int = 0, n: int = 12, k: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    s, t = 2 * torch.randn(2, n, k, generator=gen(seed), dtype=torch.float64)
    return s.requires_grad_(), t, torch.randint(k, (n,), generator=gen(seed + 1))


def test_rld_is_dkd_where_the_teacher_is_right():
    s, t, _ = random()
    y = t.argmax(1)
    found = total(rld(alpha=2, beta=3), step_of(outputs(s), outputs(t), y))
    expected = total(dkd(alpha=2, beta=3), step_of(outputs(s), outputs(t), y))
    torch.testing.assert_close(found, expected)


def test_likely_classes_and_the_rest_against_a_loop():
    s, t, y = random(k=8)
    each = []
    for a, b in zip(s.detach() / 4, t / 4, strict=True):
        q, p = a.softmax(0).tolist(), b.softmax(0).tolist()
        kept = sorted({*a.topk(2).indices.tolist(), *b.topk(2).indices.tolist()})
        value = sum(p[k] * math.log(p[k] / q[k]) for k in kept)
        rest = [1 - sum(z[k] for k in kept) for z in (p, q)]
        each.append(16 * (value + rest[0] * math.log(rest[0] / rest[1])))
    step = step_of(outputs(s), outputs(t), y)
    assert float(total(top_classes(k=2), step).detach()) == pytest.approx(sum(each) / len(each))
    torch.testing.assert_close(total(top_classes(k=8), step), 16 * kl(s, t, 4).mean())


def test_rld_of_a_wrong_teacher_against_a_loop():
    s, t, y = random()
    y[0], y[1] = t[0].argmin(), t[1].argmax()  # nothing below the label, everything below it
    each = []
    for a, b, label in zip(s.detach() / 4, t / 4, y, strict=True):
        q, p = a.softmax(0), b.softmax(0)
        top = float(p.max())
        value = top * math.log(top / float(q[label])) + (1 - top) * math.log((1 - top) / (1 - float(q[label])))
        below = [k for k in range(5) if b[k] < b[label]]
        for k in below:
            r_t, r_s = (float(z[k].exp() / z[below].exp().sum()) for z in (b, a))
            value += 4 * r_t * math.log(r_t / r_s)
        each.append(16 * value)
    found = total(rld(), step_of(outputs(s), outputs(t), y)).detach()
    assert float(found) == pytest.approx(sum(each) / len(each))


def test_bins_of_the_margin_against_a_loop():
    s, t, y = random(n=40)
    margins = [
        [float(row[k] - max(row[j] for j in range(5) if j != k)) for row, k in zip(z, y, strict=True)]
        for z in (s.detach(), t)
    ]
    low, high = (float(torch.tensor(margins[1], dtype=torch.float64).quantile(q)) for q in (0.01, 0.99))
    h = (high - low) / 15
    value = 0.0
    for u_s, u_t in zip(*margins, strict=True):
        b_s, b_t = ([math.exp(-((u - low - k * h) ** 2) / (2 * h * h)) for k in range(16)] for u in (u_s, u_t))
        pairs = zip([b / sum(b_s) for b in b_s], [b / sum(b_t) for b in b_t], strict=True)
        value += sum(p * math.log(p / q) for q, p in pairs) / 40
    assert float(total(margin_bins(), step_of(outputs(s), outputs(t), y))) == pytest.approx(value)


def test_concordance_sees_scale_and_offset_and_correlation_does_not():
    s, t, y = random()
    assert float(total(ccc(), step_of(outputs(t.clone()), outputs(t), y))) == pytest.approx(0, abs=1e-7)
    for moved in (2 * t, t + 1):
        assert float(total(ccc(), step_of(outputs(moved), outputs(t), y))) > 0.05
    a, b = s[:, 2].detach(), t[:, 2]
    one = (
        2
        * ((a - a.mean()) * (b - b.mean())).mean()
        / (a.var(correction=0) + b.var(correction=0) + (a.mean() - b.mean()) ** 2)
    )
    found = total(ccc(), step_of(outputs(s[:, 2:3]), outputs(t[:, 2:3]), y * 0))
    assert float(found) == pytest.approx(1 - float(one))


def test_margins_at_the_boundary_are_those_between_its_two_classes():
    s, t, y = random()
    with pytest.raises(InputError, match=r"margin_mse\.negative must be hardest, all or pairs on the batch 'clean'"):
        total(margin_mse(negative="target"), step_of(outputs(s), outputs(t), y))
    base, target = y, (y + 1) % 5
    step = step_of(outputs(s), outputs(t), y, boundary=(outputs(s), outputs(t)))
    step.sources["boundary"] = lambda step: replace(step.clean, samples=SimpleNamespace(base=base, target=target))
    d = (s - t).detach()
    expected = sum(float(d[i, base[i]] - d[i, target[i]]) ** 2 for i in range(12)) / 12
    assert float(total(margin_mse(negative="target", on="boundary"), step)) == pytest.approx(expected)


def test_standardised_rows_have_unit_spread():
    z = standardised(random()[0].detach())
    torch.testing.assert_close(z.mean(1), torch.zeros(12, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(z.std(1), torch.ones(12, dtype=torch.float64), rtol=1e-6, atol=0)


ALL = {name: kind for name, kind in terms.items() if issubclass(kind, Logits) or kind in (mlkd, graph)}
LOGITS = {name: kind for name, kind in ALL.items() if kind().on == "clean"}


LOSSES = [
    *(kind() for kind in LOGITS.values()),
    *(dkd(standardise=True), mlkd(standardise=True), wttm(weighted=False), dkd(temperature=1), rld(temperature=1)),
    *(margin_mse(negative="all"), margin_mse(negative="pairs")),
]


@pytest.mark.parametrize("term", LOSSES, ids=repr)
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("kind", ["gap", "equal", "both"])
def test_finite_at_gaps_of_120_and_at_equal_logits(term, autocast, kind):
    s, t = torch.zeros(2, 8, 6)
    if kind != "equal":
        for i in range(8):
            s[i, i % 6], t[i, (i + i // 3) % 6] = 120.0, 120.0
    if kind == "both":
        t[4:] = 0
        s[6:] = 0
    s.requires_grad_()
    made = step_of(outputs(s), outputs(t, t), torch.arange(8) % 6, view2=(outputs(s), outputs(t)))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = total(term, made)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert s.grad.isfinite().all()


@pytest.mark.parametrize("term", LOSSES, ids=repr)
def test_bf16_autocast_changes_no_loss(term):
    s, t, y = (x.detach() if x.dtype == torch.long else x.detach().float() for x in random(5, 16))
    values = []
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            values.append(total(term, step_of(outputs(s), outputs(t, t), y, view2=(outputs(s), outputs(t)))))
    assert torch.equal(*values)


def test_kl_is_zero_for_equal_nets():
    s, _, _ = random()
    torch.testing.assert_close(kl(s, s.detach(), 3.0), torch.zeros(12, dtype=torch.float64), rtol=0, atol=1e-12)
