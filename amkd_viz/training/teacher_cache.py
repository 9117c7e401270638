"""A teacher's logits on augmented training images, kept for the next run that draws the same images.

An augmented image depends on the recipe's seed, the epoch and its place in the epoch, so another method or learning
rate with the same seed sees the same ones. Keeping what a teacher says of each view, cut to its largest values, is the
idea of FKD (Shen & Xing, ECCV 2022).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import write_atomic
from amkd_viz.core.pauses import pause_point
from amkd_viz.models.checkpoint import safetensors
from amkd_viz.training.teachers import cache_folder

__all__ = ["Largest", "Views"]

Passes = Callable[[], Iterable[tuple[Tensor, Tensor]]]  # rows (B,) and logits (B, C) of each batch of an epoch


class Largest:
    """Logits (N, C), of which the ``k`` largest of each row are kept; ``kept[rows]`` gives (B, C) again.

    The other C - k classes share one logit, with which they have together the probability that they had (at
    temperature 1). This is the "marginal smoothing" of FKD. Our reading: FKD keeps probabilities at temperature 1;
    we keep logits, since terms choose their temperature. At a higher temperature the others get more than their share:
    a mean of exponentials grows with its spread. With k >= C - 1 the logits are what they were, bit for bit.

    >>> kept = Largest(1, 4, k=2)
    >>> kept.fill(torch.tensor([0]), torch.tensor([[3.0, 1.0, 2.0, 0.0]]))
    >>> kept[torch.tensor([0])].softmax(1).mul(100).round()
    tensor([[64., 6., 24., 6.]])
    """

    def __init__(self, n: int, classes: int, k: int, device: torch.device | str = "cpu") -> None:
        self.n, self.classes, self.k = n, classes, min(k, classes)
        # filled in place: a recorded CUDA graph keeps their addresses
        self.tensors = {
            "classes": torch.zeros(n, self.k, dtype=torch.int16 if classes < 2**15 else torch.int32, device=device),
            "logits": torch.zeros(n, self.k, device=device),
            "rest": torch.zeros(n, device=device),
        }

    def fill(self, rows: Tensor, logits: Tensor) -> None:
        """Keep the largest of ``logits`` (B, C) as those of ``rows`` (B,)."""
        values, classes = logits.topk(self.k, 1)
        self.tensors["classes"][rows] = classes.to(self.tensors["classes"].dtype)
        self.tensors["logits"][rows] = values
        if self.k < self.classes:
            left = logits.scatter(1, classes, -math.inf)
            self.tensors["rest"][rows] = left.logsumexp(1) - math.log(self.classes - self.k)

    def __getitem__(self, rows: Tensor) -> Tensor:
        rest = self.tensors["rest"][rows].unsqueeze(1).repeat(1, self.classes)
        return rest.scatter(1, self.tensors["classes"][rows].long(), self.tensors["logits"][rows])

    def take(self, content: bytes) -> bool:
        """Replace everything by what ``save`` has written; return whether it fits."""
        with suppress(safetensors().SafetensorError, ValueError):
            found = safetensors(".torch").load(content)
            if {name: (t.shape, t.dtype) for name, t in found.items()} == {
                name: (t.shape, t.dtype) for name, t in self.tensors.items()
            } and ((found["classes"] >= 0) & (found["classes"] < self.classes)).all():
                for name, value in found.items():
                    self.tensors[name].copy_(value)
                return True
        return False


class Views(Largest):
    """The largest logits on the views of one epoch after another, each in a file of the cache folder.

    Args:
        about: all that the views and the teacher depend on, values of JSON.
    """

    def __init__(self, about: Any, n: int, classes: int, k: int, device: torch.device | str = "cpu") -> None:
        super().__init__(n, classes, k, device)
        name = hashlib.sha256(json.dumps([about, n, classes, self.k], sort_keys=True).encode()).hexdigest()[:20]
        self.folder = cache_folder() / "teacher-logits" / name
        self.epoch: int | None = None

    @property
    def bytes(self) -> int:
        """Size of an epoch."""
        return sum(t.nbytes for t in self.tensors.values())

    def turn(self, epoch: int, passes: Passes) -> None:
        """Hold the logits of ``epoch``: from its file, else by ``passes``, which are then written to the file."""
        if self.epoch == epoch:
            return
        self.epoch = None
        file = self._file(epoch)
        if not self._read(file):
            for rows, logits in passes():
                pause_point()
                self.fill(rows, logits)
            content = safetensors(".torch").save({name: t.cpu() for name, t in self.tensors.items()})
            with suppress(InputError):  # a full disk: the next run computes them again
                write_atomic(file, content, flush=False)
        self.epoch = epoch

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch + 1:05d}.safetensors"

    def _read(self, file: Path) -> bool:
        try:
            return self.take(file.read_bytes())
        except OSError:
            return False
