"""Base of the panels: controls left, pictures right, a status line below."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import ipywidgets as widgets
from PIL import Image
from traitlets import TraitError

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.panels.controls import NEAR, plain
from amkd_viz.panels.fold import Fold
from amkd_viz.panels.made_later import Controls, MadeLater
from amkd_viz.panels.session import Session
from amkd_viz.panels.status import Status
from amkd_viz.panels.still import Still, still_html
from amkd_viz.panels.view_widget import close_whole
from amkd_viz.panels.worker import Worker
from amkd_viz.views.labels import duration, safe, value_words
from amkd_viz.views.mark import write_own
from amkd_viz.views.page import document
from amkd_viz.views.view import View
from amkd_viz.views.writers import figure_block

__all__ = ["Panel"]

PATIENCE = 2.5  # seconds for which the status line keeps an answer to a person
LONG = 2.0  # seconds after which a job says how much time is left
TWICE = 0.6  # seconds within which a second click is part of the first
ONE_MOVE = 1.0  # seconds between two moves of a control that are one
SAID = 8.0  # seconds for which it keeps the name of a written file
COACH = "AMKD_VIZ_COACH"  # "off": callouts only appear where a person asks for them
OFTEN = {"?", "Undo", "Reset controls"}  # buttons that the head of a narrow panel keeps in sight
PARTS = ("head", "body", "controls", "pictures", "bar")
_shown: list[Panel] = []  # open panels
_leaving = False  # whether the kernel ends


class _WholeOrClosed(type):
    """Closes a panel whose constructor fails: its threads and widgets would stay."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made: Any = cls.__new__(cls, *args, **kwargs)  # type: ignore[arg-type]
        try:
            made.__init__(*args, **kwargs)
        except BaseException:
            if isinstance(made, Panel) and hasattr(made, "closed"):
                made._end()
            raise
        return made


class Panel(metaclass=_WholeOrClosed):
    """A panel of controls and pictures. As the last line of a cell it shows itself; :meth:`close` removes it.

    Callbacks of widgets only request work, which threads do: ``compute`` runs the newest request of each kind, ``slow``
    runs what takes seconds, and ``paint`` alone writes widgets. So a slider never waits for its old values, nor a click
    for a layout.

    A panel has two states: ``values`` is what the controls say; ``view``, ``code`` and ``session`` describe what is on
    show, which may have been made with other values.

    A program can do what a person does: ``set`` moves controls, and each button has a method.
    """

    kinds: ClassVar[dict[str, type[Panel]]] = {}  # every kind of panel, by name
    title: ClassVar[str]
    kept: ClassVar[dict[str, Any]] = {}  # shape of a session's state, see core.parse
    leads: ClassVar[Sequence[str]] = ()  # names of the controls that move others: ``set`` moves these first
    matters: ClassVar[Sequence[str]] = ()  # names of the controls that are there when the panel is presented
    first_steps: ClassVar[Mapping[str, str]] = {  # of PARTS -> callout for a first look
        "controls": "Move a control, and the pictures follow. A double click on its name puts it back.",
        "pictures": "The pictures. The line below them says how far to trust them.",
        "head": '"?" explains the pictures. "Show code" writes the Python that makes them without the panel.',
    }
    about: ClassVar[str]  # HTML: one paragraph and one formula, with $ around LaTeX
    keys: ClassVar[str] = ""  # what keys do beside "?" and Esc

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Panel.kinds[cls.__name__] = cls

    def __init__(self) -> None:
        self._cell = _this_cell()
        for other in list(_shown):  # the cell runs again: its panel is replaced, and no other one
            if self._cell and other._cell and other._cell[0] == self._cell[0] and other._cell != self._cell:
                other.close()
        self.controls = Controls()
        self.status = Status()
        self._still = Still()
        self.paint = Worker(f"{type(self).__name__} paint", self.fail, pause=0.03, calm=self._keep_still)
        # the pause bundles the events of a slider; requests with soon=True end it
        self.compute = Worker(f"{type(self).__name__} compute", self.fail, pause=0.07)
        self._more: dict[str, Worker] = {}  # by name, started when first used
        self.closed = False
        self.widget: Any = None  # see ``assemble``
        self._timer: threading.Timer | None = None
        self._space: Any = None  # the button that the space bar presses
        self._folds: list[Fold] = []
        self._joining = threading.Lock()
        self._quiet = 0  # the thread whose changes of controls are ignored
        self._cancelled = 0
        self._since = (0.0, 2.0)  # when the share of the present job was first shown, and that share
        self._places: dict[str, str] = {}  # class name in the page -> control
        self._start: dict[str, Any] = {}  # value of each control before a person moved it
        self._opening: dict[str, Any] = {}  # values that a person opened the panel with
        self._undone = True  # whether moves are those of undo or reset
        self._moves: list[tuple[dict[str, Any], float]] = []  # the values before, by name, and when they moved last
        self._put_away: set[str] = set()  # controls that ``show`` has hidden
        self._refused = False  # whether the status line shows an error that a person has not acted on
        self._answered = 0.0  # time until which the status line keeps an answer
        self._told = "", ""  # the name of a written file that the status line shows, and the words before
        self._beside: list[Any] = []  # widgets that no other one may hold
        self.host: Panel | None = None  # the panel that opened this one beneath itself
        self.guest: Panel | None = None  # the panel that this one opened beneath itself
        _shown.append(self)

    # for subclasses

    def changed(self, name: str, value: Any) -> None:
        """Request the work that follows from a control that has moved."""
        raise NotImplementedError

    def code(self) -> str:
        """Return Python that makes what is on show, without the panel."""
        raise NotImplementedError

    def view(self) -> View | None:
        """Return what is on show as a figure to export; None if there is nothing."""
        return None

    def page(self) -> tuple[str, list[View]]:
        """Return title and figures of an exported page; no figures if there is nothing on show."""
        view = self.view()
        return (view.title, [view]) if view is not None else ("", [])

    def session(self) -> Session | None:
        """Return what is on show as a session to save, or None."""
        return None

    def still(self) -> Image.Image | None:
        """Return a picture of what is on show for readers without a kernel; None if there is nothing."""
        return None

    def settings(self) -> str:
        """Return a line that says what the picture was made with: the recipe of the run or of the controls, if any."""
        with suppress(InputError):  # controls that do not fit together
            recipe = getattr(getattr(self, "run", None) or self, "recipe", None)
            if recipe is not None:
                return repr(recipe)
        return ", ".join(f"{name}={value_words(value)}" for name, value in self.values.items())

    # building

    def assemble(
        self,
        groups: Mapping[str, Mapping[str, Any]],
        pictures: Iterable[Any],
        bar: Iterable[Any] = (),
        folded: Iterable[str] = (),
        bar_first: bool = False,
        parts: Mapping[str, Any] | None = None,
        stage: Iterable[Any] = (),
    ) -> None:
        """Build the widget, and listen to its controls.

        Args:
            groups: heading -> control name -> widget; a name that starts with ``_`` is a line of text, not a control.
            pictures: widgets right of the controls, from top to bottom. bar: a row of widgets under both.
            folded: groups that start closed.
            bar_first: put bar and status line above the pictures, for a panel that is taller than a screen.
            parts: name -> picture; a narrow panel shows one of these at a time.
            stage: the pictures that are there when the panel is presented.
        """
        for heading, own in groups.items():
            fold = Fold(heading, own, heading not in folded, self.matters, partial(self.paint.ask, f"fold {heading}"))
            self._folds.append(fold)
            self._adopt(fold, own)
            if isinstance(own, MadeLater):
                self.controls.more.append(own)
                own.joined = partial(self._join, fold)
        self._name_controls()
        self.status.parts = list(parts or ())
        for n, part in enumerate((parts or {}).values()):
            part.add_class("amkd-part").add_class(f"amkd-part-{n}")
        for picture in stage:
            picture.add_class("amkd-stage")
        self._undone = False
        self.status.observe(self._reset_one, names="reset")
        keys = f"{self.keys} ? shows and hides this text, Esc ends a presentation.".strip()
        tour = "<button class='jupyter-button amkd-tour'>Show the first steps</button>"
        self._help = widgets.HTMLMath(f"<p>{self.about}</p><p>Keys: {keys}</p>{tour}")
        self.status.steps = [[f".amkd-{part}", text] for part, text in self.first_steps.items()]
        self.status.greets = "" if os.environ.get(COACH) == "off" else self.title
        self._code = widgets.HTML()
        for extra in (self._help, self._code):
            extra.add_class("amkd-about")
            extra.layout.display = "none"
        head = [widgets.HTML(f"<b>{self.title}</b>"), *self._head_buttons()]
        self._pictures = widgets.VBox(list(pictures))
        body = self._body = widgets.Box([widgets.VBox(self._folds), self._pictures])
        own_bar = widgets.Box(list(bar))
        steering = [own_bar, self.status] if own_bar.children else [self.status]
        self._beside.append(own_bar)
        top = [widgets.Box(head), self._help, self._code]
        self._below = widgets.VBox([])
        inner = [*top, *steering, body] if bar_first else [*top, body, *steering]
        self.widget = widgets.VBox([*inner, self._below])
        for part, name in zip((top[0], body, *body.children, own_bar), PARTS, strict=True):
            part.add_class(f"amkd-{name}")
        self.widget.add_class("amkd-panel")
        self.status.observe(lambda change: self._cancel(change["new"]), names="cancelled")

    def _adopt(self, fold: Fold, own: Mapping[str, Any]) -> None:
        """Take the controls of a fold, and listen to them."""
        for name, control in own.items():
            fold.watch(control)
            self._beside.append(control)  # the page may not have it
            if name.startswith("_"):
                continue
            self.controls[name] = control
            control.add_class(place := f"amkd-control-{len(self._places)}")
            self._places[place] = name
            if name in self.matters:
                control.add_class("amkd-matters")
            self._start[name] = self[name]
            self.listen(name)

    def _join(self, fold: Fold, own: Mapping[str, Any]) -> None:
        with self._joining:  # another group may grow in another thread
            self._adopt(fold, own)
            self._name_controls()

    def _name_controls(self) -> None:
        """Tell the page names and help of the controls."""
        self.status.helps = {p: tip for p, name in self._places.items() if (tip := self.controls[name].tooltip)}
        self.status.names = {place: self.label(name) for place, name in self._places.items()}

    def _head_buttons(self) -> list[Any]:
        made: dict[str, tuple[str, Callable[[], Any]]] = {
            "?": ("What am I looking at?", self.help),
            "Undo": ("Take back the last change of a control", self.undo),
            "Reset controls": (
                "Every control as it was at first; a double click on a name resets one",
                self.reset_controls,
            ),
            "Show code": ("Python code that makes what is on show", self.show_code),
            "Copy state": ("A line of Python that opens a panel in this state, to the clipboard", self.copy_state),
            "Save session": ("Save a small file that restores this state", self.save_session),
            "Export": ("Write the figures as a self-contained HTML page", self.export),
        }
        if type(self).line is Panel.line:
            del made["Copy state"]
        if type(self).session is Panel.session:
            del made["Save session"]
        if type(self).view is Panel.view:
            del made["Export"]
        again = ("?", "Show code", "Undo")
        buttons = {label: self.button(label, tip, act, again=label in again) for label, (tip, act) in made.items()}
        for label in buttons.keys() - OFTEN:
            buttons[label].add_class("amkd-rare")
        return list(buttons.values())

    def button(
        self, label: str, tip: str, action: Callable[[], Any], primary: bool = False, again: bool = False
    ) -> Any:
        """Return a button that runs ``action`` in the compute thread, not in that of the callback.

        Args:
            again: let each click count; by default a double click does one thing.
        """
        style = "primary" if primary else ""
        made, key = widgets.Button(description=label, tooltip=tip, button_style=style), f"button {label}"
        free = 0.0  # when the next click counts; infinity while the action of the last one waits or runs

        def press() -> None:
            nonlocal free
            self._refused = False
            try:
                action()
            finally:
                free = time.monotonic() + TWICE

        def click(_: Any) -> None:
            nonlocal free
            if again or time.monotonic() >= free:
                free = math.inf
                self.compute.ask(key, press, soon=True)

        made.on_click(click)
        return made

    def space(self, button: Any | None) -> None:
        """In the paint thread: let the space bar press this button; with None, play what the pictures can play."""
        if self._space is not button:
            if self._space is not None:
                self._space.remove_class("amkd-space")
            if button is not None:
                button.add_class("amkd-space")
            self._space = button

    @property
    def slow(self) -> Worker:
        """The thread for what takes seconds."""
        return self.worker("slow")

    def worker(self, name: str) -> Worker:
        """Return a thread of this panel, started when first used."""
        if name not in self._more:
            self._more[name] = Worker(f"{type(self).__name__} {name}", self.fail)
            if self.closed:  # meanwhile
                self._more[name].close()
        return self._more[name]

    # controls

    def listen(self, name: str) -> None:
        """Hear the moves of a control that was added after ``assemble``."""
        self.controls[name].observe(self._moved(name), names="value")

    def watch(self, picture: Any, trait: str, act: Callable[[Any], object]) -> None:
        """Call ``act`` with each change of a trait of a picture: an action of a person, to whom a refusal gives way."""

        def heard(change: Any) -> None:
            self._refused = False
            act(change)

        picture.observe(heard, names=trait)

    def _moved(self, name: str) -> Callable[[Any], None]:
        def hear(change: Any) -> None:
            near = NEAR if isinstance(change["owner"], widgets.FloatLogSlider) else 1e-9
            old, new = change["old"], change["new"]
            # the page's slider may send the same number again, rounded differently
            echo = isinstance(old, float) and isinstance(new, float) and math.isclose(old, new, rel_tol=near)
            if self._quiet != threading.get_ident() and not self.closed and not echo:
                self._refused = False
                self._remember(name, old)
                try:
                    self.changed(name, plain(change["owner"], new))
                except InputError as error:
                    self.fail(str(error))

        return hear

    def _remember(self, name: str, before: Any) -> None:
        now = time.monotonic()
        if self._undone or name not in self._start:
            return
        typed = isinstance(self.controls[name], widgets.Text)  # each entry by itself
        last, at = self._moves[-1] if self._moves else ({}, 0.0)
        if list(last) == [name] and now - at < ONE_MOVE and not typed:
            before = self._moves.pop()[0][name]  # of the same drag
        self._moves.append(({name: before}, now))

    def _put_back(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Move controls back where they can be moved; return the values before of those that have moved."""
        before, moved = self.values, {}
        for name, value in values.items():
            control = self.controls[name]
            with suppress(InputError):  # of other data: no such choice any more
                if control.value != value and not control.disabled:
                    self._check(name, value)
                    self._undone = True
                    try:
                        control.value = value
                    finally:
                        self._undone = False
                    moved[name] = before[name]
        return moved

    def undo(self) -> None:
        """Take back the last change of a control that a person or ``set`` made, or the last ``reset_controls``."""
        while self._moves:
            if self._put_back(self._moves.pop()[0]):
                return
        self.tell("Nothing to undo.")

    def opens_with(self, **values: Any) -> None:
        """Set the controls that the constructor was given; undo and reset go back to these."""
        self.set(**values)
        self._moves.clear()
        self._opening = values

    def reset_controls(self, *names: str) -> None:
        """Put controls, by default all, back to their values at first."""
        first = self._start | self._opening
        before = self._put_back({name: first[name] for name in names or self._start})
        if before:
            self._moves.append((before, 0.0))
        else:
            self.tell("Nothing to reset.")

    def _reset_one(self, change: Any) -> None:
        if change["new"] in self._places:
            name = self._places[change["new"]]
            self.status.reset = ""
            self.compute.ask(f"reset {name}", lambda: self.reset_controls(name))

    def line(self) -> str:
        """Return an expression of Python that opens a panel in the state of this one."""
        raise NotImplementedError

    def copy_state(self) -> str:
        """Copy ``line``, with its import, to the clipboard of the page."""
        line, name = self.line(), type(self).__name__
        text = f"from amkd_viz import {name}{', Recipe' * ('Recipe(' in line)}; panel = {line}; panel"

        def show() -> None:
            self._unfold(self._code, _copyable(text), toggle=False)
            self.status.copied = ""  # the same text can be copied again
            self.status.copied = text

        self.paint.ask("code", show)
        return text

    def differing(self, start: Mapping[str, Any] | None = None) -> str:
        """Return ``NAME=value`` for the controls whose values differ from those of ``start``, by default the first."""
        start = self._start if start is None else start
        found = {name: self[name] for name, value in start.items() if self[name] != value}
        if all(name.isidentifier() for name in found):
            return ", ".join(f"{name}={_written(value)}" for name, value in found.items())
        return "**{" + ", ".join(f"{name!r}: {_written(value)}" for name, value in found.items()) + "}"

    @property
    def values(self) -> dict[str, Any]:
        """Return the value of each control."""
        return {name: plain(control, control.value) for name, control in list(self.controls.items())}

    def label(self, name: str) -> str:
        """Return the name of a control as people read it, with that of its term before it."""
        word, (term, dot, _) = self.controls[name].description, name.partition(".")
        return f"{term} {word}" if dot else word

    def __getitem__(self, name: str) -> Any:
        """Return the value of one control."""
        if name not in self.controls:
            raise unknown(f"control of {type(self).__name__}", name, self.controls.names)
        return plain(self.controls[name], self.controls[name].value)

    def set(self, **values: Any) -> Self:
        """Move controls, as a person would; an error in the status line gives way.

        Raises:
            InputError: a control is unknown or does not accept its value; nothing moves then.
        """
        self.check_open()
        for name, value in values.items():
            self[name]  # refuses unknown names
            self._check(name, value)
        self._refused = False
        for name in dict.fromkeys([*(name for name in self.leads if name in values), *values]):
            self.controls[name].value = values[name]
            if name in self.leads:
                self.paint.wait(PATIENCE)  # what it moves gives way to the other values
        return self

    def _check(self, name: str, value: Any) -> None:
        control = self.controls[name]
        if isinstance(control, widgets.Dropdown | widgets.SelectionSlider):
            allowed = [o[1] if isinstance(o, tuple) else o for o in control.options]
            if value not in allowed:
                raise unknown(name, str(value), [str(a) for a in allowed])
        elif hasattr(control, "min"):
            low, high = control.min, control.max
            if isinstance(control, widgets.FloatLogSlider):
                low, high = control.base**low, control.base**high
            fits = isinstance(value, int | float) and not isinstance(value, bool)
            if not fits or not low - 1e-9 <= value <= high * (1 + 1e-9) + 1e-9:
                raise InputError(f"{name} must be between {low:g} and {high:g}, got {value!r}.")
        try:
            control.traits()["value"]._validate(control, value)
        except TraitError as error:
            raise InputError(f"{name} does not take {value!r}: {error}") from error

    def put(self, name: str, **traits: Any) -> None:
        """Change a control without a call of ``changed``; for the paint thread."""
        self._quiet = threading.get_ident()
        try:
            with self.controls[name].hold_sync():
                for trait, value in traits.items():
                    setattr(self.controls[name], trait, value)
            if "value" in traits and name in self._start:
                self._start[name] = self.controls[name].value  # what the panel chose, as a value to go back to
                self._opening.pop(name, None)
        finally:
            self._quiet = 0

    # status line

    def say(self, text: str, kind: str = "idle", share: float = -1.0, cancellable: bool = False) -> None:
        """Write the status line, from any thread; what ``fail`` wrote stays until an action of a person, or an end."""
        self.paint.ask("status", lambda: self.say_now(text, kind, share, cancellable), soon=True)

    def say_now(self, text: str, kind: str = "idle", share: float = -1.0, cancellable: bool = False) -> None:
        """Write the status line in the paint thread."""
        if kind == "done":
            self._refused = False
        if not self._refused or kind == "error":
            if left := self._left(share):
                text = f"{text} {left}" if text.endswith(".") else f"{text}. {left}"
            self.status.say(text, kind, share, cancellable)

    def _left(self, share: float) -> str:
        """Return how much time is left of a job of which ``share`` is done, once it has run for some seconds."""
        (begun, first), now = self._since, time.monotonic()
        if not first <= share <= 1:
            self._since = now, share if share >= 0 else 2.0  # another job
            return ""
        if share - first < 0.02 or now - begun < LONG:
            return ""
        return f"{duration((now - begun) * (1 - share) / (share - first))} left."

    def tell(self, text: str) -> None:
        """Write the status line and keep it long enough to be read: ``telling`` is true meanwhile."""
        self._answered = time.monotonic() + PATIENCE
        self.say(text)

    @property
    def telling(self) -> bool:
        return time.monotonic() < self._answered

    def fail(self, text: str) -> None:
        """Show an error; of a traceback the last line, and all of it under "Show code"."""
        lines = text.strip().splitlines()
        if len(lines) > 1:
            text = f"Unexpected error: {lines[-1]}"
            trace = "\n".join(lines)
            self.paint.ask("code", lambda: self._unfold(self._code, f"<pre>{safe(trace)}</pre>", toggle=False))
        self._refused = True
        self.say(text, "error")

    def _cancel(self, count: int) -> None:
        self._cancelled, self._refused = count, False

    def cancel_point(self, *keys: str) -> Callable[[], bool]:
        """Return a function that says whether a long task should end: Cancel was pressed, the panel is closed, or newer
        work with one of ``keys`` waits."""
        before = self._cancelled
        return lambda: self.closed or self._cancelled != before or self.compute.waits(*keys)

    def visit(self, name: str, make: Callable[[Any], Any], show: Callable[[Any], object]) -> Any:
        """Show something in another kind of panel: the host, the guest, or a new guest beneath this panel.

        Args:
            name: of the other kind; panels find each other by name, since their modules cannot import each other.
            make: opens a new one, given its class. show: shows it in one that is open.
        """
        kind = self.kinds[name]
        for panel in (self.host, self.guest):
            if isinstance(panel, kind) and not panel.closed:
                show(panel)
                return panel
        guest = make(kind)
        guest.host, self.guest = self, guest
        self.paint.ask("guest", lambda: setattr(self._below, "children", (guest.widget,)))
        return guest

    # buttons of the head

    def help(self) -> None:
        """Show or hide the explanation."""
        self.paint.ask("help", lambda: self._unfold(self._help))

    def show_code(self) -> None:
        """Show or hide the code of what is on show."""
        text = _copyable(self.code())
        self.paint.ask("code", lambda: self._unfold(self._code, text))

    def save_session(self, path: str | Path | None = None) -> Path:
        """Write the session to a file, by default a new one under ``sessions/``.

        Raises:
            InputError: there is nothing to save yet, or the file cannot be written.
        """
        self.check_open()
        session = self.session()
        if session is None:
            raise InputError("There is no run to save yet; start one first.")
        where = session.save(Path(path) if path is not None else self._fresh("sessions", ".json"))
        self.tell_file(f"Saved {where}; {type(session).__name__}.open reads it.")
        return where

    def export(self, path: str | Path | None = None) -> Path:
        """Write the figures as an HTML page, by default under ``exports/``; as an image, ``view()`` alone.

        Raises:
            InputError: there is no picture yet, or the file cannot be written.
        """
        self.check_open()
        where = Path(path) if path is not None else self._fresh("exports", ".html")
        before = self.status.text
        self.say("Writing ...", "busy")
        try:
            title, views = self.page() if where.suffix == ".html" else ("", [v for v in [self.view()] if v is not None])
            if not views:
                raise InputError("There is no picture to export yet.")
            if len(views) == 1:
                views[0].save(where)
            else:
                write_own(where, document(title, "\n".join(map(figure_block, views))))
        except BaseException:
            self.say(before)
            raise
        self.tell_file(f"Wrote {where}.", before)
        return where

    def tell_file(self, text: str, before: str | None = None) -> None:
        """Show ``text`` for some seconds, then ``before`` (by default the present line) again."""
        before = self.status.text if before is None else before
        if before == self._told[0]:  # of another file, a moment ago
            before = self._told[1]
        self._told = text, before
        self.say(text, "done")

        def back() -> None:
            if not self.closed and self.status.text == text:
                self.say(before)

        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(SAID, back)
        self._timer.daemon = True
        self._timer.start()

    def _fresh(self, folder: str, ending: str) -> Path:
        number, stem = 1, type(self).__name__
        while (path := Path(folder) / f"{stem}-{number}{ending}").exists():
            number += 1
        return path

    @staticmethod
    def _unfold(part: Any, text: str | None = None, toggle: bool = True) -> None:
        """Show a part with ``text``; with ``toggle``, hide it if it shows that text."""
        hide = toggle and part.layout.display != "none" and text in (None, part.value)
        if text is not None:
            part.value = text
        part.layout.display = "none" if hide else None

    # life

    def show(self, only: Iterable[str] | None = None) -> Self:
        """Show only these controls, e.g. for a class; by default all that the objective on show has.

        Args:
            only: names of controls; "margin" also stands for the margin of each term on show, such as
                "boundary_triplet.margin".

        Raises:
            InputError: a control is unknown.
        """
        hidden = {name for name, control in list(self.controls.items()) if control.layout.display == "none"}
        here = set(self.controls) - (hidden - self._put_away)  # the rest belongs to other objectives
        wanted = here if only is None else set()
        for name in only or ():
            own = {name} if name in self.controls else {known for known in here if known.rpartition(".")[2] == name}
            wanted |= own or {str(self[name])}  # refuses unknown names
        self._put_away = here - wanted
        for name in here | wanted:
            self.controls[name].layout.display = None if name in wanted else "none"
        for fold in self._folds:
            fold.layout.display = None if only is None or wanted & set(fold.own) else "none"
        self._body.children[0].layout.display = None if wanted else "none"
        self._body.layout.grid_template_columns = None if wanted else "minmax(0, 1fr)"
        return self

    def wait(self, seconds: float = 120.0) -> Self:
        """Wait until all requests are done and painted.

        Raises:
            InputError: on a timeout, or if the panel is closed.
        """
        self.check_open()
        for _ in range(4):  # painting may request work, and work painting
            if not all(worker.wait(seconds) for worker in (self.compute, *self._more.values(), self.paint)):
                raise InputError(f"{type(self).__name__} was still busy after {seconds:g} s; wait longer.")
        return self

    def check_open(self) -> None:
        """Raise InputError if the panel is closed."""
        if self.closed:
            raise InputError(f"This {type(self).__name__} is closed; run its cell again for a new one.")

    def close(self) -> None:
        """End the threads, remove the widgets from the page, and let go of nets and data. Idempotent."""
        if self.closed:
            return
        self._end()
        self.release()

    def _end(self) -> None:
        self.closed = True
        if self.guest is not None:
            self.guest.close()
        if self in _shown:
            _shown.remove(self)
        workers = [self.compute, *self._more.values(), self.paint]
        for worker in workers:
            worker.close()
        for worker in workers:
            worker.join(PATIENCE)
        if self._timer is not None:
            self._timer.cancel()
        if not _leaving:  # the page keeps what a kernel leaves behind
            self._keep_still()
            for part in (self.widget or self.status, *self._beside):
                close_whole(part)

    def release(self) -> None:
        """Drop nets, data and trainings: a notebook keeps a closed panel in ``Out``."""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = self.widget._repr_mimebundle_()
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        # a reader that knows no widgets takes the empty HTML, and then the still
        display(data | {"text/plain": repr(self), "text/html": ""}, raw=True)
        self._still.display(self._still_html())

    def _still_html(self) -> str:
        return still_html(self.title, self.still(), self.status.text, self.settings())

    def _keep_still(self) -> None:
        """Keep the picture in the notebook."""
        if self._still.displayed:
            self._still.update(self._still_html())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'closed' if self.closed else self.status.text})"


def _copyable(text: str) -> str:
    return f"<button class='jupyter-button amkd-copy' title='To the clipboard'>Copy</button><pre>{safe(text)}</pre>"


def _written(value: Any) -> str:
    """Return a control's value as Python."""
    if isinstance(value, float):
        return 'float("inf")' if value == math.inf else repr(float(f"{value:.12g}"))
    return repr(value)


@atexit.register
def _close_all() -> None:
    """Close all panels when the kernel ends, so that trainings leave checkpoints."""
    global _leaving
    _leaving = True
    for panel in list(_shown):
        panel.close()


def _this_cell() -> tuple[str, str] | None:
    """Return id and execution of the cell that JupyterLab is executing; None outside of a notebook."""
    try:
        from IPython import get_ipython

        message = get_ipython().kernel.get_parent()
        return message["metadata"]["cellId"], message["header"]["msg_id"]
    except (ImportError, AttributeError, KeyError, TypeError):
        return None
