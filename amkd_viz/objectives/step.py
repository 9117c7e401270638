"""One training step as a table: which net looks at which batch. Each cell is computed once, when it is first read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError, unknown
from amkd_viz.models import Classifier, Layer, Outputs, freeze

__all__ = ["Batch", "Read", "Source", "Step", "shapes_of"]

Read = tuple[str, str, Layer | None]  # a net, a batch, and a layer of the net or None for logits and features
Source = Callable[["Step"], "Batch"]  # makes a batch when it is first read


@dataclass(frozen=True, eq=False)
class Batch:
    """N samples that nets look at.

    Attributes:
        x: (N, ...) images in [0, 1], or points.
        y: (N,) labels.
        index: (N,) the row of the data set that each sample is, or comes from.
        rows: (N,) the row of the clean batch that each sample comes from; None where it is the clean batch.
        samples: how boundary samples were made.
        first: (N,) bool. Where shapes must not depend on data, too few base samples are repeated to fill the batch, for
            the student's batch statistics; ``first`` marks those that count. None: every sample counts.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    rows: Tensor | None = None
    samples: BoundarySamples | None = None
    first: Tensor | None = None

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of (N,) values over the samples that count, or 0 (in the graph) for an empty batch."""
        if self.first is None:
            return values.mean() if len(values) else values.sum()
        return (values * self.first).sum() / self.first.sum().clamp_min(1)


@dataclass
class Step:
    """The nets and batches of one training step.

    Attributes:
        nets: by name: "student", "teacher", "teacher2", "peer", "past". Learning nets are in training mode.
        clean: the batch named "clean".
        progress: e / E in (0, 1]. progress_read: whether a term, a weight, a sampler or a source has read it.
        generator: the RNG of the step, on the device.
        sources: what makes each further batch, by name: "boundary", "view2", "validation".
        boundary_bn: how batch norms of a learning net treat boundary samples: "separate" (a batch of their own),
            "joint" (one batch with the clean samples) or "frozen" (running statistics).
        static: no shape depends on data, so that the host never waits for a GPU; default: on all devices but a CPU.
        seeding: a context manager that seeds PyTorch's default RNGs for the pass of one net on one batch, so that
            dropout does not depend on the order of passes; None where the whole step is seeded at once.
        modules: learned parts of the terms, by label.
        weights: scalars on the device in place of the objective's scheduled weights, by label: a step that is recorded
            and replayed must not contain these as Python numbers.
        reads: what the live terms read, set by the objective before it calls them.
        terms: the value of each live term, unweighted and detached, once the objective has been called.
        metrics: scalars that terms leave for the log.
    """

    nets: Mapping[str, Classifier]
    clean: Batch
    progress: float
    generator: torch.Generator
    sources: Mapping[str, Source] = field(default_factory=dict)
    boundary_bn: str = "separate"
    static: bool | None = None
    seeding: Callable[[str, str], AbstractContextManager[None]] | None = None
    modules: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    reads: tuple[Read, ...] = ()
    terms: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, Tensor] = field(default_factory=dict)
    progress_read: bool = False
    scheduled: float = field(init=False, repr=False)  # the progress, for the schedules of the objective
    _batches: dict[str, Batch] = field(default_factory=dict, repr=False)
    _outputs: dict[tuple[str, str], Outputs] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.static is None:
            self.static = self.clean.x.device.type != "cpu"
        self._batches["clean"] = self.clean

    def batch(self, on: str = "clean") -> Batch:
        """Return the batch named ``on``, made when it is first read.

        Raises:
            InputError: no source makes a batch of this name.
        """
        if on not in self._batches:
            if on not in self.sources:
                raise unknown("batch", on, ["clean", *self.sources])
            self._batches[on] = self.sources[on](self)
        return self._batches[on]

    def made(self, on: str) -> Batch | None:
        """Return the batch named ``on`` if a term has read it, else None."""
        return self._batches.get(on)

    def outputs(self, net: str = "student", on: str = "clean") -> Outputs:
        """Return logits (N, K), features (N, D) and the layers that live terms read, of one net on one batch.

        Each pass is made once. Outputs of learning nets carry gradients. Logits and features are float32 (float64
        stays), also under autocast.

        Raises:
            InputError: the step has no net or no batch of this name.
        """
        if net not in self.nets:
            raise unknown("net", net, self.nets)
        if (net, on) not in self._outputs:
            joint = self.boundary_bn == "joint" and self.nets[net].training and self._reads(net, "boundary")
            if joint and on in ("clean", "boundary"):
                self._joint_pass(net)
            else:
                self._outputs[net, on] = self._pass(net, on)
            if (net, on) == ("student", "boundary") and len(self.batch(on).x):
                self._measure_boundary()
        return self._outputs[net, on]

    def _reads(self, net: str, on: str) -> bool:
        return any(read[:2] == (net, on) for read in self.reads)

    def _layers(self, net: str, on: str) -> list[Layer]:
        return list(dict.fromkeys(layer for n, o, layer in self.reads if (n, o) == (net, on) and layer is not None))

    def _pass(self, net: str, on: str) -> Outputs:
        model, batch, layers = self.nets[net], self.batch(on), self._layers(net, on)
        with self.seeding(net, on) if self.seeding else nullcontext():
            if not model.training:
                if batch.samples is not None and self.sources["boundary"].of == net and not layers:  # type: ignore[attr-defined]
                    return AttackOutputs(batch.samples.logits, lambda: self._frozen(model, batch.x, ()).features)
                return self._frozen(model, batch.x, layers)
            if batch.samples is None:
                return _wide(model.outputs(batch.x, layers))
            if len(batch.x) == 0:  # an empty pass would not be part of the graph
                clean = self.outputs(net)
                return Outputs(clean.logits[:0], clean.features[:0], {k: v[:0] for k, v in clean.layers.items()})
            if self.boundary_bn == "frozen" or len(batch.x) == 1:  # one sample has no batch statistics
                with frozen_norms(model):
                    return _wide(model.outputs(batch.x, layers))
            with _counting(model, batch.first):
                return _wide(model.outputs(batch.x, layers))

    def _frozen(self, model: Classifier, x: Tensor, layers: Iterable[Layer]) -> Outputs:
        with torch.no_grad():
            return _wide(model.outputs(x, tuple(layers)))

    def _joint_pass(self, net: str) -> None:
        """Pass clean and boundary samples through a learning net as one batch."""
        count = len(self.clean.x)
        layers = dict.fromkeys([*self._layers(net, "clean"), *self._layers(net, "boundary")])
        both = torch.cat([self.clean.x, self.batch("boundary").x])
        with self.seeding(net, "clean") if self.seeding else nullcontext():
            made = _wide(self.nets[net].outputs(both, tuple(layers)))
        for on, part in (("clean", slice(None, count)), ("boundary", slice(count, None))):
            kept = {layer: value[part] for layer, value in made.layers.items()}
            self._outputs[net, on] = Outputs(made.logits[part], made.features[part], kept)

    def _measure_boundary(self) -> None:
        """Leave for the log how far the student is from the attacked net on the boundary samples."""
        batch, student = self.batch("boundary"), self._outputs["student", "boundary"].logits.detach().log_softmax(1)
        if batch.samples is not None:
            attacked = batch.samples.logits.log_softmax(1)
            self.metrics["boundary.kl"] = batch.mean((attacked.exp() * (attacked - student)).sum(1))
            self.metrics["boundary.student_flipped"] = batch.mean((student.argmax(1) != batch.samples.base).float())

    def selection_logits(self, net: str) -> Tensor:
        """Return the detached logits of a net on the clean batch, for choosing what to attack."""
        if self.boundary_bn == "joint" and self.nets[net].training:  # the joint pass needs the boundary samples first
            with torch.no_grad(), frozen_norms(self.nets[net]):
                return self.nets[net](self.clean.x)
        return self.outputs(net).logits.detach()


def _read_progress(step: Step) -> float:
    step.progress_read = True
    return step.scheduled


def _set_progress(step: Step, progress: float) -> None:
    step.scheduled = progress


# the field notes when it is read: a recorded step holds the number for good
Step.progress = property(_read_progress, _set_progress)  # type: ignore[assignment]


class AttackOutputs(Outputs):
    """Outputs of the attacked net on its boundary samples: logits come with the attack, features cost one more pass."""

    _compute: Callable[[], Tensor]
    _made: Tensor | None

    def __new__(cls, logits: Tensor, features: Callable[[], Tensor]) -> AttackOutputs:
        made = super().__new__(cls, logits, logits, {})
        made._compute, made._made = features, None
        return made

    @property
    def features(self) -> Tensor:
        if self._made is None:
            self._made = self._compute()
        return self._made


def shapes_of(nets: Mapping[str, Classifier], reads: Iterable[Read]) -> dict[tuple[str, Layer | None], tuple[int, ...]]:
    """Return (net, layer) -> shape of one sample there, for every read; layer None is the penultimate features.

    Batch statistics are left as they are.

    Raises:
        InputError: a net that is read does not exist, or has no such layer.
    """
    found: dict[tuple[str, Layer | None], tuple[int, ...]] = {}
    for net, _, layer in reads:
        if net not in nets:
            raise InputError(f"A term reads the net {net!r}, but this recipe has {', '.join(nets)}; name it there.")
        model = nets[net]
        if layer is not None:
            model.check_layer(layer, net)
        if (net, layer) not in found:
            parameter = next(model.parameters(), None)
            blank = torch.zeros(2, *model.shape, device=None if parameter is None else parameter.device)
            with freeze(model), torch.no_grad():
                made = model.outputs(blank, () if layer is None else (layer,))
            found[net, layer] = tuple((made.features if layer is None else made.layers[layer]).shape[1:])
    return found


def _wide(outputs: Outputs) -> Outputs:
    """Return float32 logits and features under autocast; float64 and the layers stay as they are."""

    def wide(t: Tensor) -> Tensor:
        return t if t.dtype == torch.float64 else t.float()

    return Outputs(wide(outputs.logits), wide(outputs.features), outputs.layers)


@contextmanager
def _counting(model: nn.Module, rows: Tensor | None) -> Iterator[None]:
    """Keep what a pass leaves in the batch norms only if one of its ``rows`` (M,) bool counts; None: all do."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    # .data: autograd has kept them, and does not read them in training mode
    own = [part.data for m in norms for part in (m.running_mean, m.running_var) if part is not None]
    if rows is None or not own:
        yield
        return
    before = torch._foreach_add(own, 0.0)  # one kernel for all, as below: a GPU's step has many small ones already
    yield
    torch._foreach_sub_(own, before)
    torch._foreach_mul_(own, rows.any().to(own[0].dtype))
    torch._foreach_add_(own, before)


@contextmanager
def frozen_norms(model: nn.Module) -> Iterator[None]:
    """Let batch norms use and keep their running statistics; everything else stays in its mode."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.training = True
