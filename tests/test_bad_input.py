"""Each bad input of the first milestone: one clear sentence, and nothing lost."""

from __future__ import annotations

import errno
import os
import pickle
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import amkd_viz.cli as cli
import amkd_viz.core.files as files
from amkd_viz.boundary import bss
from amkd_viz.cli import main
from amkd_viz.core.errors import InputError
from amkd_viz.data import load
from amkd_viz.models import build, load_teacher, save_classifier
from amkd_viz.objectives import methods
from amkd_viz.runs import Run, compare, distill, resume
from amkd_viz.training import Recipe, prepare

pytest_plugins = ["rights"]

TINY = {
    "dataset": "blobs",
    "teacher": "mlp-small",
    "student": "mlp-tiny",
    "method": "ce",
    "epochs": 1,
    "teacher_epochs": 1,
    "num_train": 32,
    "batch_size": 16,
    "teacher_batch_size": 16,
    "magsim_samples": 0,
    "device": "cpu",
}
FLAGS = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Teachers of this test session; never the user's. No data set that the machine may hold."""
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))
    monkeypatch.setenv("AMKD_VIZ_DATA", str(tmp_path_factory.getbasetemp() / "no-data"))


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Runs the command line in an empty folder; gives its one line, and checks that it left nothing."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        try:
            status = main(list(words))
        except SystemExit as stop:
            status = stop.code
        out, err = capsys.readouterr()
        assert status == 2
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert err.startswith(f"amkd-viz {words[0]}: ")
        assert out == ""
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# unknown names


@pytest.mark.parametrize(
    ("flag", "name", "kind", "nearest"),
    [
        ("--dataset", "digit", "data set", "digits"),
        ("--student", "mlp-tinny", "student", "mlp-tiny"),
        ("--teacher", "resnet6", "teacher", "resnet26"),
        ("--method", "amdk", "method", "amkd"),
        ("--precision", "fp16", "precision", "bf16"),
        ("--device", "cda", "device", "cuda"),
    ],
)
def test_unknown_names_offer_the_nearest(refused, flag, name, kind, nearest):
    said = refused("distill", *FLAGS, flag, name)
    assert f"Unknown {kind} '{name}'; did you mean " in said
    assert f"'{nearest}'" in said.split("Allowed:")[0]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: load("digts"), "Unknown data set 'digts'; did you mean 'digits'"),
        (lambda: load(3), "A data set's name must be a string such as 'digits', got 3."),
        (lambda: build("resnet9"), "Unknown model 'resnet9'; did you mean 'resnet"),
        (lambda: methods["kdd"], "Unknown method 'kdd'; did you mean 'kd'"),
        (lambda: Recipe(method="kdd"), "Unknown method 'kdd'; did you mean 'kd'"),
        (lambda: distill("x"), r"distill takes a recipe, such as Recipe\(dataset='digits'\), not 'x'."),
        (lambda: distill(TINY), "distill takes a recipe"),
    ],
)
def test_bad_names_and_recipes_in_python(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()


@pytest.mark.parametrize("train", [distill, lambda recipe: compare(recipe, ["ce"], 1, "out")])
def test_nets_for_images_and_data_of_points(tmp_path, monkeypatch, train):
    monkeypatch.chdir(tmp_path)
    fitting = "choose among mlp-tiny, mlp-small, mlp, such as teacher='mlp' and student='mlp-small'."
    for nets, said in (
        ({}, "moons has points, but teacher 'cnn' and student 'cnn-tiny' take images, not points; "),
        ({"student": "mlp"}, "moons has points, but teacher 'cnn' takes images, not points; "),
        ({"teacher": "of-mine.safetensors"}, "moons has points, but student 'cnn-tiny' takes images, not points; "),
    ):
        with pytest.raises(InputError) as caught:
            train(Recipe(dataset="moons:n=40", **nets))
        assert str(caught.value) == said + fitting
    assert list(tmp_path.iterdir()) == []


# data


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_cifar(refused, name):
    said = refused("distill", *FLAGS, "--dataset", name, "--student", "resnet8", "--root", "nowhere", "--out", "run")
    assert f"{name} was not found (looked for nowhere/cifar-10" in said
    assert "--download" in said
    assert "AMKD_VIZ_DATA" in said


def images(folder: Path, *counts: int) -> str:
    """Make one class folder of images for each count."""
    for k, count in enumerate(counts):
        (folder / f"class{k}").mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng(100 * k + i).integers(256, size=(12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{k}" / f"{i}.png")
    return f"folder:{folder}"


def test_a_folder_of_images_that_is_right_trains(tmp_path):
    recipe = Recipe(
        dataset=images(tmp_path / "images", 6, 5),
        teacher="cnn-tiny",
        student="cnn-tiny",
        method="ce",
        epochs=1,
        device="cpu",
    )
    assert distill(recipe, tmp_path / "run").finished
    with pytest.raises(InputError, match="is not a folder"):
        prepare(recipe.replace(dataset=f"folder:{tmp_path / 'nowhere'}"))


# pixels


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "must be finite, got NaN"),
        (1.5, r"lie in \[0, 1\]"),
        (-0.1, r"lie in \[0, 1\]"),
        (255.0, "divide by 255"),
    ],
)
def test_pixels_that_are_no_pixels(value, said):
    net = build("cnn-tiny", num_classes=3, shape=(1, 8, 8))
    x, target = torch.full((2, 1, 8, 8), 0.5), torch.tensor([0, 1])
    assert len(bss(net, x, target)) == 2
    x[1, 0, 3, 3] = value
    with pytest.raises(InputError, match=said):
        bss(net, x, target)


# teachers and checkpoints


@pytest.mark.parametrize(
    ("name", "classes", "shape", "said"),
    [
        ("mlp-tiny", 4, (3,), r"takes inputs of shape \(3,\), but blobs has \(2,\)"),
        ("mlp-tiny", 4, (1, 8, 8), r"takes inputs of shape \(1, 8, 8\), but blobs has \(2,\)"),
        ("mlp-tiny", 5, (2,), "knows 5 classes, but blobs has 4; use a teacher that was trained on this data set"),
    ],
)
def test_a_teacher_of_another_shape_or_class_count(refused, tmp_path, name, classes, shape, said):
    path = save_classifier(build(name, num_classes=classes, shape=shape), tmp_path / "net.safetensors")
    assert re.search(said, refused("distill", *FLAGS, "--teacher", str(path), "--out", "run"))


@pytest.mark.parametrize(
    ("name", "shape", "fits"),
    [
        ("cnn-tiny", (1, 8, 8), True),
        ("cnn-tiny", (1, 16, 16), True),  # convolutions take any size
        ("cnn-tiny", (3, 8, 8), False),
        ("mlp-tiny", (1, 8, 8), True),
        ("mlp-tiny", (1, 16, 16), False),
        ("mlp-tiny", (1, 4, 16), True),
        ("mlp-tiny", (2,), False),
    ],
)
def test_which_teachers_fit_digits(tmp_path, name, shape, fits):
    path = save_classifier(build(name, num_classes=10, shape=shape), tmp_path / "net.safetensors")
    recipe = Recipe(dataset="digits", teacher=str(path), student="cnn-tiny", device="cpu")
    if fits:
        assert prepare(recipe).teacher is not None
    else:
        with pytest.raises(InputError, match=r"takes inputs of shape \(.*\), but digits has \(1, 8, 8\)"):
            prepare(recipe)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("kind", ["pickle", "torch.save"])
def test_a_teacher_that_is_a_pickle_never_runs(refused, tmp_path, kind):
    mark, path = tmp_path / "ran", tmp_path / "net.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(mark)))
    else:
        torch.save({"state": Bomb(mark)}, path)
    said = refused("distill", *FLAGS, "--teacher", str(path), "--out", "run")
    assert "it looks like a pickle" in said
    assert "never loaded" in said
    with pytest.raises(InputError, match="looks like a pickle"):
        load_teacher(path)
    assert not mark.exists()


def test_a_teacher_file_that_is_missing_or_truncated(refused, tmp_path):
    path = save_classifier(build("mlp-tiny", num_classes=4, shape=(2,)), tmp_path / "net.safetensors")
    path.write_bytes(path.read_bytes()[:-4])
    assert "net.safetensors is not a valid safetensors file" in refused("distill", *FLAGS, "--teacher", str(path))
    assert "File not found:" in refused("distill", *FLAGS, "--teacher", "nowhere.safetensors")


# runs


def test_a_report_of_damaged_files(capsys, tmp_path, monkeypatch):
    run = distill(Recipe(**TINY), tmp_path / "run")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "ep\n')
    assert main(["report", str(run.path)]) == 0
    assert f"Note: Line 2 of {run.path / 'metrics.jsonl'} is damaged and left out." in capsys.readouterr().out
    (run.path / "summary.json").write_text('{"test_acc')
    assert main(["report", str(run.path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"amkd-viz report: {run.path / 'summary.json'} is damaged")
    assert err.count("\n") == 1


def test_a_student_that_is_missing_or_damaged(capsys, tmp_path):
    run = distill(Recipe(**TINY), tmp_path / "run")
    path, words = run.path / "student.safetensors", ["export", str(run.path), "--torch-export"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert main(words) == 2
    assert capsys.readouterr().err.endswith("; fetch or write it again.\n")
    path.unlink()
    assert main(words) == 2
    summary = run.path / "summary.json"
    assert f"{path} is missing; delete {summary} and resume the run, which writes both" in capsys.readouterr().err
    summary.unlink()
    assert main(["distill", "--resume", str(run.path)]) == 0  # what was said works
    assert path.read_bytes() == whole
    assert run.finished


# rights


def test_a_run_without_rights(capsys, tmp_path, locked_up):
    run = distill(Recipe(**TINY), tmp_path / "run")
    report, export = ["report", str(run.path)], ["export", str(run.path), "--torch-export"]
    again = ["distill", "--resume", str(run.path)]
    before = contents(tmp_path)
    for path, commands in (
        (run.path / "config.json", [report, export, again]),
        (run.path / "summary.json", [report, export, again]),
        (run.path / "metrics.jsonl", [report, again]),
        (run.path / "student.safetensors", [report, export]),
        (run.path, [report, export, again]),
    ):
        locked_up(path)
        for words in commands:
            assert main(words) == 2
            err = capsys.readouterr().err
            assert re.search(rf"{path}\S* cannot be read: Permission denied; check its permissions", err), words
            assert err.count("\n") == 1
        path.chmod(0o755)
    assert contents(tmp_path) == before


def test_checkpoints_without_rights_are_not_taken_for_none(tmp_path, locked_up):
    run = distill(Recipe(**TINY), tmp_path / "run")
    (run.path / "summary.json").unlink()
    before = contents(run.path)
    (checkpoint,) = (run.path / "checkpoints").glob("*.pt")
    for path in (checkpoint, run.path / "checkpoints", run.path / "snapshots"):
        locked_up(path)
        with pytest.raises(InputError, match=f"{path} cannot be read"):
            resume(run)
        path.chmod(0o755)
    assert {name: content for name, content in contents(run.path).items() if name != "lock"} == {
        name: content for name, content in before.items() if name != "lock"
    }


def test_a_teacher_without_rights(refused, tmp_path, locked_up):
    path = save_classifier(build("mlp-tiny", num_classes=4, shape=(2,)), tmp_path / "net.safetensors")
    locked_up(path)
    assert f"{path} cannot be read: Permission denied" in refused("distill", *FLAGS, "--teacher", str(path))


def test_data_without_rights(refused, capsys, tmp_path, locked_up):
    root = tmp_path / "root"
    (root / "cifar-10-batches-py").mkdir(parents=True)
    (root / "tiny-imagenet-200").mkdir()
    (root / "tiny-imagenet-200" / "wnids.txt").write_text("n01")
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"")
    name = images(tmp_path / "images", 4, 4)
    cifar = ("distill", *FLAGS, "--student", "resnet8", "--root", str(root), "--dataset")
    for path, words in (
        (root / "cifar-10-batches-py" / "data_batch_1", (*cifar, "cifar10")),
        (root / "tiny-imagenet-200" / "wnids.txt", (*cifar, "tiny-imagenet")),
        (tmp_path / "images" / "class1" / "2.png", (*cifar, name)),
        (tmp_path / "images" / "class1", (*cifar, name)),
        (tmp_path / "images", (*cifar, name)),
        (root, (*cifar, "cifar10")),
        (root, (*cifar, "tiny-imagenet")),
    ):
        locked_up(path)
        assert re.search(rf"{path}\S* cannot be read: Permission denied; check its permissions", refused(*words))
        if path != root:
            path.chmod(0o755)
    assert main(["doctor", "--root", str(root)]) == 0
    folder = root / "cifar-10-batches-py"
    assert re.search(rf"cifar10 +missing +{folder} cannot be read: Permission denied", capsys.readouterr().out)


def test_any_other_failure_to_read_is_one_line(refused, monkeypatch):
    def broken(parser, words):
        raise PermissionError(errno.EACCES, "Permission denied", "somewhere")

    monkeypatch.setitem(cli.COMMANDS, "doctor", broken)
    assert "somewhere cannot be read or written: Permission denied; check its permissions" in refused("doctor")


# numbers


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--epochs", "0", "--epochs must be between 1 and 10000, got 0."),
        ("--epochs", "-3", "--epochs must be between 1 and 10000, got -3."),
        ("--epochs", "three", "distill: --epochs takes a whole number, not 'three'; see"),
        ("--epochs", "2.5", "distill: --epochs takes a whole number, not '2.5'; see"),
        ("--batch-size", "1", "--batch-size must be between 2 and 65536, got 1."),
        ("--learning-rate", "nan", "--learning-rate must be a number, got nan."),
        ("--learning-rate", "inf", "--learning-rate must be between 1e-06 and 10, got inf."),
        ("--learning-rate", "much", "distill: --learning-rate takes a number, not 'much'; see"),
        ("--boundary-bn", "sepparate", "Unknown --boundary-bn 'sepparate'; did you mean 'separate'"),
        ("--num-train", "3", "of blobs must be 4 (one per class) to 900 (all), got 3"),
        ("--num-train", "100000", "to 900 (all), got 100000"),
        ("--seed", "-1", "--seed must be at least 0, got -1."),
        ("--student", "cnn-tiny", "takes images, not points"),
        ("--augment", "crop", "needs images but blobs has points"),
    ],
)
def test_numbers_and_choices_that_do_not_fit(refused, flag, value, said):
    assert said in refused("distill", *FLAGS, flag, value, "--out", "run")


# folders


@pytest.mark.parametrize("what", ["another run", "other files", "a file"])
@pytest.mark.parametrize("command", ["distill", "compare", "demo"])
def test_an_output_that_is_in_use(refused, tmp_path, monkeypatch, command, what):
    stub = types.ModuleType("amkd_viz.views.report")
    monkeypatch.setitem(sys.modules, stub.__name__, stub)  # no picture is drawn here
    stub.write_report = None
    out = tmp_path / "out"
    if what == "another run":
        distill(Recipe(**TINY), out)
    elif what == "other files":
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    else:
        out.write_text("mine")
    before = contents(tmp_path)
    flags = {"distill": FLAGS, "demo": [], "compare": [w for w in FLAGS if w not in ("--method", "ce")]}[command]
    said = refused(command, *flags, "--out", str(out))
    assert f"{out} holds {what} and is never overwritten; choose another name." in said
    assert contents(tmp_path) == before
    assert what != "another run" or Run.open(out).finished


@pytest.mark.parametrize("command", ["distill", "compare", "demo", "report", "--tensorboard"])
def test_an_output_that_cannot_be_written_is_said_before_anything_is_trained(
    refused, tmp_path, monkeypatch, locked_up, command
):
    (folder := tmp_path / "out").mkdir()
    run = distill(Recipe(**TINY), tmp_path / "run")
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "empty"))  # a teacher would have to be trained
    locked_up(folder, 0o555)
    words = {
        "demo": ("demo",),
        "compare": ("compare", *(w for w in FLAGS if w not in ("--method", "ce"))),
        "report": ("report", str(run.path)),
    }.get(command, ("distill", *FLAGS))
    where = folder / "deep" / "er" / ("report.html" if command == "report" else "")
    said = refused(*words, "--tensorboard" if command == "--tensorboard" else "--out", str(where))
    assert f"Cannot write {folder / 'deep' / 'er'}: Permission denied; choose another folder." in said


def test_the_default_folder_too(refused, tmp_path, locked_up):
    locked_up(tmp_path, 0o555)
    assert "Cannot write runs/blobs-ce-seed0-" in refused("distill", *FLAGS)


def test_event_files_in_the_place_of_a_file(refused, tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "logs").write_text("mine")
    said = refused("distill", *FLAGS, "--out", "run", "--tensorboard", "logs")
    assert "Cannot write logs: Not a directory; choose another folder." in said


def test_an_output_below_a_file(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert main(["distill", *FLAGS, "--out", str(tmp_path / "file" / "run")]) == 2
    assert "Not a directory; choose another folder." in capsys.readouterr().err  # space would not help
    assert contents(tmp_path) == {"file": b"mine"}


def test_a_full_disk_on_the_command_line(capsys, tmp_path, monkeypatch):
    prepare(Recipe(**TINY))  # the teacher is there

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    assert main(["distill", *FLAGS, "--out", str(tmp_path / "run")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("amkd-viz distill: Cannot write ")
    assert "No space left on device; free some space" in last
    assert contents(tmp_path) == {}
