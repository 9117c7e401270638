"""Render a figure as PNG or SVG with kaleido if it is installed, else with any Chromium on the machine."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import unquote_to_bytes

import plotly.graph_objects as go
import plotly.io as pio
from plotly.offline import get_plotlyjs

from amkd_viz.core.errors import InputError
from amkd_viz.views.layout import height_of
from amkd_viz.views.page import spec

__all__ = ["browser", "rendered"]

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "brave-browser"]
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
PAGE = """<!doctype html><meta charset="utf-8"><body><div id="plot"></div><script>{plotly}</script><script>
const spec = {spec};
Plotly.newPlot("plot", spec.data, spec.layout)
  .then(div => Plotly.toImage(div, {{format: "{kind}", width: {width}, height: {height}, scale: {scale}}}))
  .then(url => {{ document.body.innerHTML = ""; document.body.title = url; }});
</script>"""


def browser() -> str | None:
    """Return the path of a Chromium: ``AMKD_VIZ_BROWSER``, else the first of the usual names; None without one."""
    found = [os.environ.get("AMKD_VIZ_BROWSER"), *map(shutil.which, NAMES), MAC if Path(MAC).exists() else None]
    return next((path for path in found if path), None)


def rendered(figure: go.Figure, kind: str, width: int = 1100) -> bytes:
    """Render a figure to the content of a file.

    Args:
        kind: "png" (at twice the pixels) or "svg".
        width: in CSS pixels; the height follows the figure's aspect or its own height.

    Raises:
        InputError: neither kaleido nor a Chromium is installed, or it did not finish within a minute.
    """
    height = height_of(figure, width)
    scale = 2 if kind == "png" else 1
    figure = go.Figure(figure).update_layout(width=width, height=height)
    if importlib.util.find_spec("kaleido"):
        return bytes(pio.to_image(figure, kind, width=width, height=height, scale=scale))
    program = browser()
    if program is None:
        raise InputError(
            f"A .{kind} needs Chromium or Chrome on this machine (or 'pip install kaleido'); save as .html instead, "
            "whose camera button makes pictures too."
        )
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "figure.html"
        page.write_text(
            PAGE.format(plotly=get_plotlyjs(), spec=spec(figure), kind=kind, width=width, height=height, scale=scale),
            "utf-8",
        )
        command = [program, "--headless", "--disable-gpu", "--virtual-time-budget=20000", f"--user-data-dir={folder}/u"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium has no sandbox for root, as in most containers
        try:
            shown = subprocess.run(
                [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60, check=False
            ).stdout
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{program} could not render the figure ({error}); save as .html instead.") from error
    found = re.search(r'<body[^>]*title="data:image/[a-z+]+(;base64)?,([^"]*)"', shown)
    if not found:
        raise InputError(f"{program} rendered nothing; save as .html instead.")
    content = found[2].replace("&amp;", "&").replace("&quot;", '"')
    return base64.b64decode(content) if found[1] else unquote_to_bytes(content)
