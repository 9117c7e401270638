"""The Python of the README and of the how-to page runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from amkd_viz.objectives import methods
from amkd_viz.panels.panel import Panel

ROOT = Path(__file__).parent.parent


def blocks(path: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), re.DOTALL)


BLOCKS = blocks("README.md")


@pytest.mark.slow
def test_blocks_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(methods, "_made", dict(methods._made))  # names that it gives end with it
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path / "cache"))
    assert len(BLOCKS) >= 4
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    said = capsys.readouterr().out
    assert "boundary_triplet(" in said
    assert names["run"].finished  # type: ignore[attr-defined]
    assert names["child"].finished  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(blocks("docs/pages/how_to.md"))))
def test_each_recipe_of_the_how_to_page_runs_alone(
    number: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(methods, "_made", dict(methods._made))  # names that it gives end with it
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))
    names: dict[str, object] = {}
    try:
        exec(compile(blocks("docs/pages/how_to.md")[number], "how_to.md", "exec"), names)
    finally:
        for made in names.values():
            if isinstance(made, Panel):
                made.close()
