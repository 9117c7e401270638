"""Weights per sample: golden numbers, slow loops, and what they keep between steps."""

from __future__ import annotations

import pytest
import torch
from golden_cases import check, outputs, step_of, stored, total
from small_nets import gen
from torch import Tensor

from amkd_viz.models import build
from amkd_viz.objectives import ce, kd, methods
from amkd_viz.objectives.zoo.per_sample import (
    Confusions,
    ada,
    confusion,
    confusion_weights,
    cosine,
    near,
    per_sample,
    rest,
    right,
    sure,
    wls,
)


def random(n: int = 12, k: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    s, t = 2 * torch.randn(2, n, k, generator=gen(), dtype=torch.float64)
    return s, t, torch.randint(k, (n,), generator=gen(1))


def entropies(z: Tensor, temperature: float) -> Tensor:
    log_p = (z / temperature).log_softmax(1)
    return -(temperature**2) * (log_p.exp() * log_p).sum(1)


@pytest.mark.parametrize("t", [1, 4])
def test_gkd_is_that_of_the_published_code(t):
    numbers = stored("seed1_channel_guided")
    s, teacher, y = numbers["student"].requires_grad_(), numbers["teacher"], numbers["labels"]
    found = total(kd(temperature=t, t2=True) * right(down=0), step_of(outputs(s), outputs(teacher), y))
    known = teacher.argmax(1) == y
    assert int(known.sum()) == int(numbers["teacher_right"])
    extra = entropies(teacher, t)[known].mean()
    check(found - extra, {"s": s}, numbers[f"gkd_t{t}"], {"s": numbers[f"gkd_t{t}_grad"]})


def test_ccd_is_that_of_the_published_code():
    numbers = stored("seed1_ccd")
    s, t, y = numbers["student"].requires_grad_(), numbers["teacher"], numbers["labels"][::2]
    step = step_of(outputs(s[::2]), outputs(t[::2]), y, jda=(outputs(s[1::2]), outputs(t[1::2])))
    weight = cosine(on="jda")(step)
    torch.testing.assert_close(weight, numbers["cosine_weight"], rtol=1e-9, atol=0)
    extra = 0.5 * (entropies(t[::2], 4).mean() + (weight * entropies(t[1::2], 4)).mean())
    check(methods["ccd"]()(step) - extra, {"s": s}, numbers["ccd_loss"], {"s": numbers["ccd_grad"]})


def test_ada_and_wls_are_those_of_the_published_code():
    numbers = stored("seed2_tgeo")
    step = step_of(outputs(numbers["s_logits"]), outputs(numbers["t_logits"]), numbers["labels"])
    torch.testing.assert_close(ada()(step), numbers["alpha_ada"], rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(wls()(step), numbers["alpha_wls"], rtol=1e-9, atol=0)
    torch.testing.assert_close(rest(wls())(step), 1 - numbers["alpha_wls"], rtol=1e-9, atol=1e-15)


def test_weights_of_a_confusion_matrix_are_those_of_the_published_code():
    numbers = stored("seed2_gt_weight")
    found = confusion_weights(numbers["confusion"], numbers["labels"], numbers["pred"])
    torch.testing.assert_close(found, numbers["w_sqrt1_dia0_reg1"], rtol=1e-9, atol=0)


def test_the_confusion_matrix_moves_the_rows_that_are_present():
    made = Confusions(3)
    assert torch.equal(made.update(torch.tensor([0, 0, 2]), torch.tensor([0, 1, 2]), 0.9)[1], torch.zeros(3))
    rows = made.update(torch.tensor([0, 1]), torch.tensor([0, 0]), 0.9)
    expected = torch.tensor([[0.9 * 0.5 + 0.1, 0.9 * 0.5, 0], [1, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(rows, expected)
    assert list(
        methods["confusion"]().modules(
            {n: build("mlp-tiny", shape=(2,), num_classes=3) for n in ("student", "teacher")}
        )
    ) == [repr(confusion())]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (sure(), lambda z, y: float(z.softmax(0).max())),
        (ada(), lambda z, y: max(0.0, float(z.softmax(0)[y] - (1 - z.softmax(0)[y]) / 4))),
        (right(up=1, down=0.2), lambda z, y: 1.0 if int(z.argmax()) == y else 0.2),
    ],
    ids=["sure", "ada", "right"],
)
def test_weights_against_a_loop(weight, expected):
    s, t, y = random()
    w = torch.tensor([expected(z, int(label)) for z, label in zip(t, y, strict=True)], dtype=torch.float64)
    if isinstance(weight, right):
        w = w / w.mean()
    torch.testing.assert_close(weight(step_of(outputs(s), outputs(t), y)), w)


def test_right_of_nothing_is_0_and_near_prefers_small_leads():
    s, t, _ = random()
    wrong = t.argmin(1)
    assert float(total(kd() * right(down=0), step_of(outputs(s), outputs(t), wrong))) == 0
    w = near()(step_of(outputs(s), outputs(t), wrong))
    top = t.topk(2, 1).values
    assert float(w.mean()) == pytest.approx(1)
    assert torch.equal((top[:, 0] - top[:, 1]).argsort(), w.argsort(descending=True))


def test_a_past_self_is_trusted_where_it_was_right():
    s, t, y = random()
    step = step_of(outputs(s), outputs(t), y)
    step.nets = {"student": None, "past": None}
    step._outputs["past", "clean"] = outputs(t)
    w = [1.0 if int(z.argmax()) == label else 0.2 for z, label in zip(t, y.tolist(), strict=True)]
    each = [-9 * float(((a / 3).softmax(0) * (b / 3).log_softmax(0)).sum()) for a, b in zip(t, s, strict=True)]
    expected = float(ce()(step).mean()) + sum(a * b for a, b in zip(w, each, strict=True)) / sum(w)
    assert float(methods["psd"]()(step)) == pytest.approx(expected)


@pytest.mark.parametrize("name", per_sample)
def test_each_has_a_card_and_prints_its_code(name):
    kind = per_sample[name]
    assert "Formula: " in (kind.__doc__ or "")
    assert str(kd() * kind()) == f"{name}() * kd(temperature=3, t2=False)"
    assert kd() * kind() == kd() * kind()
    assert str(kd() * right(down=0)) == "right(down=0.0) * kd(temperature=3, t2=False)"


@pytest.mark.parametrize("name", per_sample)
@pytest.mark.parametrize("gap", [0.0, 120.0])
def test_finite_at_any_logits_also_in_bfloat16(name, gap):
    s, t = torch.zeros(2, 6, 4)
    s[:, 0], t[:, 1] = gap, gap
    step = step_of(outputs(s), outputs(t), torch.arange(6) % 4, view2=(outputs(s), outputs(t)))
    step.modules.update({repr(confusion()): Confusions(4)})
    step.nets["old"], step._outputs["old", "clean"] = None, outputs(t)
    step.earlier = torch.tensor([True, False, True, False])
    with torch.autocast("cpu", torch.bfloat16):
        w = per_sample[name]()(step)
    assert w.dtype == torch.float32
    assert w.shape == (6,)
    assert w.isfinite().all()
    assert (w >= 0).all()
