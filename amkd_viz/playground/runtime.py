"""ONNX Runtime for the browser: one pinned version of npm's ``onnxruntime-web``, kept in the user's cache."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable, write_atomic
from amkd_viz.data.where import cache_folder

__all__ = ["Runtime", "runtime"]

NAME, VERSION = "onnxruntime-web", "1.30.0"
# of the package, as npm lists it (sha512), and of the two files that the page needs (sha256)
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
SECONDS = 300


class Runtime(NamedTuple):
    """The two files of the runtime: a JavaScript module and its WebAssembly."""

    module: bytes
    wasm: bytes


def runtime() -> Runtime:
    """Return the runtime from the cache; fetch it with npm the first time (33 MB).

    Raises:
        InputError: it is not in the cache, and npm is missing, does not reach its registry, or gives other content.
    """
    folder = cache_folder() / f"{NAME}-{VERSION}"
    if not all(_right(folder, name) for name in FILES):
        _fetch(folder)
    return Runtime(*((folder / name).read_bytes() for name in FILES))


def _right(folder: Path, name: str) -> bool:
    path = folder / name
    with readable(path):
        return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == FILES[name]


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            f"The playground needs {NAME} {VERSION} from npm, which is not installed here; install Node.js, or copy "
            f"{' and '.join(FILES)} of that version to {folder}."
        )
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", f"{NAME}@{VERSION}", "--silent", "--ignore-scripts"]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, "CI": "1"}
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(f"npm did not fetch {NAME} {VERSION} within {SECONDS} s; check the network.") from error
        packed = sorted(Path(scratch).glob("*.tgz"))
        if done.returncode or not packed:
            why = next((line for line in done.stderr.splitlines() if line.strip()), f"exit status {done.returncode}")
            raise InputError(f"npm could not fetch {NAME} {VERSION} ({why}); check the network and npm's registry.")
        digest = base64.b64encode(hashlib.sha512(packed[0].read_bytes()).digest()).decode()
        if digest != INTEGRITY:
            raise InputError(
                f"npm gave another {NAME} {VERSION} than the pinned one (sha512 {digest}); it was not used."
            )
        with tarfile.open(packed[0]) as archive:
            for name in FILES:
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None
                write_atomic(folder / name, member.read())
