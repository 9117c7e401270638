"""What "auto" and "bf16" mean on a machine, by the instruction sets of its processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from amkd_viz import Recipe, distill
from amkd_viz.doctor import diagnosis
from amkd_viz.runs import prepare
from amkd_viz.training import device
from amkd_viz.training.device import bf16_hardware, cpu_flags, pick_precision

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
