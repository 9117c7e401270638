"""The prose check finds habits where people read them, and links in what people read lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from docs.prose import problems

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("notebooks/**/*.md"), *ROOT.glob("notebooks/[0-9]*.ipynb"),
                *ROOT.glob("benchmarks/**/*.md")])  # fmt: skip
PYTHON = '''"""Of a net, so
many layers."""

told = {"told": 1}  # nobody reads this
error = f"{told} must be 3, not {told}, as was " \\
    "told."
'''


@pytest.mark.parametrize(
    ("name", "source", "lines"),
    [
        ("a.py", PYTHON, [1, 1, 4, 5, 5, 5, 6]),
        ("a.md", "It is fine.\n`told` is code\n```\nnobody\n```\nNobody\nwas told.", [6, 7]),
        ("a.ipynb", json.dumps({"cells": [{"cell_type": "code", "source": ["told"]}, {"cell_type": "markdown",
                    "source": ["what you\n", "were told"]}]}), [1]),
        ("a.js", "told = 'fine'; // so many\nsay(`is told`)", [1, 2]),
        ("b.md", "There is no file. It is no longer used, withheld, on hold.", []),
    ],
)  # fmt: skip
def test_habits_are_found_with_their_lines(name: str, source: str, lines: list[int]) -> None:
    assert [int(line.split(":")[1]) for line in problems(name, source)] == lines


def test_the_command_prints_what_is_better_and_fails(tmp_path: Path) -> None:
    page = ROOT / "demo-out-prose.md"
    page.write_text("A box\n\nhas so\nmany sides.\n")
    try:
        done = subprocess.run([sys.executable, "-m", "docs.prose", page], cwd=ROOT, capture_output=True, text=True)
    finally:
        page.unlink()
    assert done.stdout == 'demo-out-prose.md:3: so many -> name the number: "N samples"\n'
    assert done.returncode == 1


def prose(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join(c.source for c in nbformat.reads(text, as_version=4).cells if c.cell_type == "markdown")
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        name, _, anchor = target.partition("#")
        if ":" in target:
            continue  # another host: tests need no network
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", prose(file), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target
