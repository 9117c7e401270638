"""The worked examples of CONTRIBUTING.md run as they stand, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from amkd_viz.objectives import methods
from amkd_viz.views import boundary_map

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_method_data_set_and_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(methods, "_made", dict(methods._made))  # names that it gives end with it
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        # a real module name: dataclasses look annotations up by it
        exec(compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("0.5 * same_confidence(temperature=1)")
    assert 0.5 <= float(said[1]) <= 1
    assert said[2].startswith("Dataset(xor: 2 classes, points (2,)")
    assert said[3].startswith("View(Confidence: teacher, student; teacher.mean=0.")
    data, view = names["data"], names["view"]
    nets = {name: names["build"]("mlp-tiny", data) for name in ("a", "b")}  # type: ignore[operator]
    assert boundary_map(nets, data, resolution=10).notes["b.agreement"] == 1  # type: ignore[arg-type]
    assert view.save(tmp_path / "view.html").is_file()  # type: ignore[attr-defined]


def test_the_files_that_it_names_are_there() -> None:
    root = Path(__file__).parent.parent
    named = re.findall(r"`((?:amkd_viz|notebooks)/[\w/.]*)`", TEXT)
    assert named
    assert [name for name in named if not (root / name).exists()] == []
