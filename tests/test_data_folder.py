"""What people bring as folders of images is read right, or they are told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from recipes import POINTS

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, listed, load, moved, short_name, with_size
from amkd_viz.data import decoded as decoded_module
from amkd_viz.data.decode import decode
from amkd_viz.export import export
from amkd_viz.models import build, save_classifier, wrap
from amkd_viz.runs import Run, distill, prepare
from amkd_viz.runs.measures import measure
from amkd_viz.training import Recipe, logits_on
from amkd_viz.training.evaluation import class_accuracies
from amkd_viz.views.report import write_report

NETS = POINTS.replace(
    dataset="digits", teacher="cnn-tiny", student="cnn-tiny", epochs=1, teacher_epochs=1, num_train=None
)


def paint(folder: Path, classes: dict[str, int], size: tuple[int, int] = (12, 12), first: int = 0) -> Path:
    """Paint images that all differ."""
    random = np.random.default_rng([first, *map(ord, "".join(classes))])
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
                folder / name / f"{first + i}.png"
            )
    return folder


def sizes(dataset: Dataset) -> tuple[int, int, int]:
    return len(dataset.train), len(dataset.val), len(dataset.test)


# Size


@pytest.mark.parametrize(("side", "expected"), [(32, 32), (200, 64), (5, 8)])
def test_images_are_read_at_their_size_and_at_64_pixels_at_most(tmp_path: Path, side: int, expected: int) -> None:
    folder = paint(tmp_path, {"a": 4, "b": 4}, (side, side + 30))
    assert load(f"folder:{folder}").shape == (3, expected, expected)
    assert load(f"folder:{folder},size=16").shape == (3, 16, 16)
    assert with_size(f"folder:{folder}") == f"folder:{folder},size={expected}"


def test_images_that_were_not_resized_are_the_files_bytes(tmp_path: Path) -> None:
    """CIFAR as PNG files is CIFAR: at another size a teacher of it falls from 96 % to 16 %."""
    folder = paint(tmp_path, {"a": 4, "b": 4}, (32, 32))
    dataset = load(f"folder:{folder}")
    image = np.asarray(Image.open(folder / "a" / "0.png")).transpose(2, 0, 1)
    assert any(np.array_equal(image, x.numpy()) for part in (dataset.train, dataset.val, dataset.test) for x in part.x)


def test_names_with_options_are_taken_apart(tmp_path: Path) -> None:
    odd = paint(tmp_path / "a, b=c", {"a": 4, "b": 4})
    assert load(f"folder:{odd},background=0,size=8").shape == (3, 8, 8)
    assert short_name(f"folder:{odd},size=8") == "a, b=c"
    assert moved("folder:x,size=8", str.upper) == "folder:X,size=8"
    for words, sentence in {
        "size=big": "size of folder:.* must be a number, got 'big'",
        "size=4": "size must be a whole number of 8 to 1024 pixels, got 4",
        "size=32.5": "size must be a whole number of 8 to 1024 pixels, got 32.5",
        "background=256": "background must be a grey level, a whole number from 0 to 255, got 256",
    }.items():
        with pytest.raises(InputError, match=sentence):
            load(f"folder:{odd},{words}")
        with pytest.raises(InputError, match=sentence):
            listed(f"folder:{odd},{words}")  # for a pack


def test_a_run_of_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paint(tmp_path / "pets", {"a": 4, "b": 4}))
    assert short_name("folder:.") == "pets"


def test_a_teacher_from_a_file_decides_on_the_size(tmp_path: Path) -> None:
    folder = paint(tmp_path / "pets", {"a": 4, "b": 4}, (40, 40))
    file = save_classifier(build("resnet8", num_classes=2, shape=(3, 24, 24)), tmp_path / "t.safetensors")
    recipe = Recipe(dataset=f"folder:{folder}", teacher=str(file), student="cnn-tiny")
    assert recipe.source == f"folder:{folder},size=24"
    training = prepare(recipe)
    assert training.student.shape == (3, 24, 24)
    assert any("Images are read at 24 x 24 pixels" in note for note in training.notes)
    smaller = prepare(recipe.replace(dataset=f"folder:{folder},size=16"))
    assert "The teacher takes images of 24 x 24 pixels and resizes those of" in " ".join(smaller.notes)
    assert smaller.student.shape == (3, 16, 16)


def test_a_net_resizes_images_of_another_size_by_itself_and_passes_the_gradient() -> None:
    net, x = build("resnet8", num_classes=3, shape=(3, 16, 16)).eval(), torch.rand(2, 3, 32, 32, requires_grad=True)
    small = torch.nn.functional.interpolate(x, (16, 16), mode="bilinear", antialias=True)
    assert torch.allclose(net(x), net(small), atol=1e-5)
    assert torch.allclose(net.outputs(x).features, net.outputs(small).features, atol=1e-5)
    (gradient,) = torch.autograd.grad(net(x).sum(), x)
    assert gradient.abs().sum() > 0
    assert torch.equal(net(small), net.normalised(net.normalise(small)))


def test_a_net_of_one_size_alone_takes_all(tmp_path: Path) -> None:
    """A linear layer on pixels, as a vision transformer's positions, takes one size only."""
    strict = wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2)), shape=(3, 8, 8))
    assert strict(torch.rand(2, 3, 20, 20)).shape == (2, 2)


def test_a_run_keeps_its_size_and_one_of_an_earlier_version_is_read_at_64(tmp_path: Path) -> None:
    folder = paint(tmp_path / "pets", {"a": 6, "b": 6}, (20, 20))
    run = distill(NETS.replace(dataset=f"folder:{folder}", batch_size=4, teacher_batch_size=4), tmp_path / "run")
    paint(folder, {"a": 20, "b": 20}, (50, 50), first=100)  # the default is another one by now
    assert Run.open(run.path).located().dataset == f"folder:{folder},size=20"
    assert run.student().shape == (3, 20, 20)
    old = run.config | {"source": ""}
    del old["source"]
    assert Run(run.path, old).located().dataset == f"folder:{folder},size=64"


# Splits


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "valid"), (18, 2, 8)),
        (("Training", "Testing"), (18, 2, 8)),
        (("TRAIN", "dev", "test"), (20, 8, 6)),
        (("training", "eval", "testing"), (20, 8, 6)),
        (("train", "validation", "Test"), (20, 8, 6)),
    ],
)
def test_the_usual_names_of_splits_are_known(tmp_path: Path, names: tuple[str, ...], expected: tuple[int, ...]) -> None:
    for count, name in zip((10, 4, 3), names, strict=False):
        paint(tmp_path / name, {"cat": count, "dog": count}, first=100 * count)
    dataset = load(f"folder:{tmp_path}")
    assert dataset.classes == ("cat", "dog")
    assert sizes(dataset) == expected
    assert not dataset.notes


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "valid"):
        paint(tmp_path / name, {"cat": 4, "dog": 4})
    with pytest.raises(InputError, match=r"has val/ and valid/, which both name the val split; keep one"):
        load(f"folder:{tmp_path}")


def test_a_class_may_have_the_name_of_a_split(tmp_path: Path) -> None:
    assert load(f"folder:{paint(tmp_path, {'plane': 4, 'train': 4})}").classes == ("plane", "train")


def test_splits_without_classes_are_refused(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        paint(tmp_path, {name: 4})
    with pytest.raises(InputError, match=r"has train/ and valid/ without classes in them; put the images of each in"):
        load(f"folder:{tmp_path}")


def test_a_folder_around_the_classes_and_an_unknown_option_are_named(tmp_path: Path) -> None:
    paint(tmp_path / "images", {"cat": 4, "dog": 4})
    with pytest.raises(InputError, match=r"at least 2 class subfolders, got 1; .*images has 2: give that folder"):
        load(f"folder:{tmp_path}")
    with pytest.raises(InputError, match=r"option of folder:PATH 'side'"):
        load(f"folder:{tmp_path / 'images'},side=32")


# What counts as an image


def test_folders_of_tools_are_skipped(tmp_path: Path) -> None:
    folder = paint(tmp_path, {"cat": 5, "dog": 5})
    for tool in (".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX", ".Trash-1000"):
        (folder / "cat" / tool).mkdir()
        (folder / "cat" / tool / "copy.png").write_bytes((folder / "cat" / "0.png").read_bytes())
        paint(folder / tool / "deep", {"x": 1})
    dataset = load(f"folder:{folder}")
    assert dataset.classes == ("cat", "dog")
    assert sum(sizes(dataset)) == 10
    assert not dataset.notes


def test_images_in_two_splits_are_told(tmp_path: Path) -> None:
    paint(tmp_path / "train", {"cat": 10, "dog": 10})
    paint(tmp_path / "test", {"cat": 3, "dog": 3}, first=50)
    (tmp_path / "test" / "dog" / "again.png").write_bytes((tmp_path / "train" / "dog" / "3.png").read_bytes())
    dataset = load(f"folder:{tmp_path}")
    assert dataset.notes == ("1 of 7 test images are also in the training or validation split.",)
    recipe = NETS.replace(dataset=f"folder:{tmp_path}", batch_size=4, teacher_batch_size=4)
    assert dataset.notes[0] in prepare(recipe).notes


@pytest.mark.parametrize("suffix", ["jfif", "pgm", "avif", "jpe", "pnm"])
def test_other_suffixes_of_images_are_read(tmp_path: Path, suffix: str) -> None:
    folder, kinds = paint(tmp_path, {"cat": 5, "dog": 5}), {"jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF"}
    try:
        Image.new("L", (12, 12), 99).save(folder / "cat" / f"more.{suffix}", kinds.get(suffix, "PPM"))
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {suffix}")
    assert sum(sizes(load(f"folder:{folder}"))) == 11


def test_files_that_are_left_out_are_counted_and_links_are_followed(tmp_path: Path) -> None:
    folder = paint(tmp_path / "pets", {"cat": 5, "dog": 5})
    elsewhere = paint(tmp_path / "elsewhere", {"bird": 5})
    (folder / "bird").symlink_to(elsewhere / "bird")
    (folder / "cat" / "more").symlink_to(paint(tmp_path / "third", {"cats": 3}, first=9) / "cats")
    (folder / "cat" / "round").symlink_to(folder / "cat")
    for name in ("a.txt", "b.txt", "c.heic", "README"):
        (folder / "dog" / name).write_text("no image")
    dataset = load(f"folder:{folder}")
    assert dataset.classes == ("bird", "cat", "dog")
    assert sum(sizes(dataset)) == 18
    assert dataset.notes == ("Left out, not read as images: 1 .heic, 2 .txt, 1 without a suffix.",)


# Transparency, and images that are alike


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_black_ink_on_a_transparent_ground_is_not_all_black(tmp_path: Path, mode: str) -> None:
    folder = paint(tmp_path, {"ink": 3, "other": 4})
    alpha = np.zeros((12, 12), np.uint8)
    alpha[3:6, 3:6] = 255
    ink = Image.fromarray(np.dstack([np.zeros((12, 12, 3), np.uint8), alpha]), "RGBA")
    if mode == "P":  # an entry of the palette is transparent
        ink = Image.fromarray(np.where(alpha > 0, 0, 1).astype(np.uint8), "P")
        ink.putpalette([0, 0, 0, 0, 0, 0])
        ink.info["transparency"] = 1
    ink = ink if mode == "P" else ink.convert(mode)
    ink.save(folder / "ink" / "ink.png")
    for background in (255, 0, 90):
        dataset = load(f"folder:{folder},background={background}")
        every = torch.cat([dataset.train.x, dataset.val.x, dataset.test.x])
        wanted = torch.where(torch.from_numpy(alpha) > 0, 0, background).to(torch.uint8).expand(3, -1, -1)
        assert any(torch.equal(x, wanted) for x in every), background


def test_images_that_are_all_alike_and_classes_that_are_equal_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "flat" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGBA", (9, 9), (0, 0, i, 0)).save(tmp_path / "flat" / name / f"{i}.png")
    assert load(f"folder:{tmp_path / 'flat'}").notes[0].startswith("All images are alike as they are read")
    folder = paint(tmp_path / "twice", {"a": 5, "c": 5})
    (folder / "b").symlink_to(folder / "a")
    assert "The classes 'a' and 'b' hold the same images." in load(f"folder:{folder}").notes


# Large photos


def test_a_large_photo_is_decoded_at_a_reduced_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import JpegImagePlugin

    folder = paint(tmp_path, {"a": 3, "b": 4})
    slope = np.linspace(0, 255, 2400).astype(np.uint8)
    Image.fromarray(np.broadcast_to(slope[None, :, None], (1600, 2400, 3)).copy()).save(folder / "a" / "photo.jpg")
    decoded: list[tuple[int, int]] = []
    real = JpegImagePlugin.JpegImageFile.load

    def load_and_note(self: Image.Image) -> object:
        decoded.append(self.size)
        return real(self)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", load_and_note)
    dataset = load(f"folder:{folder},size=32")
    assert decoded
    assert max(map(max, decoded)) <= 2400 // 8 * 2
    every = torch.cat([dataset.train.x, dataset.val.x, dataset.test.x]).float()
    wanted = torch.linspace(255 / 6, 255 * 5 / 6, 32).expand(3, 32, 32)  # the centre of a 3 : 2 image
    assert min(float((x - wanted).abs().max()) for x in every) < 6


# Classes that differ in size


def test_what_took_long_to_decode_is_kept_and_what_changed_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "decoded"
    folder = paint(tmp_path / "pets", {"cat": 6, "dog": 6})
    calls: list[int] = []
    monkeypatch.setattr(
        decoded_module, "decode", lambda paths, *more: (calls.append(len(paths)), decode(paths, *more))[1]
    )

    def pixels() -> torch.Tensor:
        dataset = load(f"folder:{folder}")
        return torch.cat([dataset.train.x, dataset.val.x, dataset.test.x])

    first = pixels()
    assert not kept.exists()  # that was quick
    monkeypatch.setattr(decoded_module, "SLOW", -1.0)
    assert torch.equal(pixels(), first)
    assert (sum(calls), len(list(kept.iterdir()))) == (24, 3)  # three splits
    assert torch.equal(pixels(), first)
    assert sum(calls) == 24
    for file in kept.iterdir():
        file.write_bytes(file.read_bytes()[:100])  # damaged
    assert torch.equal(pixels(), first)
    assert sum(calls) == 36
    Image.new("RGB", (12, 12), (1, 2, 3)).save(folder / "cat" / "0.png")
    assert not torch.equal(pixels(), first)
    monkeypatch.setattr(decoded_module, "TOTAL", 0)
    load(f"folder:{folder},size=9")
    assert not list(kept.iterdir())


def test_class_accuracies_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = torch.Generator().manual_seed(0)
    logits, y = torch.randn(200, 4, generator=random), torch.randint(0, 3, (200,), generator=random)
    found = class_accuracies(logits, y)
    assert found[:3] == pytest.approx(metrics.recall_score(y, logits.argmax(1), labels=[0, 1, 2], average=None))
    assert np.isnan(found[3])


def test_a_small_class_that_is_never_predicted_shows(tmp_path: Path) -> None:
    """Sixty against six: the accuracy of predicting the large class alone is 92 %, the balanced one 50 %."""
    folder = paint(tmp_path / "pets", {"many": 60, "few": 6}, (16, 16))
    recipe = NETS.replace(
        dataset=f"folder:{folder}", batch_size=8, teacher_batch_size=8, method="ce", learning_rate=1e-6
    )
    run = distill(recipe, tmp_path / "run")
    predicted = logits_on(run.student(), run.dataset().test).argmax(1)
    each = [float((predicted == k)[run.dataset().test.y == k].float().mean()) for k in range(2)]
    assert run.summary["test_class_accuracies"] == pytest.approx(each)
    assert run.summary["test_balanced_accuracy"] == pytest.approx(sum(each) / 2)
    notes = " ".join(line["text"] for line in run.lines() if line["kind"] == "note")
    assert "The classes have 4 (few) to 43 (many) training samples: a high accuracy may hide" in notes
    found = measure(run)
    assert found["balanced_accuracy"] == pytest.approx(sum(each) / 2)
    assert found["worst_class"] == pytest.approx(min(each))
    page = write_report([run], tmp_path / "report.html").read_text()
    assert "Accuracy by class" in page
    assert "<td>few</td><td>4</td><td>1</td>" in page


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_class_name_that_is_not_utf_8_is_trained_cached_and_exported(tmp_path: Path) -> None:
    folder = paint(tmp_path / "pets", {"cat": 6, "dog": 6})
    for odd in (b"x\xe9", b"x\xe8"):
        os.rename(paint(tmp_path / "new", {"x": 6}) / "x", os.fsencode(folder) + b"/" + odd)
    recipe = NETS.replace(dataset=f"folder:{folder}", batch_size=4, teacher_batch_size=4)
    run = Run.open(distill(recipe, tmp_path / "run").path)
    assert run.dataset().classes == ("cat", "dog", "x\ufffd (2)", "x\ufffd (3)")
    assert run.teacher().num_classes == 4
    assert export(run, tmp_path / "s.pt2", "torch-export").difference < 1e-4


# Damage


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """One image of each kind, as bytes."""
    path, found = tmp_path_factory.mktemp("kinds") / "image", []
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (14, 17, 4), dtype=np.uint8), "RGBA")
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"):
        (image.convert("RGB") if kind in ("JPEG", "PPM") else image).save(path, kind)
        found.append(path.read_bytes())
    return found


@settings(max_examples=10_000 if os.environ.get("AMKD_VIZ_FUZZ") else 150)
@given(
    st.integers(0, 6),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["byte", "cut", "repeat"]), st.integers(0, 255)), max_size=8),
)
def test_a_damaged_image_is_read_or_refused(
    originals: list[bytes], tmp_path_factory: pytest.TempPathFactory, which: int, changes: list[tuple[float, str, int]]
) -> None:
    content = bytearray(originals[which])
    for share, how, value in changes:
        place = int(share * (len(content) - 1))
        if how == "byte":
            content[place] = value
        elif how == "cut" and len(content) > 300:
            del content[place : place + value]
        else:
            content[place:place] = content[place : place + value]
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(content)
    try:
        pixels = decode([path], 8)
    except InputError:
        with pytest.raises(InputError, match=r"damaged\.png"):
            decode([path], 8)
    else:
        assert pixels.shape == (1, 3, 8, 8)
