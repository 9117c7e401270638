"""The command line: ``python -m amkd_viz COMMAND`` or ``amkd-viz COMMAND``.

Exit status 0, or 2 with one line that says what is wrong and what is allowed. Each command imports what it needs
when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.escape import for_terminal
from amkd_viz.core.files import PART, address, check_writable, claim, explained, files_below, readable, write_atomic
from amkd_viz.core.version import __version__

__all__ = ["main"]


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line and whose flags cannot be abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        for kind, words in NUMBERS.items():
            message = re.sub(rf"argument (\S+): invalid {kind} value: ", rf"\1 takes {words}, not ", message)
        self.exit(2, _line(f"{self.prog}: {message}; see '{self.prog} --help'."))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog="amkd-viz", description="See and steer Adversarial Metric Knowledge Distillation.")
    parser.add_argument("--version", action="version", version=f"amkd_viz {__version__}")
    parser.usage = "amkd-viz [-h] [--version] COMMAND ..."
    # not required by argparse, which would miss the command where a flag is unknown
    names = ", ".join(COMMANDS)
    parser.add_argument("command", nargs="?", choices=COMMANDS, metavar="COMMAND", help=f"one of: {names}")
    about = [f"  {name:8s} {run.__doc__}" for name, run in COMMANDS.items()]
    parser.epilog = "\n".join([*about, "", "'amkd-viz distill --help' lists all settings, methods, terms and nets."])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    command = parser.parse_args(words[:1]).command
    if command is None:
        parser.error("the following arguments are required: COMMAND")
    own = Parser(prog=f"amkd-viz {command}", description=COMMANDS[command].__doc__)
    try:
        with warnings.catch_warnings():  # a sentence, without the line of our code that gave it
            warnings.showwarning = lambda message, *_: print(
                _line(f"amkd-viz {command}: {message}"), file=sys.stderr, end=""
            )
            _run(COMMANDS[command], own, words[1:])
    except InputError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # once per machine
            sys.stderr.write(_line(f"amkd-viz {command}: {error}"))
        return 2
    except KeyboardInterrupt as stop:
        words = ["stopped; what has been written stays.", *getattr(stop, "__notes__", [])]
        print(f"\namkd-viz {command}: {' '.join(words)}", file=sys.stderr)
        return 130
    return 0


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
    _write_report(runs, _fresh(args.out / "report.html"))


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
    folders = list({own.resolve(): own for path in args.runs for own in _runs_in(path)}.values())  # each run once
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
    _write_report(runs, args.out or _fresh(folders[0].parent / "report.html"), left_out)


def _live(folders: Sequence[Path]) -> None:
    """Print a table of runs again and again; once where the output is not a terminal."""
    import time

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
    runs = [Run.open(folder) for path in args.runs for folder in _runs_in(path)]
    finished = [run for run in runs if run.finished]
    if not finished:
        raise InputError(
            f"None of the runs in {', '.join(map(str, args.runs))} is finished; there is nothing to measure."
        )
    for run in tqdm(finished, "measuring", unit=" runs"):
        measure(run, args.most)
    say(measures_table(table(finished)))


def export(parser: Parser, words: Sequence[str]) -> None:
    """Export the student of a finished run, checked against torch, with a model card."""
    kind = parser.add_mutually_exclusive_group(required=True)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    for name in ("onnx", "torch-export"):
        kind.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=f"as {KINDS[name]}")
    parser.add_argument("--out", type=Path, help="a new file (default: student.onnx or student.pt2 in the run)")
    args = parser.parse_args(words)
    from amkd_viz.export import export
    from amkd_viz.runs import Run

    done = export(Run.open(args.run), args.out, args.format)
    say(
        f"The student is {done.path}, its card {done.card}.\n"
        f"Largest logit difference from torch on {done.checked} inputs: {done.difference:.2g}."
    )


def import_(parser: Parser, words: Sequence[str]) -> None:
    """Turn a checkpoint of other code into a teacher: a safetensors file with its normalisation."""
    from amkd_viz.models import import_net, save_classifier
    from amkd_viz.training import accuracy, logits_on

    numbers = "of its training, per channel in [0, 1] units, separated by commas"
    parser.add_argument("file", type=Path, metavar="FILE", help=".pth, .pt, .th, .pth.tar, .ckpt, .bin or .safetensors")
    parser.add_argument("--architecture", help="name of the net (default: a CIFAR ResNet, inferred from its weights)")
    parser.add_argument("--mean", type=_floats, help=f"mean {numbers}")
    parser.add_argument("--std", type=_floats, help=f"standard deviation {numbers}")
    parser.add_argument("--shortcut", help="of a CIFAR ResNet: pad-end, pad-both or conv")
    parser.add_argument(
        "--size", type=int, help="height and width of its images in pixels (default: 32; torchvision and timm: 224)"
    )
    parser.add_argument(
        "--classes", type=Path, help="text file with the names of its classes, one a line, in their order"
    )
    parser.add_argument("--dataset", help="measure it on the test split of this data set")
    parser.add_argument("--root", help="folder of the downloaded data sets")
    parser.add_argument("--out", type=Path, help="a new .safetensors file (default: beside FILE)")
    args = parser.parse_args(words)
    out = claim(args.out or args.file.with_suffix("").with_suffix(".imported.safetensors"))
    if out.suffix != ".safetensors":
        raise InputError(f"--out must end in .safetensors, got {out}.")
    net, taken = import_net(
        args.file, args.architecture, mean=args.mean, std=args.std, shortcut=args.shortcut, size=args.size
    )
    classes = _lines_of(args.classes) if args.classes else []
    if classes and len(classes) != net.num_classes:
        raise InputError(f"{args.classes} must name {net.num_classes} classes, got {len(classes)}.")
    parameters = sum(p.numel() for p in net.parameters())
    say(f"Took {taken}: {net.architecture}, {parameters:,} parameters, {net.num_classes} classes, inputs {net.shape}.")
    if args.dataset:
        from amkd_viz.data import load

        data = load(args.dataset, root=args.root)
        if data.num_classes != net.num_classes:
            raise InputError(f"The net knows {net.num_classes} classes, but {data.name} has {data.num_classes}.")
        share = accuracy(logits_on(net, data.test), data.test.y)
        say(f"It classifies {share:.2%} of the test split of {data.name} correctly.")
    facts: dict[str, Any] = {"classes": classes} if classes else {}
    save_classifier(net, out, **facts)
    say(f"The teacher is {out}: amkd-viz distill --teacher {out} ...")


def _floats(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _lines_of(path: Path) -> list[str]:
    with readable(path):
        try:
            return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (FileNotFoundError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read ({error}); give a text file with one name a line.") from error


def pack(parser: Parser, words: Sequence[str]) -> None:
    """Write images as a pack: a data set that stays on disk, for more images than memory holds."""
    parser.add_argument(
        "source", metavar="DATASET", help="folder:PATH, parquet:PATH or tiny-imagenet; pack:PATH to check"
    )
    parser.add_argument("--root", help="folder of the downloaded data sets")
    parser.add_argument("--out", type=Path, help="a new folder, or that of the same pack, which then goes on")
    args = parser.parse_args(words)
    from amkd_viz.data import listed, load
    from amkd_viz.data.pack import check_pack, pack

    if args.source.startswith("pack:"):
        say(f"All {check_pack(args.source.removeprefix('pack:'))} shards are as they were written.")
        return
    if args.out is None:
        raise InputError("pack needs --out FOLDER.")
    for done, total in pack(listed(args.source, args.root), args.out):
        print(f"\r{done:,} of {total:,} images ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    say(f"{load(f'pack:{args.out}')!r}\nTrain from it: amkd-viz distill --dataset pack:{args.out} ...")


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


def lab(parser: Parser, words: Sequence[str]) -> None:
    """Open JupyterLab on the notebooks: local connections only, token required."""
    import importlib.util
    import os

    help_ = f"default: notebooks/ where it exists, else {LESSONS}, a copy of the notebooks that is yours to change"
    parser.add_argument("folder", nargs="?", type=Path, help=help_)
    args = parser.parse_args(words)
    folder = args.folder or (Path("notebooks") if Path("notebooks").is_dir() else LESSONS)
    if folder == LESSONS and not folder.exists():
        _copy_lessons(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; give the one that holds the notebooks.")
    if importlib.util.find_spec("jupyterlab") is None:
        raise InputError("JupyterLab is not installed here; run 'pip install jupyterlab'.")
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={folder}"]
    if (folder / FIRST).exists():
        command.append(f"--LabApp.default_url=/lab/tree/{FIRST}")
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    _attend(command + root)


def _attend(command: Sequence[str], **how: Any) -> None:
    """Run a server until it ends. Ctrl+C is for the server alone, which asks before it stops and ends its kernels."""
    import signal
    import subprocess

    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        subprocess.run(command, check=False, **how)
    finally:
        signal.signal(signal.SIGINT, before)


def _copy_lessons(folder: Path) -> None:
    """Copy the notebooks of this installation, or of the clone that it was made from, without answers and outputs."""
    import shutil

    here = Path(__file__).parent
    source = next(path for path in (here / "notebooks", here.parent / "notebooks") if path.is_dir())
    left_out = shutil.ignore_patterns(
        "instructor", "runs", "sessions", "my-*", "clean_*", "make.py", ".*", "__pycache__"
    )
    part = folder.with_name(f".{folder.name}{PART}")  # a copy that was stopped is not taken for a whole one
    with explained(folder):
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part, ignore=left_out)
        part.rename(folder)
    say(f"{folder}/ is a copy of the notebooks; it is never overwritten.")


def serve(parser: Parser, words: Sequence[str]) -> None:
    """Serve panels as pages to a class by Voilà: local connections only, token required."""
    import importlib.util
    import os
    import secrets

    parser.add_argument("panels", nargs="*", default=["BoundaryLab", "DistillLab"], help=f"any of {', '.join(PAGES)}")
    parser.add_argument("--port", type=int, default=8866, help="default: %(default)s")
    help_ = "folder of the pages, which are notebooks of one cell, and of their runs (default: %(default)s)"
    parser.add_argument("--out", type=Path, default=Path("amkd-pages"), help=help_)
    args = parser.parse_args(words)
    for name in args.panels:
        if name not in PAGES:
            raise unknown("panel", name, PAGES)
    if importlib.util.find_spec("voila") is None:
        raise InputError("Voilà is not installed here; run 'pip install voila'.")
    for name in args.panels:
        if not (args.out / f"{name}.ipynb").exists():
            write_atomic(args.out / f"{name}.ipynb", _page(name))
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_hex(12)
    say(f"Pages: http://127.0.0.1:{args.port}/?token={token}")
    say("Each visitor gets a kernel of about 600 MB; Ctrl-C ends all of them.")
    command = [sys.executable, "-m", "voila", str(args.out), "--no-browser", "--Voila.ip=127.0.0.1"]
    command += [f"--port={args.port}", "--Voila.auto_token=True"]  # with the token of the environment: ps shows a flag
    _attend(command, env={**os.environ, "JUPYTER_TOKEN": token})


PAGES = {
    "BoundaryLab": "'spirals'",
    "SampleLab": "'digits'",
    "EmbeddingLab": "'digits'",
    "DistillLab": "",
    "MethodRace": "'spirals'",
}


def _page(name: str) -> str:
    """Return a notebook whose one cell opens a panel."""
    import json

    source = f"from amkd_viz.panels import {name}\n\npanel = {name}({PAGES[name]})\npanel"
    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "id": "panel",
        "metadata": {},
        "outputs": [],
        "source": source,
    }
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


def doctor(parser: Parser, words: Sequence[str]) -> None:
    """Report what is installed, the devices, the data folders, and what is missing."""
    from amkd_viz.doctor import diagnosis

    parser.add_argument("--root", help="folder of the downloaded data sets")
    args = parser.parse_args(words)
    say("\n".join(diagnosis(args.root)))


LESSONS, FIRST = Path("amkd-notebooks"), "00_start_here.ipynb"
PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "umap": "umap-learn"}  # whose module has another name
LIVE_SECONDS = 2.0  # between two tables of 'report --live'
JOBS = "number of processes (default: one per core where networks train on one thread, else 1)"
NUMBERS = {"int": "a whole number", "float": "a number", "_floats": "numbers separated by commas"}
KINDS = {"onnx": "ONNX, for any ONNX runtime", "torch-export": "a program for torch.export.load"}


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
    say(f"The curves are in {_saved(args.out / 'tuning.html', view.tuning(tuned).save)}.")
    if args.confirm:
        with Progress() as progress:
            runs = confirm(tuned, args.confirm, args.out / "confirmed", jobs=args.jobs, engine=engine, listen=progress)
        rows = table(runs)
        say(
            "\n".join(
                ["", f"Test, {args.confirm} seeds that no trial has had:", format_table(rows), "", *reading(rows)]
            )
        )


COMMANDS: dict[str, Callable[[Parser, Sequence[str]], None]] = {
    "demo": demo,
    "distill": distill,
    "compare": compare,
    "report": report,
    "methods": methods,
    "measure": measure,
    "tune": tune,
    "pack": pack,
    "import": import_,
    "export": export,
    "playground": playground,
    "record": record,
    "lab": lab,
    "serve": serve,
    "doctor": doctor,
}


def _run(command: Callable[[Parser, Sequence[str]], None], parser: Parser, words: Sequence[str]) -> None:
    """Report an OSError, or a package that is not installed, as one line instead of a traceback."""
    if command is not distill and os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError("torchrun starts the ranks of one training, so only 'distill' takes part; use --jobs instead.")
    try:
        command(parser, words)
    except ImportError as error:
        module = (error.name or "amkd_viz").partition(".")[0]
        if module == "amkd_viz":
            raise
        package = PACKAGES.get(module, module)
        raise InputError(f"This command needs {package} ({error}); install it with 'pip install {package}'.") from error
    except PermissionError as error:
        where = error.filename or "A file"
        raise InputError(
            f"{where} cannot be read or written: {error.strerror}; check its permissions and those of its folders."
        ) from error


def say(text: str) -> None:
    """Print lines; names in them send no commands to the terminal."""
    print(for_terminal(text, keep="\n"), flush=True)


def _line(message: str) -> str:
    return for_terminal(" ".join(message.splitlines())) + "\n"


def _runs_in(path: Path) -> list[Path]:
    """Return the run folders at or below ``path``, in order; of a URL the copies here."""
    from amkd_viz.runs.remote import nearby

    asked, path = address(path) or path, nearby(path)
    if not path.exists():
        raise InputError(f"There is no folder {asked}; give run folders, as 'distill' and 'compare' write them.")
    found = [config.parent for config in files_below(path) if config.name == "config.json"]
    if not found:
        raise InputError(f"There is no run in {asked}: no config.json there or below.")
    return found


def _write_report(runs: Sequence[Any], path: Path, left_out: Sequence[str] = ()) -> None:
    from amkd_viz.views.report import write_report

    if address(path) is None:
        check_writable(claim(path).parent)  # before it is drawn
    say("\nDrawing the report ...")
    say(f"The report is {_saved(path, lambda file: write_report(runs, file, left_out))}.")


def _saved(path: Path, save: Callable[[Path], object]) -> str:
    """Save a page; beside runs at a URL by a name that is free there. Return where it is."""
    import tempfile

    from amkd_viz.runs.remote import Remote

    remote = Remote.of(path.parent)
    if remote is None:
        save(path)
        return str(path)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, path.name)
        save(page)
        return remote.add(path.stem, path.suffix, page.read_bytes())


def _fresh(path: Path) -> Path:
    """Return ``path``, or the first of path-2, path-3, ... that does not exist yet."""
    number, found = 2, path
    while found.exists():
        found, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return found
