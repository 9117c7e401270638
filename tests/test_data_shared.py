"""Data that is in use is read once and held once, and given back after its last user; a fingerprint reads nothing."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")

from PIL import Image

from amkd_viz import Recipe, load
from amkd_viz.data import data_fingerprint
from amkd_viz.data import decoded as decoded_module
from amkd_viz.runs import Race, distill, prepare
from tests.recipes import POINTS

COUNT = 2 * 12  # images of the folder


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(COUNT // 2):
            pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i:02}.png")
    return f"folder:{tmp_path / 'pets'}"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The image files that were decoded, in order."""
    files: list[Path] = []
    true = decoded_module.decode

    def decode(paths, *numbers):
        files.extend(paths)
        return true(paths, *numbers)

    monkeypatch.setattr(decoded_module, "decode", decode)
    return files


def recipe(dataset: str) -> Recipe:
    few = {"epochs": 1, "teacher_epochs": 1, "num_train": 12, "batch_size": 6, "magsim_samples": 0, "device": "cpu"}
    return Recipe(dataset=dataset, teacher="resnet8", student="resnet8", method="bss", teacher_batch_size=6, **few)


def test_data_in_use_is_the_same_data_and_is_freed_after_its_last_user(pets: str, decoded: list[Path]) -> None:
    first = load(pets, size=16)
    assert load(pets, size=16) is first
    assert len(decoded) == COUNT == len(set(decoded))
    gone = weakref.ref(first.train.x)
    del first
    gc.collect()
    assert gone() is None
    load(pets, size=16)
    assert len(decoded) == 2 * COUNT


def test_seed_size_and_files_tell_data_apart(pets: str, decoded: list[Path]) -> None:
    every = [load(pets, size=16), load(pets, size=16, seed=1), load(pets, size=8)]
    path = Path(pets.removeprefix("folder:")) / "cat" / "00.png"
    Image.new("RGB", (16, 16), "red").save(path)
    every.append(load(pets, size=16))
    assert len(decoded) == 4 * COUNT
    assert len({id(data) for data in every}) == 4
    assert len({data.fingerprint for data in every}) == 4


def test_a_relative_name_shares_the_pixels_and_keeps_its_name(pets: str, decoded: list[Path]) -> None:
    there, here = load(pets), load("folder:pets")
    assert (there.name, here.name) == (pets, "folder:pets")
    assert here.train.x.data_ptr() == there.train.x.data_ptr()
    assert len(decoded) == COUNT


def test_what_was_written_to_is_not_handed_out_again() -> None:
    first, few = load("digits"), load("digits").limit(100)
    labels = first.train.y.clone()
    few.train.y[0] = 11
    assert first.limit(100).train.y.max() == 9
    first.train.y[:] = 0
    again = load("digits")
    assert again is not first
    assert torch.equal(again.train.y, labels)
    assert first.limit(100).train.y.max() == 0


def test_a_subset_and_a_copy_on_a_device_are_made_once() -> None:
    data = load("digits")
    assert data.to("cpu") is data
    assert data.limit(len(data.train)) is data
    few = data.limit(50)
    assert data.limit(50) is few
    assert data.limit(50, seed=1) is not few
    there = few.to("meta")  # as on a GPU
    del few
    gc.collect()
    assert data.limit(50).to("meta") is there
    gone = weakref.ref(there)
    del there
    gc.collect()
    assert gone() is None


FINGERPRINT = """
import sys
from amkd_viz.data import data_fingerprint, decoded
decoded.decode = None
print(data_fingerprint(sys.argv[1]))
"""


def test_a_fingerprint_of_files_is_that_of_the_pixels_and_is_read_once(pets: str, decoded: list[Path]) -> None:
    known = data_fingerprint(pets)
    assert len(decoded) == COUNT
    assert data_fingerprint(pets) == data_fingerprint("folder:pets") == known
    assert len(decoded) == COUNT
    command = [sys.executable, "-c", FINGERPRINT, pets]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == known
    (memo,) = Path("cache/fingerprints").iterdir()
    memo.write_text("nonsense\n")
    assert data_fingerprint(pets) == load(pets).fingerprint == known
    assert memo.read_text() == f"{known}\n"
    Image.new("RGB", (16, 16), "red").save("pets/cat/00.png")
    assert data_fingerprint(pets) == load(pets).fingerprint != known


def test_a_run_its_session_and_its_report_read_the_files_once_each(pets: str, decoded: list[Path]) -> None:
    from amkd_viz.views.report import write_report

    run = distill(recipe(pets), "run")  # trains a teacher, whose key in the cache holds the fingerprint
    assert len(decoded) == COUNT
    gc.collect()
    run.teacher()
    assert len(decoded) == COUNT
    shown = run.teacher(), run.dataset(), prepare(run.recipe)  # a panel: it looks at a run, then goes on with it
    assert len(decoded) == 2 * COUNT
    assert shown[1].train.x.data_ptr() == shown[2].dataset.train.x.data_ptr()
    del shown
    gc.collect()
    write_report([run], "report.html")
    assert len(decoded) == 3 * COUNT


def test_trainings_share_their_data() -> None:
    first = prepare(POINTS.replace(method="ce"))
    every = [first, prepare(POINTS.replace(method="kd"), first), prepare(POINTS.replace(method="kd", seed=1))]
    for split in ("train", "val", "test"):
        assert len({getattr(one.dataset, split).x.data_ptr() for one in every}) == 1
    assert len({one.loader.split.x.data_ptr() for one in every}) == 1


def test_the_methods_of_a_race_share_their_data(tmp_path: Path) -> None:
    race = Race.create(POINTS.replace(epochs=1), ["ce", "kd", "bss"], tmp_path / "race")
    race.step_epoch()
    assert race.wait() == "done"
    assert len(race.trainings) == 3
    assert len({one.dataset.train.x.data_ptr() for one in race.trainings.values()}) == 1
    assert len({id(one.dataset) for one in race.trainings.values()}) == 1
