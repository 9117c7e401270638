"""Plotly figures in HTML: a self-contained page in light and dark, and the output of a notebook cell."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib import resources
from itertools import count
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from amkd_viz.core.errors import unknown
from amkd_viz.views.labels import safe
from amkd_viz.views.theme import DARK, FONT, LIGHT, THEMES, Theme

__all__ = ["bundle", "document", "figures_js", "spec"]

SOURCE = f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"  # for pages made of a notebook by nbconvert
# A page may fetch nothing, whatever its figures contain. Plotly's WebGL traces compile their shaders with Function.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:"
)
_ids = count(1)


def document(title: str, body: str, *, theme: str = "auto") -> str:
    """Return a whole HTML page with plotly.js inlined once; it fetches nothing.

    Args:
        title: plain text, the page's heading.
        body: HTML, with figures from ``writers.figure_block``.
        theme: "light", "dark", or "auto" to follow the reader's system; a button changes it in any case.
    """
    if theme not in (*THEMES, "auto"):
        raise unknown("theme", theme, [*THEMES, "auto"])
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
<script>{figures_js()}
{_asset("page.js")}</script>
</body>
</html>
"""


def _variables(theme: Theme, selector: str) -> str:
    return selector + " {" + " ".join(f"--{name}: {value};" for name, value in asdict(theme).items()) + "}"


def spec(value: Any) -> str:
    """Return a figure, or other data, as strict JSON that may stand in a script element."""
    text = pio.to_json(value, validate=False) if isinstance(value, go.Figure) else pio.json.to_json_plotly(value)
    return str(text).replace("</", "<\\/")


def figures_js() -> str:
    """Return the script that defines ``drawFigures``, and the themes it needs."""
    return f"const THEMES = {spec([asdict(LIGHT), asdict(DARK)])};\n{_asset('figures.js')}"


def bundle(figure: go.Figure) -> dict[str, Any]:
    """Return the MIME bundle of a notebook cell: Plotly's own type, which JupyterLab draws, and HTML for nbconvert.

    That HTML loads plotly.js from its public address unless the page has it already.
    """
    figure.update_layout(autosize=True)
    name = f"amkd-view-{next(_ids)}"
    html = f"""<div id="{name}" style="height:{figure.layout.height or 420}px"></div>
<script>(() => {{
  const spec = {spec(figure)}, at = document.currentScript.previousElementSibling;
  const draw = () => Plotly.newPlot(at, spec.data, spec.layout, {{responsive: true}})
    .then(() => spec.frames && Plotly.addFrames(at, spec.frames));
  if (window.Plotly) return draw();
  window.amkdPlotly ??= new Promise((done) => {{  // while "define" exists, plotly.js would hide itself in a module
    const script = document.createElement("script"), define = window.define;
    window.define = undefined;
    script.src = "{SOURCE}";
    script.onload = () => {{ window.define = define; done(); }};
    script.onerror = () => {{ window.define = define; at.textContent = "plotly.js is not reachable."; }};
    document.head.append(script);
  }});
  window.amkdPlotly.then(draw);
}})()</script>"""
    return {**pio.renderers["plotly_mimetype"].to_mimebundle(figure.to_dict()), "text/html": html}


@cache
def _asset(name: str) -> str:
    text = resources.files("amkd_viz.views").joinpath("assets", name).read_text("utf-8")
    return text.replace("/*font*/", FONT).strip()
