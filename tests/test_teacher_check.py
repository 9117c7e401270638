"""A teacher is measured before anything is trained on it, and one near chance ends in its usual causes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recipes import POINTS

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, load
from amkd_viz.models import Classifier, Normalise, build, load_teacher, save_classifier
from amkd_viz.runs import distill, prepare
from amkd_viz.runs.teacher_check import check_accuracy, in_order
from amkd_viz.training import Recipe, accuracy, logits_on

DIGITS = Recipe(dataset="digits", teacher="cnn-tiny", student="cnn-tiny", method="ce", epochs=3, magsim_samples=0)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A net that is right on most digits."""
    return distill(
        DIGITS.replace(teacher="", epochs=30, batch_size=50, student="cnn-small"),
        tmp_path_factory.mktemp("runs") / "one",
        snapshots=False,
    ).student()


def reordered(teacher: Classifier, order: torch.Tensor) -> Classifier:
    net = build("cnn-small", load("digits"))
    net.load_state_dict(teacher.state_dict())
    with torch.no_grad():
        net.head.weight.copy_(teacher.head.weight[order])  # type: ignore[union-attr]
        net.head.bias.copy_(teacher.head.bias[order])  # type: ignore[union-attr]
    return net.eval()


def test_a_good_teacher_is_measured_and_the_run_says_so(teacher: Classifier, digits: Dataset, tmp_path: Path) -> None:
    share = accuracy(logits_on(teacher, digits.val), digits.val.y)
    assert share > 0.8
    file = save_classifier(teacher, tmp_path / "t.safetensors")
    training = prepare(DIGITS.replace(teacher=str(file)))
    sentence = f"Teacher t.safetensors classifies {share:.1%} of {len(digits.val)} validation samples correctly."
    assert sentence in training.notes
    assert sentence in prepare(DIGITS.replace(teacher=str(file), method="kd"), training).notes


def test_classes_in_another_order_are_found(teacher: Classifier, digits: Dataset, tmp_path: Path) -> None:
    order = torch.arange(10).roll(3)
    file = save_classifier(reordered(teacher, order), tmp_path / "t.safetensors")
    with pytest.raises(
        InputError, match=r"near chance .* these samples: with its outputs in another order of the c.* it w"
    ) as e:
        prepare(DIGITS.replace(teacher=str(file)))
    good = accuracy(logits_on(teacher, digits.val), digits.val.y)
    assert f"in another order of the classes it would be {good:.1%}" in str(e.value)
    assert str(e.value).endswith("or set trust_teacher to go on with it.")
    trusted = prepare(DIGITS.replace(teacher=str(file), trust_teacher=True))
    assert any("validation samples correctly." in note for note in trusted.notes)


def test_another_size_is_found(teacher: Classifier, digits: Dataset, tmp_path: Path) -> None:
    """The file says 32 pixels of a net that was trained at 8: it sees blurred parts of strokes."""
    wide = build("cnn-small", digits, shape=(1, 32, 32))
    wide.load_state_dict(teacher.state_dict())
    file = save_classifier(wide, tmp_path / "t.safetensors")
    good = accuracy(logits_on(teacher, digits.val), digits.val.y)
    with pytest.raises(InputError, match=rf"near chance .*with images of 8 x 8 pixels it would be {good:.1%}"):
        prepare(DIGITS.replace(teacher=str(file)))


def test_a_file_that_names_its_classes_is_reordered_by_name(
    teacher: Classifier, digits: Dataset, tmp_path: Path
) -> None:
    order = torch.arange(10).roll(3)
    names = [digits.classes[i] for i in order.tolist()]
    file = save_classifier(reordered(teacher, order), tmp_path / "t.safetensors", classes=names)
    run = distill(DIGITS.replace(teacher=str(file), epochs=1), tmp_path / "run")
    x = digits.test.floats(slice(0, 20))
    assert torch.allclose(run.teacher()(x), teacher(x), atol=1e-5)
    assert run.summary["teacher_test_accuracy"] > 0.8
    assert in_order(load_teacher(file), None)(x).shape == (20, 10)
    assert load_teacher(run.path / "student.safetensors").classes == digits.classes


def test_a_wrong_normalisation_and_a_wrong_shortcut_are_found() -> None:
    """Labels are what the right net predicts, so that it is right on all."""
    right = build(
        "resnet8", num_classes=4, shape=(3, 16, 16), mean=(0.0,) * 3, std=(1 / 255,) * 3, shortcut="pad-both"
    ).eval()
    for part in right.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_var.fill_(3.0)  # type: ignore[union-attr]
    images = (torch.rand(900, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    y = logits_on(
        right, split := load("digits").train.__class__(images, torch.zeros(900).long(), torch.arange(900))
    ).argmax(1)
    split.y.copy_(y)
    data = Dataset("made", ("a", "b", "c", "d"), split, split, split, (0.0,) * 3, (1.0,) * 3)
    wrong = build("resnet8", num_classes=4, shape=(3, 16, 16), shortcut="pad-both").eval()
    wrong.load_state_dict(right.state_dict())
    wrong.normalise = Normalise((0.5,) * 3, (0.5,) * 3)
    from amkd_viz.runs.teacher_check import _causes

    found = {what: share for share, what in _causes(wrong, split, data)}
    assert found["the normalisation 'inputs of 0 to 255'"] == 1
    other = build(
        "resnet8", num_classes=4, shape=(3, 16, 16), mean=(0.0,) * 3, std=(1 / 255,) * 3, shortcut="pad-end"
    ).eval()
    other.load_state_dict(right.state_dict())
    assert {what: share for share, what in _causes(other, split, data)}["the shortcut 'pad-both'"] == 1


def test_few_samples_say_nothing(tmp_path: Path) -> None:
    net, data = build("mlp-tiny", load("blobs", n=60)), load("blobs", n=60)
    assert check_accuracy(net, data, "Teacher x") == ""


def test_other_classes_are_named(tmp_path: Path) -> None:
    file = save_classifier(build("mlp-tiny", num_classes=5, shape=(2,)), tmp_path / "five.safetensors")
    with pytest.raises(InputError, match=r"knows 5 classes, but blobs has 4 \(.*\); use a teacher"):
        prepare(POINTS.replace(teacher=str(file)))
