"""Each recipe of CONTRIBUTING.md is one file of at most 40 lines that runs as it is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from amkd_viz.boundary import samplers
from amkd_viz.cli import main
from amkd_viz.core.registry import Registry
from amkd_viz.data import datasets
from amkd_viz.objectives import methods, terms
from amkd_viz.panels.panel import Panel

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### ([^\n]+)\n.*?```python\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE))
REGISTRIES: tuple[Registry, ...] = (samplers, datasets, methods, terms)
PRINTS = {
    "A loss term": r"'hint': \d",
    "A method": r"boundary_kd\(.*\n0?[01]\.\d",
    "A boundary sampler": r"'attack.crossed': [01]\.",
    "A weight per sample": r"4->1 \* sure \* kd\(.*\n[01]\.\d",
    "Two students that teach each other": r"'kd:peer': .*'peer_loss': ",
    "A data set": r"Dataset\(xor: 2 classes, points \(2,\).*\n[01]\.\d",
    "A view": r"View\(Confidence: teacher, student; teacher.mean=0\.",
    "A panel": "",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTS)
def test_a_recipe_is_one_file(
    name: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path_factory.getbasetemp() / "teachers-of-the-session"))
    before = [set(registry) for registry in REGISTRIES]
    file = tmp_path / "recipe.py"
    file.write_text(RECIPES[name], encoding="utf-8")
    assert len(RECIPES[name].splitlines()) <= 40
    try:
        made = runpy.run_path(str(file))
        assert re.search(PRINTS[name], capsys.readouterr().out)
        if name == "A view":
            assert (tmp_path / "confidence.html").is_file()
        if name == "A panel":
            panel: Panel = made["panel"]
            assert (panel["temperature"], panel.code()) == (4.0, "(net(x) / 4.0).softmax(1).amax(1)")
            assert panel.compute.wait()
            assert panel.paint.wait()
            assert panel.picture.data[0].x.max() <= 1  # type: ignore[attr-defined]
            panel.close()
        if name in ("A data set", "A method", "A loss term"):  # what is registered is listed
            with pytest.raises(SystemExit):
                main(["distill", "--help"])
            assert {"A data set": "xor", "A method": "late-boundary", "A loss term": "hint "}[name] in (
                capsys.readouterr().out
            )
    finally:
        for registry, names in zip(REGISTRIES, before, strict=True):
            for new in set(registry) - names:
                registry.forget(new)


def test_every_recipe_is_run() -> None:
    assert set(RECIPES) == set(PRINTS)
