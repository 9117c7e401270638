"""Convert docstrings for the site: one row per name, mathematics between dollars, roles as code."""

from __future__ import annotations

import re
from textwrap import dedent, indent
from typing import Any

import griffe

DOCTEST = re.compile(r"^([ ]*)>>> .*(?:\n\1[^\s].*|\n\1[ ]+\S.*)*", re.MULTILINE)
SECTION = re.compile(r"^([ ]*)(?:Args|Attributes):\n((?:\1[ ]+.*\n?|[ ]*\n)+)", re.MULTILINE)
NAMES = r"\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*"
QUOTE, BARE = re.compile("^>"), r"\\>"  # in Markdown ">= 0" would quote "= 0"
DIRECTIVE = re.compile(r"^([ ]*)\.\. math::[ ]*(.*(?:\n(?:\1[ ]+.*|[ ]*))*)", re.MULTILINE)


def plain(text: str) -> str:
    """Convert ``:math:`` and ``.. math::`` to dollars, roles such as ``:func:`name``` to code, doctests to fences.

    >>> plain("with :math:`a > 0`, see :func:`refine`")
    'with $a > 0$, see `refine`'
    >>> print(plain("Args:\\n    a, b: both. c: another."))
    Args:
        a: both.
        b: both.
        c: another.
    >>> print(plain("Args:\\n    steps: > 0 bisections."))
    Args:
        steps: \\> 0 bisections.
    """
    text = SECTION.sub(_rows, text)
    text = DOCTEST.sub(lambda m: f"{m[1]}```python\n{m[0]}\n{m[1]}```", DIRECTIVE.sub(_display, text))
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    return re.sub(r":[a-z]+:`([^`]+)`", r"`\1`", text)


def _rows(section: re.Match[str]) -> str:
    """Give names that share a line or a description a row each (griffe reads what follows the first as its type)."""
    body = section[2].rstrip()
    entries = re.split(rf"(?:^|(?<=\.) )({NAMES}): ", dedent(body), flags=re.MULTILINE)
    if entries[0].strip():
        return section[0]
    rows = [
        f"{name}: {QUOTE.sub(BARE, words.rstrip())}"
        for names, words in zip(entries[1::2], entries[2::2], strict=True)
        for name in names.split(", ")
    ]
    return section[0].replace(body, indent("\n".join(rows), section[1] + "    "))


def _display(match: re.Match[str]) -> str:
    return f"\n{match[1]}$$\n{match[1]}{' '.join(dedent(match[2]).split())}\n{match[1]}$$\n\n"


class Docstrings(griffe.Extension):
    """Convert the docstring of each object that mkdocstrings reads."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = plain(obj.docstring.value)
