"""Golden files of published losses, and a step whose outputs are given: what the tests of the zoo compare with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from amkd_viz.models import Outputs
from amkd_viz.objectives import Batch, Objective, Step

GOLDEN = Path(__file__).parent / "golden"


def stored(name: str) -> dict[str, Tensor]:
    """Return the numbers of a golden file, floats as float64; skip the test where the file is missing."""
    path = GOLDEN / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"needs tests/golden/{name}.npz")
    with np.load(path) as file:
        numbers = {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "fiu"}
    return {key: value.double() if value.is_floating_point() else value for key, value in numbers.items()}


def outputs(logits: Tensor | None = None, features: Tensor | None = None, layers: Any = None, count: int = 16):
    """Return outputs of a net, zeros where they are not given."""
    given = next((x for x in (logits, features, *(layers or {}).values()) if x is not None), None)
    n, dtype = (count, torch.float64) if given is None else (len(given), given.dtype)
    logits = torch.zeros(n, 10, dtype=dtype) if logits is None else logits
    return Outputs(logits, torch.zeros(n, 4, dtype=dtype) if features is None else features, layers or {})


def step_of(student: Any, teacher: Any, y: Tensor | None = None, modules: Any = None, **batches: Any) -> Step:
    """Return a step in which student and teacher have given these outputs on "clean".

    Args:
        batches: name of another batch -> outputs of student and teacher on it.
    """
    count = len(student.logits)
    y = torch.zeros(count, dtype=torch.long) if y is None else y
    batch = Batch(torch.zeros(count, 1), y, torch.arange(count))
    nets: Any = {"student": None, "teacher": None}
    made = Step(nets, batch, 1.0, torch.Generator().manual_seed(0), {on: lambda step: step.clean for on in batches})
    made.modules.update(modules or {})
    made._outputs |= {("student", "clean"): student, ("teacher", "clean"): teacher}
    for on, (s, t) in batches.items():
        made._outputs |= {("student", on): s, ("teacher", on): t}
    return made


@dataclass(frozen=True)
class Case:
    """A loss on the logits of a golden file.

    Attributes:
        loss, grad: keys of the expected value and of its gradient to the student's logits.
        s, t, y: keys of the inputs. extra: what our value has beside the published one, as a function of the file.
    """

    file: str
    term: Any
    loss: str
    grad: str
    s: str = "logits_s"
    t: str = "logits_t"
    y: str = "labels"
    extra: Any = field(default=lambda numbers: 0.0)

    def __str__(self) -> str:
        return f"{self.file}-{self.loss}"


def check(found: Tensor, inputs: Mapping[str, Tensor], loss: Tensor, grads: Mapping[str, Tensor]) -> None:
    """Compare a loss to rtol 1e-9 and each gradient to 1e-8 of its largest entry."""
    torch.testing.assert_close(found.detach(), loss.double(), rtol=1e-9, atol=0)
    made = torch.autograd.grad(found, [inputs[name] for name in grads])
    for (name, expected), own in zip(grads.items(), made, strict=True):
        assert (own - expected).abs().max() <= 1e-8 * expected.abs().max(), name


def total(term: Any, step: Step) -> Tensor:
    """Return a term, or a sum of terms, as an objective."""
    return Objective(term.parts())(step)
