"""A 2-D problem whose whole decision boundary is visible: drag a point and watch the attack move it."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from amkd_viz.boundary import BoundarySamples
from amkd_viz.boundary.samples import Status
from amkd_viz.core.errors import InputError
from amkd_viz.core.parse import NUMBER
from amkd_viz.data import Dataset, load, parse_name
from amkd_viz.data.points import PROBLEMS, extra_points, extra_text
from amkd_viz.models import Classifier, architectures, inference_copy
from amkd_viz.objectives import methods
from amkd_viz.panels.attack_controls import attack, attack_code, attack_controls, target_options
from amkd_viz.panels.attack_words import attack_table, attack_words
from amkd_viz.panels.controls import LABEL, choice, from_fields, only, slider, temperature_control, toggle, with_values
from amkd_viz.panels.net_maps import NetMaps
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.prediction import Prediction
from amkd_viz.panels.scrubber import Scrubber
from amkd_viz.panels.session import Session, opened
from amkd_viz.panels.walk_canvas import WalkCanvas
from amkd_viz.runs import Job, Run, fresh_folder
from amkd_viz.training import SPIRALS, Event, Recipe, Started, Training
from amkd_viz.training.teachers import teacher_recipe
from amkd_viz.views import View, boundary_map
from amkd_viz.views.boundary_map import attack_marks
from amkd_viz.views.crossings import Crossing, crossings_of
from amkd_viz.views.decisions import decisions, logits_at
from amkd_viz.views.labels import class_label, number, percent, plural
from amkd_viz.views.scene import Mark
from amkd_viz.views.slices import Slice, grid_points, window
from amkd_viz.views.walk import walk

__all__ = ["BoundaryLab"]

COARSE, FINE = 100, 200  # grid resolution while training, and of the final map
LIVE = 0.15  # seconds between two maps of a student that is being trained
MOST = 900  # training points of a problem of the default size
POINTS, RADIUS = 300, 2.6  # training points on a map, and their size
LEVELS = (0.25, 0.5, 0.75)  # of the margin lines
# fields of Recipe of the attack on the point: small steps, which stop at the first boundary
LOOK = {"step_rule": "gap", "step_size": 0.03, "attack_steps": 20}
STEPS = range(3, 9)  # of the attack on the first point
IN_TRAINING = {f"train_{field}": field for field in LOOK}  # control -> field of Recipe
OF_NETS = ("problem", "noise", "classes", "num_train", "teacher", "student", "method", "epochs", *IN_TRAINING)
TRAINS = (*OF_NETS, "extra")  # what describes a training; the first ones begin it when they move
CHANGED = "The controls now describe other nets than those on show."


class Attacked(NamedTuple):
    """The attack on the nets of the run: the values of the controls, and what it did to each net."""

    values: Mapping[str, Any]
    samples: Mapping[str, BoundarySamples]


class BoundaryLab(Panel):
    """Show teacher and student of a 2-D problem on exact maps, and attack the point that is dragged.

    The panel has two states: ``recipe`` is what the controls say, ``run`` holds the nets on show. Code, session and
    export describe the nets on show, and a line beneath each map says with what its net was trained. The attack on the
    point has its own controls: they train nothing.

    Args:
        problem: "moons", "circles", "spirals", "blobs", with options as in ``load``; a finished run of one, or a
            session of this panel, or the path of either.
        method: how the student learns.
        point: (x, y) that is attacked first; by default one that shows a clean crossing.
        controls: first values of the controls, by name.

    Raises:
        InputError: the problem is not two-dimensional; a control is unknown or does not accept its value.
    """

    title = "BoundaryLab"
    matters = "method", "step_size", "attack_steps"
    keys = (
        "arrows move the blue point (with Shift farther) or the slider that has the focus; Enter adds a point there, "
        "if a class is chosen; Space plays the epochs of the student, and on the path its steps."
    )
    kept: ClassVar = {"controls": dict, "point": [NUMBER]}
    first_steps: ClassVar = {
        "controls": "Change the noise, or the number of points: both networks are trained again.",
        "pictures": (
            "What each network predicts at every point of the plane. Drag the blue point: the attack moves it across "
            "both boundaries."
        ),
        "head": Panel.first_steps["head"],
    }
    about = (
        "Colour is the class that a net predicts at each point of the plane, opacity its confidence. Drag the blue "
        "point: the <i>attack</i> pushes it across the teacher's boundary towards a target class, and, dashed, across "
        "the student's. A point that has just crossed is a <i>boundary supporting sample</i> (ring); the cross marks "
        "where the attack path meets the boundary. One step, towards target $k$ from base class $b$ with logits $f$, "
        "is $x \\leftarrow x + a\\,(f_b - f_k + \\epsilon)\\,g/\\|g\\|^p$, $g = \\nabla_x (f_k - f_b)$ "
        "(Heo et al., 2019, arXiv 1805.05532). Choose a class under <i>Your points</i> and click on a map to add "
        "training points (triangles), or to take one away; <i>Retrain</i> then trains both nets on them: the teacher "
        "sees all points, the student its labelled ones and all of yours."
    )

    _data: Dataset  # on show, with the nets

    def __init__(
        self,
        problem: str | Path | Run | Session = "spirals",
        *,
        method: str = "amkd",
        point: Sequence[float] = (),
        **controls: Any,
    ) -> None:
        self._first = problem, method
        problem = opened(problem, self, Run)
        session = problem if isinstance(problem, Session) else None
        run = session.open_run(self) if session else problem if isinstance(problem, Run) else None
        recipe = run.recipe if run else SPIRALS.replace(dataset=str(problem), method=method)
        name, options = parse_name(recipe.dataset)
        if name not in PROBLEMS:
            raise InputError(f"BoundaryLab draws 2-D problems, not {name}; for images use SampleLab.")
        if run is None:
            load(recipe.dataset)  # refuses options that no slider can show
        super().__init__()
        self._recipe = recipe  # gives the fields without a control
        self._count = f",n={options['n']}" if "n" in options else ""
        self._folder = tempfile.TemporaryDirectory(prefix="amkd-viz-", ignore_cleanup_errors=True)
        self._runs = 0
        self.job: Job | None = None
        self.run: Run | None = None
        self._training: Training | None = None  # the one that the job is at
        self._drawn = 0.0
        self._note = ""  # beside the map of a student that is being trained
        self._nets: dict[str, Classifier] = {}
        self._logits: dict[str, Tensor] = {}  # name -> (R, R, K) on the grid of the map
        self._samples: dict[str, BoundarySamples] = {}
        self._ways: dict[str, list[Crossing]] = {}  # where the samples' paths cross
        self._attacked: Attacked | None = None
        self._trained: dict[str, Any] = {}  # the values of TRAINS with which the run was trained
        self._half = False  # whether the nets at hand are not those of the run: a training is under way
        self._own: dict[str, str] = {}  # the points that were added to other problems, by its name
        self._problem = name  # whose points are on show
        self._build(recipe, name, options)
        described = {name: self[name] for name in TRAINS}
        own = session.state["controls"].get("extra", "") if session else "" if run else self["extra"]
        self._check("extra", own)
        self._points(own)  # refuses what is not on the map
        late = {
            name: controls.pop(name) for name in ("target", "adds", "epoch") if name in controls
        }  # its classes are not known yet
        self.opens_with(**controls)
        self._later: Mapping[str, Any] = {"point": list(map(float, point)), "controls": late}
        if run is not None:
            self.say(f"Reading {run.path.name} ...", "busy")
            self.compute.ask("nets", lambda: self._take(run, described, session.state if session else {}))
        else:
            self.changed("problem", name)

    def _build(self, recipe: Recipe, name: str, options: Mapping[str, Any]) -> None:
        self.maps = NetMaps(self.paint, "The teacher is being trained.")
        self.canvas = self.maps.canvas
        self.canvas.levels = list(LEVELS)
        self.table, self.walk = widgets.HTML(), WalkCanvas(empty="Drag the point to see its attack, step by step.")
        self._beside.append(widgets.jslink((self.walk, "step"), (self.canvas, "step")))
        self.prediction = Prediction(self)
        self._scrubber = Scrubber(self, [0], description="student's epoch")
        self._scrubber.row.layout.display = "none"
        nets: dict[str, Any] = {"choices": [a for a in architectures() if a.startswith("mlp")]}
        family = PROBLEMS[name]
        attack = only(attack_controls(recipe.replace(**LOOK)), [*LOOK, "target"])
        labels = {field: {"label": f"train: {field.removeprefix('attack_').replace('_', ' ')}"} for field in LOOK}
        training = from_fields(recipe, list(LOOK), **labels | {"attack_steps": {"high": 40, **labels["attack_steps"]}})
        retrain = self.button("Retrain", "train nets with the settings of the controls", self.retrain, primary=True)
        self._stale = widgets.HBox([widgets.HTML(CHANGED), retrain])
        self._stale.add_class("amkd-asked")
        self._stale.layout.display = "none"
        noise, classes = float(options.get("noise", family.noise)), int(options.get("classes", family.classes))
        recipe = recipe.replace(num_train=recipe.num_train or MOST)
        chosen = {"teacher": nets, "student": nets, "method": {"choices": list(methods)}, "epochs": {"high": 200}}
        labelled = {"low": 20, "high": MOST, "step": 20}
        self.assemble(
            {
                "Problem": {
                    "problem": choice("problem", name, list(PROBLEMS), "family of 2-D curves, one per class"),
                    "noise": slider(
                        "noise", noise, 0.0, max(0.6, noise), 0.02, "standard deviation of what is added to x₁ and x₂"
                    ),
                    "classes": slider("classes", classes, 2, max(8, classes), 1, "number of classes"),
                    **from_fields(recipe, ["num_train"], num_train=labelled),
                },
                "Your points": {
                    "adds": choice(
                        "a click", -1, _clicks([]), "what a click on a map does; a click on an added point removes it"
                    ),
                    "extra": widgets.Text(
                        value=options.get("extra", ""),
                        description="points",
                        tooltip="X1/X2/CLASS (from 0) of each point, joined by +; Retrain trains both nets on them",
                        placeholder="click on a map to add one",
                        continuous_update=False,
                        style=LABEL,
                    ),
                },
                "Nets": from_fields(recipe, list(chosen), **chosen),
                "Attack in training": {name: training[field] for name, field in IN_TRAINING.items()},
                "Attack on the point": {
                    **attack,
                    "predict": toggle("What will happen? Ask me first", False, "answer before the path is shown"),
                },
                "View": {
                    "temperature": temperature_control(),
                    "margins": toggle("margin lines", True, "where the two largest probabilities differ by .25 .5 .75"),
                },
            },
            [self._stale, self.canvas, self._scrubber.row, self.prediction.row, self.walk, self.table],
            folded=["Attack in training"],
            parts={"Path": self.walk, "Numbers": self.table, "Epochs": self._scrubber.row},
            stage=[self.canvas],
        )
        self._scrubber.register()
        self.watch(self.canvas, "point", lambda _: self.compute.ask("attack", self._attack, soon=True))
        self.watch(self.canvas, "released", lambda _: self.compute.ask("ask", self._ask))
        self.canvas.own = list(map(list, extra_points(self["extra"])))
        self.watch(self.canvas, "own", self._edited)
        self.controls["adds"].observe(lambda change: setattr(self.canvas, "adds", change["new"]), names="value")

    # what a person does

    @property
    def recipe(self) -> Recipe:
        """Return the distillation that the controls describe; ``run.recipe`` is that of the nets on show."""
        return self._described(self.values)

    def _described(self, v: Mapping[str, Any]) -> Recipe:
        extra = f",extra={v['extra']}" if v["extra"] else ""
        dataset = f"{v['problem']}:noise={v['noise']:g},classes={v['classes']}{self._count}{extra}"
        fields = {IN_TRAINING.get(name, name): v[name] for name in TRAINS}
        return with_values(self._recipe, fields).replace(dataset=dataset, magsim_samples=0, evaluate_every=v["epochs"])

    @property
    def stale(self) -> bool:
        """Whether the controls describe other nets than those of the run."""
        return any(self[name] != value for name, value in self._trained.items())

    def retrain(self) -> None:
        """Train nets with the settings of the controls."""
        self.say("Training ...", "busy")
        self.slow.ask("train", self._train)

    def attack(self, x: float, y: float) -> BoundarySamples:
        """Attack the point (x, y), as if it had been dragged there, and return the teacher's boundary sample.

        Raises:
            InputError: a coordinate is not finite.
        """
        self.wait()
        if not (math.isfinite(x) and math.isfinite(y)):
            raise InputError(f"A point of the plane must be two finite numbers, got ({x}, {y}).")
        self.canvas.point = [float(x), float(y)]
        self.wait()
        return self._samples["teacher"]

    def add_point(self, x: float, y: float, k: int) -> None:
        """Add a training point of class ``k`` at (x, y), as a click does; ``retrain`` trains both nets on it.

        Raises:
            InputError: the point is not on the map, or there is no such class.
        """
        self.check_open()
        self.canvas.own = [*self.canvas.own, *self._points(extra_text([(x, y, k)]))]

    def _check(self, name: str, value: Any) -> None:
        super()._check(name, value)
        if name == "extra":
            extra_points(value)

    def _points(self, text: str) -> list[list[float]]:
        """Return the points of a text of ``extra``.

        Raises:
            InputError: one is not on the map, or has none of the classes.
        """
        points = extra_points(text)
        if points:
            recipe = self._described({**self.values, "extra": text})
            data = recipe.load()  # refuses other classes
            shown: Dataset | None = getattr(self, "_data", None)
            x0, x1, y0, y1 = window(shown if shown is not None and shown.name == data.name else recipe.subset(data))
            for x, y, _ in points:
                if not (x0 <= x <= x1 and y0 <= y <= y1):
                    raise InputError(
                        f"A point must lie on the map, x1 from {x0:.2f} to {x1:.2f} and x2 from {y0:.2f} to {y1:.2f}, "
                        f"got ({x:g}, {y:g})."
                    )
        return list(map(list, points))

    def _edited(self, change: Any) -> None:
        """After a click that adds or removes a point."""
        self.controls["extra"].value = extra_text(change["new"])

    def _take_points(self, text: str) -> None:
        """Show the points of ``extra``; what it must not be is put back."""
        shown = self.canvas.own
        if text != extra_text(shown):
            try:
                points = self._points(text)
            except InputError:
                self.paint.ask("extra", lambda: self.put("extra", value=extra_text(shown)))
                raise
            self.paint.ask("extra", lambda: setattr(self.canvas, "own", points))
        self.compute.ask("about", self._say_with_what)
        self.tell(f"{plural(len(extra_points(text)), 'added point')}; Retrain trains both nets on all points.")

    def changed(self, name: str, value: Any) -> None:
        if name == "extra":
            self._take_points(value)
            return
        if name == "problem":  # points belong to a problem
            self._own[self._problem], self._problem = self["extra"], value
            self._undone, before = True, self._undone
            self.controls["extra"].value = self._own.get(value, "")
            self._undone = before
        if name in OF_NETS:
            self.say(f"{self.label(name)}: {value}; training ...", "busy")
            self.slow.ask("train", self._train)
            self.compute.ask("about", self._say_with_what)
        elif name in ("temperature", "margins"):
            self.compute.ask("draw", self._draw)
            self.compute.ask("words", self._draw_attack)
        elif name == "predict":
            self.compute.ask("ask", self._ask)
        elif name == "epoch":
            self.compute.ask("epoch", self._show_epoch)
        elif name != "adds":
            self.compute.ask("attack", self._attack)

    # training

    def _train(self) -> None:
        """Run a job for the controls to its end, or until newer settings wait or a person presses Cancel."""
        over, values = self.cancel_point(), {name: self[name] for name in TRAINS}
        self._runs += 1
        job = self.job = Job(self._described(values), Path(self._folder.name, str(self._runs)), listen=self._hear)
        self.say("Training the teacher ...", "busy", cancellable=True)
        job.start()
        while job.wait(0.05) not in ("idle", "done", "failed"):
            if over() or self.slow.waits("train"):
                job.stop()
        run = job.run
        if job.state == "done" and run is not None:
            self.compute.ask("nets", lambda: self._take(run, values))
        elif not self.slow.waits("train"):
            error = job.error if job.state == "failed" else None
            self.compute.ask("nets", lambda: self._back(error))

    def _back(self, error: str | None) -> None:
        """After a training that came to no end: show the nets of the run again, and say what happened."""
        if self._half and self.run is not None:
            self._take(self.run, self._trained)
        elif self.run is not None:
            self._compute_maps(FINE)  # of a run whose maps gave way to the training that failed
        elif self._half:
            self._nets, self._logits, self._samples = {}, {}, {}
            self.maps.clear("No nets: press Retrain.")
        self._say_with_what()
        if error is None:
            self.say("Cancelled.")
        else:
            self.fail(error)

    def _hear(self, event: Event) -> None:
        """In the training thread: show the problem, then the student now and then."""
        if isinstance(event, Started):
            self._training = event.training
            data, teacher = event.training.dataset.to("cpu"), event.training.teacher
            self.compute.ask("begin", lambda: self._begin(data, {} if teacher is None else {"teacher": teacher}))
        elif (training := self._training) and training.teacher and time.monotonic() - self._drawn > LIVE:
            self._drawn = time.monotonic()
            student, epoch = inference_copy(training.student).cpu(), training.epoch
            self.compute.ask("live", lambda: self._show_live(student, epoch))

    def _show_live(self, student: Classifier, epoch: int) -> None:
        if self.job is None or self.job.state != "running":
            return
        epochs = self.job.recipe.epochs
        self._set_nets({"student": student})
        fresh, self._note = not self._note, f"epoch {epoch} of {epochs}"
        if fresh:
            self._say_with_what()
        self._compute_maps(COARSE)
        words = f"Training the student: epoch {epoch} of {epochs}"
        self.say(words, "busy", epoch / epochs, cancellable=True)

    def _take(self, run: Run, values: Mapping[str, Any], state: Mapping[str, Any] | None = None) -> None:
        """Show the nets of a finished run.

        Args:
            values: of the controls that describe it.
            state: of a session: the point and other controls.
        """
        before, self.run = self.run, run
        state, self._later = state or self._later, {}
        self._trained, self._attacked, self._note = dict(values), None, ""
        self._begin(run.dataset(), {"teacher": run.teacher(), "student": run.student()})
        self._half = False
        if before is not None and before is not run and before.path.parent == Path(self._folder.name):
            shutil.rmtree(before.path, ignore_errors=True)
        epochs = run.snapshots() or [run.recipe.epochs]
        self.paint.ask("epochs", lambda: self._scrubber.offer(epochs))
        if state:
            self.paint.ask("state", lambda: self.set(**state["controls"]))
        if not self.canvas.point:
            start = state["point"] if state and len(state["point"]) == 2 else self._first_point()
            self.paint.ask("point", lambda: setattr(self.canvas, "point", start))
        self._say_with_what()
        self._compute_maps(COARSE)
        self._attack()
        self._compute_maps(FINE)

    def _show_epoch(self) -> None:
        """Show the student of another epoch of the run."""
        if self.run is None or self._half:
            return
        epoch, last = self["epoch"], self.run.recipe.epochs
        self._note = "" if epoch == last else f"epoch {epoch} of {last}"
        self._set_nets({"student": self.run.student(epoch)})
        self._compute_maps(COARSE)
        self._attack()
        self._compute_maps(FINE)

    def _say_with_what(self) -> None:
        """Say beneath each map with what its net was trained, and whether the controls say otherwise."""
        run, training = self.run, self.job is not None and self.job.state in ("running", "stopping")
        live = bool(self._note) and self._half and self.job is not None
        recipe = self.job.recipe if live and self.job else run.recipe if run is not None else None
        facts: list[dict[str, Any]] = []
        if recipe is not None:
            mark = [["stale", "the controls now say otherwise"]]
            others = teacher_recipe(recipe) != teacher_recipe(self.recipe), self.stale and not live
            words = _teacher_words(recipe), _student_words(recipe)
            facts = [{"rows": [["trained with", w], *mark * other]} for w, other in zip(words, others, strict=True)]
            if run is not None and not live:
                facts[1]["rows"].insert(1, ["test accuracy", percent(run.summary.get("test_accuracy"))])
        stale = run is not None and self.stale and not training and not self.slow.waits("train")

        def show() -> None:
            self.canvas.facts = facts
            self._stale.layout.display = None if stale or (run is None and not training) else "none"

        self.paint.ask("about", show)

    def _begin(self, data: Dataset, nets: Mapping[str, Classifier]) -> None:
        """Show another problem, or the same one with other nets."""
        old = getattr(self, "_data", None)
        self._data, self._half, self._note = data, True, ""
        same = old is not None and (old.name, old.classes) == (data.name, data.classes)
        if old is None or not same or not torch.equal(old.test.x, data.test.x):
            self._nets, self._logits, self._samples = {}, {}, {}
            targets = target_options(data.classes)
            chosen = self["target"] if self["target"] in ("drawn", "second") else "drawn"
            x0, x1, y0, y1 = window(data)

            def show() -> None:
                if not same:
                    self.canvas.frame, self.canvas.marks, self.walk.frame = {}, [], {}
                if self.canvas.point:  # of the data before: brought into the window of these
                    x, y = self.canvas.point
                    self.canvas.point = [min(max(x, x0), x1), min(max(y, y0), y1)]
                self.canvas.classes(data.classes)
                self.put("target", options=targets, value=chosen)
                kind = self["adds"] if self["adds"] < len(data.classes) else -1
                self.put("adds", options=_clicks(data.classes), value=kind)

            self.paint.ask("classes", show)
        self._set_nets(nets)

    def _set_nets(self, nets: Mapping[str, Classifier]) -> None:
        """Put copies of nets on show: a view never touches a net that is being trained."""
        for name, net in nets.items():
            self._nets[name] = inference_copy(net).cpu()
            self._logits.pop(name, None)

    # maps

    def _compute_maps(self, resolution: int, *_: Any) -> None:
        points = grid_points(window(self._data), resolution)
        for name, net in self._nets.items():
            if self.compute.waits("nets", "begin"):
                return
            if len(self._logits.get(name, ())) != resolution:
                self._logits[name] = logits_at(net, points, 8192).unflatten(0, (resolution, resolution))
        self._draw()

    def _draw(self) -> None:
        if not self._logits:
            return
        resolution = min(map(len, self._logits.values()))
        maps = {}
        for name, own in self._logits.items():  # kept for the slider of the temperature: of few classes, on a page
            if len(own) == resolution:
                z = (own / self["temperature"]).flatten(0, 1)
                maps[name] = decisions(z).shaped(resolution, resolution)
        notes = {"student": self._note} if self._note else {}
        self.maps.draw(maps, window(self._data), self._marks(), margin=bool(self["margins"]), notes=notes)

    def _marks(self) -> list[Mark]:
        made = [m for m in Slice(self._data).marks(split="train", points=POINTS, size=RADIUS) if m.kind == "dots"]
        if self.prediction.hidden:
            return made
        for index, (name, samples) in enumerate(self._samples.items()):
            panel = index if len(self._samples) > 1 else None
            marks = attack_marks(samples, self._ways[name], self._data.classes, panel, dash=name == "student")
            made += marks
            made += [mark.on(2) for mark in marks] if panel is not None else []
        return made

    # the attack

    def _attack(self) -> None:
        if "teacher" not in self._nets or not self.canvas.point:
            return
        x = torch.tensor([self.canvas.point], dtype=torch.float32)
        values = self.values | {"sampler": "bss"}
        target, samples = None, {}
        for name, net in self._nets.items():  # the teacher first: its target is the student's, too
            samples[name] = attack(net, x, values, target)
            target = samples[name].target
        self._ways = {name: crossings_of(self._nets[name], found) for name, found in samples.items()}
        self._samples = samples
        if not self._half:
            self._attacked = Attacked(values, samples)
        self._ask()

    def _first_point(self) -> list[float]:
        """Return the test point with the longest and straightest attack path among those with a few steps and one
        crossing, into the target; where the step at first is too short for any, double it."""
        x, teacher, size = self._data.test.x[:100], self._nets["teacher"], self["step_size"]
        most = 10 ** self.controls["step_size"].max if size == self._start["step_size"] else size
        while True:
            samples = attack(teacher, x, self.values | {"sampler": "bss", "step_size": size})
            few = (samples.steps >= STEPS.start) & (samples.steps < STEPS.stop)
            assert samples.path is not None
            away, walked = (samples.x - x).norm(dim=1), samples.path.diff(dim=0).norm(dim=2).sum(0)
            score = away.clamp(max=1) + away / walked.clamp_min(1e-9) + 2 * (samples.status == Status.TARGET) + 2 * few
            order = score.argsort(descending=True).tolist()
            clean = (i for i in order[:20] if len(crossings_of(teacher, samples, i)) == 1)
            best = next(clean, order[0])
            if 2 * size > most or samples.crossed[best]:
                break
            size = float(f"{2 * size:.3g}")
        if size != self["step_size"]:
            self.paint.ask("step size", lambda: self.put("step_size", value=size))
            self.paint.wait(10)
        start: list[float] = x[best].tolist()
        return start

    def _draw_attack(self) -> None:
        if "teacher" not in self._samples:
            return
        marks = self._marks()
        text = "" if self.prediction.hidden else attack_table(self._samples, self._ways, self._data.classes)
        path = walk(self._nets, self._samples["teacher"], 0, "teacher")
        classes, temperature, hidden = self._data.classes, self["temperature"], self.prediction.hidden
        words, training = self._words(), self.job is not None and self.job.state == "running"

        def show() -> None:
            self.canvas.marks = marks
            self.table.value = text
            self.walk.show(path, classes, temperature=temperature, hidden=hidden)
            if not training:  # then the line says how far the training is
                self.say_now(words)

        self.paint.ask("attack", show)

    def _words(self) -> str:
        samples = self._samples.get("teacher")
        if samples is None:
            return "Drag the blue point."
        hidden = "Release the point, then answer." if self.prediction.hidden else ""
        here = "at this point: choose another one"
        way = self._ways["teacher"]
        return attack_words(samples, "teacher", self._data.classes, here=here, hidden=hidden, way=way)

    # what will happen?

    def _ask(self) -> None:
        """Hide the path and ask for a prediction, if the control says so."""
        samples = self._samples.get("teacher")
        if samples is None or not self["predict"]:
            self.prediction.drop()
        else:
            base, target = (class_label(self._data.classes, int(k)) for k in (samples.base, samples.target))
            self.prediction.ask(f"{self['attack_steps']} steps at most", base, target)
        if samples is not None:
            self._draw_attack()

    def answer(self, ending: int) -> None:
        """Predict where the point ends (a ``boundary.samples.Status``), and show it."""
        samples = self._samples.get("teacher")
        if samples is None or not self.prediction.hidden:
            return
        self.prediction.judge(int(samples.status) == int(ending), "look at the path", "Drag the point on.")
        self._draw_attack()

    # the nets on show: figure, session, code

    def view(self) -> View | None:
        if self._half:
            raise InputError("The nets are being trained; wait for the end, or press Cancel, then export.")
        if not self._nets:
            return None
        return boundary_map(self._nets, self._data, samples=self._samples, **self._look)

    @property
    def _look(self) -> dict[str, Any]:
        """Return the options of ``boundary_map`` that draw what is on show."""
        margin = LEVELS if self["margins"] else None
        look = {"resolution": FINE, "margin": margin, "split": "train", "points": POINTS}
        return look | ({"temperature": self["temperature"]} if self["temperature"] != 1 else {})

    def session(self) -> Session | None:
        """Keep the run of the nets on show under ``runs/``, and return a session on it."""
        if self.run is None:
            return None
        if self.run.path.parent == Path(self._folder.name):
            kept = fresh_folder(self.run.recipe)
            shutil.copytree(self.run.path, kept)
            self.run = Run.open(kept)
        controls = {name: value for name, value in self.values.items() if name not in OF_NETS}
        return Session.of(self, self.run, point=list(self.canvas.point), controls=controls)

    def line(self) -> str:
        what, method = self._first
        words = [] if method == "amkd" else [f"method={method!r}"]
        what, skip = (str(what.path), OF_NETS) if isinstance(what, Run) else (str(what), ())
        words += [f"point={tuple(self.canvas.point)!r}"] if self.canvas.point else []
        last = self.controls["epoch"].options[-1]
        words += [f"epoch={self['epoch']}"] if self["epoch"] != last else []
        changed = self.differing({name: value for name, value in self._start.items() if name not in skip})
        return f"BoundaryLab({', '.join([repr(what), *words, *filter(None, [changed])])})"

    def still(self) -> Image.Image | None:
        return self.canvas.still()

    def code(self) -> str:
        recipe = self.run.recipe if self.run is not None else self.recipe
        source = f"recipe = amkd_viz.{recipe!r}\nrun = amkd_viz.distill(recipe)\n"
        if self.run is not None and self.run.path.parent != Path(self._folder.name):
            source = f"run = amkd_viz.Run.open({str(self.run.path)!r})\n"
        names, attacked, given = ("teacher", "student"), "", ""
        if self._attacked is not None:
            teacher, values = self._attacked.samples["teacher"], self._attacked.values
            point = ", ".join(str(np.float32(v)) for v in teacher.origin[0].tolist())  # reads back as the same number
            calls = {name: attack_code(name, "x", "target", values) for name in names}
            samples = ",\n".join(f"    {name!r}: {call}" for name, call in calls.items())
            attacked = f"x, target = torch.tensor([[{point}]]), torch.tensor([{int(teacher.target)}])\n"
            attacked, given = f"{attacked}samples = {{\n{samples},\n}}\n", ", samples=samples"
        earlier = f"student = run.student({self['epoch']})\n" if self._note and not self._half else ""
        look = "".join(f", {name}={value!r}" for name, value in self._look.items())
        return (
            "import amkd_viz\nimport torch\n"
            "from amkd_viz.boundary import samplers\n"
            "from amkd_viz.core.rng import generator\n"
            "from amkd_viz.views import boundary_map\n\n"
            f"{source}"
            "data, teacher, student = run.dataset(), run.teacher(), run.student()\n"
            f"{earlier}"
            'nets = {"teacher": teacher, "student": student}\n\n'
            f"{attacked}"
            f"boundary_map(nets, data{given}{look})\n"
        )

    def release(self) -> None:
        self._training, self._nets, self._logits, self._samples, self._attacked = None, {}, {}, {}, None
        vars(self).pop("_data", None)

    def close(self) -> None:
        super().close()
        if self.job is not None:
            self.job.stop()
            self.job.wait(10)
        self._folder.cleanup()


def _clicks(classes: Sequence[str]) -> list[tuple[str, int]]:
    """Return the options of the control ``adds``."""
    return [("moves the point", -1), *((f"adds: {name}", k) for k, name in enumerate(classes))]


def _added(recipe: Recipe) -> str:
    extra = extra_points(parse_name(recipe.dataset)[1].get("extra", ""))
    return f" and {plural(len(extra), 'added point')}" if extra else ""


def _teacher_words(recipe: Recipe) -> str:
    name, options = parse_name(recipe.dataset)
    drawn = ", ".join(f"{option}={value}" for option, value in options.items() if option != "extra")
    data = f"{name}: {drawn}" if drawn else name
    return f"{data}; {recipe.teacher}, {recipe.teacher_epochs} epochs, all samples{_added(recipe)}"


def _student_words(recipe: Recipe) -> str:
    labelled = f"{recipe.num_train} labelled" if recipe.num_train else "all samples"
    words = f"{recipe.method}; {recipe.student}, {recipe.epochs} epochs, {labelled}{_added(recipe)}"
    if "boundary" not in recipe.objective.batches():
        return words
    size = recipe.step_size if isinstance(recipe.step_size, str) else number(recipe.step_size)
    return f"{words}; attack: {recipe.step_rule} step {size}, {recipe.attack_steps} at most"
