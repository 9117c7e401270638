"""A teacher's logits that are kept: the same students, no passes the second time, and what a cut to K does."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from recipes import POINTS, same

from amkd_viz.core.errors import InputError
from amkd_viz.core.ranks import Ranks
from amkd_viz.objectives.losses.soft_targets import soft_cross_entropy
from amkd_viz.runs import Run, prepare
from amkd_viz.training import Recipe, Stepped, events
from amkd_viz.training.teacher_cache import Largest
from amkd_viz.training.training import Training

DIGITS = POINTS.replace(
    dataset="digits", teacher="cnn-tiny", student="cnn-tiny", method="kd", epochs=3, teacher_epochs=1, magsim_samples=0
)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep logits apart from those of other tests, with the teacher of the session."""
    session = Path(os.environ["AMKD_VIZ_CACHE"])
    prepare(DIGITS)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "teachers").symlink_to(session / "teachers")
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "teacher-logits"


def trained(recipe: Recipe) -> tuple[Training, int]:
    """Return the training and how many batches of training images the teacher has seen."""
    training, calls = prepare(recipe), []
    assert training.teacher is not None
    training.evaluate("val")  # after which its logits there are known
    training.teacher.body.register_forward_hook(lambda *_: calls.append(1))
    seen = 0
    for event in events(training):
        if isinstance(event, Stepped):
            seen = len(calls)
    return training, seen


# the cut to K


def test_the_largest_keep_their_probability_and_the_others_share_the_rest() -> None:
    logits = 3 * torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    rows, p = torch.arange(50), logits.softmax(1)
    kept = Largest(50, 10, 3)
    kept.fill(rows, logits)
    cut = kept[rows].softmax(1)
    for own, whole, row in zip(cut, p, logits, strict=True):
        top = row.topk(3).indices
        others = torch.ones(10, dtype=torch.bool).index_fill_(0, top, False)
        torch.testing.assert_close(own[top], whole[top])
        torch.testing.assert_close(own[others], (1 - whole[top].sum()).expand(7) / 7)  # "marginal smoothing" of FKD
    assert kept[rows].argmax(1).equal(logits.argmax(1))
    assert kept[rows[[7, 3]]].equal(kept[rows][[7, 3]])
    # the loss at temperature 1 changes by what the student makes of the others: nothing if it finds them alike
    student = torch.randn(50, 10, generator=torch.Generator().manual_seed(1))
    q = student.log_softmax(1)
    change = soft_cross_entropy(kept[rows], student, 1.0) - soft_cross_entropy(logits, student, 1.0)
    torch.testing.assert_close(change, ((p - cut) * q).sum(1), atol=1e-5, rtol=1e-4)
    alike = torch.zeros(50, 10).scatter(1, logits.topk(3, 1).indices, 1.0)
    torch.testing.assert_close(soft_cross_entropy(kept[rows], alike, 1.0), soft_cross_entropy(logits, alike, 1.0))
    # at temperature 3 the others get more than they had
    hot, whole = (kept[rows] / 3).softmax(1), (logits / 3).softmax(1)
    top = logits.topk(3, 1).indices
    assert (hot.gather(1, top).sum(1) < whole.gather(1, top).sum(1)).all()
    for k in (9, 10, 99):  # one other class has all that is left
        kept = Largest(50, 10, k)
        kept.fill(rows, logits)
        assert kept[rows].equal(logits)


def test_clean_images_are_cut_too() -> None:
    recipe = POINTS.replace(method="kd", augment="none")
    training = prepare(recipe.replace(cache_teacher=1))
    assert training.teacher is not None
    x, y, index = next(training.batches())
    logits = training.new_step(x, y, index).outputs("teacher").logits
    whole = training.teacher(x).detach()
    torch.testing.assert_close(logits.softmax(1).amax(1), whole.softmax(1).amax(1))
    assert all(len(row.unique()) == 2 for row in logits)
    assert training.notes[-1].startswith("Of the teacher's 4 logits the 1 largest count; the others share the prob")
    assert not any("largest count" in note for note in prepare(recipe.replace(cache_teacher=3)).notes)


# views of augmented images


@pytest.mark.parametrize("method", ["kd", "amkd"])
def test_all_logits_give_the_same_student_bit_for_bit(method: str, own_cache: Path) -> None:
    recipe = DIGITS.replace(method=method)
    usual, passes = trained(recipe)
    filled, first = trained(recipe.replace(cache_teacher="all"))
    again, second = trained(recipe.replace(cache_teacher=10))  # all ten classes
    assert same(usual.student, filled.student)
    assert same(usual.student, again.student)
    assert first - second == 3 * 3  # three epochs of three batches
    if method == "kd":
        assert (passes, first, second) == (9, 9, 0)
    (folder,) = own_cache.iterdir()
    assert sorted(file.name for file in folder.iterdir()) == [f"epoch-{e:05d}.safetensors" for e in (1, 2, 3)]


def test_what_hits_and_what_does_not(own_cache: Path) -> None:
    recipe = DIGITS.replace(cache_teacher=4)
    one, passes = trained(recipe)
    assert passes == 9
    assert not same(one.student, trained(DIGITS)[0].student)
    again, passes = trained(recipe)
    assert passes == 0
    assert same(one.student, again.student)
    for change in ({"method": "hinton"}, {"learning_rate": 0.01}, {"student": "cnn-small"}, {"epochs": 2}):
        assert trained(recipe.replace(**change))[1] == 0
    for change in ({"seed": 1}, {"batch_size": 12}, {"augment": "crop-flip"}, {"cache_teacher": 5}, {"num_train": 47}):
        assert trained(recipe.replace(epochs=1, **change))[1] > 0
    assert trained(recipe.replace(epochs=4))[1] == 3  # the fourth epoch is new


def test_a_damaged_file_is_written_again_and_a_full_disk_ends_nothing(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = DIGITS.replace(cache_teacher=4, epochs=2)
    one, _ = trained(recipe)
    files = sorted(own_cache.rglob("*.safetensors"))
    whole = [file.read_bytes() for file in files]
    files[0].write_bytes(whole[0][:-7])
    files[1].write_bytes(b"")
    again, passes = trained(recipe)
    assert passes == 6
    assert same(one.student, again.student)
    assert [file.read_bytes() for file in files] == whole
    for file in files:
        file.unlink()

    def full(*_: object, **__: object) -> None:
        raise InputError(f"Cannot write: {os.strerror(errno.ENOSPC)}.")

    monkeypatch.setattr("amkd_viz.training.teacher_cache.write_atomic", full)
    assert same(one.student, trained(recipe)[0].student)
    assert not list(own_cache.rglob("*.safetensors"))


def test_a_training_that_stops_within_an_epoch_goes_on_with_the_same_logits(own_cache: Path) -> None:
    recipe = DIGITS.replace(cache_teacher=4)
    whole, _ = trained(recipe)
    shutil.rmtree(own_cache)
    first = prepare(recipe)
    steps = (event for event in events(first) if isinstance(event, Stepped))
    assert [(step.epoch, step.batch) for step in islice(steps, 5)][-1] == (1, 1)
    second = prepare(recipe)
    second.restore(first.state())
    shutil.rmtree(own_cache)
    for _ in events(second):
        pass
    assert same(whole.student, second.student)
    (folder,) = own_cache.iterdir()
    assert [file.name for file in sorted(folder.iterdir())] == ["epoch-00002.safetensors", "epoch-00003.safetensors"]
    # of 48 images and 3 epochs: four logits of four bytes, their classes of two, and one logit for the others
    size = 48 * 3 * (4 * (4 + 2) + 4)
    assert f"take up to {size / 1e6:.1f} MB in {folder}, which may be deleted." in second.notes[-1]


# bad input, and old runs


def test_what_cannot_be_kept_is_refused_in_a_sentence(call: Callable[..., tuple[int, str, str]]) -> None:
    with pytest.raises(InputError, match="cache_teacher needs order='shuffle' where images are augmented, got 'hard'"):
        prepare(DIGITS.replace(order="hard", cache_teacher=4))
    training = prepare(DIGITS.replace(cache_teacher=4))
    training.ranks = Ranks(0, 2)
    with pytest.raises(InputError, match="2 ranks cannot share cache_teacher with augmentation; train this recipe in"):
        training._check_ranks()
    for words, why in (
        (("--cache-teacher", "-1"), "--cache-teacher must be at least 0, got -1"),
        (("--cache-teacher", "ten"), "--cache-teacher must be a whole number or all, got 'ten'"),
    ):
        status, _, err = call("distill", *words)
        assert (status, err.count("\n")) == (2, 1)
        assert why in err


def test_the_flag_alone_keeps_all(tmp_path: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    small = "--dataset blobs:n=60 --teacher mlp-tiny --student mlp-tiny --epochs 1 --teacher-epochs 1 --method kd"
    for words, value in (("--cache-teacher", "all"), ("--cache-teacher 2", 2), ("", 0)):
        out = tmp_path / f"run{value}"
        status, _, err = call("distill", *small.split(), *words.split(), "--device", "cpu", "--out", out)
        assert status == 0, err
        assert Run.open(out).recipe.cache_teacher == value


def test_runs_of_earlier_versions_still_open() -> None:
    for old, new in ((False, 0), (True, "all")):
        values = json.loads(json.dumps({**POINTS.to_json(), "cache_teacher": old}))
        assert Recipe.from_json(values) == POINTS.replace(cache_teacher=new)
    assert POINTS.replace(cache_teacher=0).hash == POINTS.hash
