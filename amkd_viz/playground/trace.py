"""The library's own step, nets and attack as ONNX graphs. Random draws, weights of terms and step sizes are inputs.

Nothing is written a second time: ``Objective``, ``Boundary`` and ``bss`` run once on example tensors, and ``make_fx``
records every operation, those of the gradients included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from amkd_viz.boundary import BSS, BoundarySamples, bss
from amkd_viz.core.errors import InputError
from amkd_viz.models import Classifier
from amkd_viz.objectives import Batch, Boundary, Step
from amkd_viz.training import Recipe

__all__ = ["check_packages", "flat", "logits_graph", "step_graph", "walk_graph"]

aten = torch.ops.aten
STATISTICS, COUNT = ("running_mean", "running_var"), "num_batches_tracked"  # buffers of a batch norm


def _in_place(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., None]:
    def each(own: Sequence[Tensor], others: Sequence[Tensor] | Tensor) -> None:
        for number, tensor in enumerate(own):
            change(tensor, others if isinstance(others, Tensor) else others[number])

    return each


ON_LISTS: dict[Any, Callable[..., Any]] = {  # operations that ONNX does not have, tensor by tensor
    aten._foreach_add.Scalar: lambda own, value: [tensor + value for tensor in own],
    aten._foreach_add_.List: _in_place(Tensor.add_),
    aten._foreach_sub_.List: _in_place(Tensor.sub_),
    aten._foreach_mul_.Tensor: _in_place(Tensor.mul_),
}


def flat(net: nn.Module) -> Tensor:
    """Return the parameters of a net, in their order, and then its batch statistics as one vector (P + S,)."""
    return torch.cat([p.detach().flatten() for p in [*net.parameters(), *_statistics(net).values()]])


def _statistics(net: nn.Module) -> dict[str, Tensor]:
    return {name: buffer for name, buffer in net.named_buffers() if name.endswith(STATISTICS)}


def _apart(tensors: Iterable[tuple[str, Tensor]], vector: Tensor, prefix: str = "") -> dict[str, Tensor]:
    """Return name -> tensor of the shapes of ``tensors`` from their numbers in one vector."""
    named = list(tensors)
    parts = vector.split([p.numel() for _, p in named])
    return {prefix + name: part.view(p.shape) for (name, p), part in zip(named, parts, strict=True)}


def _whole(net: nn.Module, vector: Tensor, prefix: str = "") -> dict[str, Tensor]:
    """Return name -> parameter or batch statistic from a vector (P + S,) that ``flat`` could have made."""
    return _apart([*net.named_parameters(), *_statistics(net).items()], vector, prefix)


@dataclass(frozen=True, repr=False)
class _Attack(BSS):
    """BSS in fixed shapes, without a branch on data; ``length`` is its step size."""

    length: Tensor | None = None

    def __call__(
        self,
        net: nn.Module,
        x: Tensor,
        target: Tensor,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
    ) -> BoundarySamples:
        return bss(
            net,
            x,
            target,
            step_size=float(self.step_size) if self.length is None else self.length,
            steps=self.steps,
            step_rule=self.step_rule,
            space=self.space,
            keep_path=keep_path,
            compact=False,
            check=False,
        )


def _attack(recipe: Recipe, length: Tensor) -> _Attack:
    sampler = recipe.boundary.sampler
    assert isinstance(sampler, BSS)
    return _Attack(steps=sampler.steps, step_rule=sampler.step_rule, space=sampler.space, length=length)


class _Loss(nn.Module):
    """The objective of a step as a module, so that the parameters of both nets can be replaced."""

    def __init__(self, student: Classifier, teacher: Classifier, recipe: Recipe) -> None:
        super().__init__()
        self.student, self.teacher, self.recipe = student, teacher, recipe

    def forward(self, x: Tensor, y: Tensor, waits: Tensor, weights: Tensor, length: Tensor) -> tuple[Tensor, Step]:
        objective = self.recipe.objective
        objective = objective.changed(**{f"{name}.weight": 1.0 for name in objective.names})  # all are computed
        step = Step(
            nets={"student": self.student, "teacher": self.teacher},
            clean=Batch(x, y, torch.arange(len(y))),
            progress=1.0,
            generator=torch.Generator(),
            sources={"boundary": Boundary(_attack(self.recipe, length), self.recipe.max_boundary_samples)},
            static=True,
            waits=waits,
            weights=dict(zip(objective.names, weights.unbind(), strict=True)),
        )
        return objective(step), step


def step_graph(student: Classifier, teacher: Classifier, recipe: Recipe, batch: int) -> bytes:
    """Return one training step of the recipe's method as an ONNX file: loss, gradient, momentum, update.

    Inputs: ``teacher`` and ``theta`` (P + S,), as ``flat`` gives them; ``momentum`` (P,); ``x`` (B, ...), points or
    images in [0, 1], ``y`` (B,) int64; ``weights`` (T,) of the terms in the objective's order; ``rate`` (), the
    learning rate; and where the method attacks ``waits`` (L, K), exponential draws, and ``step_size`` ().
    Outputs: ``new_theta``, ``new_momentum``, ``terms`` (T,) unweighted; and where the method attacks ``samples``
    (L, ...), ``rows`` (L,) of the batch, and ``count`` (), how many of the L are boundary samples and not repetitions.

    Args:
        batch: B. L is the smaller of B and the recipe's ``max_boundary_samples``.

    Raises:
        InputError: the nets cannot be traced.
    """
    objective, module = recipe.objective, _Loss(student.train(), teacher.eval(), recipe)
    attacks = "boundary" in objective.batches()
    few, count = min(batch, recipe.max_boundary_samples), sum(p.numel() for p in student.parameters())
    statistics = _statistics(student)
    inputs = {
        "teacher": flat(teacher),
        "theta": flat(student),
        "momentum": torch.zeros(count),
        "x": torch.rand(batch, *student.shape, generator=torch.Generator().manual_seed(0)),
        "y": torch.arange(batch) % student.num_classes,
        "weights": torch.ones(len(objective.names)),
        "rate": torch.tensor(0.1),
    }
    drawn = {"waits": torch.ones(few, student.num_classes), "step_size": torch.tensor(1.0)}

    def step(
        of_teacher: Tensor, theta: Tensor, momentum: Tensor, x: Tensor, y: Tensor, *more: Tensor
    ) -> tuple[Tensor, ...]:
        weights, rate, waits, length = more if attacks else (*more, *drawn.values())
        moving: dict[str, Tensor] = {}  # the pass moves batch statistics in place, and counts its batches
        if statistics:
            moving = _apart(statistics.items(), theta[count:].clone(), "student.")
            theta = theta[:count]
        idle = {f"student.{n}": torch.zeros_like(b) for n, b in student.named_buffers() if n.endswith(COUNT)}
        theta = theta.detach().requires_grad_()
        parameters = _apart(student.named_parameters(), theta, "student.") | _whole(teacher, of_teacher, "teacher.")
        loss, made = functional_call(module, parameters | moving | idle, (x, y, waits, weights, length))
        (gradient,) = torch.autograd.grad(loss, theta)
        theta = theta.detach()
        momentum = recipe.momentum * momentum + (gradient + recipe.weight_decay * theta)  # as torch.optim.SGD
        after = torch.cat([theta - rate * momentum, *(value.flatten() for value in moving.values())])
        found = (after, momentum, torch.stack([made.terms[name] for name in objective.names]))
        edge = made.made("boundary")
        if edge is None or edge.rows is None or edge.first is None:
            return found
        return *found, edge.x, edge.rows, edge.first.sum()

    outputs = ["new_theta", "new_momentum", "terms"] + (["samples", "rows", "count"] if attacks else [])
    return _traced(step, inputs | (drawn if attacks else {}), outputs, student)


def logits_graph(net: Classifier) -> bytes:
    """Return a net as an ONNX file: ``theta`` (P + S,) and ``x`` (N, ...) for any N give ``logits`` (N, K)."""

    class Logits(nn.Module):
        def forward(self, theta: Tensor, x: Tensor) -> Any:
            return functional_call(net, _whole(net, theta), (x,))

    shapes = {"theta": None, "x": {0: torch.export.Dim("points")}}
    with _explained(net):
        program = torch.export.export(Logits(), (flat(net), torch.zeros(3, *net.shape)), dynamic_shapes=shapes)
        return _onnx(program, ["theta", "x"], ["logits"])


def walk_graph(net: Classifier, recipe: Recipe) -> bytes:
    """Return one step of the attack on one point as an ONNX file; a whole attack is as many as it takes to cross.

    Inputs: ``theta`` (P + S,), ``x`` (1, ...), ``target`` (1,) int64, ``step_size`` (). Outputs: ``new_x`` (1, ...),
    and ``status`` (1,) there, see ``boundary.Status``.
    """

    class Walk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, target: Tensor, length: Tensor) -> tuple[Tensor, ...]:
            made = replace(_attack(recipe, length), steps=1)(self.net, x, target)
            return made.x, made.status

    walk = Walk()

    def attack(theta: Tensor, *given: Tensor) -> Any:
        return functional_call(walk, _whole(net, theta, "net."), given)

    inputs = {"theta": flat(net), "x": torch.zeros(1, *net.shape), "target": torch.ones(1, dtype=torch.long)}
    return _traced(attack, inputs | {"step_size": torch.tensor(1.0)}, ["new_x", "status"], net)


def check_packages() -> None:
    """Do nothing if the packages that write ONNX files are installed.

    Raises:
        InputError: one is missing.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        needs, install = " and ".join(missing), " ".join(missing)
        raise InputError(f"The playground needs {needs}; install with 'pip install {install}'.")


def _traced(function: Callable[..., Any], inputs: dict[str, Tensor], outputs: Sequence[str], net: Classifier) -> bytes:
    with _explained(net):
        recorded = _recorded(function, *inputs.values())

        class Recorded(nn.Module):
            def forward(self, *given: Tensor) -> Any:
                return recorded(*given)

        return _onnx(torch.export.export(Recorded(), tuple(inputs.values()), strict=False), list(inputs), outputs)


def _recorded(function: Callable[..., Any], *inputs: Tensor) -> torch.fx.GraphModule:
    """Return every operation of a call, those of its gradients included, as a module."""
    table: Any = torch._decomp.core_aten_decompositions()
    # a batch norm in training is exported as one in eval mode unless it is taken apart
    table.update(torch._decomp.get_decompositions([aten.native_batch_norm, aten._native_batch_norm_legit]))
    table[aten.convolution_backward.default] = _convolution_backward
    table.update(ON_LISTS)
    recorded = make_fx(function, decomposition_table=table)(*inputs)
    recorded.graph.eliminate_dead_code()
    recorded.recompile()
    return recorded


def _convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a convolution (N, C, H, W) by its input, weight and bias, as convolutions: ONNX has no
    operation for them."""
    if transposed or groups != 1 or x.ndim != 4:
        raise NotImplementedError("a page has no gradient of a transposed, grouped or 1-D convolution")
    none, (high, wide) = [0, 0], weight.shape[2:]
    by_x = by_weight = by_bias = None
    if wanted[0]:
        whole = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(grad.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True)
        ]
        rest = [n - m for n, m in zip(x.shape[2:], whole, strict=True)]
        by_x = aten.convolution(grad, weight, None, stride, padding, dilation, True, rest, 1)
    if wanted[1]:  # the batch is summed over, as channels are; a stride leaves rows that no output has seen
        turned = x.transpose(0, 1), grad.transpose(0, 1)
        found = aten.convolution(*turned, None, dilation, padding, stride, False, none, 1)
        by_weight = found[:, :, :high, :wide].transpose(0, 1)
    if wanted[2]:
        by_bias = grad.sum((0, 2, 3))
    return by_x, by_weight, by_bias


@contextmanager
def _explained(net: Classifier) -> Iterator[None]:
    """Turn a net that cannot be exported into an InputError that names the layer."""
    known = (*STATISTICS, COUNT)
    extra = [name for name, _ in net.named_buffers() if not name.startswith("normalise.") and not name.endswith(known)]
    if extra:
        raise InputError(
            f"The playground takes nets whose only buffers are batch statistics, but {net.architecture} has "
            f"{extra[0]}; choose an mlp or a cnn."
        )
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        layer = _first_that_fails(net)
        why = (
            f"because of its layer {layer}" if layer else f"({(str(error).splitlines() or [type(error).__name__])[0]})"
        )
        raise InputError(f"{net.architecture} cannot be exported {why}; choose an mlp or a cnn.") from error


def _first_that_fails(net: Classifier) -> str | None:
    """Return name and class of the first layer that cannot be exported alone with its gradient, or None."""
    layers = [(name, layer) for name, layer in net.body.named_modules(prefix="body") if not [*layer.children()]]
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0].detach()}))
        for name, layer in layers
    ]
    with torch.no_grad():
        net(torch.zeros(3, *net.shape))
    for hook in hooks:
        hook.remove()
    for name, layer in layers:
        try:
            _onnx(torch.export.export(layer, (seen[name],)), ["x"], ["y"])
            _recorded(_gradient(layer), seen[name])
        except Exception:  # whatever it is, this layer is the answer
            return f"{name} ({type(layer).__name__})"
    return None


def _gradient(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    def gradient(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(layer(x).sum(), x)[0]

    return gradient


def _onnx(program: torch.export.ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    import onnxscript.optimizer

    made = torch.onnx.export(
        program, dynamo=True, optimize=False, verbose=False, input_names=inputs, output_names=outputs
    )
    assert made is not None
    onnxscript.optimizer.fold_constants(made.model)  # the other rules take three quarters of the time, for 8 % of nodes
    onnxscript.optimizer.remove_unused_nodes(made.model)
    proto = made.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]  # stack traces, with the folders of this machine
    return bytes(proto.SerializeToString())
