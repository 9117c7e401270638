"""Labelled controls: made by hand, or from the fields of a dataclass (a recipe, a sampler, a term) and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import Field, fields, replace
from typing import Any, TypeVar

import ipywidgets as widgets

from amkd_viz.panels.view_widget import close_whole

__all__ = [
    "LABEL",
    "NEAR",
    "choice",
    "from_field",
    "from_fields",
    "only",
    "pace_control",
    "pairs",
    "shown_number",
    "plain",
    "slider",
    "temperature_control",
    "toggle",
    "with_values",
]

LABEL = {"description_width": "104px"}
PACES = [("2 epochs/s", 2.0), ("5 epochs/s", 5.0), ("10 epochs/s", 10.0), ("20 epochs/s", 20.0), ("no limit", math.inf)]
# What a control shows instead of the field's metadata: every valid value is wider than what one slides through.
SHOWN: dict[str, dict[str, Any]] = {
    "dataset": {"label": "data"},
    "num_train": {"label": "labelled"},
    "max_boundary_samples": {"label": "boundary / batch", "high": 256},
    "step_size": {"low": 0.01, "high": 3.0},
    "learning_rate": {"low": 1e-4, "high": 1.0},
    "temperature": {"step": 0.5},
    "epsilon": {"choices": [(f"{n}/255", n / 255) for n in range(1, 129)]},
}
NEAR = 0.01  # relative difference of what is the same on a log slider: one of its steps is 4 %
TYPED = 1000  # a range of more whole numbers than this is typed
T = TypeVar("T")


class LogSlider(widgets.FloatLogSlider):
    """A slider on a log scale whose moves in the page end on three digits, the ones that it shows."""

    def set_state(self, sync_data: dict[str, Any]) -> None:
        sent = sync_data.get("value")
        if isinstance(sent, int | float):
            sync_data = {name: value for name, value in sync_data.items() if name != "value"}
            if not math.isclose(sent, self.value, rel_tol=NEAR):  # else the page only rounds otherwise
                sync_data["value"] = float(f"{sent:.3g}")
        super().set_state(sync_data)


def slider(label: str, value: float, low: float, high: float, step: float, help: str, log: bool = False) -> Any:
    """Return a slider: of integers if ``step`` and ``value`` are, else of floats; with ``log``, on a log scale."""
    about = {"description": label, "tooltip": help, "style": LABEL, "continuous_update": True}
    if log:
        ends = {"min": _aligned(math.log10(low), math.log10(value), step), "max": math.log10(high)}
        return LogSlider(value=value, **ends, step=step, readout_format=".3g", **about)
    if isinstance(step, int) and isinstance(value, int):
        return widgets.IntSlider(value=value, min=low, max=high, step=step, **about)
    digits = max(0, len(f"{step:g}".partition(".")[2]))
    return widgets.FloatSlider(value=value, min=low, max=high, step=step, readout_format=f".{digits}f", **about)


def choice(label: str, value: Any, options: Iterable[Any], help: str) -> Any:
    """Return a menu; an option is a value, or (words, value)."""
    return widgets.Dropdown(value=value, options=pairs(options), description=label, tooltip=help, style=LABEL)


def pairs(options: Iterable[Any]) -> list[tuple[str, Any]]:
    """Return every option as (words, value): if only some are pairs, ipywidgets takes a pair for a value."""
    return [o if isinstance(o, tuple) else (str(o), o) for o in options]


def toggle(label: str, value: bool, help: str) -> Any:
    """Return a checkbox."""
    return widgets.Checkbox(value=value, description=label, tooltip=help, indent=False)


def temperature_control() -> Any:
    """Return the slider of the temperature at which predictions are shown."""
    return slider("temperature", 1.0, 0.5, 8.0, 0.5, "divides the logits: softer probabilities, the same classes")


def pace_control(value: float) -> Any:
    """Return the menu of maximum speeds, in epochs per second, with ``value`` among them."""
    more = [] if value in dict(PACES).values() else [(f"{value:g} epochs/s", value)]
    options = sorted([*PACES, *more], key=lambda option: option[1])
    return choice("pace", value, options, "maximum speed; the results do not depend on it")


def from_fields(owner: Any, names: Sequence[str] | None = None, **shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return the controls of a dataclass instance, by field name; see :func:`from_field`.

    :func:`with_values` makes the instance that the controls describe.

    Args:
        owner: a recipe, a sampler, a term, ...; its values are where the controls start.
        names: its fields, in the order of the controls; by default all.
        shown: by field name, what replaces the field's metadata in this panel.

    >>> from amkd_viz.training import Recipe
    >>> controls = from_fields(Recipe(), ["epochs", "schedule"], epochs={"high": 200})
    >>> controls["epochs"].max, [words for words, _ in controls["schedule"].options]
    (200, ['onecycle', 'step', 'constant'])
    """
    known = {field.name: field for field in fields(owner)}
    wanted = list(known) if names is None else names
    return {name: from_field(known[name], getattr(owner, name), **shown.get(name, {})) for name in wanted}


def from_field(field: Field[Any], value: Any, label: str | None = None, step: float | None = None, **shown: Any) -> Any:
    """Return the control of one dataclass field.

    The metadata ``choices`` gives a menu, ``low`` and ``high`` a slider (on a log scale if they are far apart), or a
    text field if the range is too wide to slide through. A value out of the range that is shown widens it. Where None
    is the default, 0 (or an empty text) stands for it, as 0 does for the first of the metadata ``words``.

    Args:
        label: by default the metadata ``label``, or the field's name.
        step: of the slider, on a linear scale.
        shown: replaces metadata: ``low``, ``high``, ``step``, ``choices``, ``help``, ``label``.
    """
    about = {**field.metadata, **SHOWN.get(field.name, {}), **shown}
    help, step = about.get("help", ""), about.get("step") if step is None else step
    label = label or about.get("label") or field.name.replace("_", " ")
    if "choices" in about:
        options = pairs(about["choices"])
        return choice(label, value, options if value in dict(options).values() else [*options, value], help)
    if isinstance(value, bool):
        return toggle(label, value, help)
    low, high = about.get("low"), about.get("high")
    if field.default is None and "str" not in str(field.type):
        value, low, help = value or 0, about.get("low", 0) if "low" in shown else 0, f"{help}; 0 for all"
    if words := about.get("words"):
        value, low, step, help = shown_number(value), 0.0, step or 0.01, f"{help}; 0 for {words[0]}"
    if value is None or isinstance(value, str):
        about = {"description": label, "tooltip": help, "style": LABEL}
        return widgets.Text(value=value or "", continuous_update=False, **about)
    low, high = (None if end is None else pick(end, value) for end, pick in ((low, min), (high, max)))
    whole = isinstance(value, int)
    if low is None or high is None or (whole and step is None and high - low > TYPED):
        made = widgets.BoundedIntText if whole else widgets.BoundedFloatText
        ends = {"min": -(10**9) if low is None else low, "max": 10**9 if high is None else high}
        return made(value=value, **ends, description=label, tooltip=help, style=LABEL)
    if whole:
        return slider(label, value, low, high, int(step or 1), help)
    if step is None and low > 0 and high >= 100 * low:
        return slider(label, value, low, high, 0.02, help, log=True)
    step = step or _round_step(high - low)
    return slider(label, value, _aligned(low, value, step), high, step, help)


def shown_number(value: Any) -> Any:
    """Return what a slider shows: 0 for a word in place of a number."""
    return 0.0 if isinstance(value, str) else value


def _aligned(low: float, value: float, step: float) -> float:
    """Return the end of a slider from which steps reach ``value``: the page would move any other value, and say so."""
    steps = math.floor((value - low) / step + 1e-6)
    return round(value - steps * step, 10)


def plain(control: Any, value: Any) -> Any:
    """Return a value of a slider as a person reads it, 6 digits: a slider adds its steps up, and rounds as it likes."""
    sliders = widgets.FloatSlider, widgets.FloatLogSlider, widgets.BoundedFloatText
    return float(f"{value:.6g}") if isinstance(control, sliders) else value


def only(controls: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the controls with these names, and close the others: no panel holds them."""
    for name in controls.keys() - set(names):
        close_whole(controls[name])
    return {name: controls[name] for name in names}


def with_values(owner: T, values: Mapping[str, Any]) -> T:
    """Return the dataclass instance with those of its fields that ``values`` names replaced.

    Args:
        values: control values by name; names that are not fields are ignored.

    Raises:
        InputError: the owner refuses a value.
    """
    changed: dict[str, Any] = {}
    for field in fields(owner):  # type: ignore[arg-type]
        if field.name in values:
            value = values[field.name]
            if isinstance(value, float):
                value = float(f"{value:.6g}")  # a slider adds its steps up
            if not value and (field.default is None or "words" in field.metadata):
                value = field.metadata.get("words", [None])[0]
            changed[field.name] = value
    return replace(owner, **changed)  # type: ignore[type-var]


def _round_step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten: about a hundredth of ``span``."""
    power: float = 10.0 ** math.floor(math.log10(span / 100))
    return float(f"{next(m * power for m in (1, 2, 5, 10) if m * power >= span / 100 * (1 - 1e-9)):g}")
