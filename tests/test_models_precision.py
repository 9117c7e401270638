"""What "auto" and "bf16" mean on a machine, by the instruction sets of its processor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import amkd_viz.runs.run as run_module
from amkd_viz import Recipe, distill
from amkd_viz.core.errors import InputError
from amkd_viz.doctor import diagnosis
from amkd_viz.runs import prepare
from amkd_viz.training import device, events
from amkd_viz.training.device import bf16_hardware, cpu_flags, pick_precision, tf32, tf32_use
from amkd_viz.training.recipe import LATER
from amkd_viz.training.teachers import teacher_recipe

SMALL = Recipe(dataset="moons", teacher="mlp-tiny", student="mlp-tiny", method="ce", epochs=1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model name\t: x\nflags\t\t: fpu avx2 avx512f avx512_bf16\nflags\t\t: other\n", "avx512_bf16"),
        ("flags : avx512_bf16 amx_bf16 amx_tile", "amx_bf16"),
        ("Features\t: fp asimd bf16", "bf16"),
        ("flags : fpu avx2 avx512f", None),
    ],
)
def test_the_flags_of_a_processor(tmp_path: Path, text: str, found: str | None) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    flags = cpu_flags(tmp_path / "cpuinfo")
    assert bf16_hardware("cpu", flags) == found
    precision, note = pick_precision("auto", "cpu", flags)
    assert precision == ("bf16" if found else "fp32")
    assert note == f"precision='auto' is {precision} here: " + (
        f"found {found}." if found else "this processor has none of amx_bf16, avx512_bf16."
    )
    precision, note = pick_precision("bf16", "cpu", flags)
    assert precision == "bf16"
    assert (note is None) == bool(found)
    assert found or note.startswith("precision='bf16' is emulated here and several times slower than 'fp32': this proc")
    assert pick_precision("fp32", "cpu", flags) == ("fp32", None)


def test_without_linux_pytorch_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert "amx_bf16" in cpu_flags(tmp_path / "nothing")


@pytest.mark.parametrize("fast", [True, False])
def test_cuda(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast)
    assert pick_precision("auto", "cuda")[0] == ("bf16" if fast else "fp32")
    assert (pick_precision("bf16", "cuda")[1] is None) == fast


def test_the_device_of_the_run_is_asked_and_not_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[str] = []

    @contextmanager
    def within(name: str) -> Iterator[None]:
        inside.append(name)
        yield
        inside.pop()

    monkeypatch.setattr(torch.cuda, "device", within)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: inside == ["cuda:1"])
    assert [pick_precision("auto", name)[0] for name in ("cuda", "cuda:0", "cuda:1")] == ["fp32", "fp32", "bf16"]


def flags() -> list[str]:
    return [torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]


@pytest.mark.parametrize(
    ("setting", "within", "use"),
    [
        ("default", ["none", "tf32"], "convolutions"),
        ("on", ["tf32", "tf32"], "matrix products and convolutions"),
        ("off", ["ieee", "ieee"], "nowhere"),
    ],
)
def test_tf32_is_set_within_a_training_on_a_gpu(setting: str, within: list[str], use: str) -> None:
    usual = flags()
    assert usual == ["none", "tf32"]  # PyTorch's default
    with tf32(setting, "cuda"):
        assert flags() == within
        with tf32(setting, "cuda"):
            assert flags() == within
        assert flags() == within  # the first training goes on
        for other in {"default", "on", "off"} - {setting}:
            sentence = f"tf32 must be '{setting}' while another.*got '{other}'"
            with pytest.raises(InputError, match=sentence), tf32(other, "cuda"):
                pass
        with tf32("on", "cpu"):
            assert flags() == within
        assert tf32_use(setting) == use
    assert flags() == usual
    with pytest.raises(ZeroDivisionError), tf32(setting, "cuda"):
        _ = 1 / 0
    assert flags() == usual


def test_tf32_is_recorded_and_a_teacher_is_trained_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = SMALL.replace(tf32="on", device="cpu")
    training = prepare(recipe)
    assert "tf32" not in distill(recipe, tmp_path / "run", training=training).summary["versions"]  # a CPU has none
    training.device = torch.device("cuda:0")  # what it does is not changed, what the loop sets is
    happening = events(training)
    assert next(happening).training is training
    assert flags() == ["tf32", "tf32"]
    happening.close()
    assert flags() == ["none", "tf32"]
    monkeypatch.setattr(run_module, "pick_device", lambda name: torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    assert {s: run_module.versions("cuda", SMALL.replace(tf32=s))["tf32"] for s in ("on", "off", "default")} == {
        "on": "matrix products and convolutions",
        "off": "nowhere",
        "default": "convolutions",
    }
    assert teacher_recipe(recipe, 0).tf32 == "on"
    before = json.dumps({name: v for name, v in SMALL.to_json().items() if name not in dict(LATER)}, sort_keys=True)
    assert SMALL.hash == hashlib.sha256(before.encode()).hexdigest()[:10]  # sessions and folders of before have it
    assert SMALL.replace(tf32="off").hash != SMALL.hash


def test_other_devices_stay_in_float32() -> None:
    assert pick_precision("auto", "mps")[0] == "fp32"
    assert pick_precision("bf16", "mps") == ("bf16", None)


@pytest.mark.parametrize(("flags", "precision"), [({"avx2"}, "fp32"), ({"avx2", "amx_bf16"}, "bf16")])
def test_a_run_keeps_its_recipe_and_records_what_auto_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: set[str], precision: str
) -> None:
    monkeypatch.setattr(device, "cpu_flags", lambda: flags)
    recipe = SMALL.replace(precision="auto", device="cpu")
    training = prepare(recipe)
    assert training.autocast == (torch.bfloat16 if precision == "bf16" else None)
    assert any(note.startswith(f"precision='auto' is {precision} here") for note in training.notes)
    run = distill(recipe, tmp_path / "run")
    assert run.recipe.precision == "auto"
    assert run.recipe.hash == recipe.hash
    for name in ("config.json", "summary.json"):
        assert json.loads((tmp_path / "run" / name).read_text())["versions"]["precision"] == precision


def test_emulated_bf16_is_noted_and_the_doctor_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_flags", lambda: {"avx2"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    notes = prepare(SMALL.replace(precision="bf16", device="cpu")).notes
    assert [note for note in notes if "is emulated here" in note]
    assert any(line.startswith("  bf16           emulated, slow (the CPU has ") for line in diagnosis())
    monkeypatch.setattr(device, "cpu_flags", lambda: {"amx_bf16"})
    assert "  bf16           in hardware (amx_bf16)" in diagnosis()
