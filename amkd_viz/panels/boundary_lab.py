"""A 2-D problem, all of whose boundary can be seen: drag a point and watch the attack take it there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import torch
from PIL import Image
from torch import Tensor

from amkd_viz.boundary import BoundarySamples, bss, refine, sample_targets
from amkd_viz.boundary.samples import Status as Ending
from amkd_viz.core.errors import InputError
from amkd_viz.core.pauses import pausable
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset, load, parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.models import Classifier, architectures, inference_copy
from amkd_viz.objectives import methods
from amkd_viz.panels.attack_marks import attack_table, path_marks
from amkd_viz.panels.canvas import MapCanvas, mark
from amkd_viz.panels.controls import choice, slider, toggle
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.prediction import Prediction
from amkd_viz.panels.session import Session
from amkd_viz.panels.stills import map_still
from amkd_viz.runs import Run, distill
from amkd_viz.training import SPIRALS, Event, Recipe, Started, events, prepare
from amkd_viz.views import View, boundary_map
from amkd_viz.views.boundary_map import grid_points, window
from amkd_viz.views.decisions import Decisions, agreement, decisions, logits_at
from amkd_viz.views.labels import class_label, percent, plural
from amkd_viz.views.layout import keep

__all__ = ["BoundaryLab"]

COARSE, FINE = 100, 200  # cells a side of the first picture and of the last
LIVE = 0.15  # seconds between pictures of a net that is being trained
OF_PROBLEM = ("problem", "noise", "classes", "labelled", "teacher", "student", "method", "epochs")
QUICK = ("attack", "draw", "ask", "answer")  # work that need not wait for the end of a training


class Abandoned(Exception):
    """Newer settings are waiting, or the person pressed Cancel."""


class BoundaryLab(Panel):
    """Teacher and student of a 2-D problem on exact maps; a point that is dragged is attacked live.

    Args:
        problem: "moons", "circles", "spirals", "blobs", with options as in ``load``; or a finished run of one.
        method: how the student learns.

    Raises:
        InputError: a problem that is not two-dimensional.
    """

    title = "BoundaryLab"
    about = (
        "Colour is the class that a net gives to each point of the plane, opacity its confidence. Drag the blue point: "
        "the <i>attack</i> pushes it across the teacher's boundary towards a target class, and, dashed, across the "
        "student's. Where it has just crossed lies a <i>boundary supporting sample</i> (ring); the cross is the point "
        "of the boundary on its way. One step, towards target $k$ from base class $b$ with logits $f$, is "
        "$x \\leftarrow x + a\\,(f_b - f_k + \\epsilon)\\,g/\\|g\\|^p$, $g = \\nabla_x (f_k - f_b)$ "
        "(Heo et al., 2019, arXiv 1805.05532)."
    )

    def __init__(self, problem: str | Run = "spirals", *, method: str = "amkd") -> None:
        run = problem if isinstance(problem, Run) else None
        recipe = run.recipe if run else SPIRALS.replace(dataset=str(problem), method=method)
        name, options = parse_name(recipe.dataset)
        if name not in PROBLEMS:
            raise InputError(f"BoundaryLab draws 2-D problems, not {name}; for images use SampleLab.")
        if run is None:
            load(recipe.dataset)  # refuses options that no slider could show
        super().__init__()
        self._recipe = recipe
        self._count = f",n={options['n']}" if "n" in options else ""
        self._data: Dataset | None = None
        self._nets: dict[str, Classifier] = {}
        self._logits: dict[str, tuple[int, Tensor]] = {}  # name -> cells a side, logits (R * R, K)
        self._found: dict[str, Decisions] = {}
        self._samples: dict[str, BoundarySamples] = {}
        self.canvas = MapCanvas(interactive=True, least=200, columns=3, empty="The teacher is being trained.")
        self.canvas.levels = [0.25, 0.5, 0.75]
        self.table = widgets.HTML()
        self.prediction = Prediction(
            self.paint, lambda ending: self.compute.ask("answer", lambda: self.answer(ending), soon=True)
        )
        nets = [a for a in architectures() if a.startswith("mlp")]
        own = PROBLEMS[name]
        self.assemble(
            {
                "Problem": {
                    "problem": choice("problem", name, list(PROBLEMS), "which points"),
                    "noise": slider(
                        "noise", float(options.get("noise", own.noise)), 0.0, 0.6, 0.02, "sd added to each coordinate"
                    ),
                    "classes": slider("classes", int(options.get("classes", own.classes)), 2, 8, 1, "how many classes"),
                    "labelled": slider(
                        "labelled", recipe.num_train or 900, 20, 900, 20, "labelled points that the student gets"
                    ),
                },
                "Nets": {
                    "teacher": choice("teacher", recipe.teacher, nets, "architecture of the teacher"),
                    "student": choice("student", recipe.student, nets, "architecture of the student"),
                    "method": choice("method", recipe.method, list(methods), "how the student learns"),
                    "epochs": slider("epochs", recipe.epochs, 1, 200, 1, "of the student's training"),
                },
                "Attack": {
                    "step_size": slider("step size", recipe.step_size, 0.05, 3.0, 0.05, "a in the formula"),
                    "steps": slider("steps", recipe.attack_steps, 1, 40, 1, "at most so many"),
                    "step_rule": choice(
                        "step_rule", recipe.step_rule, ["newton", "gap"], "p = 2 (Newton step) or 1 (published code)"
                    ),
                    "target": choice(
                        "target",
                        "drawn",
                        ["drawn", "second"],
                        "drawn from the teacher's softmax without its top class, or its second class",
                    ),
                    "predict": toggle("What will happen? Ask me first", False, "answer before the path is shown"),
                },
                "Look": {
                    "temperature": slider(
                        "temperature", 1.0, 0.5, 8.0, 0.5, "softens the answers; the classes stay as they are"
                    ),
                    "margins": toggle("margin lines", True, "where the two largest probabilities differ by .25 .5 .75"),
                },
            },
            [self.canvas, self.prediction.row, self.table],
        )
        self.canvas.observe(lambda _: self.compute.ask("attack", self._attack, soon=True), names="point")
        self.canvas.observe(lambda _: self.compute.ask("ask", self._ask), names="released")
        if run is not None:
            self.say(f"Reading {run.path.name} ...", "busy")
            self.compute.ask("nets", lambda: self._take(run.dataset(), run.teacher(), run.student()))
        else:
            self.changed("problem", name)

    # what a person does

    @property
    def recipe(self) -> Recipe:
        """The distillation that the controls describe."""
        v = self.values
        return self._recipe.replace(
            dataset=f"{v['problem']}:noise={v['noise']:g},classes={v['classes']}{self._count}",
            teacher=v["teacher"],
            student=v["student"],
            method=v["method"],
            epochs=v["epochs"],
            num_train=v["labelled"],
            step_size=float(f"{v['step_size']:.6g}"),  # a slider adds its steps up
            attack_steps=v["steps"],
            step_rule=v["step_rule"],
            magsim_samples=0,
            evaluate_every=v["epochs"],
        )

    def attack(self, x: float, y: float) -> BoundarySamples:
        """Attack the point (x, y), as if it had been dragged there; returns the teacher's boundary sample.

        Raises:
            InputError: a coordinate is not finite.
        """
        self.wait()
        if not (math.isfinite(x) and math.isfinite(y)):
            raise InputError(f"({x}, {y}) is no point of the plane; give two finite numbers.")
        self.canvas.point = [float(x), float(y)]
        self.wait()
        return self._samples["teacher"]

    def changed(self, name: str, value: Any) -> None:
        if name in OF_PROBLEM:
            self.say(f"{name}: {value}; training ...", "busy")
            self.compute.ask("nets", self._train)
        elif name in ("temperature", "margins"):
            self.compute.ask("draw", self._draw)
        elif name == "predict":
            self.compute.ask("ask", self._ask)
        else:
            self.compute.ask("attack", self._attack)

    # nets

    def _train(self) -> None:
        recipe, over, drawn = self.recipe, self.cancel_point("nets"), time.monotonic()

        def gate() -> None:
            if over():
                raise Abandoned

        def listen(event: Event) -> None:  # of the teacher, if it has to be trained
            nonlocal drawn
            gate()
            if isinstance(event, Started):
                self._look(event.training.full)
            if time.monotonic() - drawn > LIVE and training_of(event) is not None:
                drawn = time.monotonic()

        try:
            with pausable(gate):
                self.say("Training the teacher ...", "busy", cancellable=True)
                training = prepare(recipe, listen=listen)
                self._look(training.dataset)
                assert training.teacher is not None
                self._set_net("teacher", training.teacher)
                for event in events(training):
                    gate()
                    self.compute.serve(*QUICK)
                    if time.monotonic() - drawn > LIVE:
                        self._set_net("student", training.student)
                        self._compute_maps(COARSE, over)
                        words = f"Training the student: epoch {training.epoch} of {recipe.epochs}"
                        self.say(words, "busy", training.epoch / recipe.epochs, cancellable=True)
                        drawn = time.monotonic()
                    del event
        except Abandoned:
            if not self.compute.waits("nets"):
                self.say("Cancelled; move a control to train again.")
            return
        self._take(training.dataset, training.teacher, training.student)

    def _take(self, data: Dataset, teacher: Classifier, student: Classifier) -> None:
        self._look(data)
        self._set_net("teacher", teacher)
        self._set_net("student", student)
        if not self.canvas.point:
            start = self._telling_point(data, teacher)
            self.paint.ask("point", lambda: setattr(self.canvas, "point", start))
        self._compute_maps(COARSE, lambda: False)
        self._attack()
        self._compute_maps(FINE, self.cancel_point("nets"))

    def _look(self, data: Dataset) -> None:
        """Another problem: nothing of the last one is left in the picture."""
        if self._data is not None and self._data.name == data.name and self._data.classes == data.classes:
            same = torch.equal(self._data.test.x, data.test.x)
            self._data = data
            if same:
                return
        self._data = data
        self._nets, self._logits, self._samples = {}, {}, {}
        targets = [("drawn", "drawn"), ("second", "second"), *((name, k) for k, name in enumerate(data.classes))]
        chosen = self["target"] if self["target"] in ("drawn", "second") else "drawn"

        def show() -> None:
            self.canvas.classes(data.classes)
            self.put("target", options=targets, value=chosen)

        self.paint.ask("classes", show)

    def _set_net(self, name: str, net: Classifier) -> None:
        """Our own copy: a view never touches a net that is being trained."""
        self._nets[name] = inference_copy(net).cpu()
        self._logits.pop(name, None)

    # maps

    def _compute_maps(self, side: int, over: Callable[[], bool]) -> None:
        assert self._data is not None
        points = grid_points(window(self._data), side)
        for name, net in self._nets.items():
            if over():
                return
            if self._logits.get(name, (0,))[0] != side:
                self._logits[name] = side, logits_at(net, points, 8192)
        self._draw()

    def _draw(self) -> None:
        if not self._logits or self._data is None:
            return
        side = min(side for side, _ in self._logits.values())
        area, temperature = window(self._data), self["temperature"]
        maps = {
            name: decisions(logits / temperature).shaped(own, own)
            for name, (own, logits) in self._logits.items()
            if own == side
        }
        both = list(maps.values())
        apart = None
        if len(both) == 2:
            share = agreement(both[0], both[1])
            apart = percent(1 - share)
        self._found = maps
        marks, margins = self._marks(), bool(self["margins"])

        def show() -> None:
            self.canvas.marks = marks
            self.canvas.show(maps, area, disagreement=apart, margin=margins)

        self.paint.ask("maps", show)

    def _marks(self) -> list[dict[str, Any]]:
        assert self._data is not None
        chosen = keep(len(self._data.train), 300)
        made = [mark("dots", self._data.train.x[chosen].numpy(), self._data.train.y[chosen].numpy(), size=2.6)]
        if self.prediction.hidden:
            return made
        for index, (name, found) in enumerate(self._samples.items()):
            shown = {"map": index} if len(self._samples) > 1 else {}
            made += path_marks(found, dash=name == "student", **shown)
            made += path_marks(found, dash=name == "student", map=2) if shown else []
        return made

    # the attack

    def _attack(self) -> None:
        if "teacher" not in self._nets or not self.canvas.point:
            return
        x = torch.tensor([self.canvas.point], dtype=torch.float32)
        teacher_logits = logits_at(self._nets["teacher"], x)
        target = self._target(teacher_logits)
        about = {"step_size": self["step_size"], "steps": self["steps"], "step_rule": self["step_rule"]}
        self._samples = {}
        for name, net in self._nets.items():
            self._samples[name] = refine(net, bss(net, x, target, keep_path=True, **about))
        self._ask()

    def _telling_point(self, data: Dataset, teacher: Classifier) -> list[float]:
        """A test point whose way across can be seen, and does not leap far over the boundary."""
        x = data.test.x[:100]
        about = {"step_size": self["step_size"], "steps": self["steps"], "step_rule": self["step_rule"]}
        found = bss(teacher, x, self._target(logits_at(teacher, x)), **about)
        boundary = refine(teacher, found).x
        before, beyond = (boundary - x).norm(dim=1), (found.x - boundary).norm(dim=1)
        best = (found.crossed * (before.clamp(max=1) - beyond)).argmax()
        start: list[float] = x[best].tolist()
        return start

    def _target(self, logits: Tensor) -> Tensor:
        chosen = self["target"]
        if chosen == "drawn":
            return sample_targets(logits, generator("cpu", "boundary lab"))
        return logits.topk(2).indices[:, 1] if chosen == "second" else torch.full((len(logits),), chosen)

    def _draw_attack(self) -> None:
        assert self._data is not None
        marks = self._marks()
        text = "" if self.prediction.hidden else attack_table(self._samples, self._data.classes)
        words = self._words()

        def show() -> None:
            self.canvas.marks = marks
            self.table.value = text
            self.status.say(words)

        self.paint.ask("attack", show)

    def _words(self) -> str:
        assert self._data is not None
        found = self._samples.get("teacher")
        if found is None:
            return "Drag the blue point."
        base, target = (class_label(self._data.classes, int(v)) for v in (found.base, found.target))
        if self.prediction.hidden:
            return f"From {base} towards {target}: where will it end? Let go of the point, then answer."
        ending, taken = found.status.item(), plural(int(found.steps), "step")
        if bool(found.base == found.target):
            return f"The teacher calls this point {base} already, which is the target: nothing to do. Choose another."
        if ending == Ending.NOT_CROSSED:
            return f"From {base} towards {target}: {taken} did not suffice to leave {base}."
        landed = class_label(self._data.classes, int(found.logits.argmax()))
        return f"From {base} towards {target}: {taken}, and the teacher calls it {landed}."

    # what will happen?

    def _ask(self) -> None:
        """Hide the path where a prediction is asked for, and ask."""
        found = self._samples.get("teacher")
        if found is None:
            self.prediction.drop()
            return
        assert self._data is not None
        if self["predict"]:
            classes = (class_label(self._data.classes, int(v)) for v in (found.base, found.target))
            self.prediction.ask(f"{self['steps']} steps at most", *classes)
        else:
            self.prediction.drop()
        self._draw_attack()

    def answer(self, ending: int) -> None:
        """Predict where the point ends (a ``boundary.samples.Status``), and see."""
        found = self._samples.get("teacher")
        if found is None or not self.prediction.hidden:
            return
        self.prediction.judge(int(found.status) == int(ending), "look at the path", "Drag the point on.")
        self._draw_attack()

    # the head's buttons

    def view(self) -> View | None:
        if self._data is None or not self._nets:
            return None
        return boundary_map(self._nets, self._data, samples=self._samples, resolution=FINE)

    def session(self) -> Session | None:
        """Trains into a run folder first: what is in the panel lives in memory only."""
        self.say("Training into a run folder ...", "busy")
        run = distill(self.recipe)
        return Session.of(run, resolution=FINE)

    def still(self) -> Image.Image | None:
        return map_still(self._found)

    def code(self) -> str:
        recipe, default = self.recipe, Recipe()
        told = {n: v for n, v in recipe.to_json().items() if v != default.to_json()[n]}
        lines = ",\n    ".join(f"{name}={value!r}" for name, value in told.items())
        point = ", ".join(f"{v:.3f}" for v in self.canvas.point)
        about = f"step_size={self['step_size']:g}, steps={self['steps']}, step_rule={self['step_rule']!r}"
        return (
            "import amkd_viz\nimport torch\n"
            "from amkd_viz.boundary import bss, refine, sample_targets\n"
            "from amkd_viz.views import boundary_map\n\n"
            f"recipe = amkd_viz.Recipe(\n    {lines},\n)\n"
            "run = amkd_viz.distill(recipe)\n"
            "data, teacher, student = run.dataset(), run.teacher(), run.student()\n\n"
            f"x = torch.tensor([[{point}]])\n"
            f"samples = bss(teacher, x, sample_targets(teacher(x)), {about}, keep_path=True)\n"
            'boundary_map({"teacher": teacher, "student": student}, data, samples=refine(teacher, samples))\n'
        )


def training_of(event: Event) -> object:
    return event.training if isinstance(event, Started) else None
