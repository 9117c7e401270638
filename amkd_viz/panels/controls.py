"""Labelled controls: sliders and menus with bounds and help, made by hand or from a dataclass field's metadata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import Field
from typing import Any

import ipywidgets as widgets

__all__ = ["PACES", "button", "choice", "from_field", "number", "pairs", "slider", "toggle"]

LABEL = {"description_width": "104px"}
PACES = [("2 epochs/s", 2.0), ("5 epochs/s", 5.0), ("10 epochs/s", 10.0), ("20 epochs/s", 20.0), ("no limit", math.inf)]


def slider(label: str, value: float, low: float, high: float, step: float, help: str, log: bool = False) -> Any:
    """A slider of whole numbers where ``step`` is one, else of real ones; ``log`` for magnitudes."""
    about = {"description": label, "tooltip": help, "style": LABEL, "continuous_update": True}
    if log:
        from math import log10

        return widgets.FloatLogSlider(
            value=value, min=log10(low), max=log10(high), step=step, readout_format=".3g", **about
        )
    if isinstance(step, int) and isinstance(value, int):
        return widgets.IntSlider(value=value, min=low, max=high, step=step, **about)
    digits = max(0, len(f"{step:g}".partition(".")[2]))
    return widgets.FloatSlider(value=value, min=low, max=high, step=step, readout_format=f".{digits}f", **about)


def number(label: str, value: int, low: int, high: int, help: str) -> Any:
    """A whole number that is typed."""
    return widgets.BoundedIntText(value=value, min=low, max=high, description=label, tooltip=help, style=LABEL)


def choice(label: str, value: Any, options: Sequence[Any], help: str) -> Any:
    """A menu; an option is a value, or (words, value)."""
    return widgets.Dropdown(value=value, options=pairs(options), description=label, tooltip=help, style=LABEL)


def pairs(options: Sequence[Any]) -> list[tuple[str, Any]]:
    """Options as (words, value) throughout: where only some are, ipywidgets takes a pair for a value."""
    return [o if isinstance(o, tuple) else (str(o), o) for o in options]


def toggle(label: str, value: bool, help: str) -> Any:
    return widgets.Checkbox(value=value, description=label, tooltip=help, indent=False)


def button(label: str, help: str, primary: bool = False) -> Any:
    return widgets.Button(description=label, tooltip=help, button_style="primary" if primary else "")


def from_field(field: Field[Any], value: Any, label: str | None = None, step: float | None = None) -> Any:
    """The control of a dataclass field: its bounds, choices and help stand in the metadata.

    Args:
        step: of a slider. Without, a number with a wide range is typed.
    """
    about = field.metadata
    label, help = label or field.name.replace("_", " "), about.get("help", "")
    if "choices" in about:
        return choice(label, value, about["choices"], help)
    if isinstance(value, bool):
        return toggle(label, value, help)
    if isinstance(value, str):
        return widgets.Text(value=value, description=label, tooltip=help, style=LABEL, continuous_update=False)
    if not {"low", "high"} & set(about):  # somebody's own field: any number
        kind = widgets.IntText if isinstance(value, int) else widgets.FloatText
        return kind(value=value, description=label, tooltip=help, style=LABEL)
    low, high = about.get("low", 0), about.get("high", 10**6)
    if step is not None:
        return slider(label, value, low, high, step, help)
    if isinstance(value, int):
        return number(label, value, low, high, help)
    return slider(label, value, low, high, 0.02, help, log=True)
