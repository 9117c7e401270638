"""Samples that are the same where they should differ."""

from __future__ import annotations

import hashlib

from amkd_viz.data.dataset import Dataset

__all__ = ["alike"]


def alike(dataset: Dataset) -> list[str]:
    """Return notes on samples that are alike where they should not be, compared by their pixels or coordinates."""
    what = dataset.kind
    parts = {name: getattr(dataset, name) for name in ("train", "val", "test")}
    keys = {name: [hashlib.sha256(x.numpy().tobytes()).digest() for x in part.x] for name, part in parts.items()}
    every = {key for own in keys.values() for key in own}
    if len(every) == 1:
        return [f"All {what} are alike as they are read: check how they were made, and their transparency."]
    notes = []
    held = {key: name for name in ("val", "train") for key in keys[name]}
    for name, label in (("test", "test"), ("val", "validation")):
        twice = [key for key in keys[name] if held.get(key) == "train" or (name == "test" and key in held)]
        if twice:
            where = "training" if name == "val" else "training or validation"
            notes.append(f"{len(twice)} of {len(keys[name])} {label} {what} are also in the {where} split.")
    by_class: dict[int, set[bytes]] = {}
    for name, part in parts.items():
        for key, y in zip(keys[name], part.y.tolist(), strict=True):
            by_class.setdefault(y, set()).add(key)
    first: dict[frozenset[bytes], int] = {}
    for k, own in sorted(by_class.items()):
        same = first.setdefault(frozenset(own), k)
        if same != k:
            notes.append(f"The classes {dataset.classes[same]!r} and {dataset.classes[k]!r} hold the same {what}.")
    return notes
