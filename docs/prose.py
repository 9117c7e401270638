"""Find the habits of docs/prose.txt in what people read: ``python -m docs.prose [FILE ...]``, part of ``make lint``.

Reads Markdown without its code, the Markdown cells of notebooks, docstrings, comments and strings of Python, comments
and strings of JavaScript. Prints ``file:line: phrase -> better`` and exits with 1 where there is any.
"""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
READ = ("*.md", "docs/pages/**/*.md", "docs/*.py", "notebooks/*.ipynb", "notebooks/**/*.md", "notebooks/**/*.py",
        "amkd_viz/**/*.py", "amkd_viz/**/*.js", "benchmarks/*.py", "benchmarks/**/*.md")  # fmt: skip
CODE = re.compile(r"```.*?```|`[^`\n]+`|<!--.*?-->", re.DOTALL)
JAVASCRIPT = re.compile(r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"|'[^'\n]*'|`[^`]*`", re.DOTALL)


def habits() -> list[tuple[re.Pattern[str], str]]:
    """Return (pattern, what to write instead) for each line of prose.txt; a space matches a line break too."""
    lines = (ROOT / "docs/prose.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(" -> ", 1) for line in lines if line and not line.startswith("#"))
    return [(re.compile(phrase.strip().replace(" ", r"\s+"), re.IGNORECASE), better) for phrase, better in pairs]


def texts(name: str, source: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of each piece of prose in a file called ``name``."""
    if name.endswith(".py"):
        yield from _python(source)
    elif name.endswith(".js"):
        for found in JAVASCRIPT.finditer(source):
            yield source.count("\n", 0, found.start()) + 1, found[0]
    elif name.endswith(".ipynb"):
        for number, cell in enumerate(json.loads(source)["cells"]):
            if cell["cell_type"] == "markdown":
                yield number, CODE.sub(_blank, "".join(cell["source"]))
    else:
        yield 1, CODE.sub(_blank, source)


def _python(source: str) -> Iterator[tuple[int, str]]:
    tree, inside, lines = ast.parse(source), set(), source.encode().split(b"\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node)} - {id(node)}
    for node in ast.walk(tree):
        whole = isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        if whole and id(node) not in inside:
            text = _segment(lines, node)
            if " " in text:  # a sentence, not a key
                yield node.lineno, re.sub(r"[\"'](\s*\n\s*)[fr]*[\"']", r"\1", text)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _segment(lines: list[bytes], node: ast.expr) -> str:
    """Return the source of a node; ``ast.get_source_segment`` would split the whole file for each."""
    assert node.end_lineno is not None
    own = lines[node.lineno - 1 : node.end_lineno]
    own[-1] = own[-1][: node.end_col_offset]
    own[0] = own[0][node.col_offset :]
    return b"\n".join(own).decode()


def _blank(code: re.Match[str]) -> str:
    return "\n" * code[0].count("\n") or "X"


def problems(name: str, source: str) -> list[str]:
    """Return ``name:line: phrase -> better`` for each habit in ``source``; of a notebook the line is the cell."""
    found = []
    for line, text in texts(name, source):
        for pattern, better in HABITS:
            for match in pattern.finditer(text):
                at = line if name.endswith(".ipynb") else line + text.count("\n", 0, match.start())
                found.append((at, f"{name}:{at}: {' '.join(match[0].split())} -> {better}"))
    return [text for _, text in sorted(found)]


HABITS = habits()


def main(words: list[str]) -> int:
    files = [Path(word).resolve() for word in words] or sorted({p for glob in READ for p in ROOT.glob(glob)})
    names = {file.relative_to(ROOT).as_posix(): file for file in files}
    found = [line for name, file in names.items() for line in problems(name, file.read_text(encoding="utf-8"))]
    print(*found, sep="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
