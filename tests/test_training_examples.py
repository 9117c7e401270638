"""The examples: trained once, kept, and gone on with after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

import amkd_viz.runs.examples as examples
from amkd_viz.core.errors import InputError
from amkd_viz.runs import example
from amkd_viz.training import EpochEnded, Recipe


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path))
    recipe = examples.SPIRALS.replace(epochs=3, teacher_epochs=1, num_train=40, magsim_samples=0, device="cpu")
    monkeypatch.setitem(examples.EXAMPLES, "spirals", recipe)
    return recipe


def test_trained_once(tiny: Recipe) -> None:
    heard: list[object] = []
    first = example("spirals", listen=heard.append)
    assert first.finished
    assert first.recipe == tiny.replace(method="amkd")
    assert heard
    heard.clear()
    again = example("spirals", listen=heard.append)
    assert (again.path, heard) == (first.path, [])
    assert example("spirals", "kd").path != first.path


def test_goes_on_after_a_kill(tiny: Recipe) -> None:
    class Killed(BaseException):
        pass

    def kill(event: object) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        example("spirals", listen=kill)
    assert example("spirals").finished


def test_unknown_names_are_refused(tiny: Recipe) -> None:
    with pytest.raises(InputError, match=r"example.*'squares'"):
        example("squares")
    with pytest.raises(InputError, match="method"):
        example("spirals", "magic")
