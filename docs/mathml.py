"""Formulas as MathML, which browsers draw by themselves: no script and no font from anywhere.

For the site, and for a notebook: ``jupyter nbconvert --to html --HTMLExporter.preprocessors=docs.mathml.Formulas``.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from nbconvert.preprocessors import Preprocessor

IN_MARKDOWN = re.compile(
    r"(?P<code>```.*?```|`[^`]*`)|\$\$(?P<block>.+?)\$\$|\$(?=\S)(?P<inline>[^$\n`]+?)(?<=\S)\$(?!\d)", re.DOTALL
)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **kwargs: Any) -> str:
    """Called by MkDocs with each page's HTML."""

    def drawn(found: re.Match[str]) -> str:
        if found[1] == "div":  # scrolls by itself on a phone
            return f'<div class="amkd-formula">{formula(html.unescape(found[2]), "block")}</div>'
        return formula(html.unescape(found[2]), "inline")

    return FORMULA.sub(drawn, content)


def formula(tex: str, display: str) -> str:
    """One formula, TeX in and MathML out.

    >>> formula("a^2", "inline").count("<msup>")
    1
    """
    for name, plain in {r"\bigl": "", r"\bigr": "", r"\operatorname{mean}": r"\mathrm{mean}"}.items():
        tex = tex.replace(name, plain)
    return str(convert(tex.strip(), display=display))


class Formulas(Preprocessor):
    """Replaces the formulas of a notebook's text."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> Any:
        """Called by nbconvert with each cell; returns it and the resources."""
        if cell.cell_type == "markdown":
            cell.source = IN_MARKDOWN.sub(_replaced, cell.source)
        return cell, resources


def _replaced(match: re.Match[str]) -> str:
    if match["code"]:
        return match["code"]
    tex, display = (match["block"], "block") if match["block"] else (match["inline"], "inline")
    return formula(tex, display)
