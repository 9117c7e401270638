"""Which teacher: teachers of several sizes, a student as the next teacher, assistants between both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amkd_viz.boundary import samplers
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.experiments.result import Experiment, accuracy_of, lines
from amkd_viz.experiments.ridge import best_weight
from amkd_viz.models import architectures
from amkd_viz.runs import Run, cells, train_cells
from amkd_viz.training import Recipe, logits_on
from amkd_viz.training.teachers import teacher_recipe
from amkd_viz.views.view import View

__all__ = ["assistants", "capacity_gap", "generations", "steady_teacher"]

MEASURES = {
    "parameters": "parameters of the teacher",
    "accuracy": "test accuracy of the teacher, %",
    "kl": "KL(teacher || student), nats",
}


SIDES = {"teacher": "teacher.", "student": ""}


def capacity_gap(
    recipe: Recipe,
    teachers: Sequence[str],
    out: str | Path,
    *,
    students: Sequence[str] | None = None,
    seeds: int = 1,
    over: str = "parameters",
    **how: Any,
) -> Experiment:
    """Train students with teachers of several sizes: the largest teacher need not give the best student.

    Args:
        teachers, students: architectures; by default the student of the recipe.
        out: folder of the runs; what is there goes on. over: what the figure shows them over, see ``MEASURES``.

    Returns:
        runs, and arrays ``STUDENT.x`` and ``STUDENT.accuracy`` (teachers,), shares, means over seeds; notes
        ``STUDENT.best``, the teacher of the most accurate students.

    Raises:
        InputError: fewer than two teachers, no seed, an unknown measure, or see ``train_cells``.
    """
    if len(teachers) < 2 or seeds < 1 or over not in MEASURES:
        raise InputError(
            f"capacity_gap needs two teachers or more, a seed and over={'|'.join(MEASURES)}, got {list(teachers)}, "
            f"{seeds} and {over!r}."
        )
    students = [recipe.student] if students is None else list(students)
    made = cells(recipe, teacher=list(teachers), student=students, seed=range(seeds))
    runs = dict(zip(made, train_cells(made, out, **how), strict=True))
    shares: dict[tuple[str, str], list[float]] = {}
    places: dict[tuple[str, str], list[float]] = {}
    for run in runs.values():
        at = run.recipe.student, run.recipe.teacher
        shares.setdefault(at, []).append(accuracy_of(run))
        places.setdefault(at, []).append(_measure(run, over))
    arrays: dict[str, Any] = {}
    for student in students:
        arrays[f"{student}.x"] = np.array([np.mean(places[student, t]) for t in teachers])
        arrays[f"{student}.accuracy"] = np.array([np.mean(shares[student, t]) for t in teachers])
    best = {s: teachers[int(arrays[f"{s}.accuracy"].argmax())] for s in students}
    series = {s: (arrays[f"{s}.x"], 100 * arrays[f"{s}.accuracy"]) for s in students}
    names = {s: list(teachers) for s in students}
    figure = lines(series, MEASURES[over], "test accuracy of the student, %", text=names, log=over == "parameters")
    caption = "; ".join(f"{s} is best with {t}" for s, t in best.items())
    spread = max(float(np.std(v, ddof=1)) if len(v) > 1 else float("nan") for v in shares.values())
    trust = (
        "One seed: the order may be chance."
        if seeds < 2
        else f"Seeds differ by up to {100 * spread:.2f} points (one standard deviation): smaller differences are noise."
    )
    notes: dict[str, Any] = {f"{s}.best": t for s, t in best.items()}
    return Experiment(View(figure, arrays, notes, f"{caption}. {trust}", "Capacity gap"), runs)


def _measure(run: Run, over: str) -> float:
    if over == "accuracy":
        return 100 * float(run.summary["teacher_test_accuracy"])
    if over == "kl":
        return float(run.summary["test_kl"])
    return float(sum(p.numel() for p in run.teacher().parameters()))


def generations(
    recipe: Recipe, count: int, out: str | Path, *, label_weight: float | None = None, **how: Any
) -> Experiment:
    """Train a net, then nets of its architecture that each learn from the one before (Borup and Andersen, 2021).

    Args:
        count: number of generations, the first one learns from labels alone.
        label_weight: weight of the labels in each later one; by default it is read off before each: the fits to labels
            and to the teacher alone are trained, and the mixture nearest to the validation labels is taken.

    Returns:
        runs ``generation0`` ..., and with the weight read off also ``taught1`` ...; arrays ``accuracy`` (count,) and
        ``weights`` (count,).

    Raises:
        InputError: ``count`` is below 2, or see ``train_cells``.
    """
    if count < 2:
        raise InputError(f"count must be at least 2 generations, got {count}.")
    out = Path(out)
    runs: dict[str, Run] = {}

    def train(name: str, weight: float, teacher: Run | None) -> Run:
        own = recipe.replace(
            method="prob-mse",
            overrides={"prob_mse.labels": weight},
            **(
                {} if teacher is None else {"teacher": str(teacher.path / "student.safetensors"), "trust_teacher": True}
            ),
            seed=recipe.seed + len([n for n in runs if n.startswith("generation")]),
        )
        (runs[name],) = train_cells({name: own}, out / name, **how)
        return runs[name]

    last, weights = train("generation0", 1.0, None), [1.0]
    first = last
    for number in range(1, count):
        weight = label_weight
        if weight is None:
            taught, val = train(f"taught{number}", 0.0, last), first.dataset().val
            p1, p0 = (logits_on(run.student(), val).softmax(1).numpy() for run in (first, taught))
            weight = best_weight(p1, p0, np.eye(p1.shape[1])[val.y.numpy()])
        weights.append(weight)
        last = train(f"generation{number}", weight, last)
    shares = np.array([accuracy_of(runs[f"generation{number}"]) for number in range(count)])
    figure = lines({"student": (np.arange(count), 100 * shares)}, "generation", "test accuracy, %")
    figure.update_xaxes(dtick=1)
    read = ", ".join(f"{weight:.2f}" for weight in weights[1:])
    caption = (
        f"Weights of the labels from generation 1 on: {read}"
        f"{' (read off)' if label_weight is None else ''}. One run each: a difference may be chance."
    )
    arrays = {"accuracy": shares, "weights": np.array(weights)}
    notes = {"best": int(shares.argmax())}
    return Experiment(View(figure, arrays, notes, caption, "Generations"), runs)


def assistants(recipe: Recipe, chain: Sequence[str], out: str | Path, **how: Any) -> Experiment:
    """Distil a teacher into the student by way of teacher assistants, and without them (TAKD, arXiv 1902.03393).

    Args:
        chain: architectures of the assistants, the largest first; the ends are the recipe's teacher and student.

    Returns:
        runs by name: ``direct``, one per assistant, and ``chain``; notes ``direct`` and ``chain``, test accuracies.

    Raises:
        InputError: no assistant, one that is unknown, or see ``train_cells``.
    """
    if not chain or not set(chain) <= set(architectures()):
        raise InputError(f"chain must name the architectures of one assistant or more, got {list(chain)}.")
    out = Path(out)
    runs = {"direct": train_cells({"direct": recipe}, out / "direct", **how)[0]}
    teacher = recipe.teacher
    for student in (*chain, recipe.student):
        name = "chain" if student == recipe.student else student
        own = recipe.replace(teacher=teacher, student=student, trust_teacher=True)
        (runs[name],) = train_cells({name: own}, out / name, **how)
        teacher = str(runs[name].path / "student.safetensors")
    notes: dict[str, Any] = {name: accuracy_of(run) for name, run in runs.items()}
    steps = [recipe.teacher, *chain, recipe.student]
    shares = [runs["direct"].summary["teacher_test_accuracy"], *(notes[name] for name in (*chain, "chain"))]
    last = len(steps) - 1
    series = {
        "by way of assistants": (np.arange(last + 1), 100 * np.array(shares)),
        "direct": (np.array([0, last]), 100 * np.array([shares[0], notes["direct"]])),
    }
    figure = lines(series, "net", "test accuracy, %")
    figure.update_xaxes(tickvals=list(range(last + 1)), ticktext=steps)
    caption = (
        f"{recipe.student}: {100 * notes['chain']:.2f} % by way of {', '.join(chain)}, {100 * notes['direct']:.2f} % "
        f"directly, by {recipe.method}. One run each: a difference may be chance."
    )
    return Experiment(View(figure, {"accuracy": np.array(shares)}, notes, caption, "Teacher assistants"), runs)


def steady_teacher(recipe: Recipe, out: str | Path, **how: Any) -> Experiment:
    """Make the teacher smooth before it teaches: with noise it must predict what it predicts without (after PURF).

    Returns:
        runs ``teacher.plain`` (by ce), ``teacher.steady`` (by the method of this name), and ``plain`` and ``steady``,
        students of each by the recipe's method; notes of their test accuracies, and ``distance.plain`` and
        ``distance.steady``: the mean L2 distance to the teacher's boundary of the first 200 test samples, by DeepFool.

    Raises:
        InputError: see ``train_cells``.
    """
    out, runs, notes = Path(out), dict[str, Run](), dict[str, Any]()
    for name, method in (("plain", "ce"), ("steady", "steady")):
        own = teacher_recipe(recipe).replace(method=method)
        (teacher,) = train_cells({f"teacher.{name}": own}, out / f"teacher-{name}", **how)
        taught = recipe.replace(teacher=str(teacher.path / "student.safetensors"), trust_teacher=True)
        (student,) = train_cells({name: taught}, out / name, **how)
        runs |= {f"teacher.{name}": teacher, name: student}
        net, x = teacher.student().eval(), teacher.dataset().test.floats(slice(0, 200))
        nearest = net(x).topk(2, 1).indices[:, 1]
        made = samplers["deepfool"]()(net, x, nearest, generator("cpu", "steady"))
        distance = float((made.x - x).flatten(1).norm(dim=1)[made.crossed].mean())
        notes |= {f"teacher.{name}": accuracy_of(teacher), name: accuracy_of(student), f"distance.{name}": distance}
    shares = {who: [100 * notes[f"{prefix}{n}"] for n in ("plain", "steady")] for who, prefix in SIDES.items()}
    figure = lines({who: (np.arange(2), own) for who, own in shares.items()}, "teacher", "test accuracy, %")
    figure.update_xaxes(tickvals=[0, 1], ticktext=["plain", "steady"], range=[-0.3, 1.3])
    caption = (
        f"The boundary of the steady teacher is {notes['distance.steady']:.2f} away on average, that of the plain one "
        f"{notes['distance.plain']:.2f} (L2). One run each: a difference may be chance."
    )
    arrays = {who: np.array(own) / 100 for who, own in shares.items()}
    return Experiment(View(figure, arrays, notes, caption, "A smooth teacher"), runs)
