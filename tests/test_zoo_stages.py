"""Losses on maps: golden numbers of the published code, slow loops, and nets that do not fit."""

from __future__ import annotations

import pytest
import torch
from golden_cases import check, outputs, step_of, stored, total
from torch import Tensor, nn

from amkd_viz.core.errors import InputError
from amkd_viz.models import build
from amkd_viz.objectives import ce, methods
from amkd_viz.objectives.zoo.stages import (
    Variational,
    ab,
    at,
    channel_means,
    factors,
    fitnet,
    fsp,
    ickd,
    nst,
    ofd,
    overhaul,
    sides,
    vid,
)


def three(numbers: dict[str, Tensor], suffix: str) -> dict[int, Tensor]:
    return {-4 + i: numbers[f"tap{i}{suffix}"] for i in (1, 2, 3)}


@pytest.mark.parametrize(
    ("file", "case", "term", "suffix"),
    [
        *(
            ("zoo_at", case, at(stages=3), suffix)
            for case, suffix in (("same", ""), ("narrow", "_narrow"), ("large", "_large"))
        ),
        *(
            ("zoo_nst", case, nst(stages=3), suffix)
            for case, suffix in (("same", ""), ("narrow", "_narrow"), ("large", "_large"))
        ),
        ("zoo_fsp", "same", fsp(stages=3), ""),
    ],
)
def test_stages_are_those_of_the_published_code(file, case, term, suffix):
    numbers = stored(file)
    maps = three(numbers, f"_s{suffix}")
    for m in maps.values():
        m.requires_grad_()
    found = total(term, step_of(outputs(layers=maps), outputs(layers=three(numbers, "_t"))))
    inputs = {f"tap{i + 4}_s{suffix}": m for i, m in maps.items()}
    check(found, inputs, numbers[f"{case}.loss"], {name: numbers[f"{case}.grad_{name}"] for name in inputs})


def test_channels_that_answer_together_are_those_of_the_published_code():
    numbers = stored("seed2_diswot_taps")
    s = numbers["s_tap"].requires_grad_()
    found = total(ickd(), step_of(outputs(layers={-1: s}), outputs(layers={-1: numbers["t_tap"]})))
    torch.testing.assert_close(found.detach(), numbers["ickd_tap_loss"], rtol=1e-9, atol=0)
    (gradient,) = torch.autograd.grad(found, s)
    expected = numbers["ickd_tap_grad_s_of_4"]
    assert (gradient[:4] - expected).abs().max() <= 1e-8 * expected.abs().max()


@pytest.mark.parametrize(
    ("case", "student", "weights"),
    [
        ("same_shape", "tap2_s", None),
        ("regressor", "tap2_s_narrow", "regressor"),
        ("regressor_stride2", "tap2_s_large", "regressor_stride2"),
    ],
)
def test_hints_are_those_of_the_published_code(case, student, weights):
    numbers = stored("zoo_fitnet")
    m, n = numbers[student].requires_grad_(), numbers["tap2_t"]
    made = fitnet().learned({"student": [(1,), tuple(m.shape[1:])], "teacher": [(1,), tuple(n.shape[1:])]})
    inputs, grads = {"m": m}, {"m": numbers[f"{case}.grad_{student}"]}
    assert (made is None) == (weights is None)
    if isinstance(made, nn.Sequential):
        made.double()
        made[0].load_state_dict({name: numbers[f"{weights}_{name}"] for name in ("weight", "bias")})
        inputs |= dict(made[0].named_parameters())
        grads["weight"] = numbers[
            f"{case}.grad_{weights}_weight"
        ]  # the norm takes the bias out: its gradient is rounding
    modules = {} if made is None else {"fitnet": made}
    step = step_of(outputs(layers={-2: m}), outputs(layers={-2: n}), modules=modules)
    check(total(fitnet(), step), inputs, numbers[f"{case}.loss"], grads)


def test_variational_information():
    numbers = stored("zoo_vid")
    part = Variational(16, 32).double()
    given = {f"mean.{2 * i}.weight": numbers[f"w{i + 1}"] for i in range(3)} | {"log_scale": numbers["log_scale"]}
    part.load_state_dict(given)
    m = numbers["tap2_s_narrow"].requires_grad_()
    layers = {-1: m}
    step = step_of(
        outputs(layers=layers), outputs(layers={-1: numbers["tap2_t"]}), modules={"vid": nn.ModuleList([part])}
    )
    inputs = {"m": m, **dict(part.named_parameters())}
    grads = {"m": "tap2_s_narrow", "log_scale": "log_scale"} | {f"mean.{2 * i}.weight": f"w{i + 1}" for i in range(3)}
    check(
        total(vid(stages=1), step),
        inputs,
        numbers["tap2.loss"],
        {n: numbers[f"tap2.grad_{k}"] for n, k in grads.items()},
    )
    fresh = Variational(2, 3)
    torch.testing.assert_close(nn.functional.softplus(fresh.log_scale) + 1e-5, torch.full((3,), 5.0))


def test_factors():
    numbers = stored("zoo_ft")
    m = numbers["tap3_s"].requires_grad_()
    check(factors(m, numbers["tap3_t"]).mean(), {"m": m}, numbers["p2_1.loss"], {"m": numbers["p2_1.grad_tap3_s"]})


def test_sides_of_relus():
    numbers = stored("zoo_ab")
    maps = {f"tap{i}_s": numbers[f"tap{i}_s"].requires_grad_() for i in (1, 2, 3)}
    each = [0.003 * 2.0 ** (i - 3) * sides(numbers[f"tap{i}_s"], numbers[f"tap{i}_t"]).mean() for i in (1, 2, 3)]
    check(sum(each), maps, numbers["margin1.loss"], {name: numbers[f"margin1.grad_{name}"] for name in maps})


def test_activations_before_relus():
    numbers = stored("zoo_ofd")
    m = numbers["tap3_s"].requires_grad_()
    found = overhaul(m, numbers["tap3_t"], numbers["tap3.margin"]).mean()
    check(found, {"m": m}, numbers["tap3.loss"], {"m": numbers["tap3.grad_tap3_s"]})
    n = torch.tensor([1.0, -1.0, -3.0, 2.0]).view(2, 1, 1, 2)
    assert float(overhaul(n.new_zeros(2, 1, 1, 2), n).sum()) == 1 + 1 + 4 + 4  # the margin is -2


def test_means_of_channels():
    numbers = stored("seed1_channel_guided")
    maps = {f"tap_s{i}": numbers[f"tap_s{i}"].requires_grad_() for i in (0, 1)}
    found = sum(channel_means(numbers[f"tap_s{i}"], numbers[f"tap_t{i}"]).mean() for i in (0, 1))
    check(found, maps, numbers["cd"], {f"tap_s{i}": numbers[f"cd_grad_{i}"] for i in (0, 1)})


# ------------------------------------------------------------------ weights of stages, nets that do not fit


@pytest.mark.parametrize(("kind", "function"), [(ab, sides), (ofd, overhaul)])
def test_earlier_stages_count_half_as_much(kind, function):
    nets = {"student": build("cnn-tiny", shape=(1, 8, 8)), "teacher": build("cnn-small", shape=(1, 8, 8)).eval()}
    modules = kind().learned({"student": [(8,), (4, 8, 8), (8, 4, 4)], "teacher": [(16,), (8, 8, 8), (16, 4, 4)]})
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    with torch.no_grad():
        s, t = (net.outputs(x, kind().layers()) for net in nets.values())
        for place, layer in enumerate(kind().layers()):
            apart = function(modules[place].connector(s.layers[layer]), t.layers[layer])
            expected += 2.0 ** (place - 1) * float(apart.mean())
        found = float(total(kind(), step_of(s, t, modules={kind.__name__: modules})))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["at", "nst", "fitnet", "vid", "channel", "ft", "ab", "ofd", "fsp"])
@pytest.mark.parametrize("value", [0.0, 120.0])
def test_finite_on_equal_maps_also_in_bfloat16(name, value):
    nets = {"student": build("cnn-tiny", shape=(1, 8, 8)), "teacher": build("cnn-tiny", shape=(1, 8, 8)).eval()}
    objective = methods[name]()
    modules = objective.modules(nets)
    term = objective.summands[-1][0]
    shapes = {layer: nets["student"].layer_shape(layer) for layer in term.layers()}
    s = {layer: torch.full((4, *shape), value, requires_grad=True) for layer, shape in shapes.items()}
    t = {layer: torch.zeros(4, *shape, dtype=torch.bfloat16) for layer, shape in shapes.items()}
    made = step_of(outputs(torch.zeros(4, 10), layers=s), outputs(torch.zeros(4, 10), layers=t), modules=modules)
    with torch.autocast("cpu", torch.bfloat16):
        loss = total(term, made)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert all(m.grad.isfinite().all() for m in s.values())


@pytest.mark.parametrize(
    ("method", "student", "sentence"),
    [
        (
            "at",
            "mlp",
            r"at needs maps \(C, H, W\), but layer -2 of the student is \(128,\); choose a convolutional net",
        ),
        ("fitnet", "vit-tiny", r"fitnet needs maps \(C, H, W\), but layer -2 of the student is \(\d+, 64\)"),
        ("ab", "convnext-tiny", r"layer of student must be -2 instead of pre\(-2\): stage .* does not end with a ReLU"),
        ("fsp", "cnn-tiny", r"fsp needs two nets with the same numbers of channels, got \[4, 8\] and \[8, 16\]"),
    ],
)
def test_nets_that_do_not_fit_are_refused_in_one_sentence(method, student, sentence):
    nets = {"student": build(student), "teacher": build("cnn-small")}
    with pytest.raises(InputError, match=sentence):
        methods[method]().modules(nets)
    with pytest.raises(InputError, match="layer of student must be between -2 and -1 for cnn-tiny, got -3"):
        (ce() + at(stages=3)).modules({"student": build("cnn-tiny"), "teacher": build("cnn")})
