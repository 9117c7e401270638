"""Plotly figures in HTML: a self-contained page in light and dark, and the output of a notebook cell."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from amkd_viz.core.errors import unknown
from amkd_viz.views.labels import safe
from amkd_viz.views.theme import DARK, FONT, LIGHT, THEMES, Theme

__all__ = ["bundle", "dark_style", "document", "figures_js", "revived", "spec", "variables"]

SOURCE = f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"  # for pages made of a notebook by nbconvert
# A page may fetch nothing, whatever its figures contain. Plotly's WebGL traces compile their shaders with Function.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:"
)

# Plotly's colour of a button under the pointer is nearly white in any theme, and so are the letters in the dark.
HOVERED = '.js-plotly-plot .updatemenu-item-rect[style*="244, 250, 255"]{fill:#7fb0ff40!important}'


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
{variables(LIGHT, ":root")}
{variables(DARK, ':root[data-shown="dark"]')}
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


def variables(theme: Theme, selector: str) -> str:
    """Return a CSS rule with the colours of a theme as custom properties."""
    return selector + " {" + " ".join(f"--{name}: {value};" for name, value in asdict(theme).items()) + "}"


def spec(value: Any) -> str:
    """Return a figure, or other data, as strict JSON that may stand in a script element."""
    text = pio.to_json(value, validate=False) if isinstance(value, go.Figure) else pio.json.to_json_plotly(value)
    return str(text).replace("</", "<\\/")


def figures_js() -> str:
    """Return the script that defines ``drawFigures``, and the themes it needs."""
    return f"const THEMES = {spec([asdict(LIGHT), asdict(DARK)])}, HOVERED = {spec(HOVERED)};\n{_asset('figures.js')}"


def bundle(figure: go.Figure) -> dict[str, Any]:
    """Return the MIME bundle of a notebook cell: Plotly's own type, which JupyterLab draws.

    JupyterLab adds a static picture to it, which readers without plotly.js show: GitHub, and a page of nbconvert. HTML
    beside it would take its place there.
    """
    figure.update_layout(autosize=True)
    return dict(pio.renderers["plotly_mimetype"].to_mimebundle(figure.to_dict()))


def revived(figure: go.Figure) -> str:
    """Return a script for the output after that of :func:`bundle`: in a page made by nbconvert it draws the live figure
    in place of the static picture, once plotly.js has come from its public address. In JupyterLab it does nothing."""
    height = figure.layout.height or 420
    return f"""<script>(() => {{
  const own = document.currentScript.closest(".jp-OutputArea-child, .output_area");
  const at = own?.previousElementSibling?.querySelector(".jp-OutputArea-output, .output_subarea");
  if (!at || document.getElementById("jupyter-config-data")) return;  // that is JupyterLab
  const spec = {spec(figure)};
  const draw = () => {{
    at.replaceChildren();
    at.style.height = "{height}px";
    Plotly.newPlot(at, spec.data, spec.layout, {{responsive: true}})
      .then(() => spec.frames && Plotly.addFrames(at, spec.frames));
  }};
  if (window.Plotly) return draw();
  window.amkdPlotly ??= new Promise((done, failed) => {{  // while "define" exists, plotly.js hides itself in a module
    const script = document.createElement("script"), define = window.define;
    window.define = undefined;
    script.src = "{SOURCE}";
    script.onload = () => {{ window.define = define; done(); }};
    script.onerror = () => {{ window.define = define; failed(); }};
    document.head.append(script);
  }});
  window.amkdPlotly.then(draw, () => {{
    if (!at.querySelector("img")) at.textContent =
      "A figure that needs the network: plotly.js is not reachable. Saved by JupyterLab, the notebook has a picture.";
  }});
}})()</script>"""


@cache
def dark_style() -> str:
    """Return a style sheet for figures in JupyterLab Dark: it replaces each colour of the light theme that Plotly has
    written by its dark counterpart. The notebook keeps the light figure, and class colours stay."""
    rules = []
    for light, dark in zip(asdict(LIGHT).values(), asdict(DARK).values(), strict=True):
        written = "rgb({}, {}, {})".format(*(int(light[i : i + 2], 16) for i in (1, 3, 5)))
        # as the browser writes a colour, and as a figure's own spans have it
        for part, colour in (*((part, written) for part in ("fill", "stroke", "background")), ("fill", light)):
            for gap in ("", " "):
                at = f'body[data-jp-theme-light="false"] .js-plotly-plot [style*="{part}:{gap}{colour}"]'
                rules.append(f"{at}{{{part}:{dark}!important}}")
    rules.append(HOVERED)
    return f"<style>{''.join(rules)}</style>"


@cache
def _asset(name: str) -> str:
    text = resources.files("amkd_viz.views").joinpath("assets", name).read_text("utf-8")
    return text.replace("/*font*/", FONT).strip()
