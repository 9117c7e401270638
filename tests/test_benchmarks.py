"""The baseline of our speed computes the same thing, times are summarized correctly, a bare machine reads files."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
import torchvision

from amkd_viz.boundary import bss
from amkd_viz.models import build, inference_copy
from amkd_viz.objectives import Batch, Boundary, Step, methods, sources
from benchmarks import panels, plain, scaling, timing
from benchmarks.published import published_bss, published_loss, published_targets

pytest_plugins = ["shared_data"]


def test_published_attack_and_ours_agree() -> None:
    model = build("resnet8", seed=3).eval()
    with torch.no_grad():
        model.head.weight.mul_(30)  # fresh logits are so close to one another that hardly any step is taken
    x = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    target = published_targets(model(x).detach(), torch.linspace(0, 0.9, 6))
    assert (target != model(x).argmax(1)).all()
    ours = bss(model, x, target, clamp=2.5)
    theirs = published_bss(model, model.normalise(x), target)
    torch.testing.assert_close(theirs, model.normalise(ours.x), atol=1e-4, rtol=0)
    assert ours.crossed.any()


def test_published_targets_follow_the_probabilities() -> None:
    logits = torch.tensor([[4.0, 1.0, 1.0]]).repeat(1000, 1)
    target = published_targets(logits, torch.linspace(0, 0.999, 1000))
    assert set(target.tolist()) == {1, 2}
    assert abs(int((target == 1).sum()) - 500) <= 2


def test_published_loss_and_ours_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole step: selection, targets, attack, and the student's gradients."""
    x = 0.3 + 0.4 * torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(1))  # far from any clamp
    teacher, student = (build("resnet8", num_classes=4, seed=seed) for seed in (3, 5))
    with torch.no_grad():
        teacher.head.weight.mul_(30)
        y = teacher.eval()(x).argmax(1)
        student.head.bias[y[0]] += 9  # right on some of them, at least
    draws = torch.linspace(0, 0.99, 24)
    monkeypatch.setattr(sources, "sample_targets", lambda logits, _: published_targets(logits, draws[: len(logits)]))
    theirs, ours = (copy.deepcopy(student).train() for _ in range(2))
    losses = [published_loss(teacher, theirs, x, y, draws, 0.25, limit=5)]
    nets = {"teacher": inference_copy(teacher), "student": ours}
    step = Step(nets, Batch(x, y, torch.arange(24)), 0.25, torch.Generator(), {"boundary": Boundary(limit=5)})
    losses.append(methods["bss"]()(step))
    boundary = step.batch("boundary")
    assert 1 <= len(boundary.x) <= 5
    assert boundary.samples is not None
    assert boundary.samples.steps.any()
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-4)
    gradients = []
    for net, loss in zip((theirs, ours), losses, strict=True):
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert (gradients[1] - gradients[0]).norm() / gradients[0].norm() < 1e-2  # activations within rounding of zero


def test_a_step_of_the_scaling_benchmark_runs() -> None:
    scaling.one_step(4, 1, 3, 8)()


def test_rounds_come_after_a_warm_up_and_ratios_are_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = iter([90.0, 4.0, 6.0, 8.0]), iter([1.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(timing, "seconds", lambda run, clock: run())
    took = timing.rounds({"slow": lambda: next(slow), "fast": lambda: next(fast)}, 3)
    assert sorted(took["slow"]) == [4.0, 6.0, 8.0]
    assert timing.ratio(took["slow"], took["fast"]) == {"median": 3.0, "low": 2.0, "high": 4.0, "n": 3}


def few(count: int) -> dict[str, Any]:
    return {"evaluations": panels.spread([count] * 3), "evaluations_goal": 5}


@pytest.mark.parametrize(
    ("goal", "found", "met"),
    [
        (100, [50.0] * 19 + [99.0] * 2, True),  # by the 95th percentile
        (100, [50.0] * 18 + [101.0] * 3, False),
        (5, ([-3.0, 4.0, 30.0], {"unit": "%"}), True),  # a slow-down by the median
        (500, ([100.0, 120.0], few(5)), True),  # a burst by its evaluations too
        (500, ([100.0, 120.0], few(6)), False),
    ],
)
def test_when_a_goal_of_the_panels_is_met(monkeypatch: pytest.MonkeyPatch, goal: float, found: Any, met: bool) -> None:
    def how(bench: Any, context: Any) -> Any:
        """Some words."""
        return found

    monkeypatch.setitem(panels.MEASURED, "it", (goal, how))
    monkeypatch.setattr(panels, "browser", nullcontext)
    entry = panels.measure("it", None, 30)  # type: ignore[arg-type]
    assert (entry["met"], entry["what"]) == (met, "Some words.")


def test_a_frame_s_bytes() -> None:
    assert panels.size_of({"opcode": 1, "payloadData": "abcd"}) == 4
    assert panels.size_of({"opcode": 2, "payloadData": "QUJD"}) == 3


# stand-ins for safetensors and torchvision on a bare machine

TENSORS = {
    "a": torch.randn(3, 4),
    "b": torch.arange(5),
    "empty": torch.zeros(0, 2),
    "scalar": torch.tensor(2.5, dtype=torch.bfloat16),
}


def test_a_bare_machine_reads_and_writes_safetensors(tmp_path):
    written = {"plain": plain.save(TENSORS, {"k": "v"}), "real": safetensors.torch.save(TENSORS, {"k": "v"})}
    for name, opened in (("plain", safetensors.safe_open), ("real", plain.safe_open), ("plain", plain.safe_open)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(written[name])
        with opened(path, framework="pt") as file:
            assert file.metadata() == {"k": "v"}
            assert set(file.keys()) == set(TENSORS)
            assert all(torch.equal(file.get_tensor(key), tensor) for key, tensor in TENSORS.items())
    for raw in (b"", b"\x80\x02abc", plain.save(TENSORS)[:-3]):
        path.write_bytes(raw)
        with pytest.raises(plain.SafetensorError):
            plain.safe_open(path)
    assert safetensors.safe_open is not plain.safe_open  # installed packages are left alone


@pytest.mark.slow
def test_a_bare_machine_reads_cifar10(cifar10_root):
    for train in (True, False):
        real, ours = torchvision.datasets.CIFAR10(cifar10_root, train), plain.CIFAR10(cifar10_root, train)
        assert (real.data == ours.data).all()
        assert (real.targets, real.classes) == (ours.targets, ours.classes)
