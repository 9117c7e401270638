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
from amkd_viz.objectives import READING_OF_AMKD
from amkd_viz.runs.groups import IDLE, groups
from amkd_viz.runs.sound import sound
from amkd_viz.runs.table import COLUMNS, Pair, Row, holm_words, notes, pairs, seed_words, table
from amkd_viz.training import Recipe
from amkd_viz.training.teachers import fingerprint
from amkd_viz.training.training import IMBALANCE
from amkd_viz.views.boundary_map import boundary_map
from amkd_viz.views.comparison import compare
from amkd_viz.views.curves import curves
from amkd_viz.views.decisions import logits_at
from amkd_viz.views.embedding import embedding
from amkd_viz.views.gallery import gallery
from amkd_viz.views.labels import mean_sd, number, percent, plural, safe, used_of
from amkd_viz.views.layout import keep
from amkd_viz.views.mark import refuse_others, write_own
from amkd_viz.views.page import document
from amkd_viz.views.short import WIDE, short, short_files
from amkd_viz.views.theme import method_colours
from amkd_viz.views.writers import figure_block

if TYPE_CHECKING:
    from amkd_viz.runs import Run

__all__ = ["attack_words", "boundary_samples", "write_report"]

SHOWN = 6  # samples in the gallery
LAID_OUT = 60  # boundary samples in the embedding
RINGS = 30  # boundary samples on a 2-D map
CANDIDATES = 2000  # test samples from which bases are chosen

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
    names, key = short((row.label for row in rows), WIDE)
    rows = [replace(row, label=names[row.label]) for row in rows]
    tested = pairs(rows)
    sentences = [sentence.removeprefix(f"{name}: ") for sentence in notes(rows)]
    lead = f"<p class='lead'>{safe(_lead(rows, tested))}</p>{''.join(f'<p>{safe(s)}</p>' for s in sentences)}"
    shown = compare(runs)
    shown = replace(shown, caption=shown.caption.removeprefix(key).strip())  # the letters were text above
    parts = [
        f"<h2>{safe(name)}</h2>",
        lead + (f"<p class='quiet'>{safe(key).replace('; ', ';<br>')}</p>" if key else ""),
        f"<div class='pair'>{figure_block(shown)}<div class='card'>{_table(rows, tested)}</div></div>",
        f"<h3>Each method against each other</h3><div class='card'>{_pairs(tested)}</div>" if tested else "",
    ]
    pictures = _image_pictures if dataset.kind == "images" else _point_pictures
    parts += [_classes(runs, dataset)] if _imbalanced(dataset) else []
    parts += pictures(runs, dataset)
    parts += ["<h3>Loss terms, one by one</h3>", figure_block(curves(runs))]
    return "\n".join(parts)


def _imbalanced(dataset: Dataset) -> bool:
    counts = dataset.train.y.bincount(minlength=dataset.num_classes)
    return bool(counts.max() >= IMBALANCE * counts.min().clamp_min(1))


def _classes(runs: Sequence[Run], dataset: Dataset) -> str:
    """Return the HTML table of accuracies by class, of data whose classes differ in size: mean over the seeds."""
    found = {label: [run.summary for run in group.runs] for label, group in groups(runs).items()}
    found = {label: own for label, own in found.items() if all("test_class_accuracies" in s for s in own)}
    if not found:  # runs of earlier versions
        return ""
    counts = [part.y.bincount(minlength=dataset.num_classes).tolist() for part in (dataset.train, dataset.test)]
    head = "".join(f"<th>{safe(label)}</th>" for label in found)
    balanced = [torch.tensor([s["test_balanced_accuracy"] for s in own]).mean() for own in found.values()]
    body = (
        f"<tr><td>all, balanced</td><td></td><td></td>{''.join(f'<td>{percent(float(b))}</td>' for b in balanced)}</tr>"
    )
    for k, label in enumerate(dataset.classes):
        shares = [[s["test_class_accuracies"][k] for s in own] for own in found.values()]
        cells = "".join(f"<td>{percent(sum(own) / len(own)) if None not in own else '-'}</td>" for own in shares)
        body += f"<tr><td>{safe(label)}</td><td>{counts[0][k]}</td><td>{counts[1][k]}</td>{cells}</tr>"
    return (
        "<h3>Accuracy by class</h3><div class='card'><table><thead><tr><th>class</th><th>training<small>samples</small>"
        f"</th><th>test<small>samples</small></th>{head}</tr></thead><tbody>{body}</tbody></table><p class='quiet'>The "
        "classes differ in size, so the accuracy over all samples is mostly that of the large ones. Balanced: the mean "
        "over the classes.</p></div>"
    )


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
    label = next((name for name, group in found.items() if group.method == "amkd"), list(found)[-1])
    files = short_files(run.recipe.teacher for run in runs)
    run = found[label].median
    recipe, teacher, student = run.settled, run.teacher(), run.student()
    nets = {"teacher": teacher, f"student ({recipe.method})": student}
    samples, index = boundary_samples(teacher, student, dataset, recipe, LAID_OUT)
    if not len(samples):
        return ["<p>No test sample is classified correctly by both nets, so there is no boundary sample to show.</p>"]
    order = (~samples.crossed).int().argsort(stable=True)  # those that crossed first
    samples, index = samples[order], index[order.to(index.device)]
    names = [f"test {int(i)}" for i in index]
    of = used_of(min(CANDIDATES, len(dataset.test)), len(dataset.test), "test sample")
    seen = f"Teacher {files[recipe.teacher]} and the {short(found).names[label]} student of median accuracy, seed "
    seen += f"{recipe.seed}. "
    seen += f"Bases are chosen among {of}, and moved by the attack of its recipe: {attack_words(recipe)}. "
    seen += "Samples that crossed come first."
    seen += " The step size was measured on training images." * (run.recipe.step_size == "auto")
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
    found = {names[label]: group.median for label, group in every.items()}
    seeds = seed_words(sorted({run.recipe.seed for run in found.values()}))
    parts = [
        "<h3>Decision maps of all nets</h3>",
        f"<p class='quiet'>Of each method the student of median accuracy ({seeds}). Rings are the "
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
        seeds = seed_words(sorted({r.seed for r in own}))
        if len({r.data_seed for r in own}) > 1 and "data_seed" not in apart:
            seeds += ", each with a training subset, split and teacher of its own"
        sentences = [text for field, text in facts.items() if field not in apart]
        sentences.append(f"{'methods' if len(methods) > 1 else 'method'} {', '.join(methods)}")
        sentences.append(seeds)
        parts.append(f"{name}: {', '.join(sentences)}.")
        if apart:
            parts.append(f"Not all were trained alike: {'; '.join(apart.values())}.")
    return " ".join(parts)


def _apart(recipes: Sequence[Recipe]) -> dict[str, str]:
    """Return what differs among recipes of one data set, by field: each value, and the methods that have it."""
    apart, files = {}, short_files(recipe.teacher for recipe in recipes)
    drawn = len({(r.seed, r.data_seed) for r in recipes}) == len({r.seed for r in recipes})  # see groups
    same = ("method", "seed", "overrides", *IDLE, *["data_seed"] * drawn)
    for field in (f.name for f in fields(Recipe) if f.name not in same):
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


def _best(rows: Sequence[Row], tested: Sequence[Pair]) -> tuple[list[Row], Pair | None]:
    """Return the rows that count, from the highest accuracy, and the pair of the two highest."""
    ranked = [row for row in rows if not row.apart and "test_accuracy" in row.numbers]
    ranked.sort(key=lambda row: -row.numbers["test_accuracy"][0])
    labels = {row.label for row in ranked[:2]}
    return ranked, next((pair for pair in tested if {pair.row.label, pair.other.label} == labels), None)


def _lead(rows: Sequence[Row], tested: Sequence[Pair]) -> str:
    """Return which method came out highest, and whether the difference is significant."""
    ranked, pair = _best(rows, tested)
    if not ranked:
        return "No run counts as a seed of its recipe."
    mean, sd = ranked[0].numbers["test_accuracy"]
    text = f"{mean_sd(mean, sd, factor=100)} % test accuracy"
    if pair is None:
        return f"{ranked[0].label}: {text}."
    text = f"{ranked[0].label} came out highest with {text}; {pair.row.label} against {pair.other.label}: "
    interval = f" (95 % interval {_interval(pair)}, {pair.test})" if pair.difference else ""
    return f"{text}{_signed(pair.points)} points, {pair.verdict}{interval}."


def _signed(points: float) -> str:
    return ("+" if points >= 0 else "") + number(points)


def _interval(pair: Pair) -> str:
    return " to ".join(map(_signed, pair.difference.interval)) if pair.difference else ""


def _table(rows: Sequence[Row], tested: Sequence[Pair]) -> str:
    head = "".join(f"<th>{safe(name)}<small>{safe(unit)}</small></th>" for name, unit in HEADINGS.values())
    ranked, pair = _best(rows, tested)
    best = ranked[0] if pair is not None and pair.seen else None  # bold means beyond the noise
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


def _pairs(tested: Sequence[Pair]) -> str:
    """Return the HTML table of all pairs: difference, interval, test and verdict."""
    heads = {"pair": "", "difference": "points of test accuracy", "95 % interval": "points", "test": "", "verdict": ""}
    head = "".join(f"<th>{name}<small>{unit}</small></th>" for name, unit in heads.items())
    body = ""
    for pair in tested:
        words = f"{pair.row.label} against {pair.other.label}", _signed(pair.points), _interval(pair), pair.test
        cells = "".join(f"<td>{safe(word)}</td>" for word in words)
        body += f"<tr>{cells}<td{' class=main' if pair.seen else ''}>{safe(pair.verdict)}</td></tr>"
    count = sum(pair.difference is not None for pair in tested)
    below = "Paired by seed: the mean difference between students of the same seed, with the paired t-test."
    below += f" {holm_words(count)}" if count > 1 else ""
    return (
        f"<table class='pairs'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p class='quiet'>{safe(below)}</p>"
    )


def _commands(runs: Sequence[Run]) -> str:
    """Return what is needed to reproduce the report: objective of each row, versions, teachers."""
    lines, teachers = [], []
    for name in dict.fromkeys(run.recipe.dataset for run in runs):
        every = groups([run for run in runs if run.recipe.dataset == name])
        names, key = short(every)
        lines += [f"{name} {key}"] if key else []
        files = short_files(run.recipe.teacher for group in every.values() for run in group.runs)
        for label, group in every.items():
            lines.append(f"{name} {names[label]}: {group.runs[0].objective}")
            for run in group.runs:
                share = percent(run.summary.get("teacher_test_accuracy"), 2)
                teachers.append(f"{name} {files[run.recipe.teacher]} {share} of test")
    versions = [run.summary.get("versions") or {} for run in runs]
    lines += dict.fromkeys(", ".join(f"{name} {version}" for name, version in own.items()) for own in versions)
    lines.append(f"teachers: {', '.join(dict.fromkeys(teachers))}")
    return f"<details><summary>Objectives and versions</summary><pre>{safe(chr(10).join(lines))}</pre></details>"
