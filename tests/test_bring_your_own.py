"""The page "Bring your own": every row of its tables and every block is run on inputs that fit it."""

from __future__ import annotations

import pickle
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from amkd_viz.models import build
from amkd_viz.panels import Panel
from amkd_viz.runs import Run

PAGE = (Path(__file__).parents[1] / "docs" / "pages" / "bring_your_own.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| `(amkd-viz .+?)` \|$", PAGE, re.MULTILINE)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
QUICK = "--teacher cnn-tiny --student cnn-tiny --epochs 1 --teacher-epochs 1 --batch-size 8 --teacher-batch-size 8"
QUICK += " --magsim-samples 0 --device cpu --out run"


def paint(folder: Path, count: int, size: tuple[int, int] = (24, 32), mode: str = "RGB", suffix: str = "") -> None:
    random = np.random.default_rng(count)
    for k, name in enumerate(("bird", "cat", "dog")):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8) // 3 + 80 * k)
            if mode == "mixed":  # as people have them
                image = image.convert(("RGB", "L", "RGBA", "P")[i % 4])
            kind = suffix or ("png" if mode != "mixed" or i % 4 > 1 else ("jpg", "webp")[i % 2])
            (image.convert("RGBA") if mode == "RGBA" else image).save(folder / name / f"{i}.{kind}")


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the rows name."""
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "pets", 8)
    paint(tmp_path / "photos", 5, (200, 300))
    paint(tmp_path / "logos", 5, mode="RGBA")
    paint(tmp_path / "split" / "train", 8)
    paint(tmp_path / "split" / "test", 3)
    shutil.make_archive("packed", "zip", tmp_path, "pets")
    (tmp_path / "rows").mkdir()
    for part in ("train", "test"):
        files = sorted((tmp_path / "split" / part).rglob("*.png"))
        cells = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
        labels = [("bird", "cat", "dog").index(file.parent.name) for file in files]
        pq.write_table(pa.table({"image": cells, "label": labels}), tmp_path / "rows" / f"{part}-0.parquet")
    tiny = tmp_path / "DATA" / "tiny-imagenet-200"
    paint(tiny / "train", 5, (64, 64), suffix="JPEG")
    paint(tiny / "val", 2, (64, 64), suffix="JPEG")
    (tiny / "wnids.txt").write_text("bird\ncat\ndog")
    (tiny / "words.txt").write_text("bird\ta bird")
    folder = tmp_path / "DATA" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    np.savez("arrays.npz", x=random.integers(256, size=(30, 24, 24, 3), dtype=np.uint8), y=np.arange(30) % 3)
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        batch = {"data": random.integers(256, size=(20, 3072), dtype=np.uint8), "labels": [*range(10)] * 2}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"thing {k}" for k in range(10)]}))
    for file, shortcut in (("resnet.pth", "conv"), ("plain.th", "pad-both")):
        state = build("resnet20", num_classes=10, shortcut=shortcut).state_dict()
        renamed = {n.removeprefix("body.").replace("head.", "fc."): t for n, t in state.items() if "normalise" not in n}
        torch.save({"state_dict": {f"module.{n}": t for n, t in renamed.items()}}, tmp_path / file)
    models = pytest.importorskip("torchvision.models")
    torch.save(models.get_model("squeezenet1_1", weights=None, num_classes=10).state_dict(), tmp_path / "other.pt")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    place = tmp_path / "torch" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    published = models.SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(models.squeezenet1_1(weights=None).state_dict(), place / published)
    (tmp_path / "names.txt").write_text("\n".join(f"thing {k}" for k in range(10)))
    return tmp_path


@pytest.mark.parametrize(("have", "words"), ROWS, ids=range(len(ROWS)))
def test_a_row_of_the_tables_works(inputs: Path, call: Any, have: str, words: str) -> None:
    command = shlex.split(words)[1:]
    quick = QUICK.replace("--teacher cnn-tiny ", "--finetune-epochs 1 ") if "pretrained" in words else QUICK
    more = shlex.split(quick) if command[0] == "distill" else ["--out", "mine.safetensors"]
    status, out, error = call(*command, *more)
    assert status == 0, error
    if command[0] == "distill":
        run = Run.open("run")
        size = next((side for name, side in {"photos": 96, "cifar": 32, "tiny": 64}.items() if name in words), 24)
        assert run.student().shape == (3, size, size)
        assert run.summary["test_accuracy"] >= 0
    else:
        assert Path("mine.safetensors").exists()
        assert "Took the weights under 'state_dict', without the prefix 'module.'" in out or "squeezenet" in words
        assert ("of the test split of cifar10" in out) == ("--dataset" in words)


def test_there_are_rows_for_images_and_for_teachers() -> None:
    assert [words.split()[1] for _, words in ROWS] == [
        *["distill"] * 9,
        *["import"] * 4,
        "distill",
        "import",
    ]


def test_a_folder_goes_to_a_report_onnx_and_a_panel(inputs: Path, call: Any) -> None:
    """Three classes of forty images of mixed kinds."""
    pytest.importorskip("onnx")
    for path in (inputs / "pets").rglob("*.png"):
        path.unlink()
    for name in ("bird", "cat", "dog"):
        (inputs / "pets" / name).rmdir()
    paint(inputs / "pets", 40, mode="mixed")
    (_, shell), (_, code) = BLOCKS
    for line in shell.splitlines():
        quick = shlex.split(QUICK.removesuffix(" --out run")) if " compare " in line else []
        status, _, error = call(*shlex.split(line)[1:], *quick)
        assert status == 0, error
    assert (inputs / "pets.html").stat().st_size > 100_000
    assert (inputs / "pets.onnx").stat().st_size > 1000
    space: dict[str, Any] = {}
    exec(code, space)
    panel = space["panel"]
    try:
        assert isinstance(panel, Panel)
        panel.wait()
        assert panel.status.kind != "error", panel.status.text
    finally:
        panel.close()
