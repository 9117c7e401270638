"""The pictures of the README and of the site, made in the real browser: ``python -m docs.pictures [NAME ...]``.

docs/images/NAME.png, NAME-dark.png: each panel, for readers without a kernel; distill-lab after a run on the digits.
docs/images/distilling.gif: teacher, student and where they disagree while a student learns three spirals.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tests.lab import Lab, browser

OUT = Path(__file__).parent / "images"
IMPORTS = """
import amkd_viz
from amkd_viz.panels import BoundaryLab, DistillLab, EmbeddingLab, MethodRace, SampleLab
"""
PANELS = {  # name of the picture -> the panel, what it does first, and a part of the status line at its end
    "distill-lab": ("DistillLab(amkd_viz.example('digits'))", "lab.set(layout='umap').wait(300);", "the student after"),
    "boundary-lab": ("BoundaryLab('spirals')", "", "From "),
    "sample-lab": ("SampleLab('digits')", "", "From "),
    "embedding-lab": ("EmbeddingLab(amkd_viz.example('digits'))", "", "The map shows UMAP"),
    "method-race": ("MethodRace('spirals')", "lab.wait(); lab.start(); lab.wait(300);", "no verdict"),
}
COLOURS = 255  # of a picture; the maps need no more
METHOD = Image.Quantize.MAXCOVERAGE  # keeps the colours of small legends, which the median cut merges
KMEANS = 2  # moves the chosen colours to the middle of what they stand for, so that greys stay grey
SPIRALS = """
from amkd_viz.panels import DistillLab
from amkd_viz.training import SPIRALS
lab = DistillLab(SPIRALS.replace(epochs=240), pace=20)
lab
"""
FRAMES, EVERY = 70, 0.2  # pictures of the animation, and seconds between them


def main(names: Sequence[str] = ()) -> None:
    OUT.mkdir(exist_ok=True)
    names = names or [*PANELS, "distilling"]
    with tempfile.TemporaryDirectory() as folder:
        server = Lab(Path(folder), AMKD_VIZ_CACHE="cache")  # relative: the path of a run is in the picture
        try:
            for name in set(names) - {"distilling"}:
                wide, scale = (1780, 1.25) if name == "distill-lab" else (1400, 1.0)
                with browser(viewport={"width": wide, "height": 2000}, device_scale_factor=scale) as context:
                    panel(server, context, name)
            if "distilling" in names:
                with browser(viewport={"width": 1750, "height": 1200}) as context:
                    animation(server, context)
        finally:
            server.close()


def panel(server: Lab, context: object, name: str) -> None:
    made, first, words = PANELS[name]
    notebook = server.open(context, server.write(f"{name}.ipynb", f"{IMPORTS}lab = {made}\nlab"))
    notebook.run()
    notebook.settled(seconds=300)
    notebook.ask(first)
    notebook.settled(words, seconds=300)
    for theme, ending in (("light", ""), ("dark", "-dark")):
        notebook.theme(theme)
        notebook.page.wait_for_timeout(1500)
        shot = notebook.page.locator(".amkd-panel").screenshot()
        picture = Image.open(io.BytesIO(shot)).convert("RGB")
        picture = picture.quantize(COLOURS, METHOD, KMEANS, dither=Image.Dither.NONE)
        picture.save(OUT / f"{name}{ending}.png", optimize=True)
    notebook.page.close()


def animation(server: Lab, context: object) -> None:
    notebook = server.open(context, server.write("spirals.ipynb", SPIRALS))
    page = notebook.page
    notebook.theme("light")
    notebook.run()
    notebook.settled("Ready")
    page.locator(".amkd-bar").get_by_role("button", name="Start", exact=True).click()
    page.wait_for_selector(".amkd-maps[data-serial]", timeout=120_000)
    frames = []
    while len(frames) < FRAMES and page.locator(".amkd-status").get_attribute("data-kind") == "busy":
        frames.append(Image.open(io.BytesIO(page.locator(".amkd-maps").screenshot())).convert("RGB"))
        time.sleep(EVERY)
    notebook.settled("Done", seconds=300)
    page.wait_for_timeout(1000)
    frames.append(Image.open(io.BytesIO(page.locator(".amkd-maps").screenshot())).convert("RGB"))
    palette = frames[-1].quantize(128)  # one for all: a palette a frame would flicker
    shown = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    held = [140] * (len(shown) - 1) + [2500]
    shown[0].save(OUT / "distilling.gif", save_all=True, append_images=shown[1:], duration=held, loop=0, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
