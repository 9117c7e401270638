"""Run a distillation: start, pause, change settings live, look back, fork. It survives a kernel crash."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as widgets
import torch
from PIL import Image

from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, short_name
from amkd_viz.models import Classifier, inference_copy
from amkd_viz.objectives import methods
from amkd_viz.panels.controls import choice, pace_control
from amkd_viz.panels.distill_form import DistillForm
from amkd_viz.panels.distill_pictures import MOST, DistillPictures
from amkd_viz.panels.distill_words import Speed, code_of, done_share, numbers, words
from amkd_viz.panels.live import DutyCycle, LiveStudent, LookBack, Pace, Pulse, Unshown, duty_for, on_cpu
from amkd_viz.panels.offer import Offer, interrupted
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.preview import OF_START, first_training, is_quick
from amkd_viz.panels.run_log import RunLog
from amkd_viz.panels.run_table import RunTable, run_rows, run_words
from amkd_viz.panels.session import Session, opened
from amkd_viz.panels.slice_maps import maps_code
from amkd_viz.runs import Job, Run, fork
from amkd_viz.runs.follow import EPOCHS
from amkd_viz.runs.prepare import check_layers
from amkd_viz.training import DIGITS, EpochEnded, Event, Recipe, Training, accuracy, logits_on
from amkd_viz.training.examples import fitted
from amkd_viz.training.training import LIVE
from amkd_viz.views import View, curves
from amkd_viz.views.labels import number, percent, value_words
from amkd_viz.views.layout import keep

__all__ = ["DistillLab"]

READY = "Ready: press Start."
ASKED = 1.0  # seconds between two questions whether another process trains the run
JUDGED, LONGER = 500, 4  # training samples by which a teacher is judged, and by how much a poor one is trained longer
COARSE, FINE = 64, 160  # grid resolution of maps while training, and of those that stay


class DistillLab(Panel):
    """Distill under widget controls, in a background thread, into a run folder; watch the student learn.

    Args:
        what: a recipe to start from, a run to look at or resume, a session, the path of either, or the name of a data
            set; by default the digits, which need no download.
        runs: folder in which earlier runs are listed; new ones are written to ``runs/``.
        pace: maximum number of epochs per second: small nets train faster than a person can steer.
        epoch: of the student of a run that is shown first, by default the newest.

    Raises:
        InputError: ``what`` or ``pace`` is invalid; see ``Session.open_run``. Other errors are shown in the panel.
    """

    title = "DistillLab"
    leads = "dataset", "method"
    matters = "method", "num_train", "pace"
    keys = "Space starts the run, pauses it and goes on; arrows move the slider that has the focus."
    kept: ClassVar = {"epoch?": (None, EPOCHS)}
    first_steps: ClassVar = {
        "bar": "Start trains the student. Pause it, train one step, or go back to an epoch and fork from there.",
        "controls": (
            "While it trains, move a weight or the margin: the curves show where you did, and the log keeps it."
        ),
        "pictures": (
            "The maps of teacher and student, the curves of every loss term, and both networks in one embedding."
        ),
    }
    about = (
        "A large net, the <i>teacher</i>, is distilled into a small one, the <i>student</i>: press Start. The maps "
        "show one plane through three images (base, its boundary sample, a negative), or the whole window of a "
        "2-D problem: colour is the class, opacity the confidence; hatched: the two nets disagree. The objective is "
        "$L = CE + r(e)\\,KD(x) + r_a(e)\\,KD(\\tilde x) + g(e)\\,[\\,d(a,p) - d(a,n) + m\\,]_+$ "
        "with boundary samples $\\tilde x$; its triplet term is one reading of a public abstract. Every slider of the "
        "objective acts from the next batch on and is logged, so that the run can be replayed."
    )

    def __init__(
        self,
        what: Recipe | Run | Session | str | Path | None = None,
        *,
        runs: str | Path = "runs",
        pace: float = math.inf,
        epoch: int | None = None,
    ) -> None:
        if not pace > 0:
            raise InputError(f"pace must be above 0 epochs per second, got {pace!r}.")
        given = opened(what, self, Recipe, Run, type(None))
        session = given if isinstance(given, Session) else None
        run = session.open_run(self) if session else given if isinstance(given, Run) else None
        recipe = run.recipe if run else given if isinstance(given, Recipe) else fitted(given or DIGITS.dataset)
        super().__init__()
        self._folder = Path(runs)
        self.run: Run | None = None
        self.job: Job | None = None
        self._live, self._duty, self._pace = LiveStudent(), DutyCycle(), Pace(pace)
        self._unshown = Unshown(self._pace)  # of the log
        self._drawn = (-1, -1)  # epoch and batch of the student in the maps
        self._followed = ""  # of a run that no job of this panel trains: held (by another process), idle or done
        self._asked = 0.0  # when that was last asked
        self._looks = 0  # how often another student was chosen
        self.log: RunLog | None = None
        self._state = ""
        self._wanted: dict[str, Any] = {}  # settings that were moved while no job trains, for Resume
        self._undrawable = False  # there is no picture of this training
        self._speed = Speed()
        self._first: Training | None = None  # what Start would begin, with the settings of the controls
        self._loaded: tuple[str, Dataset] | None = None  # the data of the pictures, and the recipe's source
        self._build(recipe, pace)
        self._pulse = Pulse(self._beat)
        if run is not None:
            epoch = session.state.get("epoch") if session else epoch
            self.compute.ask("open", lambda: self.open(run, epoch))
        else:
            self.form.fit(recipe, self.put)
            self.say(READY)
            self.compute.ask("runs", self._list_runs)
            self.compute.ask("offer", self._offer_interrupted)
            self.compute.ask("preview", self._preview)

    def _build(self, recipe: Recipe, pace: float) -> None:
        self.form = DistillForm(recipe)
        self.form.groups["Training"]["pace"] = pace_control(pace)
        self._numbers = widgets.HTML()
        made = {
            "Start": ("A new run with these settings", self.start),
            "Pause": ("Pause at the next batch; again: go on", self.pause),
            "Step": ("Train one batch, then pause", self.step),
            "Epoch": ("Train to the end of the epoch, then pause", self.step_epoch),
            "Stop": ("Stop, with a checkpoint of this batch", self.stop),
            "Resume": ("Resume the run on show", self.resume),
            "Fork from here": ("A new run that starts with the student of this epoch", self.fork),
        }
        self._buttons = {
            name: self.button(name, *about, primary=name == "Start", again=name in ("Step", "Epoch"))
            for name, about in made.items()
        }
        *bar, fork_button = self._buttons.values()
        self._back = LookBack(recipe.epochs)
        look_back = widgets.Box([self._back.slider, fork_button])
        look_back.add_class("amkd-bar")
        self.pictures = DistillPictures(self.paint, look_back)
        self.offer, self.table = Offer(self), RunTable()
        self.hint = Offer(self)  # beside what is poor: a button that does what helps
        self._hinted: set[Any] = set()
        self._poor = False  # whether the teacher is poor: the first thing to mend
        compare = {
            "earlier": choice("open", "", [("earlier runs ...", "")], "an earlier run, or a saved session"),
            "overlay": choice("overlay", "", [("none", "")], "curves of another run, faintly"),
            "layout": choice(
                "layout", "pca", [("PCA", "pca"), ("UMAP (while paused)", "umap")], "layout of the embedding"
            ),
        }
        self.assemble(
            self.form.groups | {"Compare": compare},
            [self.offer.row, self.hint.row, *self.pictures.widgets, self.table],
            [*bar, self._numbers],
            folded=["Attack", "Training", "Compare"],
            bar_first=True,
            parts=self.pictures.parts,
            stage=[self.pictures.maps.canvas],
        )
        self.controls["epoch"] = self._back.slider
        self._back.slider.observe(self._moved("epoch"), names="value")
        self.table.observe(self._chosen, names="chosen")
        self._enable()

    # settings

    @property
    def recipe(self) -> Recipe:
        """The recipe that the controls describe.

        Raises:
            InputError: the settings do not fit together.
        """
        return self.form.recipe(self.values)

    def changed(self, name: str, value: Any) -> None:
        label = self.label(name)
        if name == "pace":
            self._pace.limit = value
            self._pace.hurry()
        elif name == "epoch":
            self._back.heard(value)
            self.say(f"Epoch {value} ...", "busy")
            self.compute.ask("look", self._look)
        elif name == "layout":
            self.compute.ask("look", self._look)
        elif name == "overlay":
            self.compute.ask("log", self._draw_log)
        elif name == "earlier":
            if value:
                self.compute.ask("open", lambda: self._open_path(Path(value)))
        elif name == "dataset":
            recipe = fitted(value).replace(device=self["device"])
            self.compute.ask("leave", lambda: self._leave(value))
            self.paint.ask("fit", lambda: self.form.fit(recipe, self.put))
            self.say(f"{value}: settings that suit it; press Start.")
        elif name == "method":
            plain = Recipe(method=value)
            self.paint.ask("fit", lambda: self.form.fit_terms(plain, self.put))
            self.say(f"{value}: {methods.about(value)}")
        else:
            if (job := self.job) and self._busy and (name in LIVE or name in self.form.terms):
                self.tell(f"{label}: {value_words(value)} from the next batch on.")
                self.compute.ask(f"set {name}", lambda: job.set(**{name: value}))
            elif self._resumes(name):
                self._wanted[name] = value
                self.say(f"{label}: {value_words(value)}; Resume goes on with it, Start begins a new run with it.")
            else:
                self.say(f"{label}: {value_words(value)}; Start begins a new run with it.")
            self.paint.ask("sum", lambda: self.form.show_sum(self.recipe))
        if name in OF_START:
            self.compute.ask("preview", self._preview)

    # control

    @property
    def _busy(self) -> bool:
        return self.job is not None and self.job.state in ("running", "paused", "stopping")

    @property
    def state(self) -> str:
        """idle, running, paused, stopping, done or failed."""
        return self.job.state if self.job is not None else "idle"

    def start(self, out: str | Path | None = None) -> None:
        """Start a new run with the settings of the controls; continue if a run is paused.

        Raises:
            InputError: a run is training, or the settings do not fit together.
        """
        if self.job is not None and self.job.state == "paused":
            self.job.resume()
            return
        if self._busy:
            raise InputError("A training is running; stop it first.")
        recipe = self.recipe
        self._refuse(recipe)
        self._forget()
        self._go(Job(recipe, out, listen=self._hear))
        self.say("Loading data and teacher ...", "busy")

    def resume(self) -> None:
        """Resume the run on show at the batch where it stopped.

        Raises:
            InputError: there is no run, or it is finished.
        """
        if self.job is not None and self.job.state == "paused":
            self.job.resume()
        elif self.run is None:
            raise InputError("There is no run to resume; press Start, or open one under Compare.")
        elif self.run.held and not self._busy:
            raise InputError(f"Another process trains {self.run.path}; stop it there, then resume it here.")
        elif self.run.finished:
            raise InputError("This run is finished; fork it from an epoch, or press Start for a new one.")
        elif not self._busy:
            job, wanted = Job(self.run, listen=self._hear), {n: v for n, v in self._wanted.items() if self._resumes(n)}
            if wanted:
                job.set(**wanted)
            self._go(job)

    def _resumes(self, name: str) -> bool:
        """Whether Resume can go on with another value of a setting."""
        run = self.run
        if run is None or run.finished:
            return False
        return name in LIVE or (name in self.form.terms and name.partition(".")[0] in run.recipe.objective.names)

    def _go(self, job: Job) -> None:
        self.check_open()
        self.offer.drop()
        self._wanted, self._undrawable = {}, False
        self._live, self._duty = LiveStudent(), duty_for(job.recipe.dataset)
        self._speed, self._back.newest, self._drawn = Speed(), True, (-1, -1)
        self.job, self._followed, self._state = job, "", ""  # this job's end is news, also if it ends between two beats
        job.start()
        self._enable()

    def pause(self) -> None:
        """Pause at the next batch; continue if paused."""
        self._pace.hurry()
        if self.job is not None:
            (self.job.resume if self.job.state == "paused" else self.job.pause)()

    def step(self) -> None:
        """Train one batch, then pause."""
        self._begin_paused()
        if self.job is not None:
            self.job.step()

    def step_epoch(self) -> None:
        """Train to the end of the epoch, then pause."""
        self._begin_paused()
        if self.job is not None:
            self.job.step_epoch()

    def _begin_paused(self) -> None:
        self._pace.hurry()
        if not self._busy:
            (self.resume if self.run is not None and not self.run.finished else self.start)()

    def stop(self) -> None:
        """Stop, with a checkpoint of the batch that was reached."""
        self._pace.hurry()
        if self.job is not None:
            self.job.stop()

    def fork(self) -> None:
        """Start a new run from the student of the epoch on show, with the settings of the controls.

        Raises:
            InputError: a training is running, there is no such snapshot, or no epoch is left to train.
        """
        if self._busy:
            raise InputError("A training is running; stop it first, then fork.")
        if self.run is None:
            raise InputError("There is no run to fork from; press Start.")
        epoch = self._back.epoch(self.run)
        recipe = self.recipe
        self._refuse(recipe)
        made = fork(self.run, epoch, **recipe.to_json())
        self._attach(made)
        self._go(Job(made, listen=self._hear))
        self.say(f"Forked from epoch {epoch}.", "busy")

    def open(self, run: Run, epoch: int | None = None) -> None:
        """Show a run, finished or not, written by this process or another."""
        if self._busy:
            raise InputError("A training is running; stop it first.")
        self.say(f"Reading {run.path} ...", "busy")
        self.offer.drop()
        self.job = None
        self._forget()
        self._undrawable = False
        self._attach(run)
        recipe = run.recipe_after(run.recipe.epochs)  # with its overrides, as Resume goes on
        self.paint.ask("fit", lambda: self.form.fit(recipe, self.put))
        self._prepare(run.teacher(), run.located().load(), run.recipe)
        self._poll()
        newest = max(run.snapshots(), default=0)
        self._put_epoch(epoch if isinstance(epoch, int) else newest, newest)
        self._back.newest = not isinstance(epoch, int) or epoch >= newest
        self._followed = self._following(run)
        self.paint.wait(10)
        if not self._undrawable:
            self._look()
        self._enable()

    def _offer_interrupted(self) -> None:
        """Offer to continue the run that a kernel left behind."""

        def go_on(run: Run) -> None:
            self.open(run)
            self.resume()

        self.offer.ask(interrupted(Run, self._folder, self.recipe.dataset), go_on)

    def _open_path(self, path: Path) -> None:
        if path.suffix == ".json":
            session = Session.open(path)
            self.open(session.open_run(self), session.state.get("epoch"))
        else:
            self.open(Run.open(path))

    def _chosen(self, change: Any) -> None:
        """Open the run that is chosen in the table."""
        if change["new"] and not self.closed:
            path = Path(change["new"])
            self.table.chosen = ""  # the same one can be chosen again
            self.compute.ask("open", lambda: self._open_path(path))

    def _hear(self, event: Event) -> None:
        rests = isinstance(event, EpochEnded) and self._live.teaching is None and math.isfinite(self._pace.limit)
        if rests and self._back.newest:
            self._live.want()  # pictures in a rest cost the training nothing
        self._live.hear(event)
        if rests:
            self._pace.rest()

    # before the first run: what Start would begin

    def _preview(self) -> None:
        """Ask for data, teacher and the untrained student of the controls, unless a run is on show."""
        self.paint.wait(10)  # another data set or method moves controls first
        self.pictures.expect(False)
        recipe = self.recipe
        self._refuse(recipe)
        if self._rests and is_quick(recipe):
            self.pictures.expect(True)
            self.slow.ask("preview", lambda: self._prepare_preview(recipe))

    def _refuse(self, recipe: Recipe) -> None:
        """Refuse nets that lack what the method reads, where the data are loaded already."""
        loaded = self._loaded
        if loaded is not None and loaded[0] == recipe.source:
            try:
                check_layers(recipe, loaded[1])
            except InputError as error:
                raise InputError(f"{recipe.method} cannot be trained with these nets: {error}") from error

    @property
    def _rests(self) -> bool:
        return self.run is None and self.job is None and not self.closed

    def _prepare_preview(self, recipe: Recipe) -> None:
        """In the slow thread: load the data, and load or train the teacher."""

        def unwanted() -> bool:
            return not self._rests or self.slow.waits("preview")

        def tell(text: str, share: float) -> None:
            if self._rests:
                self.say(text, "busy", share)

        first, self._first = self._first, None
        try:
            self._first = first_training(recipe, first, unwanted, tell)
        finally:
            self.pictures.expect(self._first is not None or self.slow.waits("preview"))
        if self._first is not None:
            self.compute.ask("show preview", lambda: self._show_preview(recipe))

    def _show_preview(self, recipe: Recipe) -> None:
        first = self._first
        if not self._rests or first is None or first.teacher is None:
            return
        now = self.recipe
        if any(getattr(recipe, name) != getattr(now, name) for name in OF_START):
            return
        self._prepare(on_cpu(first.teacher), first.full, recipe)
        student = inference_copy(first.student).cpu()
        if self.pictures.maps.ready:
            self.pictures.draw(student, FINE, "untrained")
            self.pictures.draw_joint(student)
            self.paint.wait(10)
            if self.status.kind == "busy":
                self.say(READY)

    # the student on show

    def _forget(self) -> None:
        self.run, self.log, self._wanted, self._first = None, None, {}, None
        self.pictures.forget()

    def _leave(self, dataset: str) -> None:
        """Drop the run on show, with its pictures, if it is of another data set."""
        if self.run is not None and not self._busy and self.run.recipe.dataset != dataset:
            self.job, self._followed = None, ""
            self._forget()
            self._enable()
            self._preview()

    def _attach(self, run: Run) -> None:
        self.run, self.log = run, RunLog(run)
        self._list_runs()

    def _prepare(self, teacher: Classifier, data: Dataset, recipe: Recipe) -> None:
        """Prepare the maps; where there are none, say so in their place, and go on without."""
        self._loaded = recipe.source, data
        try:
            self._judge(on_cpu(teacher), data, recipe)
            self.pictures.prepare(teacher, data, recipe)
        except InputError as error:
            self._undrawable, text = True, str(error)
            self.paint.ask("note", lambda: setattr(self.pictures.maps.canvas, "note", text))
            self.say(text, "error")

    # what helps

    def _hint(self, key: Any, *about: Any) -> None:
        """Offer something, once."""
        if key not in self._hinted:
            self._hinted.add(key)
            self.hint.show(*about)

    def _judge(self, teacher: Classifier, data: Dataset, recipe: Recipe) -> None:
        """Offer to train the teacher for longer if it does not even know its training samples."""
        train = data.to("cpu").train.take(torch.tensor(keep(len(data.train), JUDGED)))
        share, chance = accuracy(logits_on(teacher, train), train.y), float(train.y.bincount().max()) / len(train)
        self._poor = share < (1 + chance) / 2 and not recipe.teacher.endswith(".safetensors")
        if not self._poor:
            return
        epochs = LONGER * recipe.teacher_epochs
        text = f"<b>The teacher classifies only {percent(share, 0)} of its training samples correctly.</b>&nbsp;"
        self._hint(epochs, text, f"Train it for {epochs} epochs", "a new teacher", lambda: self._teach_longer(epochs))

    def _teach_longer(self, epochs: int) -> None:
        busy = self._busy
        if self.job is not None:
            self.job.stop()
            self.job.wait(60)
        self.form.also(teacher_epochs=epochs)
        self.job = None
        self._forget()
        self._enable()
        (self.start if busy else self._preview)()

    def _advise(self) -> None:
        """Offer a longer attack if no boundary sample of the last epoch reached its target class."""
        lines = reversed(self.log.epochs if self.log is not None else [])
        found: dict[str, Any] = next((line["metrics"] for line in lines if line.get("metrics")), {})
        if found.get("attack.reached_target") != 0 or self._poor:
            return
        assert self.run is not None
        size, steps = self["step_size"] or float(self.run.settled.step_size), self["attack_steps"]
        most = self.controls["step_size"].max, self.controls["attack_steps"].max
        newton = self["step_rule"] == "newton"  # a step of 1 leads to the boundary
        values = {
            "step_size": 1.05 if newton and size < 1 else min(2 * size, most[0]),
            "attack_steps": min(2 * steps, most[1]),
        }
        text = "<b>0 % of the boundary samples reached their target class.</b>&nbsp;"
        tip = f"step size {number(values['step_size'])}, {values['attack_steps']} steps at most"
        if (size, steps) != tuple(values.values()):
            self._hint((size, steps), text, "Take longer steps", tip, lambda: self.set(**values))

    def _look(self) -> None:
        """Draw the student of the chosen epoch, first coarse, then fine."""
        self._looks += 1
        if self.run is None or not self.pictures.maps.ready:
            self.say("There is nothing to look at yet; press Start.")
        elif self._busy and self._back.newest:
            self._live.want()
            self.say(self._words())
        else:
            epoch, over = self._back.epoch(self.run), self.cancel_point("look")
            student = self.run.student(epoch)
            self.pictures.draw(student, COARSE, f"epoch {epoch}")
            if not over():
                self.pictures.draw_joint(student)
            if not over():
                self.pictures.draw(student, FINE, f"epoch {epoch}")
            text = self._words() if self._busy else f"{self.run.path}: the student after epoch {epoch}."
            if not over() and self["layout"] == "umap" and self.state != "running":
                self.say(f"UMAP of epoch {epoch} ...", "busy", cancellable=True)
                looked = self._looks
                self.slow.ask("umap", lambda: self._lay_out(student, text, looked))
            else:
                self.say(text)

    def _lay_out(self, student: Classifier, text: str, looked: int) -> None:
        """In the slow thread: compute UMAP, and show it unless another student was chosen meanwhile."""
        places = self.pictures.joint.places(student, "umap")
        if looked == self._looks and self.state != "running":
            self.pictures.show_joint(places)
            self.say(text)

    def _cancel(self, count: int) -> None:
        """Cancel UMAP, the only work that can be cancelled here, and go back to PCA."""
        super()._cancel(count)

        def back() -> None:
            self.put("layout", value="pca")
            self.compute.ask("look", self._look)

        self.paint.ask("layout", back)

    def _put_epoch(self, value: int, last: int) -> None:
        self._back.tell(value)
        if self.run is not None:  # its range stays: a slider whose range changes sends values of its own
            last = max(last, self.run.recipe.epochs)
        self.paint.ask("epoch", lambda: self.put("epoch", max=max(last, 1), value=value))

    def _draw_log(self) -> None:
        if self.log is None:
            return
        others = [RunLog(Run.open(self["overlay"]))] if self["overlay"] else []
        for other in others:
            other.poll()
        self.pictures.draw_log(self.log, others)

    # the pulse

    def _beat(self) -> None:
        """In the thread of the pulse: ask for what may have changed."""
        if self.closed:
            return
        if self.job is not None or self._followed in ("held", "idle"):
            self.compute.ask("beat", self._catch_up)

    def _catch_up(self) -> None:
        job = self.job
        if job is not None and self.run is None and job.run is not None:
            self._attach(job.run)
        training = self._live.training
        if training is not None and training.teacher is not None and not (self.pictures.maps.ready or self._undrawable):
            recipe = self.run.recipe if self.run is not None else training.recipe  # of the start: overrides change none
            self._prepare(on_cpu(training.teacher), training.full, recipe)
            self._live.want()
        new = self._poll(at_once=self.state != "running")
        if job is None and self.run is not None:
            self._follow(self.run, new)
            return
        state = self.state
        if self._busy:
            speed = self._speed.update(self._live.seen)
            text = numbers(self._live, speed if state == "running" else 0.0)
            self.paint.ask("numbers", lambda: setattr(self._numbers, "value", text))
            taken = self._live.take()
            here, shown = (self._live.epoch, self._live.batch), self.pictures.maps.ready and self._back.newest
            if shown and state == "paused" and self._drawn != here:
                taken = self._live.copy_now()
            if shown and taken is not None:
                self._drawn = here
                with self._duty.turn(free=self._pace.resting):
                    taken = on_cpu(taken)
                    self.pictures.draw(taken, COARSE, f"epoch {here[0] + 1}, batch {here[1]}")
                    with suppress(InputError):  # of a net that has diverged, as its training will say
                        self.pictures.draw_joint(taken)
            elif self._duty.due() and self._back.newest:
                self._live.want()
        if state != self._state:
            self._state = state
            self._enable()
            if state in ("done", "idle", "failed") and job is not None:
                self._ended(state, job.error)
        elif (new or self._busy) and not self.telling:
            self.say(self._words(), *done_share(self._live, state))

    def _following(self, run: Run) -> str:
        self._asked = time.monotonic()
        return "done" if run.finished else "held" if run.held else "idle"

    def _follow(self, run: Run, new: bool) -> None:
        """Follow a run that no job of this panel trains: its maps, its words, its end."""
        before = self._followed
        if new or time.monotonic() - self._asked > ASKED:
            self._followed = self._following(run)
        if self._followed == "done" and before != "done":
            self._enable()
            self._ended("done")
            return
        if self._followed == "held" and self._back.newest and self.pictures.maps.ready and self._duty.due():
            self._draw_followed(run)
        if self._followed != before:
            self._enable()
        if (new or self._followed != before) and not self.telling:
            epochs, done = run.recipe.epochs, self.log.done if self.log is not None else 0
            if self._followed == "held":
                self.say(f"Another process trains {run.path}: epoch {done} of {epochs}.", "busy", done / epochs)
            else:
                self.say(f"{run.path}: {done} of {epochs} epochs; Resume goes on.")

    def _draw_followed(self, run: Run) -> None:
        """Draw the newest snapshot, within the budget of live pictures."""
        newest = max(run.snapshots(), default=0)
        if (newest, 0) != self._drawn:
            self._drawn = newest, 0
            with self._duty.turn():
                student = run.student(newest)
                self.pictures.draw(student, COARSE, f"epoch {newest}")
                self.pictures.draw_joint(student)

    def _poll(self, at_once: bool = True) -> bool:
        """Read on in the run's log and draw it, if not ``at_once`` within a budget; return whether there were new
        lines."""
        new = self.log is not None and self.log.poll()
        self._unshown.add(new)
        if self.log is not None and self._unshown.due(at_once):
            with self._unshown.turn():
                self._draw_log()
                self._advise()
                done = self.log.done
                self._put_epoch(done if self._back.newest else self["epoch"], done)
        return new

    def _words(self) -> str:
        text = words(self._live, self.state, self.log)
        if self._busy and not self._back.newest:
            text += f" You look back at epoch {self['epoch']}; the right end of that slider follows the training."
        return text

    def _ended(self, state: str, error: str | None = None) -> None:
        self._poll()
        self.paint.ask("numbers", lambda: setattr(self._numbers, "value", ""))
        self._list_runs()
        if state == "failed":
            self.fail(error or "The training failed; see its log.")
            return
        if self.run is None:
            return
        if self.pictures.maps.ready:
            newest = max(self.run.snapshots(), default=0)
            self._put_epoch(newest, newest)
            self.paint.wait(10)
            self._look()
        if state == "done":
            accuracy = percent(self.run.summary.get("test_accuracy"))
            self.say(f"Done: test accuracy {accuracy} after the last epoch. {self.run.path} holds everything.", "done")
        else:
            self.say(f"Stopped; {self.run.path} can be resumed here or in another process.")

    def _list_runs(self) -> None:
        runs = sorted(self._folder.glob("*/config.json"), key=lambda p: p.stat().st_mtime, reverse=True)[:30]
        rows = run_rows(path.parent for path in runs)
        paths = [(run_words(row), row["path"]) for row in rows]
        sessions = [(f"session {path.stem}", str(path)) for path in Session.files("sessions", self)]
        overlay = self["overlay"] if self["overlay"] in [p for _, p in paths] else ""
        shown = str(self.run.path) if self.run is not None else ""

        def show() -> None:
            self.put("earlier", options=[("earlier runs ...", ""), *paths, *sessions], value="")
            self.put("overlay", options=[("none", ""), *paths], value=overlay)
            self.table.rows, self.table.shown = rows, shown

        self.paint.ask("runs", show)

    def _enable(self) -> None:
        """Enable the controls and buttons that may be used now."""

        def show() -> None:
            state, busy = self.state, self._busy  # now, not when it was asked: several threads ask
            unfinished = self.run is not None and not self.run.finished
            may = {
                "Start": not busy,
                "Pause": state in ("running", "paused"),
                "Step": state != "stopping" and self._followed != "held",
                "Epoch": state != "stopping" and self._followed != "held",
                "Stop": state in ("running", "paused"),
                "Resume": not busy and unfinished and self._followed != "held",
                "Fork from here": not busy and self.run is not None,
            }
            for name, widget in self._buttons.items():
                widget.disabled = not may[name]
            self._buttons["Pause"].description = "Go on" if state == "paused" else "Pause"
            first = ("Pause", "Resume", "Start") if self.run is None else ("Pause", "Resume")
            self.space(next((self._buttons[name] for name in first if may[name]), None))
            for name, control in list(self.controls.items()):
                control.disabled = busy and not (
                    name in LIVE or name in self.form.terms or name in ("epoch", "overlay", "layout", "pace")
                )

        self.paint.ask("enable", show)

    # the head's buttons

    def view(self) -> View | None:
        """Return the maps of the student on show, from its snapshot."""
        student = self._student()
        return None if student is None else self.pictures.maps.view({"student": student}, FINE)

    def page(self) -> tuple[str, list[View]]:
        """Return the maps and the layout of the student on show, and the curves of the run."""
        run, student = self.run, self._student()
        if run is None or student is None:
            return "", []
        epoch, maps = self._back.epoch(self.run), self.pictures.maps.view({"student": student}, FINE)
        views = [maps, self.pictures.joint_view(student, self["layout"]), curves(run)]
        return f"{short_name(run.recipe.dataset)}, {run.recipe.method}: the student after epoch {epoch}", views

    def _student(self) -> Classifier | None:
        """Return the student of the epoch on show; None before there is a snapshot."""
        if self.run is None or not self.pictures.maps.ready or not (self.run.snapshots() and self.run.metrics()):
            return None
        return self.run.student(self._back.epoch(self.run)).cpu()

    def save_session(self, path: str | Path | None = None) -> Path:
        where = super().save_session(path)
        self._list_runs()
        return where

    def session(self) -> Session | None:
        return None if self.run is None else Session.of(self, self.run, epoch=self._back.epoch(self.run))

    def line(self) -> str:
        looks = self.differing({"layout": "pca", "overlay": "", "pace": math.inf})
        what, run = repr(self.recipe), self.run
        if run is not None:
            what = f"{str(run.path)!r}, epoch={self._back.epoch(run)}" if run.snapshots() else repr(str(run.path))
        return f"DistillLab({what})" + (f".set({looks})" if looks else "")

    def still(self) -> Image.Image | None:
        return self.pictures.maps.canvas.still()

    def code(self) -> str:
        run = self.run
        if run is None or not run.snapshots():
            return code_of(run, self.recipe)
        imports, drawn = maps_code(run.recipe, FINE)
        seen = (
            "data = run.located().load()  # all of it, so that maps of students with other samples can be compared\n"
            f"teacher, student = run.teacher(), run.student({self._back.epoch(run)})\n"
            f'nets = {{"teacher": teacher, "student": student}}\n{drawn}'
            f"embedding(nets, data, most={MOST}, how={self['layout']!r})\n"
        )
        return code_of(run, self.recipe, f"{imports}from amkd_viz.views import embedding\n", seen)

    def release(self) -> None:
        self._live, self._first, self._loaded = LiveStudent(), None, None
        self.pictures.release()

    def close(self) -> None:
        """Stop a running training with a checkpoint; take the panel off the page."""
        if not self.closed:
            self._pulse.stop()
            self._pace.hurry()
            if self.job is not None:
                self.job.stop()
                self.job.wait(30)
        super().close()
