"""Exercises and predictions of 07_many_methods."""

from __future__ import annotations

from typing import Any

from amkd_viz.objectives import methods
from amkd_viz.objectives.zoo.stages import unit
from exercises.build import compared, hidden
from exercises.checking import LookAgain, exercise, number
from exercises.predictions import question

TRAINED = ("ce", "kd", "wttm", "sp", "at", "pld", "ada")
WITHOUT_TEACHER = {name for name in methods if not any(net == "teacher" for net, *_ in methods[name]().reads())}
RATIO = (0.9 * 16 / 4**2 / 0.1) / (4 / 3**2)  # hinton to kd: teacher's pull over the labels', gradients as 1 / t^2


@question(
    "07.relations",
    "How similar is the map of kd to the teacher's? (Correlation: 0 is unrelated, 1 the same.)",
    high=1.0,
    step=0.01,
)
def relations(view: Any) -> tuple[float, str]:
    return _likeness(view, "kd", "Correlation with the teacher's map", "Most of the likeness comes with the classes.")


@question(
    "07.attention",
    "How similar is the attention of ce to the teacher's? (Mean cosine: 1 is the same.)",
    high=1.0,
    step=0.01,
)
def attention(view: Any) -> tuple[float, str]:
    return _likeness(
        view, "ce", "Mean cosine with the teacher's map", "Remember the number of at when you see its accuracy."
    )


def _likeness(view: Any, name: str, what: str, then: str) -> tuple[float, str]:
    likeness = {n.removesuffix(".likeness"): v for n, v in view.notes.items() if not n.startswith("teacher")}
    return likeness[name], f"{what}: {', '.join(f'{name} {v:.2f}' for name, v in likeness.items())}. {then}"


@question(
    "07.ranks",
    "On what share of the test images does the kd student have the teacher's first three classes, in order?",
    unit=" %",
)
def ranks(view: Any) -> tuple[float, str]:
    return 100 * view.notes["kd.same"], (
        f"ce {view.notes['ce.same']:.0%}, pld {view.notes['pld.same']:.0%}. This teacher gives its first class "
        "nearly all of the probability, so the places behind it weigh next to nothing in any of these losses."
    )


@question(
    "07.weights",
    "Which images get the larger weight on the teacher's prediction?",
    choices=("those near the teacher's boundary", "those far from it", "all get about the same"),
)
def weights(view: Any) -> tuple[str, str]:
    low, high = view.notes["low"], view.notes["high"]
    truth = "those far from it" if high > 1.2 * low else "those near the teacher's boundary"
    truth = truth if max(low, high) > 1.2 * min(low, high) else "all get about the same"
    return truth, (
        f"{high:.2f} above a margin of 0.5, {low:.2f} below. ada trusts a teacher that is sure and right, so it "
        "uses the boundary least. bss does the opposite: it makes samples there."
    )


@question("07.best", "Which of the seven has the highest test accuracy?", choices=TRAINED)
def best(view: Any) -> tuple[str, str]:
    mean = {name: 100 * view.notes[f"{name}.mean"] for name in TRAINED}
    order = sorted(mean, key=lambda name: -mean[name])
    return order[0], (
        f"{', '.join(f'{name} {mean[name]:.1f} %' for name in order)}. The student that looks where its teacher "
        f"looks, at, has {mean['at']:.1f} %: the published weight of 1,000 is for 50,000 images, and with 50 nothing "
        "is left for the labels. One seed, and no weight was tuned for these data."
    )


@exercise(
    "07.a",
    "Write my_attention(maps): from maps (N, C, H, W) the attention of Zagoruyko and Komodakis, the mean square over "
    "channels at each place, flattened to a unit vector. Return (N, H * W).",
    (
        "maps.square().mean(1) has one number per place.",
        "flatten(1), then divide each row by its norm: torch.nn.functional.normalize(rows, dim=1).",
    ),
)
def attention_of_maps(answer: Any) -> str:
    maps = hidden(3, 5, 2, 4)
    energy = maps.square().mean(1)
    mistakes = {
        "the norm is missing: each row must have length 1.": energy.flatten(1),
        "the norm is that of the whole batch: take one per row.": energy.flatten(1) / energy.norm(),
        "the mean over channels comes after the square: positive and negative values cancel here.": unit(
            maps.mean(1).square()
        ),
        "that is the mean of absolute values; take squares.": unit(maps.abs().mean(1)),
        "rows must sum to 1 in squares, not in values: use the L2 norm.": energy.flatten(1)
        / energy.flatten(1).sum(1, keepdim=True),
    }
    compared(answer, (maps,), unit(energy), mistakes)
    return (
        "equal to the library's. Its squared distance from the teacher's, times 1,000, is what at adds to the labels."
    )


@exercise(
    "07.b",
    "hinton weighs labels 0.1 and the teacher 0.9 at t = 4 with the factor t^2; kd weighs labels 1 and the teacher "
    "4 at "
    "t = 3 without it. For large t the gradient of H falls as 1 / t^2. How many times as strongly as kd does hinton "
    "follow "
    "the teacher, relative to the labels?",
    (
        "Write teacher's weight, times t^2 where it is set, over t^2, over the labels' weight, for each.",
        "hinton: 0.9 / 0.1 = 9. kd: 4 / 9 / 1.",
    ),
)
def pull_of_the_teacher(answer: Any) -> str:
    value = number(answer)
    if abs(value - 9) < 0.05:
        raise LookAgain("that is hinton alone; divide by the same ratio of kd.")
    if abs(value - 0.9 / 0.1 / 4) < 0.05:
        raise LookAgain("the temperatures are missing: without the factor t^2 the gradient of kd is divided by 9.")
    if abs(value - RATIO) > 0.05:
        raise LookAgain("hinton: 0.9 x 16 / 16 / 0.1. The same for kd, which has no factor t^2.")
    return f"{RATIO:.2f} times: a weight without its temperature and the factor t^2 means nothing."


@exercise(
    "07.c",
    "Which methods never look at the teacher? Give the set of their names.",
    (
        "An objective lists what it reads: amkd_viz.methods[name]().reads().",
        'Each entry is (net, batch, layer); keep the names without any entry of "teacher".',
    ),
)
def without_a_teacher(answer: Any) -> str:
    value = {str(name) for name in answer}
    if value - set(methods):
        raise LookAgain(f"{sorted(value - set(methods))[0]} is not a method; amkd_viz.methods() lists them.")
    if value - WITHOUT_TEACHER:
        raise LookAgain(f"{sorted(value - WITHOUT_TEACHER)[0]} reads the teacher.")
    if WITHOUT_TEACHER - value:
        raise LookAgain(f"{len(WITHOUT_TEACHER - value)} more do not; one of them may learn from itself.")
    return "they use labels alone, the student itself, as it is or was or on other views, or its peers."
