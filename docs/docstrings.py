"""Docstrings as the site's Markdown reads them: their mathematics between dollars, and roles as code."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import griffe

DOCTEST = re.compile(r"^([ ]*)>>> .*(?:\n\1[^\s].*|\n\1[ ]+\S.*)*", re.MULTILINE)
DIRECTIVE = re.compile(r"^([ ]*)\.\. math::[ ]*(.*(?:\n(?:\1[ ]+.*|[ ]*))*)", re.MULTILINE)


def plain(text: str) -> str:
    """``:math:`` and ``.. math::`` as dollars; ``:func:`name``` and its like as code; doctests in fences.

    >>> plain("with :math:`a > 0`, see :func:`refine`")
    'with $a > 0$, see `refine`'
    """
    text = DOCTEST.sub(lambda m: f"{m[1]}```python\n{m[0]}\n{m[1]}```", DIRECTIVE.sub(_display, text))
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    return re.sub(r":[a-z]+:`([^`]+)`", r"`\1`", text)


def _display(match: re.Match[str]) -> str:
    return f"\n{match[1]}$$\n{match[1]}{' '.join(dedent(match[2]).split())}\n{match[1]}$$\n\n"


class Docstrings(griffe.Extension):
    """Called by mkdocstrings for each object that it reads."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = plain(obj.docstring.value)
