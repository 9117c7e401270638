"""Commands that open JupyterLab or serve panels, on this machine alone, and doctor."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amkd_viz.commands.parser import Parser, say
from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.files import PART, explained, write_atomic

__all__ = ["doctor", "lab", "serve"]

LESSONS, FIRST = Path("amkd-notebooks"), "00_start_here.ipynb"
PAGES = {
    "BoundaryLab": "'spirals'",
    "SampleLab": "'digits'",
    "EmbeddingLab": "'digits'",
    "DistillLab": "",
    "MethodRace": "'spirals'",
}


def lab(parser: Parser, words: Sequence[str]) -> None:
    """Open JupyterLab on the notebooks: local connections only, token required."""
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
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        subprocess.run(command, check=False, **how)
    finally:
        signal.signal(signal.SIGINT, before)


def _copy_lessons(folder: Path) -> None:
    """Copy the notebooks of this installation, or of the clone that it was made from, without answers and outputs."""
    here = Path(__file__).parent.parent
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


def _page(name: str) -> str:
    """Return a notebook whose one cell opens a panel."""
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
