"""A whole distillation under control: start, hold, change, look, go back, fork; nothing is lost."""

from __future__ import annotations

import html
import time
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from PIL import Image

from amkd_viz.data import status as data_status
from amkd_viz.errors import InputError
from amkd_viz.models import Classifier, architectures
from amkd_viz.objectives import methods
from amkd_viz.panels.canvas import MapCanvas
from amkd_viz.panels.controls import button, choice, from_field, slider
from amkd_viz.panels.curve_canvas import CurveCanvas
from amkd_viz.panels.ground_marks import ground_marks, ground_words
from amkd_viz.panels.joint_canvas import JointLayout
from amkd_viz.panels.live import DutyCycle, LiveStudent
from amkd_viz.panels.memory import memory_words
from amkd_viz.panels.objective_controls import objective_controls, objective_values
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.pulse import Pulse
from amkd_viz.panels.run_curves import log_text, show_curves
from amkd_viz.panels.scatter import ScatterCanvas
from amkd_viz.panels.stills import map_still
from amkd_viz.session import Session
from amkd_viz.training import DIGITS, Event, Job, Recipe, Run, fork, suggested
from amkd_viz.training.attach import Follower
from amkd_viz.training.setup import LIVE
from amkd_viz.views import View, curves
from amkd_viz.views.decisions import Decisions, agreement
from amkd_viz.views.ground import Ground, telling_triple
from amkd_viz.views.labels import percent

__all__ = ["DistillLab"]

COARSE, FINE = 64, 160  # cells a side of maps while training, and of those that stay
OF_RECIPE = {  # control -> label; the others of a recipe keep what it says
    "epochs": "epochs",
    "batch_size": "batch size",
    "seed": "seed",
    "precision": "precision",
    "sampler": "sampler",
    "rule": "rule",
    "student_pass": "student pass",
}


class DistillLab(Panel):
    """Distil under widget controls, in a thread, into a run folder; look at the student while it learns.

    Args:
        what: a recipe to start from, a run to look at or go on with, a session, or the name of a data set;
            by default the digits, which need no download and no patience.
        runs: folder in which earlier runs are looked for; new ones are written to ``runs/``.

    Raises:
        InputError: see ``Session.open_run``; everything else is said in the panel.
    """

    title = "DistillLab"
    about = (
        "A large net, the <i>teacher</i>, is distilled into a small one, the <i>student</i>: press Start. The maps "
        "show one plane through three images (base, its boundary sample, a negative), or the whole window of a "
        "2-D problem: colour is the class, opacity the confidence; hatched: the two nets disagree. The objective is "
        "$L = CE + r(e)\\,KD(x) + r_a(e)\\,KD(\\tilde x) + g(e)\\,[\\,d(a,p) - d(a,n) + m\\,]_+$ "
        "with boundary samples $\\tilde x$; its triplet term is our reading of a public abstract. Every slider of the "
        "objective acts from the next batch on and is written down, so that the run can be replayed."
    )

    def __init__(self, what: Recipe | Run | Session | str | None = None, *, runs: str | Path = "runs") -> None:
        session = what if isinstance(what, Session) else None
        run = session.open_run() if session else what if isinstance(what, Run) else None
        recipe = run.recipe if run else what if isinstance(what, Recipe) else suggested(what or DIGITS.dataset)  # type: ignore[arg-type]
        super().__init__()
        self._folder = Path(runs)
        self._recipe = recipe
        self.run: Run | None = None
        self.job: Job | None = None
        self._live, self._duty = LiveStudent(), DutyCycle()
        self._follower: Follower | None = None
        self._lines: list[dict[str, Any]] = []
        self._ground: Ground | None = None
        self._teacher: Classifier | None = None
        self._teacher_maps: dict[int, Decisions] = {}
        self._found: dict[str, Decisions] = {}
        self._newest = True  # the newest student is looked at, not an earlier epoch
        self._state = ""
        self._speed: list[tuple[float, int]] = []
        self._build(recipe)
        self._pulse = Pulse(self._beat)
        if run is not None:
            epoch = session.view.epoch if session else None
            self.compute.ask("open", lambda: self.open(run, epoch))
        else:
            self._fit_controls(recipe)
            self.say("Ready: press Start.")
            self.compute.ask("runs", self._list_runs)

    # the parts

    def _build(self, recipe: Recipe) -> None:
        fields = {f.name: f for f in recipe.__dataclass_fields__.values()}
        told = {line.name: line.found for line in data_status(recipe.root)}
        names = [(name if there else f"{name} (not found)", name) for name, there in told.items()]
        if recipe.dataset not in told:
            names.append((recipe.dataset, recipe.dataset))
        teachers = list(dict.fromkeys([recipe.teacher, *architectures(), *map(str, Path().glob("*.safetensors"))]))
        self._terms = objective_controls()
        self._sum = widgets.HTML()
        own = {name: from_field(fields[name], getattr(recipe, name), label) for name, label in OF_RECIPE.items()}
        self.maps = MapCanvas(empty="Teacher, student and where they disagree: once a training has begun.")
        self.curves = CurveCanvas()
        self.scatter = ScatterCanvas(empty="Teacher and student in one layout: once a training has begun.")
        self.joint = JointLayout(self.scatter)
        self._fidelity = widgets.HTML()
        self._log = widgets.HTML("<pre></pre>")
        self._log.add_class("amkd-log")
        self._numbers = widgets.HTML()
        self._buttons = {
            "Start": button("Start", "A new run with these settings", primary=True),
            "Pause": button("Pause", "Hold at the next batch; again: go on"),
            "Step": button("Step", "Train one batch, then hold"),
            "Epoch": button("Epoch", "Train to the end of the epoch, then hold"),
            "Stop": button("Stop", "End, with a checkpoint of this very batch"),
            "Resume": button("Resume", "Go on with the run that is shown"),
        }
        actions = (self.start, self.pause, self.step, self.step_epoch, self.stop, self.resume)
        for widget, action in zip(self._buttons.values(), actions, strict=True):
            self.on_click(widget, action)
        self._fork = button("Fork from here", "A new run that starts with the student of this epoch")
        self.on_click(self._fork, self.fork)
        epoch = widgets.IntSlider(
            value=0, min=0, max=1, description="epoch", tooltip="look back; at the right end: the newest student"
        )
        epoch.layout.width = "420px"
        look = widgets.Box([epoch, self._fork])
        look.add_class("amkd-bar")
        pictures = widgets.Box(
            [widgets.VBox([self.scatter, self._fidelity]), widgets.VBox([self._log_title(), self._log])]
        )
        pictures.add_class("amkd-two")
        self.assemble(
            {
                "Problem": {
                    "dataset": choice("data", recipe.dataset, names, "what is learned"),
                    "teacher": choice("teacher", recipe.teacher, teachers, fields["teacher"].metadata["help"]),
                    "student": choice("student", recipe.student, architectures(), "architecture of the student"),
                    "method": choice("method", recipe.method, list(methods), "named objective"),
                    "labelled": widgets.BoundedIntText(
                        value=recipe.limit_train or 0,
                        min=0,
                        max=10**7,
                        description="labelled",
                        tooltip="so many labelled training samples for the student, classes balanced; 0 for all",
                        style={"description_width": "104px"},
                    ),
                },
                "Objective": {"_sum": self._sum, **self._terms},
                "Attack": {
                    "step_size": slider("step size", recipe.step_size, 0.05, 3.0, 0.05, "of the attack"),
                    "attack_steps": slider("steps", recipe.attack_steps, 1, 40, 1, "at most so many attack steps"),
                    "attacked": slider(
                        "attacked",
                        recipe.attacked,
                        1,
                        max(256, recipe.attacked),
                        1,
                        fields["attacked"].metadata["help"],
                    ),
                    **{name: own[name] for name in ("sampler", "rule", "student_pass")},
                },
                "Training": {
                    "learning_rate": slider(
                        "learning rate", recipe.learning_rate, 1e-4, 1.0, 0.02, "peak of its schedule", log=True
                    ),
                    **{name: own[name] for name in ("epochs", "batch_size", "seed", "precision")},
                    "device": choice(
                        "device", recipe.device, list(dict.fromkeys(["auto", "cpu", "cuda", recipe.device])), "where"
                    ),
                },
                "Compare": {
                    "earlier": choice("resume", None, [("earlier runs ...", None)], "a run of this folder to open"),
                    "overlay": choice("overlay", None, [("none", None)], "another run's curves, faintly"),
                },
            },
            [self.maps, look, self.curves, pictures],
            [*self._buttons.values(), self._numbers],
            folded=["Attack", "Training", "Compare"],
            bar_first=True,
        )
        self.controls["epoch"] = epoch
        epoch.observe(self._moved("epoch"), names="value")
        self._enable()

    @staticmethod
    def _log_title() -> Any:
        return widgets.HTML("<b>Log</b> <span class='amkd-note'>newest first</span>")

    # settings

    @property
    def recipe(self) -> Recipe:
        """What the controls describe.

        Raises:
            InputError: they do not fit together.
        """
        v = self.values
        own = objective_values(methods[v["method"]]())
        changes = {name: v[name] for name, default in own.items() if v[name] != default}
        return self._recipe.replace(
            dataset=v["dataset"],
            teacher=v["teacher"],
            student=v["student"],
            method=v["method"],
            limit_train=v["labelled"] or None,
            changes=changes,
            device=v["device"],
            **{name: v[name] for name in (*OF_RECIPE, *LIVE)},
        )

    def _fit_controls(self, recipe: Recipe) -> None:
        """Controls as a recipe has them: in the paint thread, or before the panel is shown."""
        self._recipe = recipe
        for name in (*OF_RECIPE, *LIVE, "teacher", "student", "method", "dataset", "device"):
            control, value = self.controls[name], getattr(recipe, name)
            if isinstance(control, widgets.Dropdown):
                options = [o[1] if isinstance(o, tuple) else o for o in control.options]
                if value not in options:
                    self.put(name, options=[*control.options, value])
            elif hasattr(control, "max") and not isinstance(control, widgets.FloatLogSlider) and value > control.max:
                self.put(name, max=value)
            self.put(name, value=value)
        self.put("labelled", value=recipe.limit_train or 0)
        self._fit_terms(recipe)

    def _fit_terms(self, recipe: Recipe) -> None:
        """Sliders of the terms that the method has; the others are hidden."""
        values = objective_values(recipe.objective)
        values |= {name: float(v) for name, v in recipe.changes.items() if name.endswith(".scale")}
        for name, control in self._terms.items():
            control.layout.display = None if name in values else "none"
            if name in values:
                self.put(name, value=values[name])
        self._sum.value = f"<code style='font-size:11px;line-height:1.3'>{html.escape(str(recipe.objective))}</code>"

    def changed(self, name: str, value: Any) -> None:
        if name == "epoch":
            self._newest = value >= self.controls["epoch"].max
            self.say(f"Epoch {value} ...", "busy")
            self.compute.ask("look", self._look)
        elif name == "overlay":
            self.compute.ask("curves", self._draw_curves)
        elif name == "earlier":
            if value:
                self.compute.ask("open", lambda: self.open(Run.open(value)))
        elif name == "dataset":
            self.paint.ask("fit", lambda: self._fit_controls(suggested(value).replace(device=self["device"])))
            self.say(f"{value}: settings that suit it; press Start.")
        elif name == "method":
            recipe = self._recipe.replace(method=value, changes={})
            self.paint.ask("fit", lambda: self._fit_terms(recipe))
            self.say(f"{value}: {methods.about(value)}.")
        elif self._busy and (name in LIVE or name in self._terms):
            self.say(f"{name}: {value} from the next batch on.")
            self.compute.ask(f"set {name}", lambda: self._change(name, value))
        else:
            self.say(f"{name}: {value}; Start begins a new run with it.")
            self.paint.ask("sum", self._show_sum)

    def _change(self, name: str, value: Any) -> None:
        if self.job is not None:
            self.job.set(**{name: value})
        self.paint.ask("sum", self._show_sum)

    def _show_sum(self) -> None:
        text = html.escape(str(self.recipe.objective))
        self._sum.value = f"<code style='font-size:11px;line-height:1.3'>{text}</code>"

    # orders

    @property
    def _busy(self) -> bool:
        return self.job is not None and self.job.state in ("running", "paused", "stopping")

    @property
    def state(self) -> str:
        """idle, running, paused, stopping, done or failed."""
        return self.job.state if self.job is not None else "idle"

    def start(self, out: str | Path | None = None) -> None:
        """A new run with the settings of the controls; one that is paused goes on instead.

        Raises:
            InputError: one is running; or the settings do not fit.
        """
        if self.job is not None and self.job.state == "paused":
            self.job.resume()
            return
        if self._busy:
            raise InputError("A training is running; stop it first.")
        recipe = self.recipe
        self._forget()
        self._go(Job(recipe, out, listen=self._hear))
        self.say("Loading data and teacher ...", "busy")

    def resume(self) -> None:
        """Go on with the run that is shown, at the very batch where it stopped.

        Raises:
            InputError: there is none, it is finished, or somebody else is writing it.
        """
        if self.job is not None and self.job.state == "paused":
            self.job.resume()
        elif self.run is None:
            raise InputError("There is no run to go on with; press Start, or choose one under Compare.")
        elif self.run.finished:
            raise InputError("This run is finished; fork it from an epoch, or press Start for a new one.")
        elif not self._busy:
            self._go(Job(self.run, listen=self._hear))

    def _go(self, job: Job) -> None:
        self._live = LiveStudent()
        self._speed, self._duty, self._newest = [], DutyCycle(), True
        self.job = job
        job.start()
        self._enable()

    def pause(self) -> None:
        """Hold at the next batch; if it is held, go on."""
        if self.job is not None:
            (self.job.resume if self.job.state == "paused" else self.job.pause)()

    def step(self) -> None:
        """Train one batch, then hold."""
        self._begin_held()
        if self.job is not None:
            self.job.step()

    def step_epoch(self) -> None:
        """Train to the end of the epoch, then hold."""
        self._begin_held()
        if self.job is not None:
            self.job.step_epoch()

    def _begin_held(self) -> None:
        if not self._busy:
            (self.resume if self.run is not None and not self.run.finished else self.start)()

    def stop(self) -> None:
        """End, with a checkpoint of the batch that was reached."""
        if self.job is not None:
            self.job.stop()

    def fork(self) -> None:
        """A new run from the student of the epoch that is shown, with the settings of the controls; it starts at once.

        Raises:
            InputError: a training is running, or there is no such epoch or none left to train.
        """
        if self._busy:
            raise InputError("A training is running; stop it first, then fork.")
        if self.run is None:
            raise InputError("There is no run to fork from; press Start.")
        epoch = self._nearest(self["epoch"])
        recipe = self.recipe
        changes = {n: v for n, v in recipe.to_json().items() if v != self.run.recipe.to_json()[n]}
        made = fork(self.run, epoch, **changes)
        self._attach(made)
        self._go(Job(made, listen=self._hear))
        self.say(f"Forked from epoch {epoch}.", "busy")

    def open(self, run: Run, epoch: int | None = None) -> None:
        """Show a run that is there, finished or not, written by this process or another."""
        if self._busy:
            raise InputError("A training is running; stop it first.")
        self.say(f"Reading {run.path} ...", "busy")
        self.job = None
        self._forget()
        self._attach(run)
        self.paint.ask("fit", lambda: self._fit_controls(run.recipe))
        self._prepare(run.teacher(), run.dataset())
        self._poll()
        newest = max(run.snapshots(), default=0)
        self._put_epoch(newest if epoch is None else epoch, newest)
        self.paint.wait(10)
        self._look()
        self._enable()

    # what is looked at

    def _hear(self, event: Event) -> None:
        self._live.hear(event)

    def _forget(self) -> None:
        self.run, self._follower, self._lines = None, None, []
        self._ground, self._teacher, self._teacher_maps = None, None, {}
        self.joint.forget()

    def _attach(self, run: Run) -> None:
        self.run, self._follower, self._lines = run, Follower(run.path / "metrics.jsonl"), []

    def _prepare(self, teacher: Classifier, data: Any) -> None:
        """The ground and the teacher's picture of it."""
        data, recipe = data.to("cpu"), self._recipe
        teacher = teacher.cpu() if next(teacher.parameters()).device.type == "cpu" else _on_cpu(teacher)
        if data.kind == "points":
            self._ground = Ground(data)
        else:
            images, labels = telling_triple(
                teacher, data, step_size=recipe.step_size, steps=recipe.attack_steps, rule=recipe.rule
            )
            self._ground = Ground(data, images, labels)
        self._teacher, self._teacher_maps = teacher, {}
        self.joint.begin(teacher, data)
        marks = ground_marks(self._ground)
        names = data.classes

        told = ground_words(self._ground)

        def show() -> None:
            self.maps.classes(names)
            self.maps.marks = marks
            self.maps.note = told

        self.paint.ask("marks", show)

    def _teacher_map(self, side: int) -> Decisions:
        assert self._ground is not None
        assert self._teacher is not None
        if side not in self._teacher_maps:
            self._teacher_maps[side] = self._ground.decisions(self._teacher, side)
        return self._teacher_maps[side]

    def _draw_student(self, student: Classifier, side: int, words: str) -> None:
        assert self._ground is not None
        found = {"teacher": self._teacher_map(side), "student": self._ground.decisions(student, side)}
        apart = percent(1 - agreement(found["teacher"], found["student"]))
        area, self._found = self._ground.area, found

        def show() -> None:
            self.maps.show(found, area, notes={"student": words}, disagreement=apart)

        self.paint.ask("maps", show)

    def _draw_joint(self, student: Classifier) -> None:
        places, words = self.joint.places(student)

        def show() -> None:
            self.joint.show(places)
            self._fidelity.value = f"<span class='amkd-note'>{words}</span>"

        self.paint.ask("joint", show)

    def _look(self) -> None:
        """The student of the chosen epoch, coarse, then fine."""
        if self.run is None or self._ground is None:
            self.say("There is nothing to look at yet; press Start.")
            return
        if self._following:
            self._live.want()
            self.say(self._words())
            return
        epoch = self._nearest(self["epoch"])
        student = self.run.student(epoch)
        self._draw_student(student, COARSE, f"epoch {epoch}")
        over = self.cancel_point("look")
        if not over():
            self._draw_joint(student)
        if not over():
            self._draw_student(student, FINE, f"epoch {epoch}")
        self.say(self._words() if self._busy else f"{self.run.path}: the student after epoch {epoch}.")

    def _nearest(self, epoch: int) -> int:
        kept = self.run.snapshots() if self.run is not None else []
        if not kept:
            raise InputError("This run has no snapshot of a student yet; train an epoch first.")
        return max((e for e in kept if e <= epoch), default=kept[0])

    @property
    def _following(self) -> bool:
        """Whether the newest student is looked at, rather than an earlier epoch."""
        return self._busy and self._newest

    def _put_epoch(self, value: int, last: int) -> None:
        self.paint.ask("epoch", lambda: self.put("epoch", max=max(last, 1), value=min(value, max(last, 1))))

    # the pulse

    def _beat(self) -> None:
        """Some times a second, from a thread of its own: ask for what may have changed."""
        if self.closed:
            return
        other = self.run is not None and not self.run.finished and not self._busy
        if self.job is not None or other:
            self.compute.ask("beat", self._catch_up)

    def _catch_up(self) -> None:
        job = self.job
        if job is not None and self.run is None and job.run is not None:
            self._attach(job.run)
        training = self._live.training
        if training is not None and self._ground is None and training.teacher is not None:
            self._prepare(training.teacher, training.full)
            self._live.want()
        new = self._poll()
        state = self.state
        if self._busy:
            self._count()
            taken = self._live.take()
            if taken is not None and self._ground is not None and self._following:
                begun = time.thread_time()
                self._draw_student(_on_cpu(taken), COARSE, f"epoch {self._live.epoch}, batch {self._live.batch}")
                self._draw_joint(_on_cpu(taken))
                self._duty.spent(time.thread_time() - begun)
            elif self._duty.due() and self._following:
                self._live.want()
        if state != self._state:
            self._state = state
            self._enable()
            if state in ("done", "idle", "failed") and job is not None:
                self._ended(job)
        elif new or self._busy:
            self.say(self._words(), *self._progress())

    def _poll(self) -> bool:
        """Read what is new in the run's log."""
        if self._follower is None:
            return False
        new = self._follower.poll()
        if self._follower.rewound:
            self._lines = []
        self._lines += new
        if new:
            self._draw_curves()
            text = html.escape(log_text(self._lines))
            self.paint.ask("log", lambda: setattr(self._log, "value", f"<pre>{text}</pre>"))
            done = max((line["epoch"] for line in self._lines if line.get("kind", "epoch") == "epoch"), default=0)
            self._put_epoch(done if self._newest else self["epoch"], done)
        return bool(new)

    def _draw_curves(self) -> None:
        if self.run is None:
            return
        run, lines, others = self.run, list(self._lines), {}
        if self["overlay"]:
            other = Run.open(self["overlay"])
            others[other.path.name] = (other.recipe.method, other.lines())
        name, method, end = run.path.name, run.recipe.method, run.recipe.epochs
        self.paint.ask("curves", lambda: show_curves(self.curves, name, method, lines, end, others))

    def _count(self) -> None:
        live, now = self._live, time.monotonic()
        self._speed = [*self._speed, (now, live.seen)][-16:]
        (begun, before), (until, after) = self._speed[0], self._speed[-1]
        speed = (after - before) / (until - begun) if until > begun and self.state == "running" else 0.0
        words = []
        if live.training is not None and live.batches:
            recipe = live.training.recipe
            words = [
                f"epoch {min(live.epoch + 1, recipe.epochs)}/{recipe.epochs}",
                f"batch {live.batch}/{live.batches}",
            ]
            left = ((recipe.epochs - live.epoch) * live.batches - live.batch) * recipe.batch_size
            if speed:
                words += [f"{speed:,.0f} img/s", f"{duration(left / speed)} left"]
            words.append(memory_words(live.training.device))
        text = "&ensp;".join(words)
        self.paint.ask("numbers", lambda: setattr(self._numbers, "value", text))

    def _progress(self) -> tuple[str, float]:
        live = self._live
        if self.state != "running":
            return "idle", -1.0
        if live.teaching is not None:
            return "busy", live.teaching[0] / max(1, live.teaching[1])
        if live.training is None or not live.batches:
            return "busy", -1.0
        return "busy", (live.epoch + live.batch / live.batches) / live.training.recipe.epochs

    def _words(self) -> str:
        """What is happening."""
        live, state = self._live, self.state
        if state in ("paused", "stopping"):
            return f"{state.capitalize()} at epoch {live.epoch + 1}, batch {live.batch}."
        if live.teaching is not None:
            return f"Training the teacher once: epoch {live.teaching[0]} of {live.teaching[1]}; it is kept for later."
        if state == "running" and live.training is None:
            return "Loading data and teacher ..."
        if state == "running":
            told: dict[str, Any] = next((line for line in reversed(self._lines) if line.get("metrics")), {})
            reached = told.get("metrics", {}).get("attack.reached_target")
            about = (
                f" Boundary samples: {percent(reached, 0)} reached their target class." if reached is not None else ""
            )
            return f"Training epoch {live.epoch + 1}.{about}"
        return f"{self.run.path}: {len(self._lines)} lines." if self.run is not None else "Ready: press Start."

    def _ended(self, job: Job) -> None:
        self._poll()
        self._list_runs()
        if job.state == "failed":
            self.fail(job.error or "The training failed; see its log.")
            return
        if self.run is None:
            return
        if self._ground is not None:
            newest = max(self.run.snapshots(), default=0)
            self._put_epoch(newest, newest)
            self.paint.wait(10)
            self._look()
        if job.state == "done":
            accuracy = percent(self.run.summary.get("test_accuracy"))
            self.say(f"Done: test accuracy {accuracy} after the last epoch. {self.run.path} holds everything.", "done")
        else:
            self.say(f"Stopped; {self.run.path} can be resumed here or in another process.")

    def _list_runs(self) -> None:
        found = sorted(self._folder.glob("*/config.json"), key=lambda p: p.stat().st_mtime, reverse=True)[:30]
        paths = [(path.parent.name, str(path.parent)) for path in found]
        overlay = self["overlay"] if self["overlay"] in [p for _, p in paths] else None

        def show() -> None:
            self.put("earlier", options=[("earlier runs ...", None), *paths], value=None)
            self.put("overlay", options=[("none", None), *paths], value=overlay)

        self.paint.ask("runs", show)

    def _enable(self) -> None:
        """Which controls and buttons may be used now."""
        state, busy = self.state, self._busy
        unfinished = self.run is not None and not self.run.finished
        may = {
            "Start": not busy,
            "Pause": state in ("running", "paused"),
            "Step": state != "stopping",
            "Epoch": state != "stopping",
            "Stop": state in ("running", "paused"),
            "Resume": state == "paused" or (not busy and unfinished),
        }
        held = state == "paused"

        def show() -> None:
            for name, widget in self._buttons.items():
                widget.disabled = not may[name]
            self._buttons["Pause"].description = "Go on" if held else "Pause"
            self._fork.disabled = busy or self.run is None
            for name, control in self.controls.items():
                control.disabled = busy and not (name in LIVE or name in self._terms or name in ("epoch", "overlay"))

        self.paint.ask("enable", show)

    # the head's buttons

    def view(self) -> View | None:
        return curves(self.run) if self.run is not None and self.run.metrics() else None

    def session(self) -> Session | None:
        return None if self.run is None else Session.of(self.run, epoch=self._nearest(self["epoch"]))

    def still(self) -> Image.Image | None:
        return map_still(self._found)

    def code(self) -> str:
        recipe, default = self.recipe.to_json(), Recipe().to_json()
        lines = ",\n    ".join(f"{n}={v!r}" for n, v in recipe.items() if v != default[n])
        made = [line for line in self._lines if line.get("kind") == "intervention"]
        text = f"import amkd_viz\n\nrecipe = amkd_viz.Recipe(\n    {lines},\n)\nrun = amkd_viz.distill(recipe)\n"
        if made and self.run is not None:
            text += "\n# with the changes that were made by hand, at the same batches:\n"
            text += f"from amkd_viz.training import replay\n\nrun = replay(amkd_viz.Run.open({str(self.run.path)!r}))\n"
        return text + "\nfrom amkd_viz.views import curves\n\ncurves(run)\n"

    def close(self) -> None:
        """Stop the training, if one is going on, with a checkpoint; take the panel off the page."""
        if not self.closed:
            self._pulse.stop()
            if self.job is not None:
                self.job.stop()
                self.job.wait(30)
        super().close()


def _on_cpu(net: Classifier) -> Classifier:
    """The net itself if it is there; a copy, if it lives on an accelerator."""
    import copy

    return net if next(net.parameters()).device.type == "cpu" else copy.deepcopy(net).cpu()


def duration(seconds: float) -> str:
    """
    >>> duration(42), duration(250), duration(7300)
    ('42 s', '4 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
