"""The README's pictures, made in the real browser: ``python -m docs.pictures`` (from a checkout with the dev extra).

docs/images/distill-lab.png, distill-lab-dark.png: the panel after a run on the digits.
docs/images/distilling.gif: teacher, student and where they disagree while a student learns three spirals.
"""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path

from PIL import Image

from tests.lab import Lab, browser

OUT = Path(__file__).parent / "images"
DIGITS = """
import amkd_viz
from amkd_viz.panels import DistillLab
lab = DistillLab(amkd_viz.example("digits"))
lab
"""
SPIRALS = """
from amkd_viz.panels import DistillLab
from amkd_viz.training import SPIRALS
lab = DistillLab(SPIRALS.replace(epochs=240), pace=20)
lab
"""
FRAMES, EVERY = 70, 0.2  # pictures of the animation, and seconds between them


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = Lab(Path(folder), AMKD_VIZ_CACHE="cache")  # relative: the path of a run is in the picture
        try:
            with browser(viewport={"width": 1780, "height": 2000}, device_scale_factor=1.25) as context:
                panel(server, context)
            with browser(viewport={"width": 1750, "height": 1200}) as context:
                animation(server, context)
        finally:
            server.close()


def panel(server: Lab, context: object) -> None:
    notebook = server.open(context, server.write("digits.ipynb", DIGITS))
    notebook.run()
    notebook.settled("the student after", seconds=300)
    notebook.ask("lab.set(layout='umap').wait(300)")
    for theme, name in (("light", "distill-lab.png"), ("dark", "distill-lab-dark.png")):
        notebook.theme(theme)
        notebook.page.wait_for_timeout(1500)
        shot = notebook.page.locator(".amkd-panel").screenshot()
        picture = Image.open(io.BytesIO(shot)).convert("RGB")
        picture.save(OUT / name, optimize=True)
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
    main()
