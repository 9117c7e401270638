"""An exported student answers like the one in torch, carries a card, and overwrites nothing."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recipes import POINTS

import amkd_viz.export as export_module
from amkd_viz.cli import main
from amkd_viz.core.errors import InputError
from amkd_viz.export import CHECKED, TOLERANCE, export
from amkd_viz.runs import Run, distill

ROOT = Path(__file__).parents[1]
# resnet8 has batch norms, strides and a padded shortcut
SMALL = POINTS.replace(
    dataset="digits", teacher="cnn-tiny", student="resnet8", epochs=1, num_train=40, magsim_samples=0
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return distill(SMALL, tmp_path_factory.mktemp("export") / "run")


def test_onnx_answers_like_the_student_for_any_number_of_images(finished, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = export(finished, tmp_path / "net.onnx")
    assert done.path == tmp_path / "net.onnx"
    assert re.search(
        r"ONNX opset \d+, IR version \d+: (ONNX Runtime [\d.]+ or newer reads|it needs a recent)", done.card.read_text()
    )
    assert done.checked == CHECKED == 256
    assert done.difference < TOLERANCE == 1e-4
    session = runtime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    (given,), (asked,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, asked.name, asked.shape) == (
        *("images", ["batch", 1, 8, 8]),
        *("logits", ["batch", 10]),
    )
    images = finished.dataset().test.floats()  # in [0, 1]: the normalisation is inside
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    with torch.no_grad():
        logits = finished.student()(images).numpy()
    assert logits.std() > 0.01
    for n in (1, 3, len(images)):
        assert np.abs(session.run(None, {"images": images[:n].numpy()})[0] - logits[:n]).max() < 1e-4
    assert str(ROOT).encode() not in done.path.read_bytes()  # no folders of the machine that made it


def test_torch_export_answers_like_the_student_and_holds_no_test_image(finished, tmp_path):
    done = export(finished, tmp_path / "deep" / "net.pt2", "torch-export")
    assert done.difference < 1e-4
    net = torch.export.load(done.path).module()
    images = finished.dataset().test.floats()
    assert torch.allclose(net(images), finished.student()(images), atol=1e-4)
    assert net(images[:1]).shape == (1, 10)
    content = done.path.read_bytes()
    assert str(ROOT).encode() not in content
    assert images[0].numpy().tobytes() not in content


def test_the_card_says_what_it_is_and_its_code_runs(finished, tmp_path):
    done = export(finished, tmp_path / "net.pt2", "torch-export")
    card = done.card.read_text()
    assert done.card == tmp_path / "net.pt2.md"
    summary = finished.summary
    for message in (
        "# resnet8, distilled on digits by amkd",
        f"| accuracy | {summary['test_accuracy']:.2%} |",
        f"| accuracy of the teacher | {summary['teacher_test_accuracy']:.2%} |",
        f"| agreement with the teacher | {summary['test_agreement']:.2%} |",
        "40 training",
        f"`{SMALL.objective}`",
        "Teacher: `cnn-tiny`",
        f"torch {torch.__version__}",
        "Trained on only 40 labelled images",
        "our reading of a public abstract",
        "Adversarial samples",
    ):
        assert message in card, message
    (code,) = re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)
    assert len(code.splitlines()) <= 5
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"tensor\(\[\d(, \d){3}\]\)", done.stdout.strip())


def test_nothing_is_overwritten(finished, tmp_path):
    for taken in ("net.pt2", "net.pt2.md"):
        folder = tmp_path / f"with-{taken}"
        folder.mkdir()
        (folder / taken).write_text("mine")
        with pytest.raises(InputError, match=rf"{taken} holds a file and is never overwritten"):
            export(finished, folder / "net.pt2", "torch-export")
        assert [(p.name, p.read_text()) for p in folder.iterdir()] == [(taken, "mine")]


def test_a_file_that_answers_otherwise_is_not_written(finished, tmp_path, monkeypatch):
    def off(student, example):
        return b"net", lambda x: student(x) + 2e-4

    monkeypatch.setattr(export_module, "_torch_export", off)
    with pytest.raises(InputError, match=r"got a difference of 0\.0002; .*; try onnx\."):
        export(finished, tmp_path / "net.pt2", "torch-export")
    monkeypatch.setattr(
        export_module, "_torch_export", lambda *_: (b"net", lambda x: torch.full((len(x), 10), torch.nan))
    )
    with pytest.raises(InputError, match="got a difference of nan"):
        export(finished, tmp_path / "net.pt2", "torch-export")
    assert list(tmp_path.iterdir()) == []


def test_no_net_without_its_card(finished, tmp_path, monkeypatch):
    def full(path, content):
        if path.suffix == ".md":
            raise InputError("Cannot write: the disk is full.")
        path.write_bytes(content)

    monkeypatch.setattr(export_module, "write_atomic", full)
    with pytest.raises(InputError, match="disk is full"):
        export(finished, tmp_path / "net.pt2", "torch-export")
    assert list(tmp_path.iterdir()) == []


def test_refusals(finished, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="Unknown export format 'tflite'"):
        export(finished, tmp_path / "x", "tflite")
    unfinished = Run.create(tmp_path / "run", SMALL)
    with pytest.raises(InputError, match="is not finished"):
        export(unfinished, tmp_path / "x", "torch-export")
    real = importlib.util.find_spec
    monkeypatch.setattr(export_module, "find_spec", lambda name: None if "script" in name else real(name))
    with pytest.raises(InputError, match=r"needs onnxscript; install with 'pip install onnxscript'\."):
        export(finished, tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_on_the_command_line(finished, tmp_path, capsys):
    assert main(["export", str(finished.path), "--torch-export"]) == 0
    assert (finished.path / "student.pt2").is_file()
    assert (finished.path / "student.pt2.md").is_file()
    assert "Largest logit difference from torch on 256 inputs: " in capsys.readouterr().out
    assert main(["export", str(finished.path), "--torch-export"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert Run.open(finished.path).finished  # the run is as it was
