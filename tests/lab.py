"""A real JupyterLab and a real Chromium, for browser tests, benchmarks and the pictures of the README."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CELL = ".jp-Notebook .jp-CodeCell"


def chromium() -> str | None:
    """Return the path of an installed browser, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


@contextmanager
def browser(**context: Any) -> Iterator[Any]:
    """Open a playwright context that can reach local addresses only."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        made = own.new_context(**{"viewport": {"width": 1400, "height": 1000}} | context)
        made.blocked = []

        def local(route: Any) -> None:
            if route.request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
                route.continue_()
            else:
                made.blocked.append(route.request.url)
                route.abort()

        made.route("**/*", local)
        yield made
        own.close()


@contextmanager
def panel_page(folder: Path, cell: str, begin: Callable[[Any], None], **environment: str) -> Iterator[Any]:
    """Open a notebook of one cell in which ``begin`` runs it; at the end check the page for errors."""
    import pytest

    if chromium() is None:
        pytest.skip("needs Chromium")
    server = Lab(folder, OMP_NUM_THREADS="1", **environment)
    try:
        with browser(viewport={"width": 1500, "height": 1300}) as context:
            made = server.open(context, server.write("panel.ipynb", cell))
            begin(made)
            yield made
            assert made.errors == []
            assert context.blocked == []
    finally:
        server.close()


class Lab:
    """A JupyterLab server on its own folder and port, with a token."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.token = secrets.token_hex(16)
        settings = folder / ".settings"
        calm = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        calm.parent.mkdir(parents=True)
        calm.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "JUPYTER", "COV"))}
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
        command += [f"--ServerApp.port={self.port}", f"--ServerApp.root_dir={folder}"]
        command += [f"--LabApp.user_settings_dir={settings}", "--ServerApp.terminals_enabled=False"]
        command += ["--LabApp.expose_app_in_browser=True"]  # the tests ask the page about its kernel
        here = str(Path(__file__).parent.parent)
        self._log = (folder / ".jupyter.log").open("w")
        self._server = subprocess.Popen(
            command,
            env=clean
            | {
                "JUPYTER_TOKEN": self.token,
                "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
                "PYTHONPATH": here,
                "PYTHONWARNINGS": "ignore",
                "AMKD_VIZ_COACH": "off",  # no callout over what a test looks at
            }
            | environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait()

    def _wait(self) -> None:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api?token={self.token}", timeout=2).read()
                return
            except OSError:
                if self._server.poll() is not None:
                    break
                time.sleep(0.1)
        raise RuntimeError((self.folder / ".jupyter.log").read_text()[-2000:])

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells and return its name."""
        import nbformat

        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)
        return name

    def open(self, context: Any, name: str, dark: bool = False) -> Notebook:
        """Open a notebook in a new page and wait until its kernel is idle."""
        page = context.new_page()
        notebook = Notebook(page)
        page.goto(f"http://127.0.0.1:{self.port}/doc/tree/{name}?token={self.token}")
        notebook.ready()
        page.evaluate("window.jupyterapp.shell.collapseLeft()")  # the first page of a browser opens it, the next do not
        if dark:
            notebook.theme("dark")
        return notebook

    def close(self) -> None:
        """Stop the server and its kernels."""
        self._server.terminate()
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()
        self._log.close()


class Notebook:
    """One open notebook."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.console: list[str] = []  # errors that a script wrote; those of requests have no text of use
        page.on("pageerror", self._hear)
        page.on(
            "console",
            lambda line: line.type == "error" and "Failed to load" not in line.text and self.console.append(line.text),
        )

    def _hear(self, error: Any) -> None:
        # an error of JupyterLab itself, when a kernel restarts while it requests a subshell
        if "Canceled future for create_subshell_request" not in str(error):
            self.errors.append(str(error))

    def ready(self) -> None:
        self.page.wait_for_selector(CELL, timeout=90_000)
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=90_000,
        )

    def run(self, index: int = 0, wait: bool = True) -> None:
        """Run one cell by keyboard."""
        self.page.locator(f"{CELL} .jp-InputArea-editor").nth(index).click()
        self.page.keyboard.press("Control+Enter")
        if wait:
            self.idle()

    def idle(self, seconds: float = 120) -> None:
        """Wait until no cell runs."""
        self.page.wait_for_timeout(150)
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.jp-InputArea-prompt')].every(p => !p.textContent.includes('*'))",
            timeout=1000 * seconds,
        )

    def until(self, right: Callable[[], Any], seconds: float = 30) -> None:
        """Wait until ``right()`` is true."""
        limit = time.monotonic() + seconds
        while not right():
            assert time.monotonic() < limit, f"not within {seconds:g} s"
            self.page.wait_for_timeout(50)

    def ask(self, code: str) -> Any:
        """Run code in the kernel without a cell; return what it prints, parsed if it is JSON."""
        text = self.page.evaluate(
            """async (code) => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({ code, store_history: false });
                let text = "";
                future.onIOPub = (m) => {
                    if (m.header.msg_type === "stream") text += m.content.text;
                    if (m.header.msg_type === "error") text += "ERROR " + m.content.evalue;
                };
                await future.done;
                return text;
            }""",
            code,
        )
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text.strip()

    def theme(self, name: str) -> None:
        """Switch JupyterLab to "light" or "dark"."""
        words = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}[name]
        self.page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{ theme: '{words}' }})")
        self.page.wait_for_function(f"document.body.dataset.jpThemeLight === '{str(name == 'light').lower()}'")
        followed = f"p => p.dataset.theme === '{name}'"
        self.page.wait_for_function(f"() => [...document.querySelectorAll('.amkd-panel')].every({followed})")
        self.page.wait_for_timeout(400)

    def restart(self) -> None:
        """Restart the kernel without asking."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
        self.ready()

    def settled(self, text: str = "", panel: int = 0, seconds: float = 90) -> str:
        """Wait until a panel's status line is not busy and contains ``text``; return the line."""
        self.page.wait_for_function(
            """([panel, text]) => {
                const line = document.querySelectorAll('.amkd-status')[panel];
                return line && line.dataset.kind !== 'busy' && line.textContent.includes(text)
                    && line.querySelector('span').textContent;
            }""",
            arg=[panel, text],
            timeout=1000 * seconds,
        )
        return str(self.page.locator(".amkd-status > span").nth(panel).text_content())
