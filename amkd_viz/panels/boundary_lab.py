"""A 2-D problem whose whole decision boundary is visible: drag a point and watch the attack move it."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as widgets
import torch
from PIL import Image
from torch import Tensor

from amkd_viz.boundary import BoundarySamples, refine
from amkd_viz.core.errors import InputError
from amkd_viz.core.parse import NUMBER
from amkd_viz.data import Dataset, load, parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.models import Classifier, architectures, inference_copy
from amkd_viz.objectives import methods
from amkd_viz.panels.attack_controls import attack, attack_code, attack_controls, target_options
from amkd_viz.panels.attack_words import attack_table, attack_words, path_marks
from amkd_viz.panels.controls import choice, from_fields, only, slider, temperature_control, toggle, with_values
from amkd_viz.panels.net_maps import NetMaps
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.prediction import Prediction
from amkd_viz.panels.session import Session
from amkd_viz.runs import Job, Run, fresh_folder
from amkd_viz.training import SPIRALS, Event, Recipe, Started, Training
from amkd_viz.views import View, boundary_map
from amkd_viz.views.decisions import decisions, logits_at
from amkd_viz.views.labels import class_label
from amkd_viz.views.layout import keep
from amkd_viz.views.scene import Mark
from amkd_viz.views.slices import grid_points, window

__all__ = ["BoundaryLab"]

COARSE, FINE = 100, 200  # grid resolution while training, and of the final map
LIVE = 0.15  # seconds between two maps of a student that is being trained
MOST = 900  # training points of a problem of the default size
OF_PROBLEM = ("problem", "noise", "classes", "num_train", "teacher", "student", "method", "epochs")


class BoundaryLab(Panel):
    """Show teacher and student of a 2-D problem on exact maps, and attack the point that is dragged.

    The panel has two states: ``recipe`` is what the controls say, ``run`` holds the nets on show. Title, code, session
    and export describe the nets on show.

    Args:
        problem: "moons", "circles", "spirals", "blobs", with options as in ``load``; a finished run of one, or a
            session of this panel.
        method: how the student learns.

    Raises:
        InputError: the problem is not two-dimensional.
    """

    title = "BoundaryLab"
    kept: ClassVar = {"controls": dict, "point": [NUMBER]}
    about = (
        "Colour is the class that a net predicts at each point of the plane, opacity its confidence. Drag the blue "
        "point: the <i>attack</i> pushes it across the teacher's boundary towards a target class, and, dashed, across "
        "the student's. A point that has just crossed is a <i>boundary supporting sample</i> (ring); the cross marks "
        "where the attack path meets the boundary. One step, towards target $k$ from base class $b$ with logits $f$, "
        "is $x \\leftarrow x + a\\,(f_b - f_k + \\epsilon)\\,g/\\|g\\|^p$, $g = \\nabla_x (f_k - f_b)$ "
        "(Heo et al., 2019, arXiv 1805.05532)."
    )

    _data: Dataset  # on show, with the nets

    def __init__(self, problem: str | Run | Session = "spirals", *, method: str = "amkd") -> None:
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
        self._nets: dict[str, Classifier] = {}
        self._logits: dict[str, Tensor] = {}  # name -> (R, R, K) on the grid of the map
        self._samples: dict[str, BoundarySamples] = {}
        self._attack_values: Mapping[str, Any] = {}  # with which the samples were made
        self._build(recipe, name, options)
        if run is not None:
            self.say(f"Reading {run.path.name} ...", "busy")
            self.compute.ask("nets", lambda: self._take(run, session.state if session else {}))
        else:
            self.changed("problem", name)

    def _build(self, recipe: Recipe, name: str, options: Mapping[str, Any]) -> None:
        self.maps = NetMaps(self.paint, "The teacher is being trained.")
        self.canvas = self.maps.canvas
        self.canvas.levels = [0.25, 0.5, 0.75]
        self.table = widgets.HTML()
        self.prediction = Prediction(self)
        nets: dict[str, Any] = {"choices": [a for a in architectures() if a.startswith("mlp")]}
        family = PROBLEMS[name]
        attack = only(attack_controls(recipe), ["step_size", "attack_steps", "step_rule", "target"])
        noise, classes = float(options.get("noise", family.noise)), int(options.get("classes", family.classes))
        recipe = recipe.replace(num_train=recipe.num_train or MOST)
        chosen = {"teacher": nets, "student": nets, "method": {"choices": list(methods)}, "epochs": {"high": 200}}
        labelled = {"low": 20, "high": MOST, "step": 20}
        self.assemble(
            {
                "Problem": {
                    "problem": choice("problem", name, list(PROBLEMS), "family of 2-D curves, one per class"),
                    "noise": slider("noise", noise, 0.0, 0.6, 0.02, "standard deviation added to each coordinate"),
                    "classes": slider("classes", classes, 2, 8, 1, "number of classes"),
                    **from_fields(recipe, ["num_train"], num_train=labelled),
                },
                "Nets": from_fields(recipe, list(chosen), **chosen),
                "Attack": {
                    **attack,
                    "predict": toggle("What will happen? Ask me first", False, "answer before the path is shown"),
                },
                "View": {
                    "temperature": temperature_control(),
                    "margins": toggle("margin lines", True, "where the two largest probabilities differ by .25 .5 .75"),
                },
            },
            [self.canvas, self.prediction.row, self.table],
        )
        self.canvas.observe(lambda _: self.compute.ask("attack", self._attack, soon=True), names="point")
        self.canvas.observe(lambda _: self.compute.ask("ask", self._ask), names="released")

    # what a person does

    @property
    def recipe(self) -> Recipe:
        """Return the distillation that the controls describe; ``run.recipe`` is that of the nets on show."""
        v = self.values
        dataset = f"{v['problem']}:noise={v['noise']:g},classes={v['classes']}{self._count}"
        return with_values(self._recipe, v).replace(dataset=dataset, magsim_samples=0, evaluate_every=v["epochs"])

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

    def changed(self, name: str, value: Any) -> None:
        if name in OF_PROBLEM:
            self.say(f"{name}: {value}; training ...", "busy")
            self.slow.ask("train", self._train)
        elif name in ("temperature", "margins"):
            self.compute.ask("draw", self._draw)
        elif name == "predict":
            self.compute.ask("ask", self._ask)
        else:
            self.compute.ask("attack", self._attack)

    # training

    def _train(self) -> None:
        """Run a job for the controls to its end, or until newer settings wait or a person presses Cancel."""
        over = self.cancel_point()
        self._runs += 1
        job = self.job = Job(self.recipe, Path(self._folder.name, str(self._runs)), listen=self._hear)
        self.say("Training the teacher ...", "busy", cancellable=True)
        job.start()
        while job.wait(0.05) not in ("idle", "done", "failed"):
            if over() or self.slow.waits("train"):
                job.stop()
        run = job.run
        if job.state == "done" and run is not None:
            self.compute.ask("nets", lambda: self._take(run))
        elif job.state == "failed":
            self.fail(job.error or "")
        elif not self.slow.waits("train"):
            self.say("Cancelled; move a control to train again.")

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
        self._compute_maps(COARSE)
        words = f"Training the student: epoch {epoch} of {epochs}"
        self.say(words, "busy", epoch / epochs, cancellable=True)

    def _take(self, run: Run, state: Mapping[str, Any] | None = None) -> None:
        """Show the nets of a finished run, with the point and controls of a session's state."""
        before, self.run = self.run, run
        self._begin(run.dataset(), {"teacher": run.teacher(), "student": run.student()})
        if before is not None and before.path.parent == Path(self._folder.name):
            shutil.rmtree(before.path, ignore_errors=True)
        if state:
            self.paint.ask("state", lambda: self.set(**state["controls"]))
        if not self.canvas.point:
            start = state["point"] if state and len(state["point"]) == 2 else self._first_point()
            self.paint.ask("point", lambda: setattr(self.canvas, "point", start))
        self._compute_maps(COARSE)
        self._attack()
        self._compute_maps(FINE)

    def _begin(self, data: Dataset, nets: Mapping[str, Classifier]) -> None:
        """Show another problem, or the same one with other nets."""
        old = getattr(self, "_data", None)
        self._data = data
        same = old is not None and (old.name, old.classes) == (data.name, data.classes)
        if old is None or not same or not torch.equal(old.test.x, data.test.x):
            self._nets, self._logits, self._samples = {}, {}, {}
            targets = target_options(data.classes)
            chosen = self["target"] if self["target"] in ("drawn", "second") else "drawn"

            def show() -> None:
                self.canvas.classes(data.classes)
                self.put("target", options=targets, value=chosen)

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
        self.maps.draw(maps, window(self._data), self._marks(), margin=bool(self["margins"]))

    def _marks(self) -> list[Mark]:
        chosen = keep(len(self._data.train), 300)
        made = [Mark("dots", self._data.train.x[chosen].numpy(), self._data.train.y[chosen].numpy(), size=2.6)]
        if self.prediction.hidden:
            return made
        for index, (name, samples) in enumerate(self._samples.items()):
            panel = index if len(self._samples) > 1 else None
            made += path_marks(samples, dash=name == "student", panel=panel)
            made += path_marks(samples, dash=name == "student", panel=2) if panel is not None else []
        return made

    # the attack

    def _attack(self) -> None:
        if "teacher" not in self._nets or not self.canvas.point:
            return
        x = torch.tensor([self.canvas.point], dtype=torch.float32)
        self._attack_values = values = self.values | {"sampler": "bss"}
        target, samples = None, {}
        for name, net in self._nets.items():  # the teacher first: its target is the student's, too
            samples[name] = refine(net, attack(net, x, values, target))
            target = samples[name].target
        self._samples = samples
        self._ask()

    def _first_point(self) -> list[float]:
        """Return a test point whose attack path is visible and does not leap far over the boundary."""
        x, teacher = self._data.test.x[:100], self._nets["teacher"]
        samples = attack(teacher, x, self.values | {"sampler": "bss"})
        boundary = refine(teacher, samples).x
        before, beyond = (boundary - x).norm(dim=1), (samples.x - boundary).norm(dim=1)
        best = (samples.crossed * (before.clamp(max=1) - beyond)).argmax()
        start: list[float] = x[best].tolist()
        return start

    def _draw_attack(self) -> None:
        marks = self._marks()
        text = "" if self.prediction.hidden else attack_table(self._samples, self._data.classes)
        words, training = self._words(), self.job is not None and self.job.state == "running"

        def show() -> None:
            self.canvas.marks = marks
            self.table.value = text
            if not training:  # then the line says how far the training is
                self.status.say(words)

        self.paint.ask("attack", show)

    def _words(self) -> str:
        samples = self._samples.get("teacher")
        if samples is None:
            return "Drag the blue point."
        hidden = "Release the point, then answer." if self.prediction.hidden else ""
        here = "at this point: choose another one"
        return attack_words(samples, "teacher", self._data.classes, here=here, hidden=hidden)

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
        if not self._nets:
            return None
        return boundary_map(self._nets, self._data, samples=self._samples, resolution=FINE)

    def session(self) -> Session | None:
        """Keep the run of the nets on show under ``runs/``, and return a session on it."""
        if self.run is None:
            return None
        if self.run.path.parent == Path(self._folder.name):
            kept = fresh_folder(self.run.recipe)
            shutil.copytree(self.run.path, kept)
            self.run = Run.open(kept)
        controls = {name: value for name, value in self.values.items() if name not in OF_PROBLEM}
        return Session.of(self, self.run, point=list(self.canvas.point), controls=controls)

    def still(self) -> Image.Image | None:
        return self.canvas.still()

    def code(self) -> str:
        recipe = self.run.recipe if self.run is not None else self.recipe
        source = f"recipe = amkd_viz.{recipe!r}\nrun = amkd_viz.distill(recipe)\n"
        if self.run is not None and self.run.path.parent != Path(self._folder.name):
            source = f"run = amkd_viz.Run.open({str(self.run.path)!r})\n"
        teacher = self._samples.get("teacher")
        point = ", ".join(f"{v:.4f}" for v in (self.canvas.point if teacher is None else teacher.origin[0].tolist()))
        target = 0 if teacher is None else int(teacher.target)
        values = self._attack_values or self.values | {"sampler": "bss"}
        calls = {name: attack_code(name, "x", "target", values) for name in ("teacher", "student")}
        samples = ",\n".join(f"    {name!r}: refine({name}, {call})" for name, call in calls.items())
        return (
            "import amkd_viz\nimport torch\n"
            "from amkd_viz.boundary import refine, samplers\n"
            "from amkd_viz.views import boundary_map\n\n"
            f"{source}"
            "data, teacher, student = run.dataset(), run.teacher(), run.student()\n\n"
            f"x, target = torch.tensor([[{point}]]), torch.tensor([{target}])\n"
            f"samples = {{\n{samples},\n}}\n"
            'boundary_map({"teacher": teacher, "student": student}, data, samples=samples)\n'
        )

    def release(self) -> None:
        self._training, self._nets, self._logits, self._samples = None, {}, {}, {}
        vars(self).pop("_data", None)

    def close(self) -> None:
        super().close()
        if self.job is not None:
            self.job.stop()
            self.job.wait(10)
        self._folder.cleanup()
