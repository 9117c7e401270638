"""Which sample when: the positions of the training split that each epoch takes, in their order.

Every epoch has as many batches as one pass over the split, so that (epoch, batch) remains the whole position.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations
from typing import Protocol

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.rng import generator
from amkd_viz.data.dataset import Split
from amkd_viz.data.strata import shuffled
from amkd_viz.models import Outputs
from amkd_viz.objectives import Step

__all__ = ["NAMES", "ORDERS", "Order", "class_order", "class_scores", "order_for"]

OPEN = 0.4  # share of the training after which a curriculum has shown every sample
POOL, SHARE, VISITS = 20, 10, 5  # hard samples: one in 20, a tenth of each batch, epochs in the pool
BUFFER = 0.01  # share of the samples of earlier tasks that is kept for replay
SAMPLED = 2000  # class orders, where there are too many to try all


class Known(Protocol):
    def __call__(self, net: str) -> tuple[Outputs, Tensor]: ...


class Order:
    """All samples, shuffled anew in each epoch.

    Args:
        text: what stands after the colon in the recipe's ``order``.
        known: outputs of a frozen net on the split, and its labels, see ``Training.known``.

    Attributes:
        earlier: (K,) bool, the classes of earlier tasks, on the device; changed in place.
    """

    option = ""

    def __init__(self, text: str, split: Split, known: Known, classes: int, size: int, epochs: int, seed: int) -> None:
        self.text, self.split, self.known, self.classes = text, split, known, classes
        self.size, self.epochs, self.seed = size, epochs, seed
        self.earlier = torch.zeros(classes, dtype=torch.bool, device=split.y.device)

    @staticmethod
    def check(text: str) -> None:
        """Refuse a text after the colon that has no meaning."""
        if text:
            raise InputError(f"order takes nothing after the colon here, got {text!r}.")

    def of_epoch(self, epoch: int) -> Tensor | None:
        """Return positions (N,) for an epoch, or None for those of the loader."""
        return None

    def after_step(self, step: Step) -> None:
        """Look at a step that has been taken."""

    def ends_task(self, epoch: int) -> bool:
        """Return whether a task ends with this epoch, counted from 0."""
        return False

    def state(self) -> dict[str, Tensor]:
        """Return what changes while training."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state``."""

    def _repeated(self, rows: Tensor, epoch: int) -> Tensor:
        """Return ``rows``, shuffled and repeated to the length of the split."""
        passes = math.ceil(len(self.split) / len(rows))
        parts = [rows[shuffled(len(rows), self.seed, "order", epoch, again).to(rows.device)] for again in range(passes)]
        return torch.cat(parts)[: len(self.split)]


class Sorted(Order):
    """The samples that the teacher is surest of first; all of them from 40 % of the training on."""

    def rank(self) -> Tensor:
        """Return positions (N,), the first ones first."""
        known, y = self.known("teacher")
        label = known.logits.gather(1, y[:, None])[:, 0]
        others = known.logits.scatter(1, y[:, None], -torch.inf).amax(1)
        return (label - others).argsort(descending=True, stable=True)

    def of_epoch(self, epoch: int) -> Tensor | None:
        share = min(1.0, (epoch + 1) / max(1.0, OPEN * self.epochs))
        rank = self.rank()
        return self._repeated(rank[: max(self.size, round(share * len(rank)))], epoch)


class ByClass(Sorted):
    """Class after class, in the order of Curriculum Designer; all of them from 40 % of the training on."""

    def rank(self) -> Tensor:
        known, y = self.known("teacher")
        means = torch.zeros(self.classes, known.features.shape[1], device=y.device).index_add_(0, y, known.features)
        order = class_order(means / y.bincount(minlength=self.classes).clamp_min(1)[:, None])
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return place.to(y.device)[y].argsort(stable=True)


class Hard(Order):
    """A tenth of each batch from the samples on which student and teacher differed the most (PVD-AL)."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        n, device = len(self.split), self.split.y.device
        self.hardness, self.visits = torch.zeros(n, device=device), torch.zeros(n, dtype=torch.long, device=device)
        self.pool = torch.full((max(1, n // POOL),), -1, device=device)
        self.chosen = torch.full((), -1, device=device)  # the epoch for which the pool was chosen

    def of_epoch(self, epoch: int) -> Tensor | None:
        if epoch == 0:
            return None
        if int(self.chosen) != epoch:  # else it is that of a resumed epoch
            tired = self.visits >= VISITS
            self.pool = self.hardness.masked_fill(tired, -1).topk(len(self.pool)).indices
            self.visits[self.pool] += 1
            self.chosen.fill_(epoch)
        order = shuffled(len(self.split), self.seed, "order", epoch).to(self.pool.device)
        again = order[len(order) - len(order) % self.size :]
        batches = order[: len(order) - len(again)].reshape(-1, self.size).clone()
        few = max(1, self.size // SHARE)
        draws = generator(self.pool.device, "pool", self.seed, epoch)
        at = torch.randint(len(self.pool), (len(batches), few), generator=draws, device=self.pool.device)
        batches[:, :few] = self.pool[at]
        return torch.cat([batches.flatten(), again])

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        p, q = (step.outputs(net).logits.detach().softmax(1) for net in ("teacher", "student"))
        self.hardness[step.clean.index] = (p - q).abs().sum(1)

    def state(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("hardness", "visits", "pool", "chosen")}

    def restore(self, state: dict[str, Tensor]) -> None:
        for name, value in state.items():
            setattr(self, name, value.to(self.split.y.device))


class Part(Order):
    """The samples of some classes: ``part:0,3,4``."""

    option = ":0,1,2"

    @staticmethod
    def check(text: str) -> None:
        if not text or not all(word.isdecimal() for word in text.split(",")):
            raise InputError(f"order must name classes by number, as part:0,1,2 does, got part:{text}.")

    def of_epoch(self, epoch: int) -> Tensor | None:
        named = torch.tensor([int(word) for word in self.text.split(",")], device=self.split.y.device)
        rows = torch.isin(self.split.y, named).nonzero()[:, 0]
        if not len(rows):
            raise InputError(f"order must name classes from 0 to {self.classes - 1}, got part:{self.text}.")
        return self._repeated(rows, epoch)


class Tasks(Order):
    """Classes in tasks, one after the other: ``tasks:3``, by default 5; ``replay:3`` keeps 1 % of the samples."""

    option = ":5"
    kept = 0.0

    @property
    def count(self) -> int:
        """The number of tasks, at most that of the classes."""
        return min(int(self.text or 5), self.classes)

    @staticmethod
    def check(text: str) -> None:
        if text and (not text.isdecimal() or int(text) < 2):
            raise InputError(f"order must give a number of tasks from 2 on, as tasks:5 and replay:5 do, got {text!r}.")

    def _task(self, epoch: int) -> int:
        return self.count * min(epoch, self.epochs - 1) // self.epochs

    def ends_task(self, epoch: int) -> bool:
        return epoch + 1 < self.epochs and self._task(epoch + 1) != self._task(epoch)

    def of_epoch(self, epoch: int) -> Tensor | None:
        y, tasks, now = self.split.y, self.count, self._task(epoch)
        of = torch.arange(self.classes, device=y.device) * tasks // self.classes
        self.earlier.copy_(of < now)
        rows, old = (of[y] == now).nonzero()[:, 0], (of[y] < now).nonzero()[:, 0]
        count = math.ceil(self.kept * len(y))
        if not (count and len(old)):
            return self._repeated(rows, epoch)
        kept = old[shuffled(len(old), self.seed, "buffer", now)[:count].to(old.device)]
        each = self.size // 2  # half of each batch is replay
        new, again = self._repeated(rows, epoch), kept[torch.arange(len(y), device=y.device) % len(kept)]
        whole = [torch.cat([new[i : i + self.size - each], again[i : i + each]]) for i in range(0, len(y), self.size)]
        return torch.cat(whole)[: len(y)]


class Replay(Tasks):
    """Tasks with a buffer: half of each batch from 1 % of the split, drawn from the classes of earlier tasks."""

    kept = BUFFER


ORDERS: dict[str, type[Order]] = {"shuffle": Order, "margins": Sorted, "classes": ByClass, "hard": Hard}
ORDERS |= {"part": Part, "tasks": Tasks, "replay": Replay}


class _Names(tuple[str, ...]):
    """The names of orders, and all words that begin with one and a colon; ``order_for`` reads the rest."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).partition(":")[0])


NAMES = _Names(ORDERS)


def order_for(order: str) -> Callable[..., Order]:
    """Return what makes the order that a recipe names, such as "hard" or "tasks:5".

    Raises:
        InputError: an unknown order, or a text after its colon that it does not take.
    """
    name, _, text = order.partition(":")
    if name not in ORDERS:
        raise unknown("order", order, [f"{name}{kind.option}" for name, kind in ORDERS.items()])
    kind = ORDERS[name]
    kind.check(text)
    return lambda *about: kind(text, *about)


def class_scores(distances: Tensor, orders: Tensor) -> Tensor:
    """Return Curriculum Designer's score (M,) of class orders (M, K): start with a class that is equally far from all
    others, neighbours in time far apart, mirror positions near (ICCV 2023, arXiv 2211.15470).

    Args:
        distances: (K, K) between classes, rows not normalised.
    """
    d = distances / distances.sum(1, keepdim=True)
    spread = d.var(1, correction=0)
    n = orders.shape[1]
    score = 1 - (spread / spread.sum())[orders[:, 0]]
    for i in range(math.ceil((n - 1) / 2)):
        here, mirror, after = orders[:, i], orders[:, n - 1 - i], orders[:, i + 1]
        score = score + 1 - d[here, mirror] + d[here, after]
    return score


def class_order(means: Tensor) -> Tensor:
    """Return the order (K,) of classes with the largest score, by the cosine distances of their mean features (K, D).

    All orders are tried for up to six classes, else 2000 random ones.
    """
    unit = torch.nn.functional.normalize(means.double().cpu(), dim=1)
    distances = (1 - unit @ unit.T).clamp_min(0).fill_diagonal_(0)
    n, draws = len(means), generator("cpu", "curriculum")
    if n <= 6:
        orders = torch.tensor(list(permutations(range(n))))
    else:
        orders = torch.stack([torch.randperm(n, generator=draws) for _ in range(SAMPLED)])
    return orders[class_scores(distances, orders).argmax()]
