"""Colours fixed by class index or method name, and a Plotly template in light and dark."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import plotly.graph_objects as go
import plotly.io as pio

from amkd_viz.core.errors import unknown

__all__ = [
    "APART",
    "DARK",
    "LIGHT",
    "THEMES",
    "Theme",
    "class_colour",
    "in_theme",
    "method_colour",
    "method_colours",
    "template",
]

# Of classes. Petroff, "Accessible Color Sequences for Data Visualization", arXiv 2107.02270: ten colours.
TEN = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]
# Each at least 31 apart in CIELAB from those before it, and 12 from the colours of methods; L* of 32 to 82.
MORE = [
    *("#00e14b", "#ff0087", "#0000ff", "#ffa5f0", "#005a00", "#b4d200", "#00c387", "#ff00f0", "#872d69", "#0069f0"),
    *("#5a4b00", "#ff6978", "#ffa569", "#005a4b", "#96d269", "#f078ff", "#a59600", "#961e2d", "#f0b4c3", "#8769c3"),
]
CLASSES = TEN + MORE
APART = len(CLASSES)  # classes whose colours differ at a glance; beyond, hues repeat
# Of methods: contrast of at least 3 on both papers, so L* of 44 to 61; at least 21 apart in CIELAB from those ten, 28
# from each other. The seven of AMKD's family are at least 59 apart, and 26 as seen without green cones.
METHODS = {
    "kd": "#926024",
    "bss": "#008554",
    "amkd": "#f354aa",
    "triplet-kd": "#ff3000",
    "ce": "#0060ff",
    "amkd-student": "#e700ff",
    "amkd-calibrated": "#606d9e",
}
OTHERS = [
    *("#b64860", "#489eaa", "#859200", "#793cff", "#db6d48", "#30790c", "#b679aa", "#797960"),
    *("#f3186d", "#0085f3", "#00aa00", "#aa54b6", "#ff3c48", "#ce60ff", "#f300c2"),
]
GREY = "#8a909c"  # of Plotly's mode bar, in both themes
DARKEST, LIGHTEST = 44.0, 61.0  # L* of a method's several settings: contrast of at least 3 on both papers


@dataclass(frozen=True)
class Theme:
    """Colours of everything but data. Light and dark differ in every field, so one can replace the other."""

    ink: str  # text, teacher and student lines, rings
    muted: str  # secondary text
    line: str  # axes, marks that only guide
    grid: str
    paper: str
    page: str
    warm: str  # disagreement
    accent: str  # interactive elements


LIGHT = Theme("#1f2430", "#5d6573", "#b4bac6", "#e7eaef", "#fefefe", "#f4f5f8", "#9a7b46", "#2b62c4")
DARK = Theme("#e9ebf0", "#a4acba", "#5a6270", "#2b303a", "#1a1d24", "#121419", "#d3b476", "#7fb0ff")
THEMES = {"light": LIGHT, "dark": DARK}

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@cache
def class_colour(k: int) -> str:
    """Return the hex colour of class ``k`` >= 0, which depends on the index alone.

    Beyond ``APART``, the hues repeat, alternately lighter and darker, in ever smaller steps.

    >>> class_colour(0), class_colour(10) == class_colour(0)
    ('#3f90da', False)
    """
    turn, which = divmod(k, len(CLASSES))
    red, green, blue = _channels(CLASSES[which])
    if turn:
        hue, light, strong = colorsys.rgb_to_hls(red, green, blue)
        share = 1 - 0.6 ** ((turn + 1) // 2)
        # never near white or black: visible in both themes
        light = light + (0.92 - light) * 0.9 * share if turn % 2 else light * (1 - 0.65 * share)
        red, green, blue = colorsys.hls_to_rgb(hue, light, strong)
    return _hex((red, green, blue))


def method_colour(name: str) -> str:
    """Return the hex colour of a method that is drawn alone; see ``method_colours`` for several."""
    return METHODS.get(name) or OTHERS[_place(name)]


def _place(name: str) -> int:
    return sum(map(ord, name)) % len(OTHERS)


def method_colours(methods: Mapping[str, str]) -> dict[str, str]:
    """Return the hex colour of each label, given label -> method: the method's colour, or, if it has several labels,
    its hue from dark to light in their order. Up to 15 methods beside AMKD's family have different colours.

    >>> found = method_colours({"ce": "ce", "kd (epochs=1)": "kd", "kd (epochs=2)": "kd"})
    >>> found["ce"] == method_colour("ce"), found["kd (epochs=1)"], found["kd (epochs=2)"]
    (True, '#8e5e23', '#c98432')
    """
    found, each, taken = {}, {}, set[int]()
    for method in dict.fromkeys(methods.values()):
        each[method] = method_colour(method)
        if method not in METHODS:
            free = [(_place(method) + step) % len(OTHERS) for step in range(len(OTHERS))]
            place = next((at for at in free if at not in taken), free[0])
            taken.add(place)
            each[method] = OTHERS[place]
    for label, method in methods.items():
        own = [other for other in methods if methods[other] == method]
        share = own.index(label) / max(1, len(own) - 1)
        light = DARKEST + (LIGHTEST - DARKEST) * share
        found[label] = each[method] if len(own) == 1 else _at_lightness(each[method], light)
    return found


def _at_lightness(colour: str, wanted: float) -> str:
    """Return a colour of the same hue and saturation at L* ``wanted`` of CIELAB, in [8, 100]."""
    hue, _, strong = colorsys.rgb_to_hls(*_channels(colour))
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        darker = _luminance(colorsys.hls_to_rgb(hue, middle, strong)) < ((wanted + 16) / 116) ** 3
        low, high = (middle, high) if darker else (low, middle)
    return _hex(colorsys.hls_to_rgb(hue, low, strong))


def _luminance(channels: Sequence[float]) -> float:
    """Relative luminance in [0, 1] of sRGB values."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _hex(channels: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * v):02x}" for v in channels)


def template(theme: Theme = LIGHT) -> go.layout.Template:
    """Return the Plotly template: light grid, no frame, system font of 12 px, titles on the left."""
    axis = {
        "gridcolor": theme.grid,
        "linecolor": theme.line,
        "tickcolor": theme.line,
        "zeroline": False,
        "ticks": "",
        "title": {"font": {"color": theme.muted, "size": 12}, "standoff": 6},
        "tickfont": {"color": theme.muted, "size": 11},
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": theme.ink},
            "title": {"x": 0, "xanchor": "left", "xref": "paper", "font": {"size": 14}},
            "paper_bgcolor": theme.paper,
            "plot_bgcolor": theme.paper,
            "colorway": TEN,
            "margin": {"l": 8, "r": 8, "t": 34, "b": 8},
            "hovermode": "closest",
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": GREY},
            "hoverlabel": {"bgcolor": theme.paper, "bordercolor": theme.line, "font": {"color": theme.ink}},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
            "xaxis": axis,
            "yaxis": axis,
            "annotationdefaults": {"font": {"size": 12, "color": theme.ink}},
        }
    )


def in_theme(figure: go.Figure, name: str) -> go.Figure:
    """Return a copy of a figure in another theme: each colour of the light theme is replaced by its counterpart.

    >>> in_theme(go.Figure(layout={"template": template()}), "dark").layout.template.layout.paper_bgcolor
    '#1a1d24'
    """
    if name not in THEMES:
        raise unknown("theme", name, THEMES)
    text = pio.to_json(figure, validate=False)
    # Class colours and base64 data contain none of these: '#' is not in the base64 alphabet.
    for light, other in zip(asdict(LIGHT).values(), asdict(THEMES[name]).values(), strict=True):
        text = text.replace(light, other)
    return go.Figure(json.loads(text))
