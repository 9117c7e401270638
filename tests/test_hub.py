"""A class on one JupyterHub, configured as in the docs: two users train, and neither reaches the other's runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
import tornado.httpclient
import tornado.websocket

pytest.importorskip("jupyterhub", reason="JupyterHub is not installed")
PROXY = shutil.which("configurable-http-proxy") or shutil.which(
    "configurable-http-proxy", path=str(Path(sys.executable).parent)
)
pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.skipif(PROXY is None, reason="configurable-http-proxy is not installed"),
    pytest.mark.skipif(os.name != "posix", reason="users are POSIX users"),
]
PAGE = Path(__file__).parents[1] / "docs/pages/scale.md"
# What the test changes of the page's configuration: users without accounts, with folders of their own.
LOCAL = """
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "of the class"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.http_timeout = c.Spawner.start_timeout = 180
c.Spawner.environment["PYTHONPATH"] = {path!r}
"""
TRAIN = """
import os
os.environ["AMKD_VIZ_CACHE"] = {cache!r}
import amkd_viz
from amkd_viz.training import Recipe
recipe = Recipe(dataset="blobs", teacher="mlp-tiny", student="mlp-tiny", method="kd", epochs=1, teacher_epochs=1)
run = amkd_viz.distill(recipe, "runs/mine")
print(run.path.resolve(), run.summary["test_accuracy"])
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class User:
    """A browser that has logged in as one user."""

    def __init__(self, hub: str, name: str) -> None:
        self.hub, self.name, self.cookies = hub, name, CookieJar()
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies)).open
        self.get("/hub/login")
        form = {"username": name, "password": "of the class", "_xsrf": self._token("/hub/")}
        self.get("/hub/login", urllib.parse.urlencode(form).encode())

    def _token(self, path: str) -> str:
        return next(cookie.value or "" for cookie in self.cookies if cookie.name == "_xsrf" and cookie.path == path)

    def get(self, path: str, data: bytes | None = None, **headers: str) -> str:
        request = urllib.request.Request(self.hub + path, data, headers)
        with self._open(request, timeout=120) as answer:
            return str(answer.read().decode())

    def start(self) -> None:
        """Start the user's server, and visit it: it then knows the browser."""
        limit = time.monotonic() + 180
        while True:
            page = self.get(f"/hub/spawn/{self.name}") if time.monotonic() < limit else ""
            assert page, "the server did not start"
            try:
                if json.loads(self.get(f"/user/{self.name}/api/status"))["started"]:
                    self.get(f"/user/{self.name}/lab")
                    return
            except (urllib.error.HTTPError, ValueError):
                time.sleep(1)

    def run(self, code: str) -> str:
        """Return what code prints in a kernel of the user's server."""
        token = self._token(f"/user/{self.name}/")
        made = json.loads(self.get(f"/user/{self.name}/api/kernels", b"{}", **{"X-XSRFToken": token}))
        cookies = "; ".join(f"{c.name}={c.value}" for c in self.cookies if f"/user/{self.name}/".startswith(c.path))
        url = f"{self.hub.replace('http', 'ws', 1)}/user/{self.name}/api/kernels/{made['id']}/channels"
        request = tornado.httpclient.HTTPRequest(url, headers={"Cookie": cookies})
        header = {"msg_id": "1", "msg_type": "execute_request", "session": "1", "username": self.name, "version": "5.3"}
        content = {"code": code, "silent": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}

        async def execute() -> str:
            socket = await tornado.websocket.websocket_connect(request)
            await socket.write_message(json.dumps(message))
            printed = ""
            while (text := await socket.read_message()) is not None:
                answer = json.loads(text)
                kind, own = answer["header"]["msg_type"], answer["parent_header"].get("msg_id") == "1"
                printed += answer["content"]["text"] if kind == "stream" and own else ""
                printed += answer["content"]["evalue"] if kind == "error" else ""
                if kind == "status" and own and answer["content"]["execution_state"] == "idle":
                    break
            return printed

        return asyncio.run(asyncio.wait_for(execute(), 240))

    def contents(self, of: str, path: str) -> list[str]:
        """Return the names in a folder of a user's server."""
        found = json.loads(self.get(f"/user/{of}/api/contents/{path}"))
        return sorted(entry["name"] for entry in found["content"])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("hub")
    configuration = re.search(r"```python title=\"jupyterhub_config.py\"\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert configuration is not None
    shared = folder / "shared"
    shared.mkdir()
    port, inner, api = free_port(), free_port(), free_port()
    local = LOCAL.format(
        port=port, hub=inner, api=api, proxy=PROXY, homes=str(folder / "homes"), python=sys.executable,
        path=os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]),
    )  # fmt: skip
    text = configuration[1].replace("/srv/amkd", str(shared)) + local
    (folder / "jupyterhub_config.py").write_text(text)
    for user in ("ada", "ben"):
        (folder / "homes" / user).mkdir(parents=True)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"], cwd=folder, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"{url}/hub/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield url, folder
    finally:
        process.terminate()
        process.wait(60)


def test_two_users_train_and_neither_reaches_the_others_runs(hub: tuple[str, Path]) -> None:
    url, folder = hub
    ada, ben = User(url, "ada"), User(url, "ben")
    ada.start()
    ben.start()
    for user in (ada, ben):
        printed = user.run(TRAIN.format(cache=str(folder / "homes" / user.name / "cache")))
        assert printed.startswith(str(folder / "homes" / user.name / "runs" / "mine")), printed
    assert "summary.json" in ada.contents("ada", "runs/mine")
    assert "summary.json" in ben.contents("ben", "runs/mine")
    for user, other in ((ada, "ben"), (ben, "ada")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            user.contents(other, "runs/mine")
        assert refused.value.code in (403, 404)
        with pytest.raises(urllib.error.HTTPError):  # nor by a path out of the own folder
            user.contents(user.name, urllib.parse.quote(f"../{other}/runs/mine", safe=""))
        with pytest.raises(urllib.error.HTTPError):
            user.get(f"/user/{other}/api/kernels")
    assert (
        json.loads((folder / "homes" / "ada" / "runs" / "mine" / "config.json").read_text())["recipe"]["method"] == "kd"
    )
