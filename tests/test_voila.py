"""``amkd-viz serve`` in a real browser: a page without JupyterLab, a panel that answers, none without the token."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.lab import browser, chromium

pytest.importorskip("voila", reason="needs Voilà")

CELL = """
from amkd_viz.panels import BoundaryLab

panel = BoundaryLab("moons")
panel
"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium")
def test_a_panel_is_a_page_of_its_own_behind_the_token(tmp_path: Path) -> None:
    import nbformat

    (tmp_path / "pages").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbformat.write(notebook, tmp_path / "pages" / "BoundaryLab.ipynb")  # of a problem that trains at once
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    own = {"JUPYTER_TOKEN": "a-word-of-the-class", "AMKD_VIZ_COACH": "off", "OMP_NUM_THREADS": "1", "PYTHONPATH": here}
    command = [sys.executable, "-m", "amkd_viz", "serve", "BoundaryLab", "--port", str(port), "--out", "pages"]
    log = (tmp_path / "log").open("w")
    server = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | own, stdout=log, stderr=log, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}/voila/render/BoundaryLab.ipynb"
    try:
        with browser() as context:
            page = context.new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/static/nothing", timeout=5)
                except urllib.error.HTTPError:
                    break
                except OSError:
                    assert server.poll() is None, (tmp_path / "log").read_text()[-2000:]
                    page.wait_for_timeout(500)
            page.goto(address, wait_until="commit")
            page.wait_for_load_state()
            assert "/login" in page.url
            page.goto(f"{address}?token=a-word-of-the-class", timeout=240_000, wait_until="commit")
            page.locator(".amkd-panel .amkd-map canvas").first.wait_for(timeout=240_000)
            status = page.locator(".amkd-status")
            page.wait_for_function(
                "() => document.querySelector('.amkd-status')?.dataset.kind !== 'busy'", timeout=240_000
            )
            before = page.locator(".amkd-control-2 .widget-readout").first.inner_text()
            handle = page.locator(".amkd-control-2 .noUi-handle").first
            handle.focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_function(
                "(before) => document.querySelector('.amkd-control-2 .widget-readout').innerText !== before", arg=before
            )
            page.wait_for_function(
                "() => document.querySelector('.amkd-status')?.dataset.kind === 'busy'", timeout=60_000
            )  # the kernel has heard it and trains
            assert status.count() == 1
            assert errors == []
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
        log.close()
