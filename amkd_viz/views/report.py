"""A report of finished runs as one HTML file: a table, its conclusions, and the figures behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from amkd_viz.boundary import BoundarySamples, bss, refine, sample_targets, select_bases
from amkd_viz.core.errors import InputError
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset
from amkd_viz.models import Classifier
from amkd_viz.runs.grid import COLUMNS, Row, between, groups, reading, table
from amkd_viz.runs.sound import sound
from amkd_viz.training import Recipe
from amkd_viz.training.teachers import fingerprint
from amkd_viz.views.boundary_map import boundary_map
from amkd_viz.views.comparison import compare
from amkd_viz.views.curves import curves
from amkd_viz.views.decisions import logits_at
from amkd_viz.views.embedding import embedding
from amkd_viz.views.gallery import gallery
from amkd_viz.views.labels import mean_sd, percent, plural, safe, used_of
from amkd_viz.views.layout import keep
from amkd_viz.views.mark import refuse_others, write_own
from amkd_viz.views.page import document
from amkd_viz.views.short import short, short_files
from amkd_viz.views.theme import method_colours
from amkd_viz.views.writers import figure_block

if TYPE_CHECKING:
    from amkd_viz.runs import Run

__all__ = ["attack_words", "boundary_samples", "write_report"]

SHOWN = 6  # samples in the gallery
LAID_OUT = 60  # boundary samples in the embedding
RINGS = 30  # boundary samples on a 2-D map
CANDIDATES = 2000  # test samples from which bases are chosen

READING_OF_AMKD = (
    "Only the abstract of “Adversarial Metric Knowledge Distillation” (ICAIP 2020) is public, so the loss called amkd "
    "is our reading of it, and its numbers are not those of the paper."
)
HEADINGS = {
    "test_accuracy": ("test accuracy", "% of test, last epoch"),
    "test_agreement": ("agreement", "with the teacher, % of test"),
    "magsim": ("MagSim", "distance to the boundary, 1 is equal"),
    "angsim": ("AngSim", "direction of the boundary, 1 is equal"),
    "train_seconds": ("time", "s of training"),
}


def write_report(runs: Sequence[Run], path: str | Path, left_out: Sequence[str] = ()) -> Path:
    """Write finished runs, of one or several data sets, as one self-contained HTML file.

    A run that is not finished, cannot be read or does not fit its data is left out, and the page says so.

    Args:
        runs: at least one, each with a summary.
        path: the .html file; an earlier report there is replaced, any other file is never overwritten.
        left_out: sentences on runs that were left out before.

    Raises:
        InputError: no run that can be shown, or a path that holds another file or cannot be written.
    """
    if not runs:
        raise InputError("runs must hold at least one finished run.")
    refuse_others(Path(path), "report")
    problems: dict[str, list[Run]] = {}
    for run in runs:
        problems.setdefault(run.recipe.dataset, []).append(run)
    parts, shown, left_out = [], [], list(left_out)
    for name, own in problems.items():
        dataset = _dataset(own, left_out)
        if dataset is None:
            continue
        own, odd = sound(own, dataset)
        left_out += odd
        if own:
            parts.append(_section(name, own, dataset))
            shown += own
    if not shown:
        raise InputError(f"None of the runs can be shown. {left_out[0]}")
    title = "How students learn a teacher's decision boundary"
    lead = f"<p class='quiet'>{safe(_what(shown))} {safe(READING_OF_AMKD)}</p>"
    lead += "".join(f"<p class='quiet'>{safe(sentence)}</p>" for sentence in dict.fromkeys(left_out))
    return write_own(Path(path), document(title, lead + "".join(parts) + _commands(shown)), "report")


def boundary_samples(
    teacher: Classifier, student: Classifier, dataset: Dataset, recipe: Recipe, most: int
) -> tuple[BoundarySamples, Tensor]:
    """Make boundary samples of the teacher by the recipe's attack, deterministically.

    Bases are those of at most 2,000 evenly spread test samples that both nets classify correctly and on which they
    differ most (arXiv 1805.05532, section 3.2).

    Returns:
        at most ``most`` samples, none if no sample is correct in both, and the published index of each base.
    """
    taken = torch.tensor(keep(len(dataset.test), CANDIDATES))
    x, y = dataset.test.floats(taken), dataset.test.y[taken]
    logits = logits_at(teacher, x)
    best = select_bases(logits, logits_at(student, x), y, most)
    target = sample_targets(logits[best], generator("cpu", "report"))
    samples = recipe.boundary.sampler.trajectory(teacher, x[best], target, generator("cpu", "sample lab"))
    return samples, dataset.test.index[taken[best]]


def _dataset(runs: Sequence[Run], left_out: list[str]) -> Dataset | None:
    """Return the data of the first run that can load them; add a sentence for each that cannot."""
    for run in runs:
        try:
            return run.dataset()
        except InputError as error:
            left_out.append(f"Left out: {run.path}: {error}")
    return None


def _section(name: str, runs: Sequence[Run], dataset: Dataset) -> str:
    rows = table(runs)
    names, key = short(row.label for row in rows)
    rows = [replace(row, label=names[row.label]) for row in rows]
    sentences = [sentence.removeprefix(f"{name}: ").replace(" -", " \N{MINUS SIGN}") for sentence in reading(rows)]
    lead = f"<p class='lead'>{safe(_lead(rows))}</p><ul>{''.join(f'<li>{safe(s)}</li>' for s in sentences)}</ul>"
    shown = compare(runs)
    shown = replace(shown, caption=shown.caption.removesuffix(key).strip())  # the letters were text above
    parts = [
        f"<h2>{safe(name)}</h2>",
        lead + (f"<p class='quiet'>{safe(key).replace('; ', ';<br>')}</p>" if key else ""),
        f"<div class='pair'>{figure_block(shown)}<div class='card'>{_table(rows)}</div></div>",
    ]
    pictures = _image_pictures if dataset.kind == "images" else _point_pictures
    parts += pictures(runs, dataset)
    parts += ["<h3>Loss terms, one by one</h3>", figure_block(curves(runs))]
    return "\n".join(parts)


def attack_words(recipe: Recipe) -> str:
    """Describe the recipe's attack."""
    words = {
        "step_size": "step size {:g}",
        "steps": "at most {} steps",
        "epsilon": "epsilon {:.3f}",
        "step_rule": "step rule {}",
    }
    return f"{recipe.sampler} ({', '.join(words[name].format(value) for name, value in _options(recipe).items())})"


def _options(recipe: Recipe) -> dict[str, Any]:
    return {name: v for name, v in asdict(recipe.boundary.sampler).items() if name != "space"}


def _image_pictures(runs: Sequence[Run], dataset: Dataset) -> list[str]:
    found = groups(runs)
    label = next((name for name, own in found.items() if own[0].recipe.method == "amkd"), list(found)[-1])
    files = short_files(run.recipe.teacher for run in runs)
    run = found[label][0]
    recipe, teacher, student = run.recipe, run.teacher(), run.student()
    nets = {"teacher": teacher, f"student ({recipe.method})": student}
    samples, index = boundary_samples(teacher, student, dataset, recipe, LAID_OUT)
    if not len(samples):
        return ["<p>No test sample is classified correctly by both nets, so there is no boundary sample to show.</p>"]
    names = [f"test {int(i)}" for i in index]
    of = used_of(min(CANDIDATES, len(dataset.test)), len(dataset.test), "test sample")
    seen = f"Teacher {files[recipe.teacher]} and the {short(found).names[label]} student of seed {recipe.seed}. "
    seen += f"Bases are chosen among {of}, and moved by the attack of its recipe: {attack_words(recipe)}."
    return [
        "<h3>From a base image over the teacher's boundary</h3>",
        f"<p class='quiet'>{safe(seen)} The attack moves an image until the teacher's prediction changes; a "
        "student that has learned the boundary should change its prediction too.</p>",
        figure_block(gallery(nets, samples, dataset.classes, names=names, most=SHOWN)),
        "<h3>Embeddings of the same images by both nets</h3>",
        figure_block(embedding(nets, dataset, samples=samples)),
    ]


def _point_pictures(runs: Sequence[Run], dataset: Dataset) -> list[str]:
    every = groups(runs)
    names, files = short(every).names, short_files(run.recipe.teacher for run in runs)
    found = {names[label]: own[0] for label, own in every.items()}
    seeds = sorted({run.recipe.seed for run in found.values()})
    parts = [
        "<h3>Decision maps of all nets</h3>",
        f"<p class='quiet'>Students of seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}. Rings are the "
        "teacher's boundary samples, found by Newton steps and refined by bisection: they lie on its boundary, "
        "and a student that has learned it has its boundary there too.</p>",
    ]
    points = dataset.test.floats(keep(len(dataset.test), RINGS))
    teachers = _by_teacher(found)
    for teacher, own in teachers:
        target = sample_targets(logits_at(teacher, points), generator("cpu", "report"))
        # Newton steps: with the published rule a step is as long as the logit gap, out of the picture at once in 2-D
        samples = refine(
            teacher, bss(teacher, points, target, step_rule="newton", step_size=1.05, steps=20, keep_path=True)
        )
        kind = files[next(iter(own.values())).recipe.teacher].removesuffix(".safetensors")  # little room
        name = f"teacher {kind}" if len(teachers) > 1 else "teacher"
        nets = {name: teacher} | {label: run.student() for label, run in own.items()}
        parts.append(figure_block(boundary_map(nets, dataset, samples=samples)))
    return parts


def _by_teacher(runs: Mapping[str, Run]) -> list[tuple[Classifier, dict[str, Run]]]:
    """Group runs by teacher, compared by weights, since two recipes may mean the same one."""
    found: dict[str, tuple[Classifier, dict[str, Run]]] = {}
    for label, run in runs.items():
        teacher = run.teacher()
        found.setdefault(fingerprint(teacher), (teacher, {}))[1][label] = run
    return list(found.values())


def _what(runs: Sequence[Run]) -> str:
    parts = []
    for name in dict.fromkeys(run.recipe.dataset for run in runs):
        own = [run.recipe for run in runs if run.recipe.dataset == name]
        one, apart, files = own[0], _apart(own), short_files(r.teacher for r in own)
        facts = {
            "student": f"student {one.student}",
            "teacher": f"teacher {files[one.teacher]}",
            "epochs": plural(one.epochs, "epoch"),
            "num_train": plural(one.num_train, "training sample") if one.num_train else "all training samples",
        }
        methods = list(dict.fromkeys(r.method for r in own))
        seeds = sorted({r.seed for r in own})
        sentences = [text for field, text in facts.items() if field not in apart]
        sentences.append(f"{'methods' if len(methods) > 1 else 'method'} {', '.join(methods)}")
        sentences.append(f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}")
        parts.append(f"{name}: {', '.join(sentences)}.")
        if apart:
            parts.append(f"Not all were trained alike: {'; '.join(apart.values())}.")
    return " ".join(parts)


def _apart(recipes: Sequence[Recipe]) -> dict[str, str]:
    """Return what differs among recipes of one data set, by field: each value, and the methods that have it."""
    apart, files = {}, short_files(recipe.teacher for recipe in recipes)
    for field in (f.name for f in fields(Recipe) if f.name not in ("method", "seed", "overrides", "root")):
        having: dict[Any, list[str]] = {}
        for recipe in recipes:
            own = having.setdefault(getattr(recipe, field), [])
            if recipe.method not in own:
                own.append(recipe.method)
        if len(having) > 1:
            values = {
                value: "all" if value is None else files[value] if field == "teacher" else str(value)
                for value in having
            }
            alike = len({tuple(own) for own in having.values()}) == 1
            each = [values[value] + ("" if alike else f" ({', '.join(own)})") for value, own in having.items()]
            apart[field] = f"{field.replace('_', ' ')} {' or '.join(each)}"
    return apart


def _ranked(rows: Sequence[Row]) -> list[Row]:
    return sorted((r for r in rows if "test_accuracy" in r.numbers), key=lambda r: -r.numbers["test_accuracy"][0])


def _lead(rows: Sequence[Row]) -> str:
    """Return which method came out highest, and whether the difference is significant."""
    ranked = _ranked(rows)
    if not ranked:
        return "No run has a test accuracy."
    best = ranked[0]
    mean, sd = best.numbers["test_accuracy"]
    text = f"{best.label} came out highest with {mean_sd(mean, sd, factor=100)} % test accuracy"
    if len(ranked) == 1:
        return f"{best.label}: {mean_sd(mean, sd, factor=100)} % test accuracy."
    gap = 100 * (mean - ranked[1].numbers["test_accuracy"][0])
    text += f", {gap:.2f} points above {ranked[1].label}"
    found = between(best, ranked[1])
    if found is None:
        return text + "; one seed: significance cannot be assessed."
    verdict = "more than the noise between seeds" if found.seen else "within the noise between seeds"
    low, high = (f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") for value in found.interval)
    return f"{text}: {verdict} (95 % interval {low} to {high}, {len(best.seeds)} seeds a method)."


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{safe(name)}<small>{safe(unit)}</small></th>" for name, unit in HEADINGS.values())
    ranked = _ranked(rows)
    found = between(*ranked[:2]) if len(ranked) > 1 else None
    best = ranked[0] if found is not None and found.seen else None  # bold means beyond the noise
    colours = method_colours({row.label: row.method for row in rows})
    body = []
    for row in rows:
        cells = []
        for name in HEADINGS:
            mean, sd = row.numbers.get(name, (None, None))
            _, factor, digits = COLUMNS[name]
            main = name == "test_accuracy" and row is best
            cells.append(f"<td{' class=main' if main else ''}>{mean_sd(mean, sd, digits, factor)}</td>")
        swatch = f"<i style='background:{colours[row.label]}'></i>"
        body.append(f"<tr><td>{swatch}{safe(row.label)}</td>{''.join(cells)}<td>{len(row.seeds)}</td></tr>")
    spread = "Mean ± standard deviation (n − 1) over seeds." if any(len(row.seeds) > 1 for row in rows) else ""
    return (
        f"<table><thead><tr><th>method</th>{head}<th>seeds<small>n</small></th></tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
        f"<p class='quiet'>{spread}</p>"
    )


def _commands(runs: Sequence[Run]) -> str:
    """Return what is needed to reproduce the report: objective of each row, versions, teachers."""
    lines, teachers = [], []
    for name in dict.fromkeys(run.recipe.dataset for run in runs):
        every = groups([run for run in runs if run.recipe.dataset == name])
        names, key = short(every)
        lines += [f"{name} {key}"] if key else []
        files = short_files(run.recipe.teacher for own in every.values() for run in own)
        for label, own in every.items():
            lines.append(f"{name} {names[label]}: {own[0].recipe.objective}")
            for run in own:
                share = percent(run.summary.get("teacher_test_accuracy"), 2)
                teachers.append(f"{name} {files[run.recipe.teacher]} {share} of test")
    versions = [run.summary.get("versions") or {} for run in runs]
    lines += dict.fromkeys(", ".join(f"{name} {version}" for name, version in own.items()) for own in versions)
    lines.append(f"teachers: {', '.join(dict.fromkeys(teachers))}")
    return f"<details><summary>Objectives and versions</summary><pre>{safe(chr(10).join(lines))}</pre></details>"
