"""Formulas as MathML, which browsers draw by themselves: no script and no font from anywhere."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **kwargs: Any) -> str:
    """Called by MkDocs with each page's HTML."""
    return FORMULA.sub(lambda m: formula(html.unescape(m[2]), "block" if m[1] == "div" else "inline"), content)


def formula(tex: str, display: str) -> str:
    """One formula, TeX in and MathML out.

    >>> formula("a^2", "inline").count("<msup>")
    1
    """
    for name, plain in {r"\bigl": "", r"\bigr": "", r"\operatorname{mean}": r"\mathrm{mean}"}.items():
        tex = tex.replace(name, plain)
    return str(convert(tex.strip(), display=display))
