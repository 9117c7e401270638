"""Images that stay on disk: the same splits, order and student as from the folder, little memory, nothing lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recipes import POINTS, same
from test_data_folder import paint

from amkd_viz.core import files
from amkd_viz.core.errors import InputError
from amkd_viz.data import Loader, augment_for, listed, load
from amkd_viz.data.pack import Part, Rows, check_pack, pack, write_pack
from amkd_viz.runs import Run, distill

SMALL = POINTS.replace(
    teacher="cnn", student="cnn-tiny", method="bss", epochs=2, teacher_epochs=1, num_train=None, magsim_samples=4
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("images"), {"ant": 40, "bee": 25, "cat": 31}, (16, 16))


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pack") / "pack"
    assert list(pack(listed(f"folder:{folder}"), out, shard_mb=10 * 3 * 16 * 16 / 2**20))[-1] == (96, 96)
    return out


def test_a_pack_has_the_splits_statistics_and_order_of_its_folder(folder: Path, packed: Path) -> None:
    assert len(list(packed.glob("*.u8"))) == 10
    assert check_pack(packed) == 10
    for seed in (0, 3):
        one, two = load(f"folder:{folder}", seed=seed), load(f"pack:{packed}", seed=seed)
        assert (one.classes, one.shape, one.fingerprint) == (two.classes, two.shape, two.fingerprint)
        assert one.mean == pytest.approx(two.mean, abs=1e-12)
        assert one.std == pytest.approx(two.std, abs=1e-12)
        for part in ("train", "val", "test"):
            a, b = getattr(one, part), getattr(two, part)
            assert isinstance(b.x, Rows)
            assert a.y.equal(b.y)
            assert a.index.equal(b.index)
            assert a.x.equal(b.x[:])
            assert a.floats([3, 1, -1]).equal(b.floats([3, 1, -1]))
            assert a.floats().equal(b.floats())
    loaders = [Loader(data.train, 16, seed=5, augment=augment_for(data)) for data in (one, two)]
    for (x, y, at), (x2, y2, at2) in zip(*(loader.epoch(1) for loader in loaders), strict=True):
        assert x.equal(x2)
        assert y.equal(y2)
        assert at.equal(at2)


def test_a_student_of_a_pack_is_that_of_its_folder(folder: Path, packed: Path, tmp_path: Path) -> None:
    one, two = (
        distill(SMALL.replace(dataset=name, num_train=30), tmp_path / name[:4])
        for name in (f"folder:{folder}", f"pack:{packed}")
    )
    assert same(one.student(), two.student())
    assert two.dataset().fingerprint == Run.open(tmp_path / "fold").dataset().fingerprint


def test_a_stopped_pack_goes_on_and_a_full_disk_is_one_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: object
) -> None:
    out, written = tmp_path / "pack", []
    real = files._part

    def full(path: Path) -> object:
        if path.suffix == ".u8":
            written.append(path.name)
            if len(written) == 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path)

    monkeypatch.setattr(files, "_part", full)
    steps = pack(listed(f"folder:{folder}"), out, shard_mb=0.008)
    with pytest.raises(InputError, match=r"Cannot write .*train-00003\.u8: No space left on device; free some space"):
        list(steps)
    with pytest.raises(InputError, match="is not complete; the command that began it goes on with it"):
        load(f"pack:{out}")
    first = {file: file.stat().st_mtime_ns for file in out.glob("train-0000[012].*")}
    written.append("")
    list(pack(listed(f"folder:{folder}"), out, shard_mb=0.008))
    assert {file: file.stat().st_mtime_ns for file in first} == first
    assert written.count("train-00000.u8") == 1
    assert load(f"pack:{out}").fingerprint == load(f"folder:{folder}").fingerprint
    # other images under the same name, and a damaged shard
    other = paint(tmp_path / "other", {"ant": 9, "bee": 9}, (16, 16))
    with pytest.raises(InputError, match="holds a pack of other images and is never overwritten"):
        list(pack(listed(f"folder:{other}"), out))
    shard = out / "train-00001.u8"
    content = shard.read_bytes()
    shard.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    status, _, err = call("pack", f"pack:{out}")  # type: ignore[operator]
    assert (status, err.count("\n")) == (2, 1)
    assert "train-00001.u8 is damaged: its checksum differs" in err
    shard.write_bytes(content[1:])
    with pytest.raises(InputError, match=r"train-00001\.u8 is missing or has another size"):
        load(f"pack:{out}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("digits", "--out", "x"), "A pack is made of image files"),
        (("pack:nowhere",), "Pack not found: nowhere/pack.json; give pack:PATH of a folder that"),
        (("folder:nowhere",), "pack needs --out"),
    ],
)
def test_what_cannot_be_packed(words: tuple[str, ...], expected: str, call: object, tmp_path: Path) -> None:
    status, _, err = call("pack", *words)  # type: ignore[operator]
    assert (status, err.count("\n")) == (2, 1)
    assert expected in err


MEASURE = """
import resource, sys
import torch
from amkd_viz.data import Loader, load
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
torch.zeros(8, 8) @ torch.zeros(8, 8)
data, before, most = load(sys.argv[1]), resident(), 0
for x, y, at in Loader(data.train, 64, seed=1).epoch(0):
    most = max(most, resident())
print(most - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_an_epoch_keeps_under_a_quarter_of_the_set_in_memory(tmp_path: Path) -> None:
    def noise(start: int, stop: int) -> torch.Tensor:
        x = torch.randint(256, (stop - start, 3, 64, 64), generator=torch.Generator().manual_seed(start))
        return x.to(torch.uint8)

    y = torch.arange(8000) % 4
    list(write_pack(tmp_path / "pack", ("a", "b", "c", "d"), (3, 64, 64), {"train": Part(y, noise)}, shard_mb=8))
    words = [sys.executable, "-c", MEASURE, f"pack:{tmp_path / 'pack'}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8000 * 3 * 64 * 64 / 4
