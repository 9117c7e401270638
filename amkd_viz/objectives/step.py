"""One training step as a table: which net looks at which batch. Each cell is computed once, when it is first read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from amkd_viz.boundary import BoundarySamples
from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.ranks import ALONE, Ranks
from amkd_viz.models import Classifier, Layer, Outputs, freeze

__all__ = ["Batch", "Read", "Source", "Step", "check_names", "shapes_of"]

Read = tuple[str, str, Layer | None]  # a net, a batch, and a layer of the net or None for logits and features
Source = Callable[["Step"], "Batch"]  # makes a batch when it is first read


@dataclass(frozen=True, eq=False)
class Batch:
    """N samples that nets look at.

    Attributes:
        x: (N, ...) images in [0, 1], or points. Where several ranks share a step, those of this rank; all else is of
            the global batch.
        y: (N,) labels.
        index: (N,) the row of the data set that each sample is, or comes from.
        rows: (N,) the row of the clean batch that each sample comes from; None where it is the clean batch.
        samples: how boundary samples were made.
        first: (N,) bool. Where shapes must not depend on data, too few base samples are repeated to fill the batch, for
            the student's batch statistics; ``first`` marks those that count. None: every sample counts.
        other, share: (N,) the row of the clean batch that is mixed into each sample, and the sample's own share in
            [0, 1]; None where nothing is mixed.
        warp: (N, 2, 3) affine maps, as of ``F.affine_grid``, that bring maps of these samples onto the clean batch's.
        hidden: (N, 1, H, W) 1 where a sample is hidden, else 0.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    rows: Tensor | None = None
    samples: BoundarySamples | None = None
    first: Tensor | None = None
    other: Tensor | None = None
    share: Tensor | None = None
    warp: Tensor | None = None
    hidden: Tensor | None = None

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
        sources: what makes each further batch, by name: "boundary", "inside" (its last iterates in the base class),
            "student_boundary" (of the student), "view2", "validation".
        boundary_bn: how batch norms of a learning net treat boundary samples: "separate" (a batch of their own),
            "joint" (one batch with the clean samples) or "frozen" (running statistics).
        static: no shape depends on data, so that the host never waits for a GPU; default: on all devices but a CPU.
        seeding: a context manager that seeds PyTorch's default RNGs for the pass of one net on one batch, so that
            dropout does not depend on the order of passes; None where the whole step is seeded at once.
        ranks: share the step: each passes its own rows through the nets, and ``outputs`` gathers all rows.
        norms: makes a context manager for the passes of learning nets, such as ``GlobalStatistics``.
        cached: logits (N, K) of frozen nets on the training split, by net: they replace a pass on the clean batch. What
            is there must give (B, K) for rows (B,).
        modules: learned parts of the terms, by label.
        known: net -> logits and features of a frozen net on the whole training split, without augmentation, and the
            labels; rows as ``Batch.index`` counts them.
        weights: scalars on the device in place of the objective's scheduled weights, by label: a step that is recorded
            and replayed must not contain these as Python numbers.
        waits: (N, K) exponential draws for the targets of boundary samples in place of the generator's: an exported
            step takes them as an input.
        reads: what the live terms read, set by the objective before it calls them.
        terms: the value of each live term, unweighted and detached, once the objective has been called.
        factors: the weights per sample that were computed, by their code: each once, since some move what they keep.
        metrics: scalars that terms leave for the log.
        losses: the weighted sum of each group of terms, with gradients, where a group has an update of its own.
        earlier: (K,) bool, the classes of earlier tasks; None where all are learned at once.
    """

    nets: Mapping[str, Classifier]
    clean: Batch
    progress: float
    generator: torch.Generator
    sources: Mapping[str, Source] = field(default_factory=dict)
    boundary_bn: str = "separate"
    static: bool | None = None
    seeding: Callable[[str, str], AbstractContextManager[None]] | None = None
    ranks: Ranks = ALONE
    norms: Callable[[], AbstractContextManager[Any]] = nullcontext
    cached: Mapping[str, Any] = field(default_factory=dict)
    modules: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    known: Callable[[str], tuple[Outputs, Tensor]] | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    waits: Tensor | None = None
    reads: tuple[Read, ...] = ()
    terms: dict[str, Tensor] = field(default_factory=dict)
    factors: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, Tensor] | None = None
    earlier: Tensor | None = None
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

    def keep(self, net: str, on: str, outputs: Outputs) -> None:
        """Take the outputs of a net on a batch from elsewhere."""
        self._outputs[net, on] = outputs

    def give(self, on: str, batch: Batch) -> None:
        """Take the batch named ``on`` from elsewhere."""
        self._batches[on] = batch

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
            if (net, on) == ("student", "boundary") and len(self.batch(on).y):
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
                if on == "clean" and net in self.cached and not layers:
                    return AttackOutputs(self.cached[net][batch.index], lambda: self._frozen(model, batch, ()).features)
                if batch.samples is not None and getattr(self.sources[on], "of", None) == net and not layers:
                    return AttackOutputs(batch.samples.logits, lambda: self._frozen(model, batch, ()).features)
                return self._frozen(model, batch, layers)
            if batch.samples is None:
                with self.norms():
                    return self._whole(model.outputs(batch.x, layers), len(batch.y))
            if len(batch.y) == 0:  # an empty pass would not be part of the graph
                clean = self.outputs(net)
                return Outputs(clean.logits[:0], clean.features[:0], {k: v[:0] for k, v in clean.layers.items()})
            if self.boundary_bn == "frozen":
                with frozen_norms(model):
                    return self._whole(model.outputs(batch.x, layers), len(batch.y))
            rows = len(batch.x) if self.norms is nullcontext else len(batch.y)
            with _counting(model, batch.first), _enough(model, rows), self.norms():
                return self._whole(model.outputs(batch.x, layers), len(batch.y))

    def _frozen(self, model: Classifier, batch: Batch, layers: Iterable[Layer]) -> Outputs:
        with torch.no_grad():
            return self._whole(model.outputs(batch.x, tuple(layers)), len(batch.y))

    def _whole(self, own: Outputs, n: int) -> Outputs:
        """Return float32 outputs of all ``n`` rows of a batch from those of this rank."""
        if self.ranks.count > 1:
            layers = {layer: self.ranks.gather(value, n) for layer, value in own.layers.items()}
            own = Outputs(self.ranks.gather(own.logits, n), self.ranks.gather(own.features, n), layers)
        return _wide(own)

    def _joint_pass(self, net: str) -> None:
        """Pass clean and boundary samples through a learning net as one batch."""
        count = len(self.clean.x)
        layers = dict.fromkeys([*self._layers(net, "clean"), *self._layers(net, "boundary")])
        both = torch.cat([self.clean.x, self.batch("boundary").x])
        with self.seeding(net, "clean") if self.seeding else nullcontext(), self.norms():
            made = self.nets[net].outputs(both, tuple(layers))
        for on, part in (("clean", slice(None, count)), ("boundary", slice(count, None))):
            kept = {layer: value[part] for layer, value in made.layers.items()}
            own = Outputs(made.logits[part], made.features[part], kept)
            self._outputs[net, on] = self._whole(own, len(self.batch(on).y))

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
                return self.ranks.gather(self.nets[net](self.clean.x), len(self.clean.y))
        return self.outputs(net).logits.detach()


def _read_progress(step: Step) -> float:
    step.progress_read = True
    return step.scheduled


def _set_progress(step: Step, progress: float) -> None:
    step.scheduled = progress


# the field notes when it is read: a recorded step holds the number for good
Step.progress = property(_read_progress, _set_progress)  # type: ignore[assignment]


class AttackOutputs(Outputs):
    """Outputs of a net whose logits are known, from the attack or the cache; features cost one more pass."""

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


def check_names(nets: Iterable[str], reads: Iterable[Read]) -> None:
    """Refuse a net that is read and does not exist.

    Raises:
        InputError: names the net and those that exist.
    """
    known = list(nets)
    for net, _, _ in reads:
        if net not in known:
            raise InputError(f"A term reads the net {net!r}, but this recipe has {', '.join(known)}; name it there.")


def shapes_of(nets: Mapping[str, Classifier], reads: Iterable[Read]) -> dict[tuple[str, Layer | None], tuple[int, ...]]:
    """Return (net, layer) -> shape of one sample there, for every read; layer None is the penultimate features.

    Batch statistics are left as they are.

    Raises:
        InputError: a net that is read does not exist, or has no such layer.
    """
    found: dict[tuple[str, Layer | None], tuple[int, ...]] = {}
    reads = tuple(reads)
    check_names(nets, reads)
    for net, _, layer in reads:
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
def _enough(model: nn.Module, rows: int) -> Iterator[None]:
    """Let a batch norm use its running statistics where ``rows`` samples have one value per channel, hence no variance.

    One sample has its own statistics wherever its maps have several pixels. Running statistics there, early in a
    training, let the loss explode: they are those of weights that have moved on.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]

    def choose(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        norm.training = rows * inputs[0].shape[2:].numel() > 1

    hooks = [norm.register_forward_pre_hook(choose) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm in norms:
            norm.training = True


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
