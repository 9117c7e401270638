"""A real JupyterLab and a real Chromium: what the browser tests, the benchmark and the README's pictures share."""

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
    """Debian's browser, or whatever stands for it."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


@contextmanager
def browser(**context: Any) -> Iterator[Any]:
    """A playwright context in which no address but this machine's answers."""
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


def fresh(opened: Any, begin: Callable[[Any], None], request: Any) -> Any:
    """A page that tests share. Where a test runs again, it begins anew: what the failed one left has to go first."""
    if int(getattr(request.node, "execution_count", 1)) > 1:
        begin(opened)
    return opened


class Lab:
    """JupyterLab on a folder of its own, behind its token, for this machine only."""

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
        """A notebook of code cells; returns its name."""
        import nbformat

        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)
        return name

    def open(self, context: Any, name: str, dark: bool = False) -> Notebook:
        """A notebook in a new page, once its kernel is idle."""
        page = context.new_page()
        notebook = Notebook(page)
        page.goto(f"http://127.0.0.1:{self.port}/doc/tree/{name}?token={self.token}")
        notebook.ready()
        page.evaluate("window.jupyterapp.shell.collapseLeft()")  # the first page of a browser opens it, the next do not
        if dark:
            page.evaluate("document.body.dataset.jpThemeLight")  # the page is there
            notebook.theme("dark")
        return notebook

    def close(self) -> None:
        """End the server and its kernels."""
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
        page.on("pageerror", self._hear)

    def _hear(self, error: Any) -> None:
        # JupyterLab's own, now and then, when a kernel restarts while it asks for a subshell
        if "Canceled future for create_subshell_request" not in str(error):
            self.errors.append(str(error))

    def ready(self) -> None:
        self.page.wait_for_selector(CELL, timeout=90_000)
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=90_000,
        )

    def run(self, index: int = 0, wait: bool = True) -> None:
        """Run one cell, as a person does with Shift-Enter."""
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
        """Wait until ``right()`` is true: between kernel and page everything comes with some delay."""
        limit = time.monotonic() + seconds
        while not right():
            assert time.monotonic() < limit, f"not within {seconds:g} s"
            self.page.wait_for_timeout(50)

    def ask(self, code: str, seconds: float = 60) -> Any:
        """Run code in the notebook's kernel without a cell; returns what it prints, read as JSON if it is."""
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
        """Wait until a panel's status line is not busy (and holds ``text``); returns the line."""
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
