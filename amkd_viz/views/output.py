"""What a notebook cell shows of a view: the figure, and its words beneath."""

from __future__ import annotations

from itertools import count
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.offline import get_plotlyjs_version

from amkd_viz.views.labels import safe

__all__ = ["bundle", "words"]

# The colour follows JupyterLab's theme; pages that have no such variable, light or dark, give their own.
CAPTION = "max-width:60em;margin:0 0 .8em;line-height:1.45;color:var(--jp-ui-font-color1,inherit)"
SOURCE = f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"
_ids = count(1)


def bundle(figure: go.Figure) -> dict[str, Any]:
    """Plotly's own type, which JupyterLab draws, and HTML for pages made of a notebook by nbconvert.

    That HTML loads plotly.js from its public address unless the page has it already; ``View.save`` and the docs site
    write pages that load nothing.
    """
    figure.update_layout(autosize=True)
    return {**pio.renderers["plotly_mimetype"].to_mimebundle(figure.to_dict()), "text/html": _html(figure)}


def words(caption: str) -> str:
    """HTML of a caption, empty where there is none. It tells a view's notes in words: a page shows no bare numbers."""
    return f'<div style="{CAPTION}">{safe(caption)}</div>' if caption else ""


def _html(figure: go.Figure) -> str:
    name = f"amkd-view-{next(_ids)}"
    spec = str(pio.to_json(figure, validate=False)).replace("</", "<\\/")
    return f"""<div id="{name}" style="height:{figure.layout.height or 420}px"></div>
<script>(() => {{
  const spec = {spec}, at = document.currentScript.previousElementSibling;
  const draw = () => Plotly.newPlot(at, spec.data, spec.layout, {{responsive: true}})
    .then(() => spec.frames && Plotly.addFrames(at, spec.frames));
  if (window.Plotly) return draw();
  window.amkdPlotly ??= new Promise((done) => {{  // with define in sight, plotly.js would hide itself in a module
    const script = document.createElement("script"), define = window.define;
    window.define = undefined;
    script.src = "{SOURCE}";
    script.onload = () => {{ window.define = define; done(); }};
    script.onerror = () => {{ window.define = define; at.textContent = "plotly.js is not reachable."; }};
    document.head.append(script);
  }});
  window.amkdPlotly.then(draw);
}})()</script>"""
