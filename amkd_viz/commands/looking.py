"""Commands that look at runs and methods: report, methods, measure, record, and the playground."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from amkd_viz.commands.pages import fresh, runs_in, save_report
from amkd_viz.commands.parser import Parser, say
from amkd_viz.core.errors import InputError
from amkd_viz.core.files import check_writable, claim

__all__ = ["measure", "methods", "playground", "record", "report"]

LIVE_SECONDS = 2.0  # between two tables of 'report --live'


def report(parser: Parser, words: Sequence[str]) -> None:
    """Draw finished runs (or folders of runs) as one HTML file."""
    from amkd_viz.objectives import methods
    from amkd_viz.runs.sound import opened

    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders or URLs of them")
    parser.add_argument("--out", type=Path, help="a new .html file (default: report.html beside the first run)")
    parser.add_argument("--live", action="store_true", help="list the runs as they train, until all have ended")
    args = parser.parse_args(words)
    if args.live:
        return _live(args.runs)
    if args.out and args.out.suffix.lower() != ".html":
        raise InputError(f"A report is an HTML page, which {args.out} cannot be; give --out a name that ends in .html.")
    folders = list({own.resolve(): own for path in args.runs for own in runs_in(path)}.values())  # each run once
    runs, left_out = opened(folders)
    if not runs:
        raise InputError(left_out[0])
    for sentence in left_out:
        say(sentence)
    unfinished = [run for run in runs if not run.finished]
    if unfinished:
        say(f"Left out, not finished: {', '.join(str(run.path) for run in unfinished)}.")
    for note in (line["text"] for run in runs for line in run.lines() if "damaged" in line):
        say(f"Note: {note}")
    known = list(methods)  # from the plainest to the fullest, not by the alphabet
    runs = sorted((run for run in runs if run.finished), key=lambda run: known.index(run.recipe.method))
    if not runs:
        raise InputError(f"None of the runs in {', '.join(map(str, args.runs))} is finished; there is nothing to draw.")
    save_report(runs, args.out or fresh(folders[0].parent / "report.html"), left_out)


def _live(folders: Sequence[Path]) -> None:
    """Print a table of runs again and again; once where the output is not a terminal."""
    from amkd_viz.runs.fleet import Fleet
    from amkd_viz.views.fleet import fleet_lines, fleet_sums

    fleets = [Fleet(folder) for folder in folders]
    while True:
        runs = [run for fleet in fleets for run in fleet.look()]
        clear = "\x1b[H\x1b[2J" if sys.stdout.isatty() else ""
        print(clear, end="")
        say("\n".join([*fleet_lines(runs), "", fleet_sums(runs)]))
        if not clear or not any(run.state == "training" for run in runs):
            return
        time.sleep(LIVE_SECONDS)


def methods(parser: Parser, words: Sequence[str]) -> None:
    """Show the card of a method or a term: idea, formula, source, trap; without a name, list the methods."""
    from amkd_viz.objectives import methods
    from amkd_viz.objectives.cards import card

    parser.add_argument("name", nargs="?", metavar="NAME", help="a method, or a term (default: list the methods)")
    args = parser.parse_args(words)
    say(str(card(args.name)) if args.name else "\n".join(f"{name:16s} {methods.about(name)}" for name in methods))


def measure(parser: Parser, words: Sequence[str]) -> None:
    """Measure finished runs at the boundary: distances, robustness, calibration."""
    from tqdm import tqdm

    from amkd_viz.runs import Run, table
    from amkd_viz.runs.measures import MOST, measure
    from amkd_viz.runs.table import measures_table

    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders or URLs of them")
    parser.add_argument("--most", type=int, default=MOST, help="test samples that are attacked (default: %(default)s)")
    args = parser.parse_args(words)
    runs = [Run.open(folder) for path in args.runs for folder in runs_in(path)]
    finished = [run for run in runs if run.finished]
    if not finished:
        raise InputError(
            f"None of the runs in {', '.join(map(str, args.runs))} is finished; there is nothing to measure."
        )
    for run in tqdm(finished, "measuring", unit=" runs"):
        measure(run, args.most)
    say(measures_table(table(finished)))


def playground(parser: Parser, words: Sequence[str]) -> None:
    """Write a page that trains points or digits live in any browser, without a kernel or a server."""
    parser.add_argument(
        "--data", help="spirals, moons, rings, blobs or digits, or a 2-D problem with options (default: spirals)"
    )
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="a .safetensors file of a net for these inputs")
    parser.add_argument("--run", type=Path, metavar="RUN", help="a run of such data, on whose nets the page opens")
    parser.add_argument("--out", type=Path, required=True, help="a new .html file")
    args = parser.parse_args(words)
    if args.run and (args.data or args.teacher):
        raise InputError("--run has its own data and teacher; leave --data and --teacher out.")
    from amkd_viz.playground import write_playground
    from amkd_viz.runs import Run

    run = Run.open(args.run) if args.run else None
    path = write_playground(args.out, args.data or "spirals", teacher=args.teacher, run=run, say=say)
    say(f"The playground is {path}: open it in a browser.")


def record(parser: Parser, words: Sequence[str]) -> None:
    """Write a run as a page that plays it back epoch by epoch, without a kernel or a server."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or a session that a panel saved of one")
    parser.add_argument("--out", type=Path, required=True, help="a new .html or .gif file")
    args = parser.parse_args(words)
    from amkd_viz.panels.session import Session
    from amkd_viz.runs import Race, Run
    from amkd_viz.views import recording

    if args.out.suffix not in (".html", ".gif"):
        raise InputError(f"A recording is an HTML page or a GIF, which {args.out} cannot be; end its name in .html.")
    check_writable(claim(args.out).parent)
    folder = Session.open(args.run).folder if args.run.suffix == ".json" else args.run
    if (folder / "race.json").is_file():
        runs = ", ".join(str(run.path) for run in Race.open(folder).runs.values())
        raise InputError(f"{args.run} is of a race, which has several runs; record one of {runs}.")
    say(f"The recording is {recording(Run.open(folder)).save(args.out)}.")
