"""Several methods side by side on one problem: same seed, same start, same order of data, one clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as widgets
from PIL import Image

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.data import load, parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.models import architectures
from amkd_viz.objectives import methods as known_methods
from amkd_viz.panels.controls import PACES, button, choice, number, slider, toggle
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.race_code import code_of
from amkd_viz.panels.race_controls import LIVE, NAMES, live_controls, marks
from amkd_viz.panels.race_pictures import RacePictures
from amkd_viz.panels.race_words import best, differences, result_table, verdict
from amkd_viz.panels.racing import Racing
from amkd_viz.panels.slice_marks import slice_view
from amkd_viz.runs import Race, RacePlan
from amkd_viz.training import DIGITS, SPIRALS, Changed, EpochEnded, Event, Finished, Recipe, Started
from amkd_viz.views import View

__all__ = ["MethodRace"]

DOUBT = (
    'One seed is one draw: race again with another seed, or let "Show code" run five of them and see whether the '
    "95 % interval of the difference leaves out 0."
)


class MethodRace(Panel):
    """Several methods train side by side; who is best is said when the last epoch is done, with what that is worth.

    Args:
        problem: "moons", "circles", "spirals", "blobs", with options as in ``load``, or "digits"; or the plan of an
            earlier race, which then goes as it went.
        methods: names; more can be checked in the panel.
        seed: of start weights, the order of the data and every draw: the same for all.

    Raises:
        InputError: an unknown problem or method, a number that is out of range, or a plan that needs more than the
            controls of this panel.
    """

    title = "MethodRace"
    about = (
        "Every column is a student that starts from the same weights and sees the same data in the same order; only "
        "the <i>method</i> differs, that is, the loss. The maps show what each net says at every point, with the "
        "teacher's first. <i>kd</i> minimises $\\mathrm{CE} + w\\,\\mathrm{KD}$; <i>bss</i> adds KD on samples at the "
        "teacher's boundary; <i>amkd</i> adds triplets around those: "
        "$\\max(0,\\; d(a, p) - d(a, n) + m)$ with anchor $a$ = the teacher's boundary sample, positive $p$ = the "
        "student's view of it, negatives $n$ of other classes and margin $m$. One seed is one draw: the same race with "
        'another seed often has another winner, so "Show code" ends with several seeds.'
    )

    def __init__(
        self, problem: str | RacePlan = "spirals", methods: Sequence[str] = ("kd", "bss", "amkd"), seed: int = 0
    ) -> None:
        plan = problem if isinstance(problem, RacePlan) else None
        dataset = problem.recipe.dataset if isinstance(problem, RacePlan) else problem
        if plan is not None:
            methods, seed = plan.methods, plan.recipe.seed
        name, options = parse_name(dataset)
        if name not in (*PROBLEMS, "digits"):
            raise unknown("problem of MethodRace", name, [*PROBLEMS, "digits"])
        for method in methods:
            known_methods[method]  # refuses unknown names
        if not methods:
            raise InputError(f"methods must name one or more of {', '.join(known_methods)}.")
        base_of(name).replace(dataset=dataset, seed=seed)
        if name in PROBLEMS:
            load(dataset)  # refuses options that no slider could show
        super().__init__()
        self._count = f",n={options['n']}" if "n" in options else ""
        self._guess: str | None = None
        self._score = [0, 0]
        self.pictures = RacePictures(self.paint)
        self.result = widgets.HTML()
        self.clock = widgets.HTML()
        self.question = widgets.HTML("<b>Which method will be best on the test samples?</b>&nbsp;")
        self._asked = widgets.HBox([self.question])
        self._asked.add_class("amkd-asked")
        self._asked.layout.display = "none"
        self.racing = Racing("MethodRace race", self.fail, self._hear, self._lap, self._turned)
        self._buttons = {
            "start": button("Start", "all methods at once, to the last epoch", primary=True),
            "pause": button("Pause", "hold after the step that is being taken"),
            "step": button("Step", "one epoch of every method"),
            "reset": button("Reset", "back to the start weights"),
        }
        recipe = plan.recipe if plan else base_of(name)
        groups = self._groups_of(name, options, recipe, methods, seed)
        self.assemble(groups, self._shown(), self._bar(), ["Methods' numbers"], bar_first=True)
        self.on_click(self._buttons["start"], self.start)
        self.on_click(self._buttons["pause"], self.pause)
        self.on_click(self._buttons["step"], self.step)
        self.on_click(self._buttons["reset"], self.reset)
        self._fit()
        self._planned = self._take(plan) if plan else []
        self._prepare()

    def _take(self, plan: RacePlan) -> list[Changed]:
        """Its numbers into the controls; returns what is to be changed on the way."""
        for key, value in plan.overrides.items():
            if key in NAMES:
                self.put(NAMES[key], value=value)
        wanted = plan.recipe.replace(method=self.recipe.method, overrides={})
        known = all(key in NAMES for change in plan.planned for key in change.changes)
        same = (self.recipe, self.overrides, set(self.methods)) == (wanted, dict(plan.overrides), set(plan.methods))
        if not (known and same):
            self.close()
            raise InputError(
                "This race was planned with settings that MethodRace has no control for; run it by training.Race."
            )
        return list(plan.planned)

    def _groups_of(self, name: str, options: Any, recipe: Recipe, racing: Sequence[str], seed: int) -> Any:
        own = PROBLEMS.get(name, PROBLEMS["spirals"])
        noise, classes = float(options.get("noise", own.noise)), int(options.get("classes", own.classes))
        return {
            "Methods": {
                method: toggle(method, method in racing, known_methods.about(method)) for method in known_methods
            },
            "Race": {
                "pace": choice("pace", 10.0, PACES, "how fast to go at most; the results do not depend on it"),
                "predict": toggle("predict the winner first", False, "the race starts once you have said who wins"),
            },
            "Problem": {
                "problem": choice("problem", name, [*PROBLEMS, "digits"], "2-D points, or 8x8 images of digits"),
                "noise": slider("noise", noise, 0.0, max(0.6, noise), 0.02, "sd added to each coordinate"),
                "classes": slider("classes", classes, 2, max(8, classes), 1, "how many classes"),
                "labelled": slider(
                    "labelled", recipe.num_train or 100, 20, 900, 20, "labelled samples that the students get"
                ),
                "student": choice("student", recipe.student, nets_for(name), "architecture of all students"),
                "epochs": slider("epochs", recipe.epochs, 2, 200, 1, "passes over the labelled samples"),
                "seed": number("seed", seed, 0, 10_000, "of start weights, order and draws; the same for all methods"),
            },
            "Methods' numbers": live_controls(recipe),
        }

    def _shown(self) -> list[Any]:
        return [self._asked, self.pictures.canvas, self.pictures.curves, self.result]

    def _bar(self) -> list[Any]:
        return [*self._buttons.values(), self.clock]

    # what a person does

    @property
    def methods(self) -> list[str]:
        """The methods that are checked."""
        return [name for name in known_methods if self[name]]

    @property
    def recipe(self) -> Recipe:
        """What all methods share."""
        v, base = self.values, base_of(self["problem"])
        points = v["problem"] in PROBLEMS
        return base.replace(
            dataset=f"{v['problem']}:noise={v['noise']:g},classes={v['classes']}{self._count}"
            if points
            else v["problem"],
            student=v["student"] if v["student"] in nets_for(v["problem"]) else base.student,
            method=(self.methods or ["kd"])[0],
            epochs=v["epochs"],
            num_train=v["labelled"],
            seed=v["seed"],
            step_size=float(f"{v['step_size']:.3g}"),  # the page rounds a logarithmic slider to its own steps
            attack_steps=v["attack_steps"],
            learning_rate=float(f"{v['learning_rate']:.3g}"),
            magsim_samples=0,
            evaluate_every=1,
        )

    @property
    def overrides(self) -> dict[str, Any]:
        """TERM.FIELD -> value: the numbers of the objectives that are not at their defaults."""
        terms = {term for name in self.methods for term in known_methods[name]().names}
        default = live_defaults()
        return {
            key: self[name]
            for name, live in LIVE.items()
            for key in live.keys
            if key.partition(".")[0] in terms and self[name] != default[name]
        }

    @property
    def race(self) -> Race | None:
        """The race that is on; its numbers are in ``metrics`` and ``summaries``."""
        return self.racing.race

    def start(self) -> None:
        """Race to the last epoch, or go on after a pause.

        Raises:
            InputError: a prediction is asked for first.
        """
        self._go(one_epoch=False)

    def step(self) -> None:
        """One epoch of every method."""
        self._go(one_epoch=True)

    def pause(self) -> None:
        """Hold after the step that is being taken."""
        self.racing.pause()

    def reset(self) -> None:
        """Back to the start weights, with the settings of the controls."""
        self._prepare()

    def guess(self, method: str) -> None:
        """Predict the winner.

        Raises:
            InputError: the method is not in the race, or the race is on.
        """
        if method not in self.methods:
            raise unknown("method in the race", method, self.methods)
        if self.race is not None and self.race.epoch:
            raise InputError("The race is on; press Reset to predict the next one.")
        self._guess = method
        text = f"<b>You say {method}.</b> Now press Start.&nbsp;"
        self.paint.ask("question", lambda: setattr(self.question, "value", text))
        self._turned()

    def changed(self, name: str, value: Any) -> None:
        if name == "pace":
            self.racing.pace = value
        elif name == "predict":
            self.compute.ask("ask", self._ask)
        elif name in LIVE and self.racing.state in ("racing", "held", "over") and self.race is not None:
            self._steer(self.race, name, value)
        elif name == "problem":
            self.paint.ask("fit", self._other_problem)
        else:
            self._prepare_or_tell(name)

    def _other_problem(self) -> None:
        self._fit()
        self._prepare_or_tell("problem")

    def _prepare_or_tell(self, name: str) -> None:
        """A race that has begun is not thrown away for another setting."""
        if self.race is not None and self.race.epoch and self.racing.state in ("racing", "held", "over"):
            self.tell(f"{self.controls[name].description}: for the next race; press Reset.")
        else:
            self._prepare()

    def _steer(self, race: Race, name: str, value: float) -> None:
        """Another number while the race is on."""
        label, keys, _ = LIVE[name]
        if race.over:
            self.tell(f"{label}: {value:g} in the next race; press Reset.")
            return
        went = race.wish(**{key: value for key in keys if "." not in key or race_has(race, key)} or {keys[0]: value})
        self.tell(f"{label}: {value:g} from the next step on, for {', '.join(went)}.")

    def _go(self, one_epoch: bool) -> None:
        self.check_open()
        if self._waits():
            raise InputError("Say first which method will be best; then the race starts.")
        if self.race is not None and self.race.over:
            raise InputError("This race is over; press Reset for another one.")
        self.racing.start(one_epoch)

    def _waits(self) -> bool:
        """Whether a prediction has to come first."""
        return bool(self["predict"]) and self._guess is None and self.racing.state == "ready" and len(self.methods) > 1

    # before the start

    def _fit(self) -> None:
        """Another problem has other nets and other defaults; from the paint thread."""
        name, base = self["problem"], base_of(self["problem"])
        points, nets = name in PROBLEMS, nets_for(name)
        self.put("noise", disabled=not points)
        self.put("classes", disabled=not points)
        if self["student"] not in nets:
            self.put("student", options=nets, value=base.student)
            self.put("epochs", value=base.epochs)
            for name, live in LIVE.items():
                if hasattr(base, live.keys[0]):
                    self.put(name, value=getattr(base, live.keys[0]))

    def _prepare(self) -> None:
        self._guess = None
        self.compute.ask("ask", self._ask)
        self.racing.pace = self["pace"]
        self.racing.prepare(self._make, self._ready)

    def _make(self) -> Race:
        if not self.methods:
            raise InputError("Check a method; with two or more there is a race.")
        recipe = self.recipe
        self.say(f"{recipe.dataset}: setting up ...", "busy")

        def teaching(event: Event) -> None:
            if isinstance(event, Started):
                self.say("Training the teacher ...", "busy", 0.0)
            elif isinstance(event, EpochEnded):
                text = f"Training the teacher: epoch {event.epoch} of {recipe.teacher_epochs}"
                self.say(text, "busy", event.epoch / recipe.teacher_epochs)

        planned, self._planned = self._planned, []  # another race after this one is another race
        return Race(recipe, self.methods, self.overrides, listen=teaching, planned=planned)

    def _ready(self) -> None:
        """The race stands at the start."""
        race = self.race
        assert race is not None
        notes = "".join(f"<p class='amkd-note'>{note}</p>" for note in notes_of(race))
        self.paint.ask("result", lambda: setattr(self.result, "value", notes))
        self.pictures.begin(race)
        self._numbers()
        self._ask()

    # while it runs; in the thread of the race, between two steps

    def _hear(self, method: str, event: Event) -> None:
        race = self.race
        assert race is not None
        if isinstance(event, Changed) and any((c.epoch, c.batch) == (event.epoch, event.batch) for c in race.planned):
            self.paint.ask("follow", lambda: self._follow(race))
        if isinstance(event, Finished) and race.over:
            self._finish(race)
        elif self.pictures.duty.due():
            self._show(race)

    def _follow(self, race: Race) -> None:
        """Sliders to where an earlier race had them; from the paint thread."""
        for changes in list(race.made.values()):
            for key, value in changes.items():
                self.put(NAMES[key], value=value)

    def _lap(self, left: float) -> None:
        """An epoch is done; ``left`` seconds until the next one may begin: pictures in them cost nobody anything."""
        assert self.race is not None
        if left > 1.5 * self.pictures.cost:
            self._show(self.race)

    def _show(self, race: Race) -> None:
        begun = time.perf_counter()
        self.pictures.draw(race, live=True)
        self._numbers()
        self.pictures.spent(time.perf_counter() - begun)

    def _numbers(self) -> None:
        race = self.race
        assert race is not None
        self.pictures.numbers(race, marks(race))
        epoch, end, state = race.epoch, race.recipe.epochs, self.racing.state

        def show() -> None:
            self.clock.value = f"epoch <b>{epoch}</b> of {end}"
            if state == "racing" and epoch < end and not self.telling:
                words = f"Epoch {epoch + 1} of {end}: every method takes each step in turn."
                self.status.say(words, "busy", epoch / end)

        self.pictures.paint("clock", show)

    # words

    def _turned(self) -> None:
        """Buttons, and the line below, follow the state."""
        state, race = self.racing.state, self.race
        if self.closed:
            return
        waits = self._waits()
        open_ = {
            "start": state in ("ready", "held") and not waits,
            "step": state in ("ready", "held") and not waits,
            "pause": state == "racing",
            "reset": state in ("held", "over", "racing", "failed"),
        }
        words = ""
        if race is not None and state == "ready":
            count = len(race.trainings)
            words = f"{count} methods at the start, with the same weights and the same order of data."
            words = words if count > 1 else "One method at the start; check another one for a race."
            words += " It will be changed on its way as it was." if race.planned else ""
            words += " Say first which will be best." if waits else " Press Start."
        elif race is not None and state == "held":
            words = f"Held after {race.epoch} of {race.recipe.epochs} epochs; Go on continues, Step takes one more."
            self.pictures.draw(race)
            self._numbers()

        def show() -> None:
            for name, enabled in open_.items():
                self._buttons[name].disabled = not enabled
            self._buttons["start"].description = "Go on" if state == "held" else "Start"
            if words:
                self.status.say(words)

        self.paint.ask("state", show)

    def _finish(self, race: Race) -> None:
        self.pictures.draw(race)
        self._numbers()
        words, table = verdict(race), result_table(race, self.pictures.teacher_scores[1])
        told = ""
        if self._guess is not None:
            right = self._guess in best(race)
            self._score = [self._score[0] + right, self._score[1] + 1]
            told = f"<b>You said {self._guess}: {'right' if right else 'no'}.</b> "
            told += f"{self._score[0]} of {self._score[1]} so far. "
        said = "".join(f"<li>{sentence}</li>" for sentence in differences(race))
        text = f"<p>{told}<b>{words}</b> {DOUBT}</p>{table}<ul>{said}</ul>"

        def show() -> None:
            self.result.value = text
            self.question.value = "<b>The race is over.</b> Press Reset to predict the next one.&nbsp;"
            self.status.say(f"{words} From one seed: no verdict on the methods.", "done")

        self.paint.ask("result", show)

    # predict first

    def _ask(self) -> None:
        """The row of buttons that asks for the winner."""
        race, names, asked = self.race, self.methods, bool(self["predict"])
        begun = race is not None and race.epoch > 0 and self.racing.state != "ready"
        text = "<b>Which method will be best on the test samples?</b>&nbsp;"
        if begun:
            text, names = "Press Reset to predict the next race.", []
        elif len(names) < 2:
            text, names = "Check two methods or more; then there is something to predict.", []

        def show() -> None:
            buttons = []
            for name in names:
                made = button(name, f"I think {name} will be best")
                self.on_click(made, partial(self.guess, name))
                buttons.append(made)
            if self._guess is None:
                self.question.value = text
            old = self._asked.children[1:]
            self._asked.children = (self.question, *buttons)
            for one in old:
                one.close()
            self._asked.layout.display = None if asked else "none"

        self.paint.ask("question row", show)
        self._turned()

    # the head's buttons

    def view(self) -> View | None:
        race, ground, teacher = self.race, self.pictures.ground, self.pictures.teacher
        if race is None or ground is None or teacher is None:
            return None
        if self.racing.state == "racing":
            raise InputError("The race is on; press Pause, then export.")
        return slice_view({"teacher": teacher, **self.pictures.students(race)}, ground)

    def session(self) -> RacePlan:
        """The race with what was changed on its way: the sliders may have moved since; before there is one, what the
        controls describe."""
        return self.race.plan if self.race is not None else RacePlan(self.recipe, self.methods, self.overrides)

    def still(self) -> Image.Image | None:
        return self.pictures.canvas.still()

    def code(self) -> str:
        return code_of(self.session())

    # life

    def wait(self, seconds: float = 120.0) -> MethodRace:
        """Wait until the race is over or held, and everything is painted."""
        self.compute.wait(seconds)
        self.paint.wait(seconds)
        if not self.racing.worker.wait(seconds):
            raise InputError(f"MethodRace was still racing after {seconds:g} s; wait longer, or pause it.")
        super().wait(seconds)
        return self

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.racing.close()


def base_of(problem: str) -> Recipe:
    """Sizes in which students differ."""
    return SPIRALS if problem in PROBLEMS else DIGITS


def nets_for(problem: str) -> list[str]:
    """Architectures of a student that is trained in seconds."""
    start = "mlp" if problem in PROBLEMS else "cnn"
    return [name for name in architectures() if name.startswith(start)]


def live_defaults() -> dict[str, Any]:
    return {name: control.value for name, control in live_controls(SPIRALS).items()}


def race_has(race: Race, key: str) -> bool:
    """Whether a method of the race has the term of TERM.FIELD."""
    return any(key.partition(".")[0] in training.recipe.objective.names for training in race.trainings.values())


def notes_of(race: Race) -> list[str]:
    """What should be known before reading the numbers, once each."""
    return list(dict.fromkeys(note for training in race.trainings.values() for note in training.notes))
