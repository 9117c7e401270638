"""What the abstract of AMKD promises, measured on finished runs: students near the boundary of two classes and at a
distance from all others. Also how sure, how robust and how well ordered they are."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from amkd_viz.boundary import BoundarySamples, bss, refine, sample_targets
from amkd_viz.boundary.pgd import robust
from amkd_viz.core.errors import InputError
from amkd_viz.core.files import write_atomic
from amkd_viz.core.parse import Between, read
from amkd_viz.core.rng import generator
from amkd_viz.data import Split
from amkd_viz.models import Classifier, freeze
from amkd_viz.objectives.losses.triplets import negatives_of
from amkd_viz.objectives.metric import embed, squared_distances
from amkd_viz.runs.run import Run
from amkd_viz.training import Recipe, logits_on
from amkd_viz.training.evaluation import class_accuracies

__all__ = ["MEASURES", "Measure", "calibration_error", "measure", "measured", "measures_of", "radii", "recall_at_one"]

FORMAT = 1
FILE = "measures.json"
MOST = 500  # test samples that are attacked
BINS = 15


class Measure(NamedTuple):
    """How a measure is shown: heading, scale and digits, and one sentence on what it is."""

    heading: str
    scale: float
    digits: int
    meaning: str


MEASURES = {
    "balanced_accuracy": Measure("balanced %", 100, 2, "mean over the classes of the accuracy on their samples"),
    "worst_class": Measure("worst class %", 100, 1, "accuracy on the samples of the class where it is lowest"),
    "boundary_side": Measure(
        "same side %", 100, 1, "share of the teacher's boundary samples on which the student predicts as the teacher"
    ),
    "boundary_gap": Measure(
        "sample gap %", 100, 1, "median difference of the teacher's two largest probabilities at its boundary samples"
    ),
    "boundary_margin": Measure(
        "d(a,n) - d(a,p)", 1, 3, "distance of the teacher's boundary sample to the student's negatives, less that to it"
    ),
    "negative_gap": Measure(
        "gap to others", 1, 2, "at boundary samples: the smaller logit of the two classes less the largest other one"
    ),
    "student_distance": Measure("to own boundary", 1, 3, "median L2 distance to the student's boundary"),
    "teacher_distance": Measure("to teacher's", 1, 3, "median L2 distance to the teacher's boundary"),
    "robust_1": Measure("robust % r1", 100, 1, "accuracy under PGD-10, L-infinity, radius 2/255 (points: 0.02)"),
    "robust_2": Measure("robust % r2", 100, 1, "the same at twice the radius"),
    "robust_4": Measure("robust % r4", 100, 1, "the same at four times the radius"),
    "ece": Measure("ECE %", 100, 1, "expected calibration error, 15 bins"),
    "nll": Measure("NLL", 1, 3, "negative log-likelihood of the test split in nats"),
    "recall_at_1": Measure("recall@1 %", 100, 1, "share of samples whose nearest other feature is of their class"),
    "confused_accuracy": Measure(
        "confused %", 100, 1, "accuracy on the classes that the teacher confuses most with one another"
    ),
}


def measure(run: Run, most: int = MOST) -> dict[str, float]:
    """Return all measures of a finished run's student, by name; write them to ``measures.json`` of the run.

    A run that has been measured on as many samples is read, not measured again.

    Args:
        most: number of test samples that are attacked; calibration, likelihood and accuracy take all.

    Raises:
        InputError: the run is not finished or has no teacher, or a file is damaged; or ``most`` is below 1.
    """
    if most < 1:
        raise InputError(f"most must be at least 1, got {most}.")
    known = _known(run)
    if known.get("samples") == most and known.keys() >= {"measures"}:
        found: dict[str, float] = known["measures"]
        return found
    if not run.recipe.teacher:
        raise InputError(f"The run {run.path} has no teacher, whose boundary the measures need.")
    found = measures_of(run.teacher(), run.student(), run.dataset().test, run.settled, most)
    content = {"format": FORMAT, "samples": most, "measures": found}
    write_atomic(run.path / FILE, json.dumps(content, indent=2) + "\n")
    return found


def measured(run: Run) -> dict[str, float]:
    """Return the measures that were written before, or an empty dict."""
    found: dict[str, float] = _known(run).get("measures", {})
    return found


def _known(run: Run) -> dict[str, dict[str, float]]:
    path = run.path / FILE
    shape = {"samples": range(1, 2**31), "measures": {str: Between()}}
    repair = "delete it and measure the run again"
    found: dict[str, dict[str, float]] = (
        read(path, "measures", shape, format=FORMAT, repair=repair) if path.exists() else {}
    )
    return found


def radii(x: Tensor) -> tuple[float, float, float]:
    """Return the three L-infinity radii of the robust accuracies: 2, 4 and 8 of 255 for images, in units for points.

    >>> radii(torch.zeros(1, 2))
    (0.02, 0.04, 0.08)
    """
    one = 2 / 255 if x.ndim == 4 else 0.02
    return one, 2 * one, 4 * one


def measures_of(
    teacher: Classifier, student: Classifier, test: Split, recipe: Recipe, most: int = MOST
) -> dict[str, float]:
    """Return the measures of two nets on a test split, by name; one that does not exist there is left out.

    All attacks are the same for every run of a data set: the boundary samples are those of the recipe's attack on the
    teacher, distances are found by Newton steps towards the runner-up class and refined by bisection.
    """
    student_logits, teacher_logits = logits_on(student, test), logits_on(teacher, test)
    each = [share for share in class_accuracies(student_logits, test.y) if share == share]
    found = {
        "balanced_accuracy": sum(each) / len(each),
        "worst_class": min(each),
        "ece": calibration_error(student_logits, test.y),
        "nll": float(F.cross_entropy(student_logits, test.y)),
        "confused_accuracy": _confused(student_logits, teacher_logits, test.y),
    }
    chosen = torch.randperm(len(test), generator=generator("cpu", "measures"))[:most].to(test.y.device)
    x, y = test.floats(chosen), test.y[chosen]
    with freeze(student), torch.no_grad():
        found["recall_at_1"] = recall_at_one(student.outputs(x).features, y)
    for factor, radius in zip((1, 2, 4), radii(x), strict=True):
        draws = generator(x.device, "pgd", factor)
        found[f"robust_{factor}"] = float(robust(student, x, y, radius, generator=draws).float().mean())
    for name, net, logits in (("student", student, student_logits), ("teacher", teacher, teacher_logits)):
        found[f"{name}_distance"] = _distance(net, x, logits[chosen])
    found |= _at_the_boundary(teacher, student, x, y, teacher_logits[chosen], student_logits[chosen], recipe)
    return {name: found[name] for name in MEASURES if math.isfinite(found.get(name, math.nan))}


def calibration_error(logits: Tensor, y: Tensor, bins: int = BINS) -> float:
    """Return the expected calibration error in [0, 1] (Guo et al., ICML 2017, arXiv 1706.04599, equation 3).

    The mean over ``bins`` equal intervals of confidence of |accuracy - confidence|, weighted by samples.

    Args:
        logits: (N, K); y: (N,) labels.
    """
    confidence, predicted = logits.softmax(1).max(1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1  # (0, 1/bins], (1/bins, 2/bins], ...
    gap = (predicted == y).double() - confidence.double()
    sums = torch.zeros(bins, dtype=torch.float64, device=gap.device).index_add_(0, place, gap)
    return float(sums.abs().sum() / max(len(y), 1))


def recall_at_one(features: Tensor, y: Tensor) -> float:
    """Return the share of samples whose nearest other sample, by cosine, has their class; NaN for fewer than two.

    Args:
        features: (N, D); y: (N,) labels.
    """
    if len(y) < 2:
        return math.nan
    unit = F.normalize(features.flatten(1).float(), dim=1)
    return float((y[(unit @ unit.T).fill_diagonal_(-torch.inf).argmax(1)] == y).float().mean())


def _confused(student: Tensor, teacher: Tensor, y: Tensor) -> float:
    """Return the student's accuracy on the classes of the pairs that the teacher confuses most: one pair in five
    classes, ranked by the probability that it gives to the one class on samples of the other."""
    classes = teacher.shape[1]
    mean = torch.zeros(classes, classes, device=y.device).index_add_(0, y, teacher.softmax(1))
    mean /= y.bincount(minlength=classes).clamp_min(1)[:, None]
    pairs = (mean + mean.T).triu(1).flatten().topk(max(1, classes // 5)).indices
    named = torch.cat([pairs // classes, pairs % classes]).unique()
    own = torch.isin(y, named)
    return float((student.argmax(1) == y)[own].float().mean())


def _distance(net: Classifier, x: Tensor, logits: Tensor) -> float:
    """Return the median L2 distance of samples to the boundary of their predicted class, in the input space."""
    runner_up = logits.topk(2, dim=1).indices[:, 1]
    samples = refine(net, bss(net, x, runner_up, step_rule="newton", step_size=1.05, steps=20, check=False))
    moved = (samples.x - x).flatten(1).norm(dim=1)[samples.crossed]
    return float(moved.median()) if len(moved) else math.nan


def _at_the_boundary(
    teacher: Classifier,
    student: Classifier,
    x: Tensor,
    y: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    recipe: Recipe,
) -> dict[str, float]:
    right = (teacher_logits.argmax(1) == y) & (student_logits.argmax(1) == y)
    target = sample_targets(teacher_logits[right], generator(x.device, "measures"))
    samples: BoundarySamples = recipe.boundary.sampler(teacher, x[right], target, generator(x.device, "measures"))
    samples = samples[samples.crossed]
    if not len(samples):
        return {}
    with freeze(teacher, student), torch.no_grad():
        at_teacher, at_student, clean = teacher.outputs(samples.x), student.outputs(samples.x), student.outputs(x)
    a, p, n = (embed("logit", out.logits, out.features) for out in (at_teacher, at_student, clean))
    negative = negatives_of(y, samples.base, samples.target)
    margin = squared_distances(a, n) - (2 - 2 * (a * p).sum(1))[:, None]
    between = torch.stack([samples.base, samples.target], 1)
    others = at_student.logits.scatter(1, between, -torch.inf).amax(1)
    return {
        "boundary_side": float((at_student.logits.argmax(1) == at_teacher.logits.argmax(1)).float().mean()),
        "boundary_gap": float(samples.gap.median()),
        "boundary_margin": float(margin[negative].mean()),
        "negative_gap": float((at_student.logits.gather(1, between).amin(1) - others).mean()),
    }
