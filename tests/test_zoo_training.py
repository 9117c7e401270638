"""Every method of the zoo trains a student on digits that beats chance, and goes on bit for bit from a saved state."""

from __future__ import annotations

import sys

import pytest
import torch
from recipes import POINTS, flags, same

from amkd_viz.core.errors import InputError
from amkd_viz.objectives import methods
from amkd_viz.runs.prepare import fitting, prepare
from amkd_viz.training import Recipe
from amkd_viz.training.training import Training

DIGITS = Recipe(
    dataset="digits",
    teacher="cnn-small",
    student="cnn-small",
    epochs=8,
    num_train=576,
    batch_size=32,
    max_boundary_samples=8,
    teacher_epochs=10,
    teacher_batch_size=50,
    magsim_samples=0,
    device="cpu",
)
CHANGED = {  # published for other nets and 240 epochs: much smaller or larger than what these few steps bear
    "ccc": {"learning_rate": 0.4},
    "prob-mse": {"learning_rate": 2.0},
    "skd": {"overrides": {"skd.direction": 0.3}},
    "ft": {"overrides": {"ft.scale": 0.1}},
    "mst": {"teacher": "cnn-small+cnn-tiny"},
    "dml": {"peer": "cnn-tiny"},
    "ffl": {"peer": "cnn-tiny"},
    "ffcl": {"peer": "cnn-tiny"},
}


@pytest.fixture(scope="module")
def like():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield prepare(DIGITS)
    torch.set_num_threads(before)


def one_epoch(training: Training) -> float:
    for batch in training.loader.epoch(training.epoch):
        training.step(*batch)
    return training.end_epoch()["val_accuracy"]


@pytest.mark.parametrize("name", methods()[7:])
def test_it_beats_chance_and_goes_on_bit_for_bit(name, like, tmp_path):
    recipe = DIGITS.replace(method=name, **CHANGED.get(name, {}))
    training, again = prepare(recipe, like), prepare(recipe, like)
    for _ in range(recipe.epochs - 1):
        one_epoch(training)
    torch.save(training.state(), tmp_path / "state.pt")
    again.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    accuracy = one_epoch(training)
    assert one_epoch(again) == accuracy
    assert all(same(net, again.nets[name]) for name, net in training.nets.items())
    assert same(training.modules, again.modules)
    assert accuracy > 0.25  # ten classes


def test_a_method_that_needs_maps_is_refused_before_a_teacher_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path))
    sentence = r"at needs maps \(C, H, W\), but layer -2 of the student is \(16,\)"
    with pytest.raises(InputError, match=sentence):
        prepare(DIGITS.replace(method="at", student="mlp-small"))
    with pytest.raises(InputError, match="layer of student must be between -2 and -1 for cnn-small, got -3"):
        prepare(DIGITS.replace(method="at", overrides={"at.stages": 3}))
    assert list(tmp_path.iterdir()) == []


def test_what_fits_and_why_the_others_do_not(like):
    whole = DIGITS.replace(teacher="cnn-small+cnn-tiny", peer="cnn-tiny")
    assert fitting(whole, like.full) == (list(methods), {})
    fits, reasons = fitting(DIGITS, like.full)
    assert list(reasons) == ["dml", "ffl", "ffcl", "mst"]
    assert reasons["mst"].startswith("A term reads the net 'teacher2', but this recipe has student, teacher")
    fits, reasons = fitting(DIGITS.replace(student="mlp-small"), like.full)
    assert {"at", "fitnet", "nst", "fsp", "vid", "ab", "ofd", "affinity"} <= reasons.keys()
    assert {"kd", "amkd", "dkd", "rkd", "mlkd", "psd"} <= set(fits)
    assert fits == [name for name in methods if name not in reasons]
    assert reasons["at"].startswith("at needs maps (C, H, W), but layer -2 of the student is (16,)")


def test_compare_all_leaves_out_what_does_not_fit(call, monkeypatch, tmp_path):
    few = {name: methods[name] for name in ("ce", "dkd", "at")}
    monkeypatch.setattr(sys.modules["amkd_viz.runs.prepare"], "methods", few)
    words = flags(POINTS.replace(method="amkd", epochs=1, teacher_epochs=1, magsim_samples=0))
    status, out, _ = call("compare", *words, "--methods", "all", "--seeds", "1", "--jobs", "1", "--out", tmp_path / "c")
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "c").iterdir() if path.is_dir()) == ["ce-seed0", "dkd-seed0"]
    assert "Left out: at. layer of student must be between -1 and -1 for mlp-tiny, got -2." in out
