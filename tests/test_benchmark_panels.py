"""The panels' benchmark: what it calls met, and that every goal of theirs is measured."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import panels


def entry(monkeypatch: pytest.MonkeyPatch, goal: float, found: Any) -> dict[str, Any]:
    def how(bench: Any, context: Any) -> Any:
        """Some words."""
        return found

    monkeypatch.setitem(panels.MEASURED, "it", (goal, how))

    class Context:
        def __enter__(self) -> None: ...
        def __exit__(self, *about: Any) -> None: ...

    monkeypatch.setattr(panels, "browser", Context)
    return panels.measure("it", None, 30)  # type: ignore[arg-type]


def test_a_goal_is_met_by_the_95th_percentile(monkeypatch: pytest.MonkeyPatch) -> None:
    found = entry(monkeypatch, 100, [50.0] * 19 + [99.0] * 2)
    assert (found["n"], found["p50"], found["p95"], found["worst"], found["met"]) == (21, 50.0, 99.0, 99.0, True)
    assert not entry(monkeypatch, 100, [50.0] * 18 + [101.0] * 3)["met"]
    assert found["what"] == "Some words."


def test_a_slow_down_is_met_by_the_median_and_a_burst_by_its_evaluations_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert entry(monkeypatch, 5, ([-3.0, 4.0, 30.0], {"unit": "%"}))["met"]
    few, many = ({"evaluations": panels.spread([n] * 3), "evaluations_goal": 5} for n in (5, 6))
    assert entry(monkeypatch, 500, ([100.0, 120.0], few))["met"]
    assert not entry(monkeypatch, 500, ([100.0, 120.0], many))["met"]


def test_a_frame_s_bytes() -> None:
    assert panels.size_of({"opcode": 1, "payloadData": "abcd"}) == 4
    assert panels.size_of({"opcode": 2, "payloadData": "QUJD"}) == 3


def test_every_measurement_says_what_it_is() -> None:
    assert all((how.__doc__ or "").strip() for _, how in panels.MEASURED.values())
