"""Links lead somewhere, anchors exist, and words are spelled."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def pages() -> list[Path]:
    """What a person reads in the repository; MkDocs checks the pages of its own."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("notebooks/**/*.md"), *ROOT.glob("notebooks/**/*.ipynb"),
                   *ROOT.glob("benchmarks/**/*.md")])  # fmt: skip


def prose(path: Path) -> str:
    """The Markdown of a page, without its code."""
    if path.suffix == ".ipynb":
        found = nbformat.read(path, as_version=4).cells
        text = "\n\n".join(cell.source for cell in found if cell.cell_type == "markdown")
    else:
        text = path.read_text(encoding="utf-8")
    return re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->", "", text, flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else prose(path)
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def broken(path: Path) -> list[str]:
    wrong = []
    for target in (a or b for a, b in LINK.findall(prose(path))):
        if re.match(r"[a-z]+:", target):  # another host: not asked for, a test needs no network
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("path", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One *thing*, two\n[a](#one-thing-two) [b](#three) [c](no.md) `[d](no.md)` [e](https://x.invalid)\n"
    )
    assert broken(page) == ["#three", "no.md"]


def test_words_are_spelled() -> None:
    pytest.importorskip("codespell_lib")
    git = shutil.which("git")
    listing = git and subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if not listing or listing.returncode:
        pytest.skip("not a git checkout")
    files = [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    command = [sys.executable, "-m", "codespell_lib", "--toml", "pyproject.toml", *files]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, ""), found.stderr
