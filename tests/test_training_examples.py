"""The examples: trained once, kept, and continued after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

import amkd_viz.runs.examples as examples
from amkd_viz.core.errors import InputError
from amkd_viz.runs import example
from amkd_viz.training import EpochEnded, Event, Recipe


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path))
    recipe = examples.SPIRALS.replace(epochs=3, teacher_epochs=1, num_train=40, magsim_samples=0, device="cpu")
    monkeypatch.setitem(examples.EXAMPLES, "spirals", recipe)
    return recipe


def test_goes_on_after_a_kill_and_is_trained_once(tiny: Recipe) -> None:
    class Killed(BaseException):
        pass

    heard: list[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        example("spirals", listen=hear)
    first = example("spirals")
    assert first.finished
    assert first.recipe == tiny.replace(method="amkd")
    assert heard
    heard.clear()
    assert example("spirals", listen=hear).path == first.path
    assert heard == []
    assert example("spirals", "kd").path != first.path


def test_unknown_names_are_refused(tiny: Recipe) -> None:
    with pytest.raises(InputError, match=r"example.*'squares'"):
        example("squares")
    with pytest.raises(InputError, match="method"):
        example("spirals", "magic")
