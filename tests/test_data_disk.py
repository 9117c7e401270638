"""CIFAR, Tiny ImageNet and image folders: what is read, and each way the files can be wrong."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shared_data import SHARED
from torchvision.datasets import CIFAR10

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, data_fingerprint, find, listed, load, status
from amkd_viz.models import load_teacher

pytest_plugins = ["shared_data"]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """A data root with CIFAR-10's files at 20 images each, which torchvision is made to take for the official ones."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        batch = {"data": random.integers(256, size=(20, 3072), dtype=np.uint8), "labels": [*range(10)] * 2}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"thing {k}" for k in range(10)]}))
    for files in ("train_list", "test_list"):
        monkeypatch.setattr(CIFAR10, files, [[name, md5(folder / name)] for name, _ in getattr(CIFAR10, files)])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(folder / "batches.meta")})
    return tmp_path


def pack(root: Path) -> Path:
    """Turn the unpacked folder into the archive as it is downloaded."""
    with tarfile.open(root / CIFAR10.filename, "w:gz") as archive:
        archive.add(root / "cifar-10-batches-py", "cifar-10-batches-py")
    shutil.rmtree(root / "cifar-10-batches-py")
    return root / CIFAR10.filename


@pytest.fixture
def tiny(tmp_path):
    """A data root with Tiny ImageNet's layout: three classes of eleven images, two for the test each."""
    folder = tmp_path / "tiny-imagenet-200"
    wnids = ["n03", "n01", "n02"]
    (folder / "val" / "images").mkdir(parents=True)
    rows = []
    for k, wnid in enumerate(wnids):
        (folder / "train" / wnid / "images").mkdir(parents=True)
        for i in range(11):
            colour = Image.new("RGB", (64, 64), (80 * k, 10 * i, 0))
            (colour.convert("L") if i == 3 else colour).save(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG")
        for i in range(2):
            Image.new("RGB", (64, 64), (80 * k, 10 * i, 0)).save(folder / "val" / "images" / f"val_{2 * k + i}.JPEG")
            rows.append(f"val_{2 * k + i}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(rows))
    (folder / "wnids.txt").write_text("\n".join(wnids))
    (folder / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tbee\nn99\tnothing here\n")
    return tmp_path


def paint(folder: Path, counts: dict[str, int], size: tuple[int, int] = (20, 12)) -> Path:
    """Paint images for each class; the red channel counts the classes, the green one the images."""
    for k, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (k, i, 0)).save(folder / name / f"{i:02}.png")
    return folder


def spoil(path: Path, how: str) -> None:
    """Truncate a file, or alter it without changing its length."""
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    else:
        content[: len(content) // 2] = bytes(len(content) // 2)
    path.write_bytes(content)


damage = pytest.mark.parametrize("how", ["truncated", "altered"])


# CIFAR


def test_cifar_keeps_the_official_positions(small_cifar):
    dataset = load("cifar10", small_cifar, seed=3)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (90, 10, 20)
    assert dataset.classes == tuple(f"thing {k}" for k in range(10))
    official = CIFAR10(small_cifar)
    for split in (dataset.train, dataset.val):
        pixels = torch.from_numpy(official.data[split.index.numpy()]).permute(0, 3, 1, 2)
        assert torch.equal(split.x, pixels)
        assert split.x.is_contiguous()
    assert torch.equal(dataset.test.y, torch.arange(20) % 10)


@damage
@pytest.mark.parametrize("file", ["data_batch_2", "test_batch", "batches.meta"])
def test_damaged_cifar_names_the_file(small_cifar, file, how):
    spoil(small_cifar / "cifar-10-batches-py" / file, how)
    with pytest.raises(InputError, match=rf"{file} is truncated or altered"):
        load("cifar10", small_cifar)
    (small_cifar / "cifar-10-batches-py" / file).unlink()
    with pytest.raises(InputError, match=rf"{file} is missing"):
        load("cifar10", small_cifar)


def test_cifar_in_another_order_is_read_and_told(small_cifar):
    """As a copy that was made from images: the official form, other bytes."""
    official = load("cifar10", small_cifar)
    for file in (small_cifar / "cifar-10-batches-py").glob("*_batch*"):
        batch = pickle.loads(file.read_bytes())
        order = np.random.default_rng(1).permutation(20)
        batch = {b"data": batch["data"][order], b"labels": [batch["labels"][i] for i in order], b"filenames": []}
        file.write_bytes(pickle.dumps(batch, protocol=2))
    other = load("cifar10", small_cifar)
    assert other.classes == official.classes
    assert (
        "data_batch_1, data_batch_2, data_batch_3, data_batch_4, data_batch_5, test_batch of cifar10 are not"
        in other.notes[0]
    )
    assert sorted(x.sum().item() for x in other.test.x.long()) == sorted(x.sum().item() for x in official.test.x.long())
    assert not official.notes


def test_a_cifar_file_never_runs_code(small_cifar, capsys):
    class Opens:
        def __reduce__(self):
            return (print, ("code has run",))

    file = small_cifar / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(pickle.dumps({"data": Opens(), "labels": []}))
    with pytest.raises(InputError, match=r"test_batch is truncated or altered .* it asks for builtins.print") as caught:
        load("cifar10", small_cifar)
    assert "delete" not in str(caught.value)
    assert "code has run" not in capsys.readouterr().out


def test_a_cifar_archive_is_unpacked_without_a_network(small_cifar, monkeypatch):
    before = load("cifar10", small_cifar)
    archive = pack(small_cifar)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    assert torch.equal(load("cifar10", small_cifar).train.x, before.train.x)
    shutil.rmtree(small_cifar / "cifar-10-batches-py")
    for how in ("altered", "truncated"):
        spoil(archive, how)
        with pytest.raises(InputError, match=rf"{archive.name} is truncated or altered"):
            load("cifar10", small_cifar)


def test_missing_cifar_says_how_to_get_it(tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match=r"was not found \(looked for .*cifar-10-batches-py\).*--download.*AMKD_VIZ_DATA"
    ):
        load("cifar10", tmp_path)
    monkeypatch.setattr(CIFAR10, "url", (tmp_path / "no-such-file").as_uri())
    with pytest.raises(InputError, match="cifar10 could not be downloaded to"):
        load("cifar10", tmp_path, download=True)


def test_the_real_cifar10(cifar10_root):
    dataset = load("cifar10", cifar10_root)
    assert repr(dataset) == ("Dataset(cifar10: 10 classes, images (3, 32, 32), 45000 train, 5000 val, 10000 test)")
    assert torch.bincount(dataset.val.y).tolist() == [500] * 10
    assert dataset.classes[3] == "cat"
    assert dataset.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=2e-3)
    assert dataset.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=2e-3)
    assert dataset.test.y[:6].tolist() == [3, 8, 8, 0, 6, 6]


def test_the_real_cifar10_as_png_files_keeps_what_a_teacher_says(cifar10_root, tmp_path):
    """At 64 pixels, as folders were read once, a ResNet-26 of 92.55 % fell to 16 %."""
    weights = cifar10_root / "teachers" / "resnet26_cifar10.safetensors"
    weights = weights if weights.is_file() else SHARED / "teachers" / "resnet26_cifar10.safetensors"
    if not weights.is_file():
        pytest.skip("needs the shared ResNet-26")
    dataset = load("cifar10", cifar10_root)
    for split, count in (("train", 200), ("test", 300)):
        part = getattr(dataset, split)
        for at in range(count):
            label, k = dataset.classes[part.y[at]], int(part.index[at])
            (tmp_path / split / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.x[at].permute(1, 2, 0).numpy()).save(tmp_path / split / label / f"{k:05}.png")
    files = load(f"folder:{tmp_path}")
    assert files.classes == tuple(sorted(dataset.classes))  # the alphabet's order is CIFAR-10's
    teacher = load_teacher(weights, shortcut="pad-end")
    with torch.no_grad():
        there = teacher(dataset.test.floats(slice(0, 300)))
        here = teacher(files.test.floats())
    order = dataset.test.y[:300].argsort(stable=True)
    torch.testing.assert_close(here, there[order], rtol=1e-4, atol=1e-4)
    assert float((here.argmax(1) == files.test.y).float().mean()) > 0.88  # 92.55 % on all 10,000


# Tiny ImageNet


def test_tiny_imagenet_layout(tiny):
    dataset = load("tiny-imagenet", tiny)
    assert dataset.classes == ("n03", "goldfish", "bee")  # the order of wnids.txt; an unlisted word stays a wnid
    assert (dataset.shape, len(dataset.train), len(dataset.val), len(dataset.test)) == ((3, 64, 64), 30, 3, 6)
    assert dataset.test.y.tolist() == [0, 0, 1, 1, 2, 2]
    green = dataset.train.x[:, 1].float().mean((1, 2))
    grey = dataset.train.index % 11 == 3
    assert torch.allclose(green[~grey], 10.0 * (dataset.train.index % 11)[~grey], atol=3)  # 2.JPEG before 10.JPEG
    assert torch.equal(dataset.train.x[grey][:, 0], dataset.train.x[grey][:, 2])


def test_tiny_imagenet_at_another_size(tiny):
    """The same images and splits, resized as those of a folder; each size has its own fingerprint, and teachers."""
    full, small = load("tiny-imagenet", tiny), load("tiny-imagenet:size=32", tiny)
    assert small.shape == (3, 32, 32)
    assert torch.equal(small.train.index, full.train.index)
    mean = full.test.floats().unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
    torch.testing.assert_close(small.test.floats(), mean, atol=2 / 255, rtol=0)
    prints = {size: data_fingerprint(f"tiny-imagenet:size={size}", tiny) for size in (32, 64)}
    assert prints[32] == small.fingerprint != prints[64] == full.fingerprint
    assert listed("tiny-imagenet:size=32", tiny).train.size == 32  # what a pack is made of
    for size in (32.5, 4):
        with pytest.raises(InputError, match=f"size must be a whole number of 8 to 1024 pixels, got {size}"):
            load(f"tiny-imagenet:size={size}", tiny)


@pytest.mark.parametrize("images", ["", "images"])
@pytest.mark.parametrize("annotated", [True, False])
def test_a_rearranged_validation_folder_gives_the_same_data_set(tiny, images, annotated):
    official = load("tiny-imagenet", tiny)
    val = tiny / "tiny-imagenet-200" / "val"
    for line in (val / "val_annotations.txt").read_text().splitlines():
        file, wnid, *_ = line.split("\t")
        (val / wnid / images).mkdir(parents=True, exist_ok=True)
        (val / "images" / file).rename(val / wnid / images / file)
    (val / "images").rmdir()
    if not annotated:
        (val / "val_annotations.txt").unlink()
    again = load("tiny-imagenet", tiny)
    assert torch.equal(again.test.x, official.test.x)
    assert torch.equal(again.test.y, official.test.y)
    assert next(line for line in status(tiny) if line.name == "tiny-imagenet").found


def test_missing_tiny_imagenet_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"tiny-imagenet was not found \(looked for .*\); download the archive"):
        load("tiny-imagenet", tmp_path)
    with pytest.raises(InputError, match="automatic download is not supported"):
        load("tiny-imagenet", tmp_path, download=True)


@damage
@pytest.mark.parametrize("file", ["train/n01/images/n01_7.JPEG", "val/images/val_4.JPEG"])
def test_a_damaged_jpeg_is_named(tiny, file, how):
    spoil(tiny / "tiny-imagenet-200" / file, how)
    with pytest.raises(InputError, match=rf"{file} cannot be read as an image"):
        load("tiny-imagenet", tiny)


@pytest.mark.parametrize(
    ("part", "sentence", "empty"),
    [
        ("wnids.txt", r"wnids\.txt cannot be read", "at least 2 classes, got 0"),
        ("words.txt", r"words\.txt cannot be read", None),
        ("val/val_annotations.txt", r"val_annotations\.txt cannot be read", "names no"),
        ("val/images/val_1.JPEG", r"val_1\.JPEG cannot be read", None),
        ("train/n02", r"n02 holds no \.JPEG images", None),
    ],
)
def test_incomplete_tiny_imagenet_names_the_part(tiny, part, sentence, empty):
    path = tiny / "tiny-imagenet-200" / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=sentence):
        load("tiny-imagenet", tiny)
    if empty:
        path.write_text("")
        with pytest.raises(InputError, match=empty):
            load("tiny-imagenet", tiny)


def test_the_real_tiny_imagenet(tiny_root, tmp_path):
    """Two of its classes, so that the test stays quick; one image of the greyscale ones comes along."""
    source, part = tiny_root / "tiny-imagenet-200", tmp_path / "tiny-imagenet-200"
    wnids = (source / "wnids.txt").read_text().split()
    (part / "train").mkdir(parents=True)
    for wnid in wnids[:2]:
        (part / "train" / wnid).symlink_to(source / "train" / wnid)
    for name in ("val", "words.txt"):
        (part / name).symlink_to(source / name)
    (part / "wnids.txt").write_text("\n".join(wnids[:2]))
    dataset = load("tiny-imagenet", tmp_path)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (900, 100, 100)
    assert torch.bincount(dataset.test.y).tolist() == [50, 50]
    assert 0.15 < min(dataset.std) < max(dataset.std) < 0.35


# Image folders


def by_index(dataset: Dataset) -> dict[int, torch.Tensor]:
    """The images by their position in the folder."""
    parts = (dataset.train, dataset.val, dataset.test)
    return {int(i): x for part in parts for i, x in zip(part.index, part.x, strict=True)}


def test_folder_splits_by_class_and_keeps_the_test_split(tmp_path):
    folder = paint(tmp_path / "pets", {"cat": 20, "dog": 10})
    a, b = load(f"folder:{folder}", seed=0, size=8), load(f"folder:{folder}", seed=1, size=8)
    assert a.classes == ("cat", "dog")
    assert torch.bincount(a.test.y).tolist() == [4, 2]
    assert torch.bincount(a.val.y).tolist() == [2, 1]
    assert torch.equal(a.test.index, b.test.index)
    assert not torch.equal(a.val.index, b.val.index)
    every = torch.cat([a.train.index, a.val.index, a.test.index])
    assert torch.equal(every.sort().values, torch.arange(30))
    assert torch.equal(a.train.x[:, 1, 0, 0].long(), torch.where(a.train.y == 0, a.train.index, a.train.index - 20))


def test_folder_fits_the_short_side_then_cuts_the_centre(tmp_path):
    folder = paint(tmp_path, {"a": 3, "b": 3})
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, 10:20] = 200
    Image.fromarray(stripes).save(folder / "a" / "00.png")
    Image.fromarray(stripes[..., 0]).save(folder / "a" / "01.png")
    Image.new("RGBA", (5, 9), (9, 8, 7, 0)).save(folder / "a" / "02.png")
    pixels = by_index(load(f"folder:{folder}", size=10))
    assert (pixels[0] == 200).all()
    assert (pixels[1] == 200).all()
    assert (pixels[2] == 255).all()


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ({"train": 10, "test": 2}, (18, 2, 4)),
        ({"train": 10, "val": 2}, (18, 2, 4)),
        ({"train": 4, "val": 2, "test": 1}, (8, 4, 2)),
    ],
)
def test_folder_with_its_own_parts(tmp_path, parts, sizes):
    for part, count in parts.items():
        paint(tmp_path / part, {"cat": count, "dog": count})
    dataset = load(f"folder:{tmp_path}", size=8)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == sizes


def test_folder_that_cannot_be_used(tmp_path):
    def refused(folder: Path, **options: int) -> str:
        with pytest.raises(InputError) as caught:
            load(f"folder:{folder}", **options)
        return str(caught.value)

    assert "is not a folder" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "must have at least 2 class subfolders, got 0" in refused(tmp_path / "empty")
    assert "must have at least 2 class subfolders, got 1" in refused(paint(tmp_path / "one", {"cat": 5}))
    assert "Class 'dog'" in refused(paint(tmp_path / "single", {"cat": 5, "dog": 1}))
    assert "has 2 of the 3 samples" in refused(paint(tmp_path / "pair", {"cat": 5, "dog": 2}))
    assert "dog holds no images" in refused(paint(tmp_path / "hollow", {"cat": 5, "dog": 0}))
    assert "size must be a whole number of 8 to 1024 pixels, got 4" in refused(tmp_path / "pair", size=4)
    paint(tmp_path / "parts" / "train", {"cat": 5, "dog": 5})
    paint(tmp_path / "parts" / "test", {"cat": 5, "fox": 5})
    assert "fox must be a class of the training folder, cat, dog" in refused(tmp_path / "parts")
    paint(tmp_path / "thin" / "train", {"cat": 5, "dog": 1})
    paint(tmp_path / "thin" / "test", {"cat": 1, "dog": 1})
    assert "Class 'dog' must have at least 2 samples" in refused(tmp_path / "thin")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["train"], "has train/, but lacks test/ or val/; add it"),
        (["test"], "has test/, but lacks train/; add it"),
        (["test", "val"], "has val/ and test/, but lacks train/; add it"),
    ],
)
def test_folder_with_a_part_missing(tmp_path, parts, message):
    for part in parts:
        paint(tmp_path / part, {"cat": 5, "dog": 5})
    with pytest.raises(InputError, match=message):
        load(f"folder:{tmp_path}")
    paint(tmp_path / "boat", {"": 5})
    if "train" in parts:
        with pytest.raises(InputError, match=r"has train/ beside boat/, so its subfolders may be splits or classes"):
            load(f"folder:{tmp_path}", size=8)
    else:
        assert load(f"folder:{tmp_path}", size=8).classes == ("boat", *parts)  # then they are classes like any other


@pytest.mark.parametrize("name", ["folder:", "folder: "])
def test_folder_without_a_name_is_not_the_current_one(tmp_path, monkeypatch, name):
    monkeypatch.chdir(paint(tmp_path / "here", {"cat": 5, "dog": 5}))
    with pytest.raises(InputError, match=f"'{name}' must name a path: folder:PATH"):
        load(name)
    assert load("folder:.", size=8).num_classes == 2


@pytest.mark.parametrize("how", ["truncated", "altered", "16 bits"])
def test_folder_with_an_image_that_cannot_be_read(tmp_path, how):
    path = paint(tmp_path, {"cat": 4, "dog": 4}) / "dog" / ("scan.png" if how == "16 bits" else "photo.jpg")
    if how == "16 bits":
        Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(path)
    else:
        Image.effect_noise((40, 40), 50).save(path)
        spoil(path, how)
    with pytest.raises(InputError, match=r"scan\.png must have 8 bits|photo\.jpg cannot be read as an image"):
        load(f"folder:{tmp_path}")


# What doctor reads


def test_status_and_find_look_without_reading(tiny, monkeypatch):
    lines = {line.name: line for line in status(tiny)}
    assert lines["tiny-imagenet"].found
    assert lines["moons"].found
    assert not lines["cifar10"].found
    assert "cifar-10-batches-py" in lines["cifar10"].note
    monkeypatch.setenv("AMKD_VIZ_DATA", str(tiny))
    assert find("tiny-imagenet") == tiny / "tiny-imagenet-200"
    assert find("cifar10") is None
    assert find("moons") is None


def png(path: Path, width: int, height: int) -> None:
    """Write the start of a picture of any size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))))
    whole = (
        struct.pack(">I", len(own)) + name + own + struct.pack(">I", zlib.crc32(name + own)) for name, own in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(whole))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pictures_that_unpack_to_gigabytes_are_refused(tmp_path, monkeypatch):
    for k in range(2):
        (tmp_path / f"class{k}").mkdir()
        for i in range(3):
            Image.new("RGB", (9, 9)).save(tmp_path / f"class{k}" / f"{i}.png")
    for size, sentence in (
        ((9000, 9000), r"1\.png must have at most 67,108,864 pixels, got 9,000 x 9,000; make it smaller"),
        ((30_000, 30_000), r"1\.png cannot be read as an image \(Image size \(900000000 pixels\) exceeds limit"),
    ):
        png(tmp_path / "class1" / "1.png", *size)
        with pytest.raises(InputError, match=sentence):
            load(f"folder:{tmp_path},size=64")
    monkeypatch.setattr("amkd_viz.core.memory.free_memory", lambda: 10_000)
    with pytest.raises(
        InputError, match=r"6 images of 64 x 64 needs 7\.37e-05 GB, 1e-05 GB are free; choose a smaller"
    ):
        load(f"folder:{tmp_path}", size=64)
