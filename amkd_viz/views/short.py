"""Shorten labels of runs but keep them distinct: files without folders, a letter for a long setting."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["WIDE", "Short", "short", "short_files"]

LONGEST, WIDE = 28, 40  # characters above a small map, and beside a row
FILE = re.compile(r"(?<==)[^,]*[/\\][^,]*")  # of a setting: a value with folders


class Short(NamedTuple):
    """Label -> short name, and what the letters stand for, "" without letters."""

    names: dict[str, str]
    key: str


def short(labels: Iterable[str], longest: int = LONGEST) -> Short:
    """Shorten labels of :func:`amkd_viz.runs.groups.groups`; a letter stands for one setting, of any method.

    >>> short(["kd (epochs=1)", "kd (epochs=2)"]).names["kd (epochs=2)"]
    'kd (epochs=2)'
    >>> found = short([f"{m} (teacher=/data/{t}.safetensors, precision=bf16)" for m in ("kd", "amkd") for t in "xy"])
    >>> list(found.names.values())
    ['kd A', 'kd B', 'amkd A', 'amkd B']
    >>> found.key
    'A: teacher=x.safetensors, precision=bf16; B: teacher=y.safetensors, precision=bf16.'
    """
    parts = {label: re.fullmatch(r"(.*?)(?: \((.*)\))?", label, re.DOTALL) for label in labels}
    methods = {label: found[1] if found else label for label, found in parts.items()}
    settings = {label: found[2] for label, found in parts.items() if found and found[2]}
    files = short_files(value for setting in settings.values() for value in FILE.findall(setting))
    settings = {label: FILE.sub(lambda m: files[m[0]], setting) for label, setting in settings.items()}
    names = {label: f"{methods[label]} ({settings[label]})" if label in settings else label for label in parts}
    if all(len(name) <= longest for name in names.values()):
        return Short(names, "")
    letters = {setting: _letter(i) for i, setting in enumerate(dict.fromkeys(settings.values()))}
    names |= {label: f"{methods[label]} {letters[setting]}" for label, setting in settings.items()}
    key = "; ".join(f"{letter}: {setting}" for setting, letter in letters.items())
    return Short(names, f"{key}." if key else "")


def short_files(names: Iterable[str]) -> dict[str, str]:
    """Strip folders from names, but keep as many as make them distinct.

    >>> list(short_files(["/data/x.safetensors", "cnn"]).values()), list(short_files(["/a/x.pt", "/b/x.pt"]).values())
    (['x.safetensors', 'cnn'], ['a/x.pt', 'b/x.pt'])
    """
    parts = {name: [part for part in re.split(r"[/\\]", name) if part] for name in names}
    for count in range(1, max(map(len, parts.values()), default=0) + 1):
        found = {name: "/".join(own[-count:]) for name, own in parts.items()}
        if len(set(found.values())) == len(found):
            return found
    return {name: name for name in parts}


def _letter(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else f"Z{i - 24}"
