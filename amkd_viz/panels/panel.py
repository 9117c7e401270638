"""Base of the panels: controls left, pictures right, a status line below."""

from __future__ import annotations

import atexit
import base64
import io
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import ipywidgets as widgets
from PIL import Image
from traitlets import TraitError

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.panels.session import Session
from amkd_viz.panels.status import Status
from amkd_viz.panels.view_widget import close_whole
from amkd_viz.panels.worker import Worker
from amkd_viz.views.labels import safe
from amkd_viz.views.mark import write_own
from amkd_viz.views.page import document
from amkd_viz.views.view import View
from amkd_viz.views.writers import figure_block

__all__ = ["Panel"]

PATIENCE = 2.5  # seconds for which the status line keeps an answer to a person
SAID = 8.0  # seconds for which it keeps the name of a written file
PARTS = ("head", "body", "controls", "pictures", "bar")
_shown: list[Panel] = []  # open panels


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

    title: ClassVar[str]
    kept: ClassVar[dict[str, Any]] = {}  # shape of a session's state, see core.parse
    about: ClassVar[str]  # HTML: one paragraph and one formula, with $ around LaTeX

    def __init__(self) -> None:
        self._cell = _this_cell()
        for other in list(_shown):  # the cell runs again: its panel is replaced, and no other one
            if self._cell and other._cell and other._cell[0] == self._cell[0] and other._cell != self._cell:
                other.close()
        self.controls: dict[str, Any] = {}
        self.status = Status()
        self.paint = Worker(f"{type(self).__name__} paint", self.fail, pause=0.03)
        # the pause bundles the events of a slider; requests with soon=True end it
        self.compute = Worker(f"{type(self).__name__} compute", self.fail, pause=0.07)
        self._slow: Worker | None = None
        self.closed = False
        self.widget: Any = None  # see ``assemble``
        self._timer: threading.Timer | None = None
        self._groups: list[tuple[Any, list[str]]] = []
        self._quiet = 0  # the thread whose changes of controls are ignored
        self._cancelled = 0
        self._answered = 0.0  # time until which the status line keeps an answer
        self._beside: list[Any] = []  # widgets that no other one holds
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
        """Return a small image for readers without a kernel."""
        return None

    # building

    def assemble(
        self,
        groups: Mapping[str, Mapping[str, Any]],
        pictures: Iterable[Any],
        bar: Iterable[Any] = (),
        folded: Iterable[str] = (),
        bar_first: bool = False,
    ) -> None:
        """Build the widget, and listen to its controls.

        Args:
            groups: heading -> control name -> widget; a name that starts with ``_`` is a line of text, not a control.
            pictures: widgets right of the controls, from top to bottom. bar: a row of widgets under both.
            folded: groups that start closed.
            bar_first: put bar and status line above the pictures, for a panel that is taller than a screen.
        """
        left = []
        for heading, own in groups.items():
            for name, control in own.items():
                if not name.startswith("_"):
                    self.controls[name] = control
                    control.observe(self._moved(name), names="value")
            left.append(self._fold(heading, own, heading in folded))
        self._help = widgets.HTMLMath(f"<p>{self.about}</p>")
        self._code = widgets.HTML()
        for extra in (self._help, self._code):
            extra.add_class("amkd-about")
            extra.layout.display = "none"
        head = [widgets.HTML(f"<b>{self.title}</b>"), *self._head_buttons()]
        self._pictures = widgets.VBox(list(pictures))
        body = self._body = widgets.Box([widgets.VBox(left), self._pictures])
        own_bar = widgets.Box(list(bar))
        steering = [own_bar, self.status] if own_bar.children else [self.status]
        self._beside.append(own_bar)
        top = [widgets.Box(head), self._help, self._code]
        self.widget = widgets.VBox([*top, *steering, body] if bar_first else [*top, body, *steering])
        for part, name in zip((top[0], body, *body.children, own_bar), PARTS, strict=True):
            part.add_class(f"amkd-{name}")
        self.widget.add_class("amkd-panel")
        self.status.observe(lambda change: self._cancel(change["new"]), names="cancelled")

    def _fold(self, heading: str, own: Mapping[str, Any], folded: bool) -> Any:
        inner = widgets.VBox(list(own.values()))
        opener = widgets.Button(tooltip=f"Show or hide: {heading}")

        def show(open_: bool) -> None:
            inner.layout.display = None if open_ else "none"
            opener.description = f"{'▾' if open_ else '▸'} {heading}"

        show(not folded)
        opener.on_click(lambda _: show(inner.layout.display == "none"))
        group = widgets.VBox([opener, inner])
        group.add_class("amkd-fold")
        self._groups.append((group, [name for name in own if not name.startswith("_")]))
        return group

    def _head_buttons(self) -> list[Any]:
        made: dict[str, tuple[str, Callable[[], Any]]] = {
            "?": ("What am I looking at?", self.help),
            "Show code": ("Python code that makes what is on show", self.show_code),
            "Save session": ("Save a small file that restores this state", self.save_session),
            "Export": ("Write the figures as a self-contained HTML page", self.export),
        }
        if type(self).session is Panel.session:
            del made["Save session"]
        if type(self).view is Panel.view:
            del made["Export"]
        return [self.button(label, tip, action) for label, (tip, action) in made.items()]

    def button(self, label: str, tip: str, action: Callable[[], Any], primary: bool = False) -> Any:
        """Return a button that runs ``action`` in the compute thread, not in that of the callback."""
        style = "primary" if primary else ""
        made, key = widgets.Button(description=label, tooltip=tip, button_style=style), f"button {label}"
        made.on_click(lambda _: self.compute.ask(key, action, soon=True))
        return made

    @property
    def slow(self) -> Worker:
        """The thread for what takes seconds, started when first used."""
        if self._slow is None:
            self._slow = Worker(f"{type(self).__name__} slow", self.fail)
            if self.closed:  # meanwhile
                self._slow.close()
        return self._slow

    # controls

    def _moved(self, name: str) -> Callable[[Any], None]:
        def hear(change: Any) -> None:
            near = 0.01 if isinstance(change["owner"], widgets.FloatLogSlider) else 1e-9  # a step of it is 4 %
            old, new = change["old"], change["new"]
            # the page's slider may send the same number again, rounded differently
            echo = isinstance(old, float) and isinstance(new, float) and math.isclose(old, new, rel_tol=near)
            if self._quiet != threading.get_ident() and not self.closed and not echo:
                try:
                    self.changed(name, new)
                except InputError as error:
                    self.fail(str(error))

        return hear

    @property
    def values(self) -> dict[str, Any]:
        """Return the value of each control."""
        return {name: control.value for name, control in self.controls.items()}

    def __getitem__(self, name: str) -> Any:
        """Return the value of one control."""
        if name not in self.controls:
            raise unknown(f"control of {type(self).__name__}", name, self.controls)
        return self.controls[name].value

    def set(self, **values: Any) -> Self:
        """Move controls, as a person would.

        Raises:
            InputError: a control is unknown or does not accept its value; nothing moves then.
        """
        self.check_open()
        for name, value in values.items():
            self[name]  # refuses unknown names
            self._check(name, value)
        for name, value in values.items():
            self.controls[name].value = value
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
        finally:
            self._quiet = 0

    # status line

    def say(self, text: str, kind: str = "idle", share: float = -1.0, cancellable: bool = False) -> None:
        """Write the status line, from any thread."""
        self.paint.ask("status", lambda: self.status.say(text, kind, share, cancellable), soon=True)

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
        self.say(text, "error")

    def _cancel(self, count: int) -> None:
        self._cancelled = count

    def cancel_point(self, *keys: str) -> Callable[[], bool]:
        """Return a function that says whether a long task should end: Cancel was pressed, the panel is closed, or newer
        work with one of ``keys`` waits."""
        before = self._cancelled
        return lambda: self.closed or self._cancelled != before or self.compute.waits(*keys)

    # buttons of the head

    def help(self) -> None:
        """Show or hide the explanation."""
        self.paint.ask("help", lambda: self._unfold(self._help))

    def show_code(self) -> None:
        """Show or hide the code of what is on show."""
        text = f"<pre>{safe(self.code())}</pre>"
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
        """Show only these controls, e.g. for a class; by default all of them.

        Raises:
            InputError: a control is unknown.
        """
        wanted = set(self.controls) if only is None else set(only)
        for name in wanted:
            self[name]
        for name, control in self.controls.items():
            control.layout.display = None if name in wanted else "none"
        for group, names in self._groups:
            shown = only is None or any(name in wanted for name in names)
            group.layout.display = None if shown else "none"
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
            if not all(worker.wait(seconds) for worker in (self.compute, self._slow, self.paint) if worker):
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
        if self in _shown:
            _shown.remove(self)
        workers = [worker for worker in (self.compute, self._slow, self.paint) if worker]
        for worker in workers:
            worker.close()
        for worker in workers:
            worker.join(PATIENCE)
        if self._timer is not None:
            self._timer.cancel()
        for part in (self.widget or self.status, *self._beside):
            close_whole(part)

    def release(self) -> None:
        """Drop nets, data and trainings: a notebook keeps a closed panel in ``Out``."""

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = self.widget._repr_mimebundle_(**kwargs)
        data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
        data = dict(data) | {"text/plain": repr(self)}
        picture = self.still()
        if picture is not None:
            file = io.BytesIO()
            picture.save(file, "PNG", optimize=True)
            source = base64.b64encode(file.getvalue()).decode()
            data["text/html"] = (
                f'<figure><img alt="{safe(self.title)}" style="width:100%;max-width:{picture.width}px" '
                f'src="data:image/png;base64,{source}"><figcaption>{safe(self.title)}: a still picture; run the '
                "cell for the live panel.</figcaption></figure>"
            )
        return (data, *rest) if rest else data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'closed' if self.closed else self.status.text})"


@atexit.register
def _close_all() -> None:
    """Close all panels when the kernel ends, so that trainings leave checkpoints."""
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
