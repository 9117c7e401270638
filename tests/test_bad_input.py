"""Bad input, on the command line and in Python: one clear sentence, and nothing lost."""

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
from PIL import Image
from recipes import ONE_EPOCH, flags

import amkd_viz.cli as cli
import amkd_viz.core.files as files
from amkd_viz.cli import main
from amkd_viz.core.errors import InputError
from amkd_viz.models import architectures, build, save_classifier
from amkd_viz.runs import compare, distill, prepare, resume
from amkd_viz.training import Recipe

pytest_plugins = ["rights"]

FLAGS = flags(ONE_EPOCH)
COMPARE = ("compare", *(word for word in FLAGS if word not in ("--method", "ce")))


@pytest.fixture(autouse=True)
def no_data(tmp_path_factory, monkeypatch):
    """Hide the data sets that the machine may hold."""
    monkeypatch.setenv("AMKD_VIZ_DATA", str(tmp_path_factory.getbasetemp() / "no-data"))


@pytest.fixture
def refused(call, tmp_path, monkeypatch):
    """Run the command line in an empty folder, return its one line, and check that it left nothing."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        status, out, err = call(*words)
        assert (status, out) == (2, "")
        assert re.fullmatch(r"amkd-viz.*: .*\n", err)
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# words of the command line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["--foo"], "unrecognized arguments: --foo; see 'amkd-viz --help'."),
        (["distil"], "invalid choice: 'distil'"),
        (["compare", "--seed", "5"], "unrecognized arguments: --seed 5"),  # not --seeds 5
        (["compare", "--seeds", "two"], "compare: --seeds takes a whole number, not 'two'; see"),
        (["compare", "--seeds", "0"], "seeds must be at least 1, got 0."),
        (["compare", "--methods", ","], "methods must name one or more"),
        (["compare", "--methods", "ce,ce"], "each once, not 'ce,ce'"),
        (["compare", "--methods", "ce,dk"], "Unknown method 'dk'; did you mean 'dkd' or 'kd'"),
        (["demo", "--seeds", "0"], "seeds must be at least 1, got 0."),
        (["report"], "the following arguments are required: RUN"),
        (["report", "nowhere"], "There is no folder nowhere; give run folders"),
        (["report", "."], "There is no run in .: no config.json there or below."),
        (["export", "nowhere"], "one of the arguments --onnx --torch-export is required"),
        (["export", "nowhere", "--onnx", "--torch-export"], "--torch-export: not allowed with argument --onnx"),
        (["export", "nowhere", "--torch-export"], "There is no run in nowhere: it has no config.json."),
        (["lab", "nowhere"], "There is no folder nowhere"),
    ],
)
def test_words_that_a_command_does_not_take(refused, words, message):
    assert message in refused(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--dataset digit", "Unknown data set 'digit'; did you mean 'digits'"),
        ("--dataset cifar10 --student resnet8 --root nowhere", "cifar10 was not found (looked for nowhere/cifar-10-b"),
        ("--dataset cifar100 --student resnet8 --root nowhere", "cifar100 was not found (looked for nowhere/cifar-1"),
        ("--dataset folder:nowhere --student cnn-tiny", "is not a folder"),
        ("--student mlp-tinny", "Unknown student 'mlp-tinny'; did you mean 'mlp-tiny'"),
        ("--teacher resnet6", "Unknown teacher 'resnet6'; did you mean 'resnet"),
        ("--teacher nowhere.safetensors", "File not found:"),
        ("--method amdk", "Unknown method 'amdk'; did you mean 'amkd'"),
        ("--precision fp16", "Unknown precision 'fp16'; did you mean 'bf16'"),
        ("--boundary-bn sepparate", "Unknown --boundary-bn 'sepparate'; did you mean 'separate'"),
        ("--device cuda:99", "Device 'cuda:99' is not usable here: "),
        ("--device cpu:x", "Device 'cpu:x' is not usable here: "),
        ("--device meta", "Unknown device 'meta'"),
        ("--device gpu", "Allowed: auto, cpu, cuda, mps, xpu."),
        ("--epochs 0", "--epochs must be between 1 and 10000, got 0."),
        ("--epochs 2.5", "distill: --epochs takes a whole number, not '2.5'; see"),
        ("--learning-rate nan", "--learning-rate must be a number, got nan."),
        ("--learning-rate much", "distill: --learning-rate takes a number, not 'much'; see"),
        ("--seed -1", "--seed must be at least 0, got -1."),
        ("--num-train 3", "of blobs must be 4 (one per class) to 900 (all), got 3"),
        ("--student cnn-tiny", "takes images, not points"),
        ("--augment crop", "needs images but blobs has points"),
        ("--set kd", "--set takes TERM.FIELD=VALUE, e.g. boundary_triplet.margin=0.2, not 'kd'."),
        ("--set kd.scale", "--set takes TERM.FIELD=VALUE"),
        ("--method kd --set dk.scale=2", "Unknown term 'dk'; did you mean 'kd'"),
        ("--method kd --set kd.temperature=warm", "kd.temperature must be a number, got 'warm'."),
        ("--method kd --set kd.scale=null", "kd.scale must be a number, got None."),
        ("--set kd.scale=1 --set kd.scale=2", "--set gives kd.scale twice, as 1 and as 2; leave"),
        ("--set ce.scale=0", "--set must leave a term"),
        (
            "--set kd.scale=2",
            "Method ce has no term 'kd', so kd.scale has no effect; choose a method that has it: kd, ",
        ),
    ],
)
def test_settings_that_do_not_fit(refused, words, message):
    assert message in refused("distill", *FLAGS, *words.split(), "--out", "run")


def test_errors_of_another_kind(refused, monkeypatch):
    def broken(error):
        def command(parser, words):
            raise error

        return command

    for error, message in (
        (PermissionError(errno.EACCES, "Permission denied", "it"), "it cannot be read or written: Permission denied; "),
        (InputError("first\nsecond\r\nthird."), "amkd-viz doctor: first second third.\n"),
    ):
        monkeypatch.setitem(cli.COMMANDS, "doctor", broken(error))
        assert message in refused("doctor")
    monkeypatch.setitem(cli.COMMANDS, "doctor", broken(ZeroDivisionError()))  # a fault of ours keeps its traceback
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_an_error_names_a_field_by_its_flag_and_leaves_a_path_alone(refused, monkeypatch):
    def diverged(recipe, out, listen):
        raise InputError("The loss is not finite (data/batch_size/x, epochs must); lower learning_rate=0.1.")

    monkeypatch.setattr("amkd_viz.runs.distill", diverged)
    assert refused("distill").endswith("(data/batch_size/x, epochs must); lower --learning-rate=0.1.\n")


# in Python


@pytest.mark.parametrize("train", [distill, lambda recipe: compare(recipe, ["ce"], 1, "out")])
def test_nets_for_images_and_data_of_points(tmp_path, monkeypatch, train):
    monkeypatch.chdir(tmp_path)
    known = ", ".join(architectures((2,)))  # another test may have registered nets in this process
    assert known.startswith("mlp-tiny, mlp-small, mlp")
    fitting = f"choose among {known}, such as teacher='mlp' and student='mlp-small'."
    for nets, message in (
        ({}, "moons has points, but teacher 'cnn' and student 'cnn-tiny' take images, not points; "),
        ({"student": "mlp"}, "moons has points, but teacher 'cnn' takes images, not points; "),
        ({"teacher": "of-mine.safetensors"}, "moons has points, but student 'cnn-tiny' takes images, not points; "),
    ):
        with pytest.raises(InputError) as caught:
            train(Recipe(dataset="moons:n=40", **nets))
        assert str(caught.value) == message + fitting
    assert list(tmp_path.iterdir()) == []
    for wrong in ("x", {"epochs": 3}):
        with pytest.raises(InputError, match=r"distill takes a recipe, such as Recipe\(dataset='digits'\), not"):
            distill(wrong)


# data and teachers


def images(folder: Path, *counts: int) -> str:
    """Make one class folder of images for each count."""
    for k, count in enumerate(counts):
        (folder / f"class{k}").mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng(100 * k + i).integers(256, size=(12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{k}" / f"{i}.png")
    return f"folder:{folder}"


@pytest.mark.parametrize(
    ("name", "classes", "shape", "message"),
    [
        ("cnn-tiny", 10, (1, 16, 16), None),  # convolutions take any size
        ("cnn-tiny", 10, (3, 8, 8), r"takes inputs of shape \(3, 8, 8\), but digits has \(1, 8, 8\)"),
        ("mlp-tiny", 10, (1, 16, 16), None),  # images are resized
        ("mlp-tiny", 10, (1, 4, 16), None),
        ("mlp-tiny", 10, (2,), r"takes inputs of shape \(2,\), but digits has \(1, 8, 8\)"),
        (
            "cnn-tiny",
            5,
            (1, 8, 8),
            r"knows 5 classes, but digits has 10 \(0, 1.*\); use a teacher that was trained on this data",
        ),
    ],
)
def test_which_teachers_fit_digits(refused, tmp_path, name, classes, shape, message):
    path = save_classifier(build(name, num_classes=classes, shape=shape), tmp_path / "net.safetensors")
    recipe = Recipe(dataset="digits", teacher=str(path), student="cnn-tiny", device="cpu")
    if message:
        assert re.search(message, refused("distill", *flags(recipe), "--out", "run"))
    else:
        assert prepare(recipe.replace(trust_teacher=True)).teacher is not None  # it is not trained


def test_a_teacher_file_that_cannot_be_read(refused, tmp_path, locked_up):
    path = save_classifier(build("mlp-tiny", num_classes=4, shape=(2,)), tmp_path / "net.safetensors")
    words = ("distill", *FLAGS, "--teacher", str(path), "--out", "run")
    path.write_bytes(path.read_bytes()[:-4])
    assert "net.safetensors is not a valid safetensors file" in refused(*words)
    path.write_bytes(pickle.dumps([1]))
    assert "it looks like a pickle" in refused(*words)
    locked_up(path)
    assert f"{path} cannot be read: Permission denied" in refused(*words)


# runs


def test_a_report_of_damaged_files(call, tmp_path):
    run = distill(ONE_EPOCH, tmp_path / "run")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "ep\n')
    status, out, _ = call("report", run.path)
    assert status == 0
    assert f"Note: Line 2 of {run.path / 'metrics.jsonl'} is damaged and left out." in out
    (run.path / "summary.json").write_text('{"test_acc')
    status, _, err = call("report", run.path)
    assert status == 2
    assert f"{run.path / 'summary.json'} is not a valid summary: " in err
    assert err.count("\n") == 1


def test_a_student_that_is_missing_or_damaged(call, tmp_path):
    run = distill(ONE_EPOCH, tmp_path / "run")
    path, words = run.path / "student.safetensors", ("export", run.path, "--torch-export")
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert call(*words)[2].endswith("; fetch or write it again.\n")
    path.unlink()
    summary = run.path / "summary.json"
    assert f"{path} is missing; delete {summary} and resume the run, which writes both" in call(*words)[2]
    summary.unlink()
    assert call("distill", "--resume", run.path)[0] == 0  # the advice works
    assert path.read_bytes() == whole
    assert run.finished


# rights


def test_a_run_without_rights(call, tmp_path, locked_up):
    run = distill(ONE_EPOCH, tmp_path / "run")
    report, export = ("report", str(run.path)), ("export", str(run.path), "--torch-export")
    again = ("distill", "--resume", str(run.path))
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
            message = rf"{path}\S* cannot be read: Permission denied; check its permissions"
            status, _, err = call(*words)
            assert (status, err.count("\n")) == (2, 1)
            assert re.search(message, err), words
        path.chmod(0o755)
    summary = run.path / "summary.json"
    summary.rename(tmp_path / "summary.json")
    (checkpoint,) = (run.path / "checkpoints").glob("*.pt")
    for path in (checkpoint, run.path / "checkpoints", run.path / "snapshots"):  # not taken for none
        locked_up(path)
        with pytest.raises(InputError, match=f"{path} cannot be read"):
            resume(run)
        path.chmod(0o755)
    (tmp_path / "summary.json").rename(summary)
    assert contents(tmp_path) | {"run/lock": b""} == before | {"run/lock": b""}


def test_data_without_rights(refused, call, tmp_path, locked_up):
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
    status, out, _ = call("doctor", "--root", root)
    assert status == 0
    folder = root / "cifar-10-batches-py"
    assert re.search(rf"cifar10 +missing +{folder} cannot be read: Permission denied", out)


# folders


@pytest.mark.parametrize("command", ["distill", "compare", "demo"])
def test_an_output_that_is_in_use(refused, tmp_path, monkeypatch, command):
    stub = types.ModuleType("amkd_viz.views.report")
    monkeypatch.setitem(sys.modules, stub.__name__, stub)  # no picture is drawn here
    stub.write_report = None
    words = {"distill": ("distill", *FLAGS), "compare": COMPARE, "demo": ("demo",)}[command]
    (tmp_path / "folder").mkdir()
    for path, holds in ((tmp_path / "folder" / "notes.txt", "other files"), (tmp_path / "file", "a file")):
        path.write_text("mine")
        out = tmp_path / path.relative_to(tmp_path).parts[0]
        assert f"{out} holds {holds} and is never overwritten; choose another name." in refused(
            *words, "--out", str(out)
        )
        assert path.read_text() == "mine"


@pytest.mark.parametrize("command", ["distill", "compare", "demo", "report", "--tensorboard"])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_trained(
    refused, tmp_path, monkeypatch, locked_up, command
):
    (folder := tmp_path / "out").mkdir()
    run = distill(ONE_EPOCH, tmp_path / "run")
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "empty"))  # a teacher would have to be trained
    locked_up(folder, 0o555)
    words = {"demo": ("demo",), "compare": COMPARE, "report": ("report", str(run.path))}.get(
        command, ("distill", *FLAGS)
    )
    where = folder / "deep" / "er" / ("report.html" if command == "report" else "")
    message = refused(*words, "--tensorboard" if command == "--tensorboard" else "--out", str(where))
    assert f"Cannot write {folder / 'deep' / 'er'}: Permission denied; choose another folder." in message


def test_other_places_that_cannot_be_written(refused, tmp_path, monkeypatch, locked_up):
    (tmp_path / "file").write_text("mine")
    assert "Not a directory; choose another folder." in refused("distill", *FLAGS, "--out", "file/run")
    pytest.importorskip("tensorboard")
    message = refused("distill", *FLAGS, "--out", "run", "--tensorboard", "file")
    assert "Cannot write file: Not a directory; choose another folder." in message
    locked_up(tmp_path, 0o555)
    assert "Cannot write runs/blobs-ce-seed0-" in refused("distill", *FLAGS)


def test_a_full_disk_on_the_command_line(call, tmp_path, monkeypatch):
    prepare(ONE_EPOCH)  # the teacher is there

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    status, _, err = call("distill", *FLAGS, "--out", tmp_path / "run")
    assert status == 2
    last = err.splitlines()[-1]
    assert last.startswith("amkd-viz distill: Cannot write ")
    assert "No space left on device; free some space" in last
    assert contents(tmp_path) == {}
