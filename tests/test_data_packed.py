"""Images in one file: Parquet as the hubs hand it out, and archives of a folder."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from amkd_viz.core.errors import InputError
from amkd_viz.data import data_fingerprint, load, short_name, with_size

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 3), dtype=np.uint8)
Y = [k % 3 for k in range(30)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


CONTENTS = [png(pixels) for pixels in PIXELS]


def write(
    file: Path,
    rows: slice = slice(None),
    labels: Any = None,
    *,
    column: str = "label",
    image: str = "image",
    **about: Any,
) -> Path:
    """Write rows as the ``datasets`` library does: a struct of bytes and path, and its features in the metadata."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": content, "path": f"{k}.png"} for k, content in enumerate(CONTENTS)][rows]
    table = pa.table({image: cells, column: (Y if labels is None else labels)[rows], "extra": [0] * len(cells)})
    if about:
        features = {"info": {"features": {column: {"_type": "ClassLabel", **about}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, file)
    return file


def test_parquet_files_with_splits_and_class_names(tmp_path: Path) -> None:
    names = ["zebra", "ant", "cow"]  # their numbers are the order of the outputs, not the alphabet's
    for part, rows in (("train", slice(0, 12)), ("train", slice(12, 18)), ("validation", slice(18, 24))):
        write(tmp_path / "data" / f"{part}-0000{rows.start}-of-00003.parquet", rows, names=names)
    write(tmp_path / "data" / "test-00000-of-00001.parquet", slice(24, 30), names=names)
    dataset = load(f"parquet:{tmp_path / 'data'}")
    wanted = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2).copy())
    assert dataset.classes == tuple(names)
    for part, rows in (("train", slice(0, 18)), ("val", slice(18, 24)), ("test", slice(24, 30))):
        assert torch.equal(getattr(dataset, part).x, wanted[rows])
        assert getattr(dataset, part).y.tolist() == Y[rows]
    assert load(f"parquet:{tmp_path / 'data'}") is dataset
    assert data_fingerprint(f"parquet:{tmp_path / 'data'}") == dataset.fingerprint


@pytest.mark.parametrize(
    ("labels", "column", "image", "classes"),
    [
        (None, "label", "image", ("0", "1", "2")),
        (None, "fine_label", "img", ("0", "1", "2")),
        ([("b", "c", "a")[k] for k in Y], "label", "image", ("a", "b", "c")),
    ],
)
def test_one_parquet_file_is_split(tmp_path: Path, labels: Any, column: str, image: str, classes: Any) -> None:
    file = write(tmp_path / "all.parquet", labels=labels, column=column, image=image)
    dataset = load(f"parquet:{file},size=8")
    assert (dataset.classes, dataset.shape) == (classes, (3, 8, 8))
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (21, 3, 6)
    every = labels or [classes[k] for k in Y]
    for part in (dataset.train, dataset.val, dataset.test):
        assert [classes[k] for k in part.y.tolist()] == [every[i] for i in part.index.tolist()]
    assert (short_name(dataset.name), with_size(f"parquet:{file}")) == ("all", f"parquet:{file},size=12")


def test_other_parquet_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    def refused(name: str, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence) as caught:
            load(f"parquet:{tmp_path / name}")
        assert "\n" not in str(caught.value)

    refused("none", "is not a Parquet file and holds none")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and nothing more")
    refused("damaged.parquet", "cannot be read as a Parquet file")
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "text.parquet")
    refused("text.parquet", "must have columns image and label, got text, label")
    pq.write_table(pa.table({"image": [{"bytes": None, "path": "a.png"}], "label": [0]}), tmp_path / "path.parquet")
    refused("path.parquet", "Row 0 of .* must hold the bytes of an image file, got NoneType")
    pq.write_table(pa.table({"image": [b"no image"] * 9, "label": [0, 1, 2] * 3}), tmp_path / "odd.parquet")
    refused("odd.parquet", "Row [0-9] of .*odd.parquet cannot be read as an image")
    write(tmp_path / "half.parquet", labels=[k / 2 for k in Y])
    refused("half.parquet", "must be class names or whole numbers from 0, got 0.0")
    write(tmp_path / "gone.parquet", labels=[None if k == 1 else k for k in Y])
    refused("gone.parquet", "got None")
    write(tmp_path / "few.parquet", names=["one", "two"])
    refused("few.parquet", "must be below its 2 classes, got 2")
    write(tmp_path / "tests" / "test.parquet")
    refused("tests", "must hold rows for training, got test alone")
    write(tmp_path / "two" / "train-0.parquet", names=["a", "b", "c"])
    write(tmp_path / "two" / "train-1.parquet", names=["a", "c", "b"])
    refused("two", "must have the classes of the files before it, a, b, c")


@settings(max_examples=100, deadline=None)
@given(at=st.floats(0, 1), bits=st.integers(1, 255), cut=st.floats(0.2, 1))
def test_a_damaged_parquet_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: float, bits: int, cut: float
) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.parquet"
    content = bytearray(write(file, names=["a", "b", "c"]).read_bytes())
    content[int(at * (len(content) - 1))] ^= bits
    file.write_bytes(content[: int(cut * len(content))] if bits % 2 else content)
    try:
        dataset = load(f"parquet:{file}")
    except InputError as error:
        assert str(file) in str(error) or "image" in str(error)  # noqa: PT017
    else:
        assert dataset.train.x.dtype == torch.uint8


# Archives


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for content, k in zip(CONTENTS, Y, strict=True):
        place = tmp_path / "pets" / "abc"[k]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{CONTENTS.index(content):02}.png").write_bytes(content)
    return tmp_path / "pets"


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tgz"])
@pytest.mark.parametrize("inside", ["pets/", ""])
def test_an_archive_gives_the_data_set_of_its_folder(tmp_path: Path, folder: Path, suffix: str, inside: str) -> None:
    file = tmp_path / f"packed.{suffix}"
    files = sorted(path for path in folder.rglob("*.png"))
    if suffix == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            for path in files:
                archive.write(path, inside + str(path.relative_to(folder)))
            archive.writestr("__MACOSX/pets/a/._00.png", b"what macOS adds")
    else:
        with tarfile.open(file, "w:gz" if suffix.endswith("gz") else "w") as tar:
            tar.add(folder, inside or ".")
    one, other = load(f"folder:{folder}"), load(f"folder:{file}")
    assert one.fingerprint == other.fingerprint == data_fingerprint(f"folder:{file}")
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(one, part).x, getattr(other, part).x)
    assert (short_name(other.name), other.notes) == ("packed", ())
    before = sorted((tmp_path / "cache" / "unpacked").iterdir())
    load(f"folder:{file},size=9")
    assert sorted((tmp_path / "cache" / "unpacked").iterdir()) == before  # unpacked once


def test_archives_that_are_damaged_locked_or_reach_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK and nothing more")
    with pytest.raises(InputError, match=r"bad.zip cannot be unpacked \(.*\); unpack it yourself and give folder:PATH"):
        load(f"folder:{tmp_path / 'bad.zip'}")
    (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"bad\.tar\.gz cannot be unpacked"):
        load(f"folder:{tmp_path / 'bad.tar.gz'}")
    with tarfile.open(tmp_path / "out.tar", "w") as tar:
        member = tarfile.TarInfo("../../outside.png")
        member.size = len(CONTENTS[0])
        tar.addfile(member, io.BytesIO(CONTENTS[0]))
    with pytest.raises(InputError, match=r"out\.tar cannot be unpacked .*outside"):
        load(f"folder:{tmp_path / 'out.tar'}")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("../../outside.png", CONTENTS[0])
    with pytest.raises(InputError, match="must have at least 2 class subfolders"):
        load(f"folder:{tmp_path / 'out.zip'}")
    assert not list(tmp_path.glob("**/../outside.png"))
    assert not list((tmp_path / "cache").rglob(".part-*"))
    with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/zeros.png", bytes(10**6))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**5}))
    with pytest.raises(InputError, match=r"large.zip needs 0.001 GB unpacked, 0.0001 GB are free"):
        load(f"folder:{tmp_path / 'large.zip'}")
