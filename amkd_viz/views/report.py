"""Finished runs as one HTML file: the table, what it says, and the pictures behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from amkd_viz.boundary import BoundarySamples, bss, refine, sample_targets, select_bases
from amkd_viz.data import Dataset, generator
from amkd_viz.errors import InputError
from amkd_viz.files import write_atomic
from amkd_viz.models import Classifier, freeze
from amkd_viz.training.comparison import COLUMNS, Row, between, reading, table
from amkd_viz.views.boundary_map import boundary_map
from amkd_viz.views.compare import compare
from amkd_viz.views.curves import curves
from amkd_viz.views.embedding import embedding
from amkd_viz.views.gallery import gallery
from amkd_viz.views.labels import mean_sd, percent, safe
from amkd_viz.views.page import document, figure_block
from amkd_viz.views.theme import method_colour

if TYPE_CHECKING:
    from amkd_viz.training import Run

__all__ = ["boundary_samples", "write_report"]

SHOWN = 6  # samples in the gallery
LAID_OUT = 60  # boundary samples in the embedding
RINGS = 30  # boundary samples on a 2-D map

READING_OF_AMKD = (
    "Only the abstract of “Adversarial Metric Knowledge Distillation” (ICAIP 2020) is public, so the loss called amkd "
    "is our reading of it, and its numbers say nothing about the paper's."
)
HEADINGS = {
    "test_accuracy": ("test accuracy", "% of test, last epoch"),
    "test_agreement": ("agreement", "with the teacher, % of test"),
    "magsim": ("MagSim", "boundary as far away, 1 is alike"),
    "angsim": ("AngSim", "in the same direction, 1 is alike"),
    "train_seconds": ("time", "s of training"),
}


def write_report(runs: Sequence[Run], path: str | Path) -> Path:
    """Write finished runs, of one or several data sets, as one self-contained HTML file.

    Args:
        runs: at least one, each with a summary.
        path: the .html file; replaced if it is there.

    Raises:
        InputError: no run, an unfinished one, or a file that cannot be written.
    """
    if not runs:
        raise InputError("There is no run to report; give at least one that is finished.")
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.recipe.dataset, []).append(run)
    parts = [_section(name, own) for name, own in groups.items()]
    title = "How students learn a teacher's decision boundary"
    lead = f"<p class='quiet'>{safe(_what(runs))} {safe(READING_OF_AMKD)}</p>"
    return write_atomic(Path(path), document(title, lead + "".join(parts) + _commands(runs)))


def boundary_samples(
    teacher: Classifier, student: Classifier, dataset: Dataset, most: int, **attack: Any
) -> BoundarySamples:
    """Boundary samples of the teacher from test samples that both nets get right and judge most differently.

    Returns:
        at most ``most`` samples, none where no sample is right in both; their positions in the test split are
        ``dataset.test`` order of ``select_bases`` (arXiv 1805.05532, section 3.2). The same every time.
    """
    index = _bases(teacher, student, dataset, most)
    with freeze(teacher), torch.no_grad():
        x = dataset.test.floats(index)
        logits = teacher(x) if len(x) else x.new_zeros(0, dataset.num_classes)
    return bss(teacher, x, sample_targets(logits, generator("cpu", "report")), keep_path=True, **attack)


def _bases(teacher: Classifier, student: Classifier, dataset: Dataset, most: int) -> torch.Tensor:
    x, y = dataset.test.floats(slice(2000)), dataset.test.y[:2000]
    with freeze(teacher, student), torch.no_grad():
        return select_bases(teacher(x), student(x), y, most)


def _section(name: str, runs: Sequence[Run]) -> str:
    rows, dataset = table(runs), runs[0].dataset()
    said = [sentence.removeprefix(f"{name}: ").replace(" -", " \N{MINUS SIGN}") for sentence in reading(rows)]
    lead = f"<p class='lead'>{safe(_lead(rows))}</p><ul>{''.join(f'<li>{safe(s)}</li>' for s in said)}</ul>"
    parts = [
        f"<h2>{safe(name)}</h2>",
        lead,
        f"<div class='pair'>{figure_block(compare(runs))}<div class='card'>{_table(rows)}</div></div>",
    ]
    pictures = _image_pictures if dataset.kind == "images" else _point_pictures
    parts += pictures(runs, dataset)
    parts += ["<h3>Loss terms, one by one</h3>", figure_block(curves(runs))]
    return "\n".join(parts)


def _first_of_each(runs: Sequence[Run]) -> dict[str, Run]:
    """The first run of each method: pictures show one seed and say so."""
    found: dict[str, Run] = {}
    for run in runs:
        found.setdefault(run.recipe.method, run)
    return found


def _attack(run: Run) -> dict[str, Any]:
    return {"step_size": run.recipe.step_size, "steps": run.recipe.attack_steps}


def _image_pictures(runs: Sequence[Run], dataset: Dataset) -> list[str]:
    chosen = _first_of_each(runs)
    method = "amkd" if "amkd" in chosen else list(chosen)[-1]
    run = chosen[method]
    teacher, student = run.teacher(), run.student()
    nets = {"teacher": teacher, f"student ({method})": student}
    samples = boundary_samples(teacher, student, dataset, LAID_OUT, **_attack(run))
    if not len(samples):
        return ["<p>No test sample is right in both nets, so there is no boundary sample to show.</p>"]
    index = dataset.test.index[_bases(teacher, student, dataset, LAID_OUT)]
    names = [f"test {int(i)}" for i in index]
    seen = f"Teacher and the {method} student of seed {run.recipe.seed}."
    return [
        "<h3>From a base image over the teacher's boundary</h3>",
        f"<p class='quiet'>{safe(seen)} The attack moves an image until the teacher changes its mind; a student that "
        "has learned the boundary should change its mind with it.</p>",
        figure_block(gallery(nets, samples, dataset.classes, names=names, most=SHOWN)),
        "<h3>Where the two nets put the same images</h3>",
        figure_block(embedding(nets, dataset, samples=samples)),
    ]


def _point_pictures(runs: Sequence[Run], dataset: Dataset) -> list[str]:
    chosen = _first_of_each(runs)
    first = next(iter(chosen.values()))
    teacher = first.teacher()
    nets = {"teacher": teacher} | {method: run.student() for method, run in chosen.items()}
    points = dataset.test.floats(slice(RINGS))
    with freeze(teacher), torch.no_grad():
        target = sample_targets(teacher(points), generator("cpu", "report"))
    # Newton steps: with the published rule a step is as long as the logit gap, out of the picture at once in 2-D
    samples = bss(teacher, points, target, rule="paper", step_size=1.05, steps=20, keep_path=True)
    return [
        "<h3>What each net decides, everywhere</h3>",
        f"<p class='quiet'>Students of seed {first.recipe.seed}. Rings are the teacher's boundary samples, refined by "
        "bisection: they lie on its boundary; a student that has learned it has its own boundary there too.</p>",
        figure_block(boundary_map(nets, dataset, samples=refine(teacher, samples))),
    ]


def _what(runs: Sequence[Run]) -> str:
    told = []
    for name in dict.fromkeys(run.recipe.dataset for run in runs):
        own = [run.recipe for run in runs if run.recipe.dataset == name]
        one = own[0]
        limit = f" from {one.limit_train} training samples" if one.limit_train else ""
        teacher = Path(one.teacher).name
        methods = list(dict.fromkeys(r.method for r in own))
        seeds = sorted({r.seed for r in own})
        told.append(
            f"{name}: student {one.student}, teacher {teacher}, {one.epochs} epochs{limit}, "
            f"{'methods' if len(methods) > 1 else 'method'} {', '.join(methods)}, "
            f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}."
        )
    return " ".join(told)


def _lead(rows: Sequence[Row]) -> str:
    """The first thing to know: who came out highest, and whether that means anything."""
    ranked = sorted((r for r in rows if "test_accuracy" in r.numbers), key=lambda r: -r.numbers["test_accuracy"][0])
    if not ranked:
        return "No run has a test accuracy."
    best = ranked[0]
    mean, sd = best.numbers["test_accuracy"]
    told = f"{best.label} came out highest with {mean_sd(mean, sd, factor=100)} % of the test samples right"
    if len(ranked) == 1:
        return f"{best.label}: {mean_sd(mean, sd, factor=100)} % of the test samples right."
    gap = 100 * (mean - ranked[1].numbers["test_accuracy"][0])
    told += f", {gap:.2f} points above {ranked[1].label}"
    found = between(best, ranked[1])
    if found is None:
        return told + "; with one seed nobody can say whether that is more than chance."
    verdict = "more than the noise between seeds" if found.seen else "within the noise between seeds"
    low, high = (f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") for value in found.interval)
    return f"{told}: {verdict} (95 % interval {low} to {high}, {len(best.seeds)} seeds a method)."


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{safe(name)}<small>{safe(unit)}</small></th>" for name, unit in HEADINGS.values())
    best = max((row.numbers["test_accuracy"][0] for row in rows if "test_accuracy" in row.numbers), default=None)
    body = []
    for row in rows:
        cells = []
        for name in HEADINGS:
            mean, sd = row.numbers.get(name, (None, None))
            _, factor, digits = COLUMNS[name]
            main = name == "test_accuracy" and mean == best
            cells.append(f"<td{' class=main' if main else ''}>{mean_sd(mean, sd, digits, factor)}</td>")
        swatch = f"<i style='background:{method_colour(row.method)}'></i>"
        body.append(f"<tr><td>{swatch}{safe(row.label)}</td>{''.join(cells)}<td>{len(row.seeds)}</td></tr>")
    spread = "Mean ± standard deviation (n − 1) over seeds." if any(len(row.seeds) > 1 for row in rows) else ""
    return (
        f"<table><thead><tr><th>method</th>{head}<th>seeds<small>n</small></th></tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
        f"<p class='quiet'>{spread}</p>"
    )


def _commands(runs: Sequence[Run]) -> str:
    """What takes to get the same again: objective and recipe of each method, versions."""
    lines = []
    for run in {(run.recipe.dataset, run.recipe.method): run for run in runs}.values():
        lines.append(f"{run.recipe.dataset} {run.recipe.method}: {run.recipe.objective}")
    versions = runs[0].summary.get("versions") or {}
    lines.append(", ".join(f"{name} {version}" for name, version in versions.items()))
    shares = [run.summary.get("teacher_test_accuracy") for run in runs]
    teachers = dict(zip((run.recipe.dataset for run in runs), shares, strict=True))
    lines.append("teachers: " + ", ".join(f"{name} {percent(share, 2)} of test" for name, share in teachers.items()))
    return f"<details><summary>Objectives and versions</summary><pre>{safe(chr(10).join(lines))}</pre></details>"
