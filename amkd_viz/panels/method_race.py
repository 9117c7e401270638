"""Several methods side by side on one problem: same seed, same initial weights, same order of data, one clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as widgets
from PIL import Image

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.pauses import pausable
from amkd_viz.data import load, parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.models import Classifier, architectures, inference_copy
from amkd_viz.objectives import methods as known_methods
from amkd_viz.objectives.methods import OURS
from amkd_viz.panels.controls import (
    choice,
    from_fields,
    pace_control,
    shown_number,
    slider,
    toggle,
    with_values,
)
from amkd_viz.panels.live import Abandoned, LiveStudent, Pace, Pulse, Unshown, duty_for
from amkd_viz.panels.made_later import MadeLater
from amkd_viz.panels.offer import Offer, interrupted
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.race_pictures import FINE, RacePictures
from amkd_viz.panels.race_words import best, code_of, note_words, result_table, seed_table, verdict, winner
from amkd_viz.panels.run_log import RunLog
from amkd_viz.panels.scrubber import Scrubber
from amkd_viz.panels.session import Session, opened
from amkd_viz.panels.term_controls import TermControls, objective_values
from amkd_viz.panels.view_widget import close_whole
from amkd_viz.runs import Race, prepare, table
from amkd_viz.runs.grid import Counted, entrants
from amkd_viz.runs.groups import apart
from amkd_viz.runs.prepare import check_layers
from amkd_viz.runs.race import SEEDS
from amkd_viz.training import DIGITS, SPIRALS, EpochEnded, Event, Recipe, Started, Training, Waiting
from amkd_viz.training.training import LIVE, notes_on
from amkd_viz.views import View
from amkd_viz.views.labels import plural, safe, value_words

__all__ = ["MethodRace"]

IMAGES = "digits"
OF_PROBLEM = ("num_train", "student", "epochs", "seed")  # fields of Recipe with a control, beside LIVE
DOUBT = (
    'One seed is one draw: press "5 seeds" to train the same methods with four more, and see whether the 95 % interval '
    "of the paired difference leaves out 0."
)


class MethodRace(Panel):
    """Train several methods side by side; the best is named after the last epoch, with what that is worth.

    Each method is a run in the folder of a :class:`amkd_viz.runs.Race`: a kernel that dies loses no epoch.

    Args:
        problem: "moons", "circles", "spirals", "blobs", with options as in ``load``, or "digits"; or a race, or a
            session of this panel, or the path of either, to show it and go on with it.
        methods: names; more can be checked in the panel.
        seed: of initial weights, the order of the data and every random draw: the same for all methods.

    Raises:
        InputError: an unknown problem or method, a number out of range, or a session of another panel.
    """

    title = "MethodRace"
    leads = ("problem",)
    matters = "problem", "num_train", "pace"
    keys = (
        "Space starts the race, pauses it and goes on, and plays the epochs of one that is over; arrows move the "
        "slider that has the focus."
    )
    kept: ClassVar = {"controls?": dict}
    first_steps: ClassVar = {
        "bar": "Start trains all methods side by side, from the same weights and on the same batches.",
        "controls": "Check methods and choose a problem. Its teacher is trained first, in a few seconds.",
        "pictures": 'After the last epoch the best is named here, and "5 seeds" tells whether it stays the best.',
    }
    about = (
        "Every column is a student that starts from the same weights and sees the same data in the same order; only "
        "the <i>method</i> differs, that is, the loss. The maps show what each net predicts at every point, the "
        "teacher's map first. <i>kd</i> minimises $\\mathrm{CE} + w\\,\\mathrm{KD}$; <i>bss</i> adds KD on samples at "
        "the teacher's boundary; <i>amkd</i> adds triplets around those: "
        "$\\max(0,\\; d(a, p) - d(a, n) + m)$ with anchor $a$ = the teacher's boundary sample, positive $p$ = the "
        "student's view of it, negatives $n$ of other classes and margin $m$. One seed is one draw: the same race with "
        'another seed often has another winner, so "5 seeds" trains four more of each.'
    )

    def __init__(
        self,
        problem: str | Path | Race | Session = "spirals",
        methods: Sequence[str] = ("kd", "bss", "amkd"),
        seed: int = 0,
    ) -> None:
        problem = opened(problem, self, Race)
        session = problem if isinstance(problem, Session) else None
        race = session.open_race(self) if session else problem if isinstance(problem, Race) else None
        recipe = race.recipe if race else base_of(str(problem)).replace(dataset=problem, seed=seed)
        methods = list(race.runs) if race else methods
        name, options = parse_name(recipe.dataset)
        if name not in (*PROBLEMS, IMAGES):
            raise unknown("problem of MethodRace", name, [*PROBLEMS, IMAGES])
        for method in methods:
            known_methods[method]  # refuses unknown names
        if not methods:
            raise InputError(f"methods must name one or more of {', '.join(known_methods)}.")
        if name in PROBLEMS:
            load(recipe.dataset)  # refuses options that no slider could show
        super().__init__()
        self.race: Race | None = None
        self.logs: dict[str, RunLog] = {}
        self.pictures = RacePictures(self.paint)
        self._ready: Training | None = None  # data, teacher and the initial student of the next race
        self._entrants: tuple[Recipe, list[str], dict[str, Any]] | None = None  # of the next race
        self._live: dict[str, LiveStudent] = {}
        self._teacher_epochs = 1
        self._students: dict[str, Classifier] = {}  # the newest copies
        self._new: set[str] = set()  # methods whose copy has not been drawn
        self._drawn: tuple[str, Any] | None = None  # the state of the race in the picture, and its place in a pause
        self._duty, self._pace = duty_for(recipe.dataset), Pace(10.0)
        self._unshown = Unshown(self._pace)  # of the logs
        self._size = {"n": options["n"]} if "n" in options else {}
        self._extra = {name: {"extra": options["extra"]}} if "extra" in options else {}  # points of one problem
        self._guess: str | None = None
        self._seeding: Race | None = None  # whose other seeds are being trained
        self._build(name, options, recipe, methods)
        for key, value in (session.state.get("controls", {}) if session else {}).items():
            if key in self.controls:
                self._check(key, value)
                self.put(key, value=value)
        self._prepare(None if race is None else lambda: self._open(race))
        if race is None:
            self.compute.ask("offer", self._offer_interrupted)
        self._pulse = Pulse(self._beat)

    def _build(self, name: str, options: Mapping[str, Any], recipe: Recipe, methods: Sequence[str]) -> None:
        base, shown = PROBLEMS.get(name, PROBLEMS["spirals"]), (*OF_PROBLEM, *LIVE)
        noise, classes = float(options.get("noise", base.noise)), int(options.get("classes", base.classes))
        fields = from_fields(
            recipe,
            shown,
            num_train={"low": 20, "high": 900, "step": 20},
            student={"choices": nets_for(name)},
            epochs={"low": 2, "high": 200},
        )
        self._terms = TermControls(menus=False)  # menus and boxes tell methods apart, numbers do not
        first = {*OURS, *methods, *known_methods.registered}
        rest = [n for n in known_methods if n not in first]
        groups = {
            "Methods": _boxes([n for n in known_methods if n in first], methods),
            "More methods": MadeLater(rest, lambda _: _boxes(rest)),
            "Race": {
                "pace": pace_control(10.0),
                "predict": toggle("predict the winner first", False, "the race starts once you have named the winner"),
            },
            "Problem": {
                "problem": choice("problem", name, [*PROBLEMS, IMAGES], "2-D points, or 8x8 images of digits"),
                "noise": slider("noise", noise, 0.0, max(0.6, noise), 0.02, "sd of what is added to x₁ and x₂"),
                "classes": slider("classes", classes, 2, max(8, classes), 1, "number of classes"),
                **{field: fields[field] for field in OF_PROBLEM},
            },
            "Training and attack": {field: fields[field] for field in LIVE},
            "Objective": self._terms,
        }
        self._buttons = {
            "start": self.button("Start", "all methods, to the last epoch", self.start, primary=True),
            "pause": self.button("Pause", "pause after the batch that is being trained", self.pause),
            "step": self.button("Step", "one epoch of every method", self.step, again=True),
            "reset": self.button("Reset", "back to the initial weights", self.reset),
            "seeds": self.button(f"{SEEDS} seeds", "the same methods with four more seeds", self.train_seeds),
        }
        self.result, self.clock, self.question = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._asked = widgets.HBox([self.question])
        self._asked.add_class("amkd-asked")
        self._asked.layout.display = "none"
        self.offer, self._scrubber = Offer(self), Scrubber(self, [0])
        self._scrubber.row.layout.display = "none"
        maps = [self.pictures.maps.canvas, self._scrubber.row]
        pictures = [self.offer.row, self._asked, *maps, self.pictures.curves, self.result]
        bar = [*self._buttons.values(), self.clock]
        folded = ["More methods", "Training and attack", "Objective"]
        parts = {"Curves": self.pictures.curves, "Result": self.result}
        stage = [self.pictures.maps.canvas]
        self.assemble(groups, pictures, bar, folded, bar_first=True, parts=parts, stage=stage)
        self._scrubber.register()
        self._fit()

    # settings

    @property
    def methods(self) -> list[str]:
        """The methods that are checked."""
        return [name for name in known_methods if self.controls.made(name) and self[name]]

    @property
    def recipe(self) -> Recipe:
        """What the controls describe: the settings that all methods share."""
        values, name = self.values, self["problem"]
        if values["student"] not in nets_for(name):
            del values["student"]
        options = {"noise": f"{values['noise']:g}", "classes": values["classes"], **self._size}
        options |= self._extra.get(name, {})
        dataset = f"{name}:{','.join(f'{key}={value}' for key, value in options.items())}" if name in PROBLEMS else name
        method = (self.methods or [next(iter(known_methods))])[0]
        recipe = with_values(base_of(name), values)
        return recipe.replace(dataset=dataset, method=method, magsim_samples=0, evaluate_every=1)

    @property
    def overrides(self) -> dict[str, Any]:
        """TERM.FIELD -> value: the controls of the checked methods' terms that have been moved."""
        keys = [key for objective in self._objectives() for key in objective_values(objective) if key in self._terms]
        return {key: self[key] for key in keys if self[key] != self._terms.first[key]}

    def changed(self, name: str, value: Any) -> None:
        label = self.label(name)
        if name == "pace":
            self._pace.limit = value
            self._pace.hurry()
        elif name == "predict":
            self.compute.ask("ask", self._ask)
        elif name == "epoch":
            self.compute.ask("epoch", self._show_epoch)
        elif self._begun and self.state in ("running", "paused") and (name in LIVE or name in self._terms):
            assert self.race is not None
            went = self.race.set(**{name: value})
            self.tell(f"{label}: {value_words(value)} from the next batch on, for {', '.join(went)}.")
        else:
            if name == "problem" or name in known_methods:
                self.paint.ask("fit", lambda: self._fit(label))
            else:
                self._prepare_or_tell(label)

    def _prepare_or_tell(self, label: str) -> None:
        """Prepare another race; one that has begun stays."""
        if self._begun:
            self.tell(f"{label}: for the next race; press Reset.")
        else:
            self._prepare()

    def _objectives(self) -> list[Any]:
        return [known_methods[name]() for name in self.methods]

    def _fit(self, label: str = "") -> None:
        """In the paint thread: fit nets, sizes and sliders to problem and methods; then prepare a race (``label``)."""
        name, base = self["problem"], base_of(self["problem"])
        for control in ("noise", "classes"):
            self.put(control, disabled=name not in PROBLEMS)
        if self["student"] not in nets_for(name):
            self.put("student", options=nets_for(name), value=base.student)
            for field in ("epochs", *LIVE):
                self.put(field, value=shown_number(getattr(base, field)))
        self._terms.fit(self._objectives())
        if label:
            self._prepare_or_tell(label)

    # control

    @property
    def state(self) -> str:
        """waiting (for the teacher), ready, or the state of the race: running, paused, stopping, idle, done, failed."""
        if self.race is not None:
            return self.race.state
        return "waiting" if self._ready is None else "ready"

    @property
    def _begun(self) -> bool:
        return self.race is not None and (self.race.epoch > 0 or self.race.state != "idle")

    def start(self) -> None:
        """Race to the last epoch, or continue.

        Raises:
            InputError: a prediction is asked for first, or the race is over.
        """
        self._go(Race.resume)

    def step(self) -> None:
        """Train one epoch of every method; raises as ``start``."""
        self._go(Race.step_epoch)

    def _go(self, how: Callable[[Race], None]) -> None:
        self.check_open()
        if self._waits():
            raise InputError("Say first which method will be best; then the race starts.")
        if self.state == "done":
            raise InputError("This race is over; press Reset for another one.")
        race = self._create()
        self.offer.drop()
        self._pace.hurry()
        how(race)
        self._beat()

    def _create(self) -> Race:
        """Return the race; make its folder if there is none."""
        if self.race is None:
            self.slow.wait(600)
            if self._ready is None or self._entrants is None:
                raise InputError(f"There is no race to start: {self.status.text}")
            recipe, methods, overrides = self._entrants
            self._follow(Race.create(recipe, methods, overrides=overrides), self._ready)
        assert self.race is not None
        return self.race

    def _follow(self, race: Race, like: Training | None = None) -> None:
        self.logs = {name: RunLog(run) for name, run in race.runs.items()}
        self._live = {name: LiveStudent() for name in race.runs}
        race.like, race.listen = like, partial(self._hear, race)
        self._drawn, self.race, self._duty = None, race, duty_for(race.recipe.dataset)

    def pause(self) -> None:
        """Pause after the batch that is being trained, every method at the same one."""
        self._pace.hurry()
        if self.race is not None:
            self.race.pause()

    def reset(self) -> None:
        """Go back to the initial weights, with the settings of the controls; the race stays in its folder."""
        self._prepare()

    def train_seeds(self) -> None:
        """Train the methods of a race that is over with four more seeds, in the background; go on where it stopped.

        Raises:
            InputError: the race is not over, or has one method alone, or was changed by hand.
        """
        self.check_open()
        race = self.race
        if race is None or race.state != "done" or len(race.runs) < 2:
            raise InputError("Seeds are compared after a race of two methods or more; let one end first.")
        self._seeding = race
        self._turned()
        self.worker("seeds").ask("seeds", lambda: self._train_seeds(race))

    def _train_seeds(self, race: Race) -> None:
        stopped = self.cancel_point()
        total = len(race.runs) * SEEDS

        def hear(event: Event | Counted) -> None:
            if stopped() or race is not self.race:
                raise Abandoned
            if isinstance(event, Counted):
                done = len(race.runs) + event.done
                self._show_result(race)
                self.say(f"{SEEDS} seeds: {done} of {total} students are trained.", "busy", done / total, True)
            elif isinstance(event, Waiting):
                self.say(event.text, "busy")

        try:
            race.train_seeds(listen=hear)
        except Abandoned:
            if race is self.race:
                self.say(f'Stopped; "{SEEDS} seeds" goes on with those that are left.')
            return
        finally:
            self._seeding = None
            self._turned()
        if race is self.race and not self.closed:
            self._show_result(race)

    def _may_have_seeds(self, race: Race) -> bool:
        left = race.state == "done" and len(race.seeds()) < SEEDS * len(race.runs)
        return left and len(race.runs) > 1 and race is not self._seeding and not any(map(apart, race.runs.values()))

    def guess(self, method: str) -> None:
        """Predict the winner.

        Raises:
            InputError: the method is not in the race, or the race has begun.
        """
        if method not in self.methods:
            raise unknown("method in the race", method, self.methods)
        if self._begun:
            raise InputError("The race is on; press Reset to predict the next one.")
        self._guess = method
        text = f"<b>You say {method}.</b> Now press Start.&nbsp;"
        self.paint.ask("question", lambda: setattr(self.question, "value", text))
        self._turned()

    def _waits(self) -> bool:
        """Whether a prediction has to come first."""
        return bool(self["predict"]) and self._guess is None and not self._begun and len(self.methods) > 1

    # in the slow thread: the teacher and the initial student, or an existing race

    def _prepare(self, work: Callable[[], None] | None = None) -> None:
        """Drop the race and ask for ``work``, by default for the start of another race; newer settings end it early."""

        def gate() -> None:
            if self.closed or self.slow.waits("prepare"):
                raise Abandoned

        def task() -> None:
            with suppress(Abandoned), pausable(gate):
                (work or self._make)()

        race, self.race, self._entrants, self._guess = self.race, None, None, None
        self.offer.drop()
        self.paint.ask("epochs", lambda: self._scrubber.offer([0]))
        self._pace.hurry()
        if race is not None:
            race.stop()
        self._turned()
        self.slow.ask("prepare", task)

    def _make(self) -> None:
        methods, recipe, overrides = self.methods, self.recipe, self.overrides
        like, self._ready = self._ready, None
        self._turned()
        if not methods:
            raise InputError("Check a method; with two or more there is a race.")
        recipes = entrants(recipe, methods, overrides)
        if like is not None and parse_name(like.recipe.dataset)[0] != parse_name(recipe.dataset)[0]:
            self.pictures.clear()
        self.say(f"{recipe.dataset}: loading ...", "busy")
        ready = prepare(recipes[methods[0]], like, self._teaching)
        assert ready.teacher is not None
        for each in recipes.values():
            check_layers(each, ready.full)
        self.pictures.prepare(inference_copy(ready.teacher), ready.dataset, recipe)
        self._students = dict.fromkeys(methods, inference_copy(ready.student).cpu())
        self._entrants, self._ready = (recipe, methods, overrides), ready
        text = note_words(note for each in recipes.values() for note in notes_on(each, ready.dataset))

        def show() -> None:
            self.result.value, self.clock.value = text, ""

        self.paint.ask("result", show)
        self.pictures.draw(self._students, 0)
        self.pictures.numbers({}, recipe.epochs)
        self._ask()

    def _open(self, race: Race) -> None:
        self.say(f"Reading {race.path} ...", "busy")
        run = next(iter(race.runs.values()))
        self.pictures.prepare(run.teacher(), run.dataset(), run.recipe)
        recipes = [run.recipe_after(run.epochs_done) for run in race.runs.values()]
        values = {name: shown_number(getattr(recipes[0], name)) for name in LIVE}
        for recipe in recipes:
            values |= {key: value for key, value in recipe.overrides.items() if key in self._terms}

        def show() -> None:
            for name, value in values.items():
                self.put(name, value=value)

        self.paint.ask("fit", show)
        self._follow(race)
        self.compute.ask("beat", self._catch_up)

    def _offer_interrupted(self) -> None:
        """Offer to continue the race that a kernel left behind."""

        def go_on(race: Race) -> None:
            values = {name: name in race.runs for name in known_methods}
            values |= {name: getattr(race.recipe, name) for name in OF_PROBLEM}

            def show() -> None:
                for name, value in values.items():
                    self.put(name, value=value)

            def work() -> None:
                self._open(race)
                self._go(Race.resume)

            self.paint.ask("fit problem", show)
            self._prepare(work)

        self.offer.ask(interrupted(Race, Path("runs"), self.recipe.dataset), go_on)

    def _teaching(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self.say(event.text, "busy")
        elif isinstance(event, Started):
            self._teacher_epochs = event.training.recipe.epochs
            self.say("Training the teacher ...", "busy", 0.0)
        elif isinstance(event, EpochEnded):
            done, epochs = event.epoch, self._teacher_epochs
            self.say(f"Training the teacher: epoch {done} of {epochs}", "busy", done / epochs)

    # while the race runs

    def _hear(self, race: Race, name: str, event: Event) -> None:
        """In the training thread: the other methods wait meanwhile."""
        if race is not self.race or self.closed:
            return
        live = self._live[name]
        rests = isinstance(event, EpochEnded) and live.training is not None and math.isfinite(self._pace.limit)
        if rests:
            live.want()  # pictures in a rest cost the training nothing
        had = live.copied
        live.hear(event)
        if live.copied and not had and name == list(race.trainings)[-1]:
            self._beat()  # draw at once, not with the next pulse
        if live.teaching is not None or live.waiting:
            self._teaching(event)
        elif rests and name == list(race.trainings)[-1]:
            self._pace.rest()

    def _beat(self) -> None:
        """In the thread of the pulse: ask for what may have changed."""
        if self.race is not None and not self.closed:
            self.compute.ask("beat", self._catch_up, soon=True)

    def _catch_up(self) -> None:
        race = self.race
        if race is None or not self.pictures.maps.ready:
            return
        state = race.state  # before the logs are read: the last lines are there once it is done
        moment = state, race.place if state == "paused" else None  # it may have gone on and paused between two beats
        new = [name for name, log in self.logs.items() if log.poll()]
        self._unshown.add(bool(new))
        turned, self._drawn = moment != self._drawn, moment  # before it is drawn: what cannot be is tried once
        if turned or self._unshown.due():
            with self._unshown.turn():
                self._numbers(race)  # before the maps, which take longer
        if state == "running":
            self._draw_live(race)
        elif turned or new:
            self._students, epoch = self._resting(race, state)
            self._draw(race, self._students, epoch)
        if turned:
            epochs = (state not in ("running", "stopping") and _common(race)) or [0]
            self.paint.ask("epochs", lambda: self._scrubber.offer(epochs))
            self._turned()
            if state == "done":
                self._show_result(race)
            elif state == "failed":
                self.fail(race.error or "The race failed; see the logs of its runs.")

    def _draw_live(self, race: Race) -> None:
        """Draw once there is a new copy of every student that trains."""
        for name, live in self._live.items():
            if (net := live.take()) is not None:
                self._students[name] = net
                self._new.add(name)
        training = {name for name in race.trainings if not race.runs[name].finished}
        if training and self._new >= training:
            self._new = set()
            self._draw(race, dict(self._students), min(self._live[name].taken_epoch for name in training), live=True)
        elif self._duty.due():
            for live in self._live.values():
                live.want()

    def _draw(self, race: Race, students: Mapping[str, Classifier], epoch: int, live: bool = False) -> None:
        """Ask for maps in a thread of their own: curves and clock do not wait for them."""

        def draw() -> None:
            if race is self.race:
                with self._duty.turn(free=self._pace.resting or not live):
                    self.pictures.draw(students, epoch, live)

        self.worker("maps").ask("maps", draw)

    def _show_epoch(self) -> None:
        """Show the students of another epoch while nothing trains."""
        race, epoch = self.race, self["epoch"]
        if race is not None and race.state not in ("running", "stopping") and epoch in _common(race):
            self._students = {name: run.student(epoch) for name, run in race.runs.items()}
            self._draw(race, self._students, epoch)

    def _resting(self, race: Race, state: str) -> tuple[dict[str, Classifier], int]:
        """Return copies of the students as they are now, and their epoch: of a paused race, else of the newest common
        snapshot."""
        if state == "paused":
            copies = {name: live.copy_now() or self._students[name] for name, live in self._live.items()}
            return copies, race.epoch
        common = _common(race)
        if not common:
            return self._students, 0
        return {name: run.student(common[-1]) for name, run in race.runs.items()}, common[-1]

    def _numbers(self, race: Race) -> None:
        end, epoch = race.recipe.epochs, min(log.done for log in self.logs.values())
        self.pictures.numbers(self.logs, end)
        if notes := self._notes:
            self.paint.ask("result", lambda: setattr(self.result, "value", notes))

        def show() -> None:
            self.clock.value = f"epoch <b>{epoch}</b> of {end}"
            if race.state == "running" and epoch < end and not self.telling:
                words = f"Epoch {epoch + 1} of {end}: the methods train a batch each in turn."
                self.say_now(words, "busy", epoch / end)
            elif race.state == "running" and epoch == end and not self.telling:
                test = self.pictures.maps.data.test
                self.say_now(f"Testing {plural(len(race.runs), 'student')} on {len(test):,} test samples ...", "busy")

        self.paint.ask("clock", show)

    # words

    @property
    def _notes(self) -> str:
        return note_words(note for log in self.logs.values() for note in log.notes)

    def _turned(self) -> None:
        """Fit buttons and status line to the state."""
        state, race = self.state, self.race
        if self.closed:
            return
        waits, begun = self._waits(), self._begun
        may_start = state in ("ready", "paused", "idle", "failed") and not waits
        enabled = {
            "start": may_start,
            "step": may_start,
            "pause": state == "running",
            "reset": state in ("paused", "done", "running", "failed", "idle"),
            "seeds": race is not None and self._may_have_seeds(race),
        }
        words = ""
        if state in ("ready", "idle") and not begun:
            count = len(self.methods)
            words = f"{count} methods at the start, with the same weights and the same order of data."
            words = words if count > 1 else "One method at the start; check another one for a race."
            words += " Say first which will be best." if waits else " Press Start."
        elif race is not None and state in ("paused", "idle"):
            verb = "Paused" if state == "paused" else "Stopped"
            words = f"{verb} after {race.epoch} of {race.recipe.epochs} epochs; Go on continues, Step trains one more."

        def show() -> None:
            for name, may in enabled.items():
                self._buttons[name].disabled = not may
            self._buttons["start"].description = "Go on" if begun and may_start else "Start"
            self.space(next((self._buttons[name] for name in ("pause", "start") if enabled[name]), None))
            if words:
                self.say_now(words)

        self.paint.ask("state", show)

    def _show_result(self, race: Race) -> None:
        """Say who was best, by the seeds that are trained."""
        words, rows, seeds = verdict(race, len(self.pictures.maps.data.test)), None, ""
        right, doubt, last = "", DOUBT, f"{words} From one seed: no verdict on the methods."
        if self._guess is not None:
            agrees = "agrees" if self._guess in best(race) else "does not agree"
            right = f"<b>You named {self._guess}; this one seed {agrees}.</b> It cannot say whether you are right. "
        runs = race.seeds()
        if len(runs) > len(race.runs):
            rows = table(runs)
            seeds, doubt = seed_table(race, rows, SEEDS), ""
            words = last = winner(rows) or words
            right = f"You named {self._guess}. " if self._guess is not None else ""
        result = result_table(race, self.logs, self.pictures.teacher_scores[1], rows)
        text = f"<p>{right}<b>{safe(words)}</b> {doubt}</p>{seeds}{result}{self._notes}"

        def show() -> None:
            self.result.value = text
            self.question.value = "<b>The race is over.</b> Press Reset to predict the next one.&nbsp;"
            if race is not self._seeding:
                self.say_now(last, "done")

        self.paint.ask("result", show)

    def _ask(self) -> None:
        """Show or hide the row of buttons that asks for the winner."""
        names, asked = self.methods, bool(self["predict"])
        text = "<b>Which method will be best on the test samples?</b>&nbsp;"
        if self._begun:
            text, names = "Press Reset to predict the next race.", []
        elif len(names) < 2:
            text, names = "Check two methods or more; then there is something to predict.", []

        def show() -> None:
            buttons = [self.button(n, f"I think {n} will be best", partial(self.guess, n)) for n in names]
            if self._guess is None:
                self.question.value = text
            old = self._asked.children[1:]
            self._asked.children = (self.question, *buttons)
            for widget in old:
                close_whole(widget)
            self._asked.layout.display = None if asked else "none"

        self.paint.ask("question row", show)
        self._turned()

    # the buttons of the head

    def view(self) -> View | None:
        if not self.pictures.maps.ready or not self._students:
            return None
        if self.state == "running":
            raise InputError("The race is on; press Pause, then export.")
        return self.pictures.maps.view(self._students, FINE)

    def session(self) -> Session:
        """The race, in a folder from now on if it had not begun, and the controls."""
        kept = {name: value for name, value in self.values.items() if value != math.inf and name != "epoch"}
        return Session.of(self, self._create(), controls=kept)

    def line(self) -> str:
        given = ("problem", "noise", "classes", "seed", *known_methods)
        changed = self.differing({name: value for name, value in self._start.items() if name not in given})
        what = f"{self.recipe.dataset!r}, {self.methods!r}, seed={self['seed']}"
        if self.race is not None:
            what, changed = repr(str(self.race.path)), ""
        return f"MethodRace({what})" + (f".set({changed})" if changed else "")

    def still(self) -> Image.Image | None:
        return self.pictures.maps.canvas.still()

    def settings(self) -> str:
        if self.race is None:
            return super().settings()
        return f"{', '.join(self.race.runs)}: {self.race.recipe!r}"

    def code(self) -> str:
        """The race on show; before there is one, what the controls describe."""
        if self.race is None:
            return code_of(self.recipe, self.methods, self.overrides, FINE)
        overrides: dict[str, Any] = {}
        for run in self.race.runs.values():
            overrides |= run.recipe.overrides
        earlier = self["epoch"] if self.state == "done" and self["epoch"] != self.race.recipe.epochs else None
        recipe, methods = self.race.recipe.replace(overrides={}), list(self.race.runs)
        return code_of(recipe, methods, overrides, FINE, self.race, earlier)

    # life

    def wait(self, seconds: float = 120.0) -> MethodRace:
        """Wait until the race is over or paused, and everything is painted."""
        super().wait(seconds)
        race = self.race
        if race is not None and race.settle(seconds) in ("running", "stopping"):
            raise InputError(f"MethodRace was still racing after {seconds:g} s; wait longer, or pause it.")
        self._beat()
        super().wait(seconds)
        return self

    def release(self) -> None:
        self._ready, self._students, self._live = None, {}, {}
        self.pictures.maps.release()

    def close(self) -> None:
        """Stop the race with a checkpoint of every run; take the panel off the page."""
        if not self.closed:
            self._pulse.stop()
            race = self.race
            self._pace.hurry()
            if race is not None:
                race.close()
        super().close()


def _boxes(names: Iterable[str], checked: Iterable[str] = ()) -> dict[str, Any]:
    """Return a checkbox for each method, by name."""
    return {name: toggle(name, name in checked, known_methods.about(name)) for name in names}


def _common(race: Race) -> list[int]:
    """Return the epochs of which every run has a snapshot."""
    return sorted(set.intersection(*(set(run.snapshots()) for run in race.runs.values())))


def base_of(problem: str) -> Recipe:
    """Return a recipe of a size in which students differ."""
    return SPIRALS if parse_name(problem)[0] in PROBLEMS else DIGITS


def nets_for(problem: str) -> list[str]:
    """Return the architectures of a student that trains in seconds."""
    start = "mlp" if problem in PROBLEMS else "cnn"
    return [name for name in architectures() if name.startswith(start)]
