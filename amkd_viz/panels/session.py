"""What a person was looking at, in one small file: the recipe, the run and the state of the view.

Opened elsewhere it gives the same maps, byte for byte on the same versions. ``Session.record`` writes what
``amkd_viz.replay_view`` shows on a machine without torch.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from amkd_viz.boundary.by_name import OPTIONS, sample_by_name
from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.files import claim, parsed, write_atomic
from amkd_viz.data import Dataset
from amkd_viz.runs import Run
from amkd_viz.runs.run import versions
from amkd_viz.training import Recipe
from amkd_viz.views.ground import Ground
from amkd_viz.views.layout import keep
from amkd_viz.views.theme import THEMES, class_colour

__all__ = ["Session", "ViewState"]

FORMAT = 1
MOST_FRAMES = 60
MOST = 2**53  # as large as a number of a JSON file can be and stay what it is
HEX = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True)
class ViewState:
    """What was chosen by hand.

    Attributes:
        samples: published indices of test samples, as ``dataset.test.index`` holds them.
        anchors: three of them through which the plane goes; by default the first three samples.
        attack: in place of anchors, how the plane's second one is made: it goes through the first sample, its boundary
            sample, and the second sample. "net" (teacher or student) and "sampler" (bss, fgsm, noise, deepfool), the
            class "target", and the sampler's own "step_size", "steps", "step_rule", "space" or "epsilon".
        area: (x0, x1, y0, y1) of the map; by default around the data or the anchors.
        resolution: cells a side, 2 to 2000.
        epoch: of the student's snapshot; by default the last epoch.
        theme: light or dark.
        palette: hex colours of the classes in place of the library's own.
        camera: whatever a view keeps of its camera: JSON.

    Raises:
        InputError: a value is out of range: the field, the value and what is allowed.
    """

    samples: tuple[int, ...] = ()
    anchors: tuple[int, ...] | None = None
    attack: Mapping[str, Any] | None = None
    area: tuple[float, ...] | None = None
    resolution: int = 200
    epoch: int | None = None
    theme: str = "light"
    palette: tuple[str, ...] = ()
    camera: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("samples", "anchors", "area", "palette"):
            value = getattr(self, name)
            if isinstance(value, list):  # from JSON
                object.__setattr__(self, name, tuple(value))
        _check("samples", self.samples, "indices from 0", _indices(self.samples))
        _check("anchors", self.anchors, "three indices", self.anchors is None or _indices(self.anchors, 3))
        if self.attack is not None:
            _check_attack(self.attack)
        _check("area", self.area, "x0 < x1 and y0 < y1", self.area is None or _is_area(self.area))
        _check("resolution", self.resolution, "2 to 2000", _index(self.resolution) and 2 <= self.resolution <= 2000)
        _check("epoch", self.epoch, "a whole number from 0", self.epoch is None or _index(self.epoch))
        _check("camera", self.camera, "a JSON object", isinstance(self.camera, Mapping) and _is_json(dict(self.camera)))
        colours = isinstance(self.palette, tuple) and all(isinstance(c, str) and HEX.fullmatch(c) for c in self.palette)
        _check("palette", self.palette, "colours like #3f90da", colours)
        if not isinstance(self.theme, str) or self.theme not in THEMES:
            raise unknown("theme", self.theme, THEMES)


@dataclass(frozen=True)
class Session:
    """A recipe, the folder of its run, and what a person chose to look at.

    >>> Session(Recipe(), Path("runs/one"), ViewState(epoch=3)).view.resolution
    200
    """

    recipe: Recipe
    run: Path
    view: ViewState = field(default_factory=ViewState)

    @classmethod
    def of(cls, run: Run, **view: Any) -> Session:
        """A session on a run; ``view`` are fields of :class:`ViewState`."""
        return cls(run.recipe, run.path, _view(view))

    @classmethod
    def open(cls, path: str | Path) -> Session:
        """Read ``session.json``, or the folder that holds it; the run is found relative to it.

        Raises:
            InputError: no session there, damaged, or of another format.
        """
        path = _file(path)
        with parsed(path, "session", "give the path of a session.json"):
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise InputError(f"{path} has session format {found['format']}, but this version reads {FORMAT}.")
            run = (path.parent / found["run"]).resolve()
            return cls(Recipe.from_json(found["recipe"]), run, _view(found["view"]))

    @classmethod
    def files(cls, folder: str | Path) -> list[Path]:
        """The sessions in a folder, by name; what else lies there is left out."""
        found = []
        for path in sorted(Path(folder).glob("*.json")):
            with suppress(InputError):
                cls.open(path)
                found.append(path)
        return found

    def save(self, path: str | Path) -> Path:
        """Write ``session.json``, whole or not at all; an earlier session there is replaced, nothing else is.

        The run is named relative to the file: a folder that holds both can be copied. A teacher that was trained here
        stays in the cache; elsewhere it is trained again.

        Raises:
            InputError: another file is there, or the disk is full.
        """
        path = _file(path)
        run, folder = self.run.resolve(), path.parent.resolve()
        content = {
            "format": FORMAT,
            "recipe": self.recipe.to_json(),
            "run": Path(os.path.relpath(run, folder)).as_posix() if run.anchor == folder.anchor else str(run),
            "view": asdict(self.view),
            "versions": versions("cpu"),
        }
        return write_atomic(claim(path, Session.open), json.dumps(content, indent=2) + "\n")

    def open_run(self) -> Run:
        """The run.

        Raises:
            InputError: it is not there, or another recipe's run stands in its place.
        """
        run = Run.open(self.run)
        if run.recipe != self.recipe:
            hashes = f"{run.recipe.hash}, not {self.recipe.hash}"
            raise InputError(f"The run in {self.run} is of another recipe than this session ({hashes}).")
        return run

    def maps(self) -> dict[str, NDArray[Any]]:
        """What teacher and student decide: 2-D problems exactly in the data's window, images on the plane through the
        anchors, coarse to fine.

        Returns:
            ``x``, ``y`` (R,), ``teacher.winner``, ``student.winner`` (R, R) int16, the same with ``confidence`` and
            ``margin`` (R, R) float32; for images also ``anchors`` (3, 2), ``box`` (V, 2) and ``inside`` (R, R).

        Raises:
            InputError: run, data, snapshot, samples or anchors are not there, or give no plane.
        """
        run = self.open_run()
        nets = {"teacher": run.teacher(), "student": run.student(self.view.epoch)}
        ground = _ground(run.dataset(), self.view, nets)
        arrays = ground.arrays(self.view.resolution)
        for name, net in nets.items():
            found = ground.decisions(net, self.view.resolution)
            arrays |= {f"{name}.{part}": value for part, value in found._asdict().items()}
        return arrays

    def record(self, path: str | Path) -> Path:
        """Write a self-contained ``.npz`` of the maps over the run's snapshots, for ``amkd_viz.replay_view``.

        Holds, for E epochs (at most 60, first and last among them): ``epoch`` (E,), ``teacher.winner`` (R, R) and
        ``student.winner`` (E, R, R) int16, the same with ``confidence`` uint8 (255 is 1), test points or the anchors'
        pictures, and the words and colours as JSON.

        Raises:
            InputError: see :meth:`maps`; or ``path`` is there already.
        """
        path = claim(Path(path))
        run = self.open_run()
        data, epochs = run.dataset(), run.snapshots()
        if not epochs:
            raise InputError(f"The run {run.path} has no snapshots to record.")
        ground = _ground(data, self.view, {"teacher": run.teacher(), "student": run.student(self.view.epoch)})
        epochs = [epochs[i] for i in keep(len(epochs), MOST_FRAMES)]
        teacher = ground.decisions(run.teacher(), self.view.resolution)
        students = [ground.decisions(run.student(epoch), self.view.resolution) for epoch in epochs]
        colours = asdict(THEMES[self.view.theme])
        about = {
            "format": FORMAT,
            "kind": data.kind,
            "title": f"{data.name.rpartition('/')[2]}, {self.recipe.method}, seed {self.recipe.seed}",
            "classes": list(data.classes),
            "colours": [*self.view.palette, *map(class_colour, range(len(self.view.palette), data.num_classes))],
            "theme": {name: colours[name] for name in ("ink", "muted", "line", "paper")},
            "names": [data.classes[k] for k in ground.labels],
        }
        arrays = ground.arrays(self.view.resolution) | {
            "about": np.array(json.dumps(about)),
            "epoch": np.array(epochs),
            "teacher.winner": teacher.winner,
            "teacher.confidence": _bytes(teacher.confidence),
            "student.winner": np.stack([s.winner for s in students]),
            "student.confidence": _bytes(np.stack([s.confidence for s in students])),
            **ground.marks(),
        }
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **arrays)
        return write_atomic(path, file.getvalue())


def _view(values: Mapping[str, Any]) -> ViewState:
    known = [f.name for f in fields(ViewState)]
    for name in values:
        if name not in known:
            raise unknown("view field", name, known)
    return ViewState(**values)


def _ground(data: Dataset, view: ViewState, nets: Mapping[str, nn.Module]) -> Ground:
    area = None if view.area is None else _four(view.area)
    if data.kind == "points":
        return Ground(data, area=area)
    if view.attack is not None:
        return _across(data, view, nets[view.attack["net"]], area)
    chosen = view.samples[:3] if view.anchors is None else view.anchors
    if len(chosen) != 3:
        raise InputError(f"A map of images needs three chosen samples, not {len(chosen)}; set samples or anchors.")
    places = [_place(data, index) for index in chosen]
    return Ground(data, data.test.floats(places), data.test.y[places].tolist(), area)


def _across(data: Dataset, view: ViewState, net: nn.Module, area: tuple[float, float, float, float] | None) -> Ground:
    """The plane through a sample, its boundary sample as ``view.attack`` makes it, and another sample."""
    assert view.attack is not None
    if len(view.samples) < 2:
        raise InputError(f"A plane across the boundary needs two chosen samples, not {len(view.samples)}.")
    base, other = (_place(data, index) for index in view.samples[:2])
    own, target = dict(view.attack), view.attack["target"]
    if target >= data.num_classes:
        raise InputError(f"{data.name} has no class {target}; it has {data.num_classes}.")
    options = {name: own[name] for name in OPTIONS[own["sampler"]] if name in own}
    x = data.test.floats([base])
    found = sample_by_name(own["sampler"], net, x, torch.tensor([target]), **options)
    labels = [int(found.base[0]), int(found.logits[0].argmax()), int(data.test.y[other])]
    return Ground(data, torch.stack([x[0], found.x[0], data.test.floats([other])[0]]), labels, area)


def _check_attack(attack: Mapping[str, Any]) -> None:
    """Which values of options are allowed is checked by the samplers themselves."""
    _check("attack", attack, "a JSON object", isinstance(attack, Mapping))
    known = ["net", "sampler", "target", *dict.fromkeys(name for names in OPTIONS.values() for name in names)]
    for name in attack:
        if name not in known:
            raise unknown("field of the attack", name, known)
    for name, allowed in (("net", ["teacher", "student"]), ("sampler", list(OPTIONS))):
        if attack.get(name) not in allowed:
            raise unknown(f"{name} of the attack", str(attack.get(name)), allowed)
    _check("attack's target", attack.get("target"), "a class", _index(attack.get("target")))
    for names, kind, right in (
        (("step_size", "epsilon"), "a number", _number),
        (("steps",), "a whole number", _index),
        (("step_rule", "space"), "a text", lambda value: isinstance(value, str)),
    ):
        for name in names:
            _check(f"attack's {name}", attack.get(name), kind, name not in attack or right(attack[name]))


def _place(data: Dataset, index: int) -> int:
    """The position in the test split of the sample that was published as ``index``."""
    found = (data.test.index == index).nonzero().flatten().tolist()
    if not found:
        raise InputError(f"{data.name} has no test sample {index}; it has {len(data.test)}, see dataset.test.index.")
    return int(found[0])


def _bytes(confidence: NDArray[Any]) -> NDArray[np.uint8]:
    return (255 * confidence + 0.5).astype(np.uint8)


def _file(path: str | Path) -> Path:
    path = Path(path)
    return path / "session.json" if path.is_dir() else path


def _check(name: str, value: object, allowed: str, right: bool) -> None:
    if not right:
        raise InputError(f"{name} must be {allowed}, not {value!r}.")


def _index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_json(value: object) -> bool:
    try:
        return bool(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return False


def _indices(values: object, count: int | None = None) -> bool:
    return isinstance(values, tuple) and all(map(_index, values)) and count in (None, len(values))


def _is_area(area: object) -> bool:
    if not isinstance(area, tuple) or len(area) != 4:
        return False
    return all(map(_number, area)) and area[0] < area[1] and area[2] < area[3]


def _four(area: tuple[float, ...]) -> tuple[float, float, float, float]:
    x0, x1, y0, y1 = area
    return x0, x1, y0, y1
