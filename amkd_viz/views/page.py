"""One HTML file: figures, words, plotly.js inlined once, light and dark. It loads nothing from anywhere."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib import resources
from itertools import count

import plotly.io as pio
from plotly.offline import get_plotlyjs

from amkd_viz.core.errors import unknown
from amkd_viz.views.labels import safe
from amkd_viz.views.theme import DARK, FONT, LIGHT, THEMES, Theme
from amkd_viz.views.view import View

__all__ = ["document", "figure_block"]

# Nothing may be fetched, even if a figure asked for it. plotly's WebGL traces compile their shaders with Function.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:"
)
_ids = count(1)


def document(title: str, body: str, *, theme: str = "auto") -> str:
    """A whole HTML page.

    Args:
        title: plain text, the page's heading.
        body: HTML, with figures from :func:`figure_block`.
        theme: "light", "dark", or "auto" to follow the reader's system; a button changes it in any case.
    """
    if theme not in (*THEMES, "auto"):
        raise unknown("theme", theme, [*THEMES, "auto"])
    tokens = _json([asdict(LIGHT), asdict(DARK)])
    return f"""<!doctype html>
<html lang="en" data-theme="{theme}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{safe(title)}</title>
<style>
{_variables(LIGHT, ":root")}
{_variables(DARK, ':root[data-shown="dark"]')}
{_asset("page.css")}
</style>
</head>
<body>
<header>
<h1>{safe(title)}</h1>
<button id="theme" type="button" aria-label="Change between light and dark">Dark</button>
</header>
{body}
<script>{get_plotlyjs()}</script>
<script>const THEMES = {tokens};
{_asset("page.js")}</script>
</body>
</html>
"""


def figure_block(view: View, *, caption: bool = True) -> str:
    """HTML of one view: its figure, drawn when the page has loaded, and its caption."""
    number = next(_ids)
    text = f"<figcaption>{safe(view.caption)}</figcaption>" if caption and view.caption else ""
    name = safe(view.title or f"figure {number}")
    spec = pio.to_json(view.figure, validate=False).replace("</", "<\\/")
    return (
        f'<figure><div class="plot" role="img" aria-label="{name}"></div>'
        f'<script type="application/json">{spec}</script>{text}</figure>'
    )


def _variables(theme: Theme, selector: str) -> str:
    return selector + " {" + " ".join(f"--{name}: {value};" for name, value in asdict(theme).items()) + "}"


def _json(value: object) -> str:
    return str(pio.json.to_json_plotly(value)).replace("</", "<\\/")


@cache
def _asset(name: str) -> str:
    text = resources.files("amkd_viz.views").joinpath("assets", name).read_text("utf-8")
    return text.replace("/*font*/", FONT).strip()
