"""The student as its own teacher: nets that follow it, by the name under which terms read them."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from amkd_viz.core.registry import Registry
from amkd_viz.models import Classifier

__all__ = ["Self", "selves"]

KEEP = 0.99  # share of its weights that a moving average keeps in a step
VOTERS = 3


class Self:
    """How one net follows the student; ``net`` is frozen, in eval mode, and saved with the run."""

    def __init__(self, student: Classifier) -> None:
        self.net = copy.deepcopy(student).eval().requires_grad_(False)

    def after_step(self, student: Classifier, done: int) -> None:
        """Follow an update of the student, of which ``done`` came before."""

    def after_epoch(self, student: Classifier, ends_task: bool = False) -> None:
        """Follow the end of an epoch, with which a task may end."""


selves: Registry[type[Self]] = Registry("past self")


class Past(Self):
    """The student at the end of the epoch before."""

    def after_epoch(self, student: Classifier, ends_task: bool = False) -> None:
        self.net.load_state_dict(student.state_dict())


class Old(Self):
    """The student at the end of the last task."""

    def after_epoch(self, student: Classifier, ends_task: bool = False) -> None:
        if ends_task:
            self.net.load_state_dict(student.state_dict())


class EMA(Self):
    """A moving average of the student's weights, with its batch statistics (arXiv 1703.01780)."""

    @torch.no_grad()
    def after_step(self, student: Classifier, done: int) -> None:
        keep = min(1 - 1 / (done + 1), KEEP)
        own: list[Tensor] = list(self.net.parameters())
        torch._foreach_lerp_(own, list(student.parameters()), 1 - keep)
        for mine, theirs in zip(self.net.buffers(), student.buffers(), strict=True):
            mine.copy_(theirs)


class Members(nn.Module):
    """Bodies and heads of several nets: normalised inputs -> logits of each, side by side (N, VOTERS K)."""

    def __init__(self, student: Classifier) -> None:
        super().__init__()
        self.each = nn.ModuleList(copy.deepcopy(nn.Sequential(student.body, student.head)) for _ in range(VOTERS))

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([own(z).float() for own in self.each], 1)


class Ballot(nn.Module):
    """Logits whose softmax at temperature 4 is the mean of the members' softmaxes at that temperature."""

    def forward(self, each: Tensor) -> Tensor:
        return 4 * (each.unflatten(1, (VOTERS, -1)) / 4).log_softmax(2).logsumexp(1)


class Vote(Self):
    """The last three past selves, whose predictions are averaged; each epoch replaces the oldest one."""

    def __init__(self, student: Classifier) -> None:
        norm = student.normalise
        voters = Classifier(
            Members(student),
            Ballot(),
            mean=norm.mean.flatten().tolist(),
            std=norm.std.flatten().tolist(),
            num_classes=student.num_classes,
            shape=student.shape,
        )
        super().__init__(voters.to(norm.mean.device))  # the copy that it makes has members of its own

    def after_epoch(self, student: Classifier, ends_task: bool = False) -> None:
        each = self.net.body.each
        for older, newer in pairwise([*each, nn.Sequential(student.body, student.head)]):  # type: ignore[misc]
            older.load_state_dict(newer.state_dict())


for _name, _kind in {"past": Past, "old": Old, "ema": EMA, "vote": Vote}.items():
    selves.add(_name, _kind)
