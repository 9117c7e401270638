"""Commands that train: demo, distill, compare, tune."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from amkd_viz.commands.pages import fresh, save_report, saved
from amkd_viz.commands.parser import Parser, say
from amkd_viz.core.errors import InputError

__all__ = ["compare", "demo", "distill", "tune"]

JOBS = "number of processes (default: one per core where networks train on one thread, else 1)"


def demo(parser: Parser, words: Sequence[str]) -> None:
    """The main job on scikit-learn's digits and on spirals: train, compare, and write a report."""
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="a new folder (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=12, help="students per method, on spirals at most 8 (default: 12)")
    parser.add_argument("--jobs", type=int, help=JOBS)
    args = parser.parse_args(words)
    from amkd_viz.demo import run_demo  # after the flags: they answer at once

    run_demo(args.out, args.seeds, args.jobs)


def distill(parser: Parser, words: Sequence[str]) -> None:
    """Distil one student into a run folder."""
    from amkd_viz.core.ranks import join
    from amkd_viz.flags import in_flags, overrides_of, recipe_flags, recipe_of
    from amkd_viz.progress import Progress
    from amkd_viz.runs import Run, distill, format_table, resume, table
    from amkd_viz.runs.recording import begun, take_part
    from amkd_viz.training.device import on_gpu

    recipe_flags(parser)
    parser.add_argument("--out", type=Path, help="a new folder (default: a new one under runs/)")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="go on with this run, by its own settings; a rate or --set of a term may change",
    )
    parser.add_argument("--tensorboard", type=Path, metavar="DIR", help="also write TensorBoard event files there")
    args = parser.parse_args(words)
    overrides = overrides_of(args) if args.resume else {}
    with ExitStack() as stack:
        recipe = Run.open(args.resume).recipe if args.resume else recipe_of(args)
        ranks = stack.enter_context(join(on_gpu(recipe.device)))
        again = ranks.count > 1 and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        run = Run.open(args.resume) if args.resume else begun(recipe, args.out) if again else None
        if ranks.rank:
            take_part(recipe, run)
            return
        heard: list[Callable[[Any], None]] = []
        if args.tensorboard:
            from amkd_viz.tracking import TensorBoard

            heard.append(stack.enter_context(TensorBoard(args.tensorboard)))
        progress = stack.enter_context(Progress(recipe.epochs - (run.epochs_done if run else 0)))
        heard.append(progress)

        def listen(event: Any) -> None:
            for listener in heard:
                listener(event)

        with in_flags():
            run = resume(run, listen=listen, **overrides) if run else distill(recipe, args.out, listen=listen)
    for note in (line["text"] for line in run.lines() if line.get("kind") == "note"):
        say(f"Note: {note}")
    say(f"{format_table(table([run]))}\n\nThe run is in {run.path}.")


def compare(parser: Parser, words: Sequence[str]) -> None:
    """Distil by several methods and seeds, print the table and write a report."""
    from amkd_viz.flags import changes_of, in_flags, recipe_flags, recipe_of
    from amkd_viz.progress import Progress
    from amkd_viz.runs import compare, format_table, reading, table
    from amkd_viz.runs.grid import Unfinished
    from amkd_viz.runs.prepare import fitting

    recipe_flags(parser, without=("method", "seed"))
    parser.add_argument("--methods", default="ce,kd,bss,amkd", help="names, by commas, or all (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="0 .. SEEDS - 1 (default: %(default)s)")
    engine_flags(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("comparison"),
        help="a new folder or URL (s3://...), or that of the same comparison, which goes on (default: %(default)s)",
    )
    args = parser.parse_args(words)
    import_module("amkd_viz.views.report")  # before hours of training, where a package for it is missing
    recipe, names = recipe_of(args, overrides={}), [name for name in args.methods.split(",") if name]
    engine = engine_of(args)
    left_out: dict[str, str] = {}
    if names == ["all"]:
        names, left_out = fitting(recipe)
    failure: Unfinished | None = None
    with Progress() as progress, in_flags():
        try:
            runs = compare(
                recipe,
                names,
                args.seeds,
                args.out,
                overrides=changes_of(args, names),
                jobs=args.jobs,
                engine=engine,
                listen=progress,
            )
        except Unfinished as error:
            runs, failure = error.runs, error
    rows = table(runs)
    lines = [f"Left out: {name}. {reason}" for name, reason in left_out.items()]
    say("\n".join([format_table(rows), "", *reading(rows), *lines]))
    if failure is not None:
        raise failure
    save_report(runs, fresh(args.out / "report.html"))


def tune(parser: Parser, words: Sequence[str]) -> None:
    """Tune methods on the validation split, as many trials for each; then test the best once."""
    from amkd_viz.flags import changes_of, in_flags, recipe_flags, recipe_of
    from amkd_viz.progress import Progress
    from amkd_viz.runs import format_table, reading, table
    from amkd_viz.runs.tune import confirm, format_tuned, tune

    recipe_flags(parser, without=("method", "seed"))
    parser.add_argument("--methods", default="ce,kd,bss,amkd", help="separated by commas (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=20, help="settings to try per method (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="trainings per trial (default: %(default)s)")
    parser.add_argument(
        "--confirm", type=int, default=5, help="fresh seeds for the best of each (default: %(default)s)"
    )
    engine_flags(parser)
    parser.add_argument("--out", type=Path, default=Path("tuning"), help="a new folder or URL, or one to go on with")
    args = parser.parse_args(words)
    view = import_module("amkd_viz.views.tuning")
    engine = engine_of(args)
    with in_flags():
        tuned = tune(
            recipe_of(args, overrides={}),
            [name for name in args.methods.split(",") if name],
            args.trials,
            args.out,
            overrides=changes_of(args),
            seeds=args.seeds,
            jobs=args.jobs,
            engine=engine,
            listen=lambda method, count: print(f"\r{method}: trial {count} of {args.trials} ", end="", file=sys.stderr),
        )
    print(file=sys.stderr)
    say(format_tuned(tuned))
    say(f"The curves are in {saved(args.out / 'tuning.html', view.tuning(tuned).save)}.")
    if args.confirm:
        with Progress() as progress:
            runs = confirm(tuned, args.confirm, args.out / "confirmed", jobs=args.jobs, engine=engine, listen=progress)
        rows = table(runs)
        say(
            "\n".join(
                ["", f"Test, {args.confirm} seeds that no trial has had:", format_table(rows), "", *reading(rows)]
            )
        )


def engine_flags(parser: Parser) -> None:
    """Add the flags that say what trains cells."""
    parser.add_argument("--jobs", type=int, help=JOBS)
    parser.add_argument("--engine", choices=("processes", "ray"), default="processes", help="what trains the runs")
    parser.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster, or auto (default: this machine)")
    parser.add_argument("--gpus-per-cell", type=float, metavar="SHARE", help="of a GPU that Ray gives each run")


def engine_of(args: argparse.Namespace) -> Any:
    """Return the engine that ``engine_flags`` name, or None for processes.

    Raises:
        InputError: a flag of Ray without it.
    """
    from amkd_viz.runs.cluster import Cluster

    if args.engine == "ray":
        return Cluster(args.address, args.jobs, args.gpus_per_cell or 0.0)
    if args.address or args.gpus_per_cell:
        raise InputError("--address and --gpus-per-cell belong to --engine ray.")
    return None
