"""The command line: ``python -m amkd_viz COMMAND`` or ``amkd-viz COMMAND``.

Exit status 0, or 2 with one line that says what is wrong and what is allowed.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from amkd_viz.commands.exchange import export, import_, pack
from amkd_viz.commands.looking import measure, methods, playground, record, report
from amkd_viz.commands.parser import Parser, one_line
from amkd_viz.commands.serving import doctor, lab, serve
from amkd_viz.commands.training import compare, demo, distill, tune
from amkd_viz.core.errors import InputError
from amkd_viz.core.version import __version__

__all__ = ["COMMANDS", "main"]

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
PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "umap": "umap-learn"}  # whose module has another name


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
                one_line(f"amkd-viz {command}: {message}"), file=sys.stderr, end=""
            )
            _run(COMMANDS[command], own, words[1:])
    except InputError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # once per machine
            sys.stderr.write(one_line(f"amkd-viz {command}: {error}"))
        return 2
    except KeyboardInterrupt as stop:
        words = ["stopped; what has been written stays.", *getattr(stop, "__notes__", [])]
        print(f"\namkd-viz {command}: {' '.join(words)}", file=sys.stderr)
        return 130
    return 0


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
