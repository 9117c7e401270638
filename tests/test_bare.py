"""A machine that lacks packages: each command and each data set names the one it needs, in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONAL = ("PIL", "anywidget", "ipywidgets", "plotly", "safetensors", "sklearn", "torchvision", "tqdm", "umap")
SCRIPT = """
import contextlib, io, json, sys
for name in OPTIONAL:
    sys.modules[name] = None
sys.path.insert(0, ROOT)

def call(*words):
    from amkd_viz.cli import main
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    said.append((status, err.getvalue(), out.getvalue()))

said, tiny = [], ("--dataset", "moons:n=40", "--teacher", "mlp-tiny", "--student", "mlp-tiny", "--method", "ce")
tiny += ("--epochs", "1", "--teacher-epochs", "1", "--magsim-samples", "0", "--device", "cpu")
call("doctor")
call("distill", *tiny)
del sys.modules["tqdm"]
call("distill", *tiny)
del sys.modules["safetensors"]
call("distill", *tiny, "--out", "run")
call("distill", "--dataset", "digits")
call("distill", "--dataset", "cifar100", "--student", "resnet8", "--teacher", "resnet8")
call("distill", "--dataset", "folder:images")
call("distill", *tiny, "--teacher", "torchvision:resnet18")
call("report", "run")
call("compare", "--dataset", "moons:n=40", "--student", "mlp", "--teacher", "mlp", "--out", "both")
from benchmarks import plain
from amkd_viz.core.errors import InputError
from amkd_viz.data import load
for name in ("cifar10", "cifar100"):
    for download in (False, True):
        try:
            load(name, root="nowhere", download=download)
        except InputError as error:
            said.append((2, f"{error}\\n", ""))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Return status, stderr and stdout of each command, run where only torch and numpy are installed."""
    folder = tmp_path_factory.mktemp("bare")
    for k in range(2):
        (folder / "images" / f"class{k}").mkdir(parents=True)
        for i in range(4):
            (folder / "images" / f"class{k}" / f"{i}.png").write_bytes(b"")
    script = SCRIPT.replace("OPTIONAL", repr(OPTIONAL)).replace("ROOT", repr(str(ROOT)))
    places = {"AMKD_VIZ_CACHE": str(folder / "cache"), "AMKD_VIZ_DATA": str(folder / "none")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=os.environ | places, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_machine_with_torch_and_numpy_alone(said):
    (status, err, out), *others = said
    assert (status, err) == (0, "")  # doctor says what is missing, whatever is missing
    assert "digits" in out
    words = (
        "distill: This command needs tqdm (import of tqdm halted; None in sys.modules); install it with 'pip install ",
        "distill: Reading and writing nets needs safetensors (",
        "",
        "distill: The data set 'digits' needs scikit-learn (",
        "distill: The data set 'cifar100' needs torchvision (",
        "distill: Reading image files needs pillow (",
        "distill: Model 'torchvision:resnet18' needs torchvision (",
        "report: This command needs plotly (",
        "compare: This command needs plotly (",
        "cifar10 was not found (looked for nowhere/cifar-10-batches-py); fetch it with",
        "cifar10 could not be downloaded to nowhere (",
        "cifar100 was not found (looked for nowhere/cifar-100-python); fetch it with",
        "cifar100 could not be downloaded to nowhere (",
    )
    for (status, err, _), sentence in zip(others, words, strict=True):
        assert sentence in err, (status, err)
        if sentence:
            assert (status, err.count("\n")) == (2, 1), err
        else:
            assert status == 0, err
