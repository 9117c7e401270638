"""The command line: ``python -m amkd_viz COMMAND`` or ``amkd-viz COMMAND``.

Exit status 0, or 2 with one line that says what is wrong and what is allowed. Each command imports what it needs
when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from amkd_viz.core.errors import InputError
from amkd_viz.core.escape import for_terminal
from amkd_viz.core.files import check_writable, claim, files_below
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
        _run(COMMANDS[command], own, words[1:])
    except InputError as error:
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
    from amkd_viz.flags import in_flags, overrides_of, recipe_flags, recipe_of
    from amkd_viz.progress import Progress
    from amkd_viz.runs import Run, distill, format_table, resume, table

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
        heard: list[Callable[[Any], None]] = []
        if args.tensorboard:
            from amkd_viz.tracking import TensorBoard

            heard.append(stack.enter_context(TensorBoard(args.tensorboard)))
        run = Run.open(args.resume) if args.resume else None
        recipe = run.recipe if run else recipe_of(args)
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

    recipe_flags(parser, without=("method", "seed"))
    parser.add_argument("--methods", default="ce,kd,bss,amkd", help="separated by commas (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="0 .. SEEDS - 1 (default: %(default)s)")
    parser.add_argument("--jobs", type=int, help=JOBS)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("comparison"),
        help="a new folder, or that of the same comparison, which then goes on (default: %(default)s)",
    )
    args = parser.parse_args(words)
    import_module("amkd_viz.views.report")  # before hours of training, where a package for it is missing
    recipe, names = recipe_of(args, overrides={}), [name for name in args.methods.split(",") if name]
    failure: Unfinished | None = None
    with Progress() as progress, in_flags():
        try:
            runs = compare(
                recipe, names, args.seeds, args.out, overrides=changes_of(args), jobs=args.jobs, listen=progress
            )
        except Unfinished as error:
            runs, failure = error.runs, error
    rows = table(runs)
    say("\n".join([format_table(rows), "", *reading(rows)]))
    if failure is not None:
        raise failure
    _write_report(runs, _fresh(args.out / "report.html"))


def report(parser: Parser, words: Sequence[str]) -> None:
    """Draw finished runs (or folders of runs) as one HTML file."""
    from amkd_viz.objectives import methods
    from amkd_viz.runs.sound import opened

    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders that hold them")
    parser.add_argument("--out", type=Path, help="a new .html file (default: report.html beside the first run)")
    args = parser.parse_args(words)
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


def lab(parser: Parser, words: Sequence[str]) -> None:
    """Open JupyterLab on the notebooks: local connections only, token required."""
    import importlib.util
    import os
    import subprocess

    parser.add_argument("folder", nargs="?", type=Path, help="default: notebooks/ where it exists, else here")
    args = parser.parse_args(words)
    folder = args.folder or (Path("notebooks") if Path("notebooks").is_dir() else Path("."))
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; give the one that holds the notebooks.")
    if importlib.util.find_spec("jupyterlab") is None:
        raise InputError("JupyterLab is not installed here; run 'pip install jupyterlab'.")
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={folder}"]
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    subprocess.run(command + root, check=False)


def doctor(parser: Parser, words: Sequence[str]) -> None:
    """Report what is installed, the devices, the data folders, and what is missing."""
    from amkd_viz.doctor import diagnosis

    parser.add_argument("--root", help="folder of the downloaded data sets")
    args = parser.parse_args(words)
    say("\n".join(diagnosis(args.root)))


PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "umap": "umap-learn"}  # whose module has another name
JOBS = "number of processes (default: one per core where networks train on one thread, else 1)"
NUMBERS = {"int": "a whole number", "float": "a number"}
KINDS = {"onnx": "ONNX, for any ONNX runtime", "torch-export": "a program for torch.export.load"}
COMMANDS: dict[str, Callable[[Parser, Sequence[str]], None]] = {
    "demo": demo,
    "distill": distill,
    "compare": compare,
    "report": report,
    "export": export,
    "lab": lab,
    "doctor": doctor,
}


def _run(command: Callable[[Parser, Sequence[str]], None], parser: Parser, words: Sequence[str]) -> None:
    """Report an OSError, or a package that is not installed, as one line instead of a traceback."""
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
    """Return the run folders at or below ``path``, in order."""
    if not path.exists():
        raise InputError(f"There is no folder {path}; give run folders, as 'distill' and 'compare' write them.")
    found = [config.parent for config in files_below(path) if config.name == "config.json"]
    if not found:
        raise InputError(f"There is no run in {path}: no config.json there or below.")
    return found


def _write_report(runs: Sequence[Any], path: Path, left_out: Sequence[str] = ()) -> None:
    from amkd_viz.views.report import write_report

    check_writable(claim(path).parent)  # before it is drawn
    say("\nDrawing the report ...")
    say(f"The report is {write_report(runs, path, left_out)}.")


def _fresh(path: Path) -> Path:
    """Return ``path``, or the first of path-2, path-3, ... that does not exist yet."""
    number, found = 2, path
    while found.exists():
        found, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return found
