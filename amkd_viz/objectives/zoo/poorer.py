"""Views that show less than the whole image, and losses on what the student then misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amkd_viz.core.fields import option
from amkd_viz.models import Layer, Outputs
from amkd_viz.objectives.algebra import Term, terms, wire
from amkd_viz.objectives.losses import ce
from amkd_viz.objectives.losses.soft_targets import soft_cross_entropy
from amkd_viz.objectives.methods import method
from amkd_viz.objectives.sources import View, views
from amkd_viz.objectives.step import Batch, Read, Step
from amkd_viz.objectives.zoo.pair import Pair, kl

__all__ = ["latents", "poorer", "privileged", "smoothed", "states", "steady"]

COPIES, SIGMA = 4, 0.05  # of each sample, and the standard deviation of their noise


def poorer(x: Tensor) -> Tensor:
    """Return the middle five eighths of images (N, C, H, W), enlarged to their size."""
    top, left = (round(side * 3 / 16) for side in x.shape[2:])
    middle = x[:, :, top : x.shape[2] - top, left : x.shape[3] - left]
    return F.interpolate(middle, x.shape[2:], mode="bilinear", antialias=True)


class Poor(View):
    """The middle of each clean image, enlarged."""

    images = True

    def __call__(self, step: Step) -> Batch:
        return self.batch(step, poorer(step.clean.x))


class Hidden(View):
    """Each clean image with two blocks of half its height and width set to 0: at most half of it."""

    images = True

    def __call__(self, step: Step) -> Batch:
        x = step.clean.x
        hidden = torch.zeros_like(x[:, :1])
        for _ in range(2):
            sides = []
            for length in x.shape[2:]:
                start = torch.rand(len(x), 1, generator=step.generator, device=x.device) * (length - length // 2 + 1)
                at = torch.arange(length, device=x.device) - start.floor()
                sides.append((at >= 0) & (at < length // 2))
            hidden = hidden.maximum((sides[0][:, :, None] & sides[1][:, None])[:, None].to(x.dtype))
        return self.batch(step, x * (1 - hidden), hidden=hidden)


class Noisy(View):
    """Four copies of each clean sample with Gaussian noise, one whole batch after another."""

    def __call__(self, step: Step) -> Batch:
        clean, rows = step.clean, torch.arange(len(step.clean.x), device=step.clean.x.device).repeat(COPIES)
        x = clean.x[rows]
        x = x + SIGMA * torch.randn(x.shape, generator=step.generator, device=x.device, dtype=x.dtype)
        if x.ndim == 4:
            x = x.clamp(0, 1).contiguous(memory_format=torch.channels_last)
        return Batch(x, clean.y[rows], clean.index[rows], rows)


for _name, _kind in {"poor": Poor, "hidden": Hidden, "noisy": Noisy}.items():
    views.add(_name, _kind)


@dataclass(frozen=True, repr=False)
class privileged(Term):
    """Transfer predictions of a teacher that sees the whole image to a student that sees its middle.

    Formula: t^2 H(p(x), q(poorer x))
    Weights: ours ce 1 on whole images, privileged 1, t 4.
    Source: SurgFUTR, arXiv 2510.12904 (abstract), where the teacher sees the future of a clip
    Reading: our reading of an abstract: more of an image in place of more frames
    Trap: labels and validation show the student whole images; the experiment of this name never does.
    Checked: slow loop
    """

    title, unit, short = "KD across views", "nats × t²", "privileged"
    temperature: float = option(4.0, "softens both predictions", low=0.25, high=20.0)
    teacher: str = wire("teacher", "net that sees more")
    on: str = wire("poor", "batch that the student sees")

    def reads(self) -> list[Read]:
        return [("student", self.on, None), (self.teacher, "clean", None)]

    def __call__(self, step: Step) -> Tensor:
        t, s = step.outputs(self.teacher).logits.detach(), step.outputs("student", self.on).logits
        return self.temperature**2 * soft_cross_entropy(t, s, self.temperature)


@dataclass(frozen=True, repr=False)
class smoothed(Term):
    """Transfer a teacher's predictions, averaged over noise around each sample.

    Formula: t^2 H(softmax(mean of T(x + noise) / t), q), four draws of noise, standard deviation .05
    Weights: ours ce 1, smoothed 1, t 4.
    Source: PURF, Appl. Soft Comput. 2024 (title only)
    Reading: our reading of a title
    Trap: four passes of the teacher in place of one.
    Checked: slow loop
    """

    title, unit, short = "KD from a smoothed teacher", "nats × t²", "smoothed"
    temperature: float = option(4.0, "softens both predictions", low=0.25, high=20.0)
    teacher: str = wire("teacher", "net that is averaged")

    def reads(self) -> list[Read]:
        return [("student", "clean", None), (self.teacher, "noisy", None)]

    def __call__(self, step: Step) -> Tensor:
        s = step.outputs("student").logits
        t = step.outputs(self.teacher, "noisy").logits.detach().unflatten(0, (COPIES, len(s))).mean(0)
        return self.temperature**2 * soft_cross_entropy(t, s, self.temperature)


@dataclass(frozen=True, repr=False)
class steady(Term):
    """Transfer nothing: ask that a net predicts on noisy copies of a sample what it does without noise.

    Formula: KL(q || q~), q of the sample without a gradient, q~ of four noisy copies, standard deviation .05
    Weights: ours ce 1, steady 1.
    Source: PURF, Appl. Soft Comput. 2024 (title only), the phase that makes a teacher smooth
    Reading: our reading of a title
    Trap: meant for a teacher, before it teaches: see experiments.steady_teacher.
    Checked: slow loop
    """

    title, unit, short = "steadiness under noise", "nats", "steady"
    on: str = wire("noisy", "batch of noisy copies")

    def reads(self) -> list[Read]:
        return [("student", "clean", None), ("student", self.on, None)]

    def __call__(self, step: Step) -> Tensor:
        clean, rows = step.outputs("student").logits.detach(), step.batch(self.on).rows
        return kl(step.outputs("student", self.on).logits, clean[rows])


class Guess(nn.Module):
    """Two 3x3 convolutions from the student's map and the mask to the teacher's map."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(narrow + 1, wide, 3, 1, 1), nn.ReLU(), nn.Conv2d(wide, wide, 3, 1, 1))

    def forward(self, m: Tensor, hidden: Tensor) -> Tensor:
        made: Tensor = self.body(torch.cat([m, hidden], 1))
        return made


@dataclass(frozen=True, repr=False)
class latents(Pair):
    """Transfer a frozen teacher's map where the student cannot see: it guesses what is hidden.

    Formula: mean over hidden places of |P(M(visible), mask) - N(whole)|, P two convolutions, learned
    Weights: ours ce 1, latents 1.
    Source: SALT, ICLR 2026, arXiv 2509.24317 (a digest)
    Reading: our reading for single images
    Trap: the guess can be made by P alone; the student's own accuracy says whether it learned.
    Checked: slow loop
    """

    title, unit, short = "hidden maps", "absolute", "latents"
    maps, taught = True, "clean"
    layer: int = option(-2, "stage of both nets, counted from the end", low=-8, high=-1)
    on: str = wire("hidden", "batch that the student sees")

    def layers(self) -> Sequence[Layer]:
        return (self.layer,)

    def learned(self, shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> nn.Module:
        return Guess(*self.widths(shapes, 1))

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        m, n, hidden = s.layers[self.layer], t.layers[self.layer], step.batch(self.on).hidden
        assert hidden is not None
        there, n = (F.adaptive_avg_pool2d(x.to(m.dtype), (m.shape[2], m.shape[3])) for x in (hidden, n))
        apart = (step.modules[self.label](m, there) - n).abs().mean(1, keepdim=True)
        return (there * apart).sum((1, 2, 3)) / there.sum((1, 2, 3)).clamp_min(1e-6)


class Directions(nn.Module):
    """A head from the student's features to the teacher's, and a fixed direction there for each state."""

    fixed: Tensor

    def __init__(self, narrow: int, wide: int, count: int) -> None:
        super().__init__()
        self.head = nn.Linear(narrow, wide)
        self.register_buffer("fixed", F.normalize(torch.randn(count, wide), dim=1))

    def forward(self, f: Tensor) -> Tensor:
        """Return cosines (N, count) of features (N, wide), centred over the batch, with the directions."""
        return F.normalize(f - f.mean(0), dim=1) @ self.fixed.to(f.dtype).T


def balanced(scores: Tensor, rounds: int = 3) -> Tensor:
    """Return (N, P) shares of each row in P states, after Sinkhorn-Knopp rounds that fill all states alike."""
    for _ in range(rounds):
        scores = scores.log_softmax(0).log_softmax(1)
    return scores.exp()


@dataclass(frozen=True, repr=False)
class states(Pair):
    """Transfer in which state the teacher sees the whole image, to a student that sees its middle.

    Formula: H(a, softmax(cos(W f, d) / t)), a the balanced shares (Sinkhorn-Knopp, 3 rounds, eps .05) of the teacher's
    centred features in P fixed random directions d
    Weights: ours ce 1 and privileged 1 beside it, states 1, P 64, t .1.
    Source: SurgFUTR, arXiv 2510.12904 (abstract), where states are clusters of clips
    Reading: our reading of an abstract: directions in place of clusters
    Trap: a batch smaller than the number of states cannot fill them alike.
    Checked: slow loop
    """

    title, unit, short = "states of the whole image", "nats", "states"
    taught = "clean"
    on: str = wire("poor", "batch that the student sees")
    count: int = option(64, "number of states", low=2, high=1024)
    temperature: float = option(0.1, "divides the student's cosines", low=0.01, high=1.0)

    def learned(self, shapes: Mapping[str, Sequence[tuple[int, ...]]]) -> nn.Module:
        return Directions(*self.widths(shapes), self.count)

    def loss(self, s: Outputs, t: Outputs, step: Step) -> Tensor:
        made = step.modules[self.label]
        assert isinstance(made, Directions)
        shares = balanced(made(t.features) / 0.05)
        return -(shares * (made(made.head(s.features)) / self.temperature).log_softmax(1)).sum(1)


for _term in (privileged, smoothed, steady, latents, states):
    _term.name = _term.__name__
    terms.add(_term.name, _term)


method("privileged", lambda: ce() + privileged())
method("surgfutr", lambda: ce() + privileged() + states())
method("smoothed", lambda: ce() + smoothed())
method("steady", lambda: ce() + steady())
method("latents", lambda: ce() + latents())
