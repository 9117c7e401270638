"""The attack path of an image to the decision boundary, step by step, and the plane that contains it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import ipywidgets as widgets
import torch
from PIL import Image
from torch import nn

from amkd_viz.boundary import BoundarySamples, samplers
from amkd_viz.boundary.samples import Status as Ending
from amkd_viz.core.errors import InputError
from amkd_viz.data import Dataset, load, parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.models import Classifier, inference_copy, load_teacher
from amkd_viz.models.classifier import unwrapped
from amkd_viz.panels.attack_controls import (
    attack,
    attack_code,
    attack_controls,
    target_options,
    used_by,
)
from amkd_viz.panels.attack_words import class_words, walk_words
from amkd_viz.panels.controls import choice, temperature_control, toggle
from amkd_viz.panels.panel import Panel
from amkd_viz.panels.prediction import Prediction
from amkd_viz.panels.sample_plane import FINE, SamplePlane
from amkd_viz.panels.session import Session, opened
from amkd_viz.panels.thumbs import Thumbs
from amkd_viz.panels.view_widget import class_names
from amkd_viz.panels.walk_canvas import WalkCanvas
from amkd_viz.runs import Run, example
from amkd_viz.runs.examples import EXAMPLES
from amkd_viz.training import DIGITS, EpochEnded, Event, Recipe
from amkd_viz.views import View, boundary_path, plane_map
from amkd_viz.views.crossings import crossings_of
from amkd_viz.views.decisions import logits_at
from amkd_viz.views.labels import class_label
from amkd_viz.views.layout import keep
from amkd_viz.views.neighbour import nearest_image
from amkd_viz.views.slices import NAMES
from amkd_viz.views.walk import Walk, walk

__all__ = ["SampleLab"]

PAGE = 20  # thumbnails per page of the strip
PATIENCE = 0.3  # seconds after which the status line says that the maps are being refined
LARGE = 1000  # numbers in an image; nets of larger images get all cores
TRIES = 32  # images among which the first one is chosen
STEPS = range(3, 11)  # of its attack
EXAMPLE = DIGITS.replace(step_size=0.15, attack_steps=15)  # with the published 0.3 most digits cross in one step
OF_CLASSES = ("shown", "negative", "target")  # controls that offer classes, once these are known
NEWER = ("load", "attack", "plane")  # requests that end the refinement of the maps


class Shown(NamedTuple):
    """The attack on show."""

    place: int  # in the test split
    values: Mapping[str, Any]  # of the controls that it was made with
    samples: BoundarySamples
    path: Walk


class SampleLab(Panel):
    """Choose an image, follow its attack step by step with both nets' predictions, and show the plane through it.

    Args:
        run: a finished run on images, a session on one, the path of either, or "digits", an example.
        teacher, student, dataset: nets (or their files) and images (or their name, see ``load``) without a run;
            ``student`` is optional.
        image, second: published indices of the test image to attack, and of the negative that is chosen.
        controls: first values of the controls, by name.

    Raises:
        InputError: the run is not finished or is of a 2-D problem; nets and data set do not fit; a control is unknown
            or does not accept its value.
    """

    title = "SampleLab"
    matters = "sampler", "target", "step_size"
    keys = "Space plays the steps of the attack, arrows go through them and through the images, Enter chooses an image."
    kept: ClassVar = {"base?": (None, range(2**31)), "second?": (None, range(2**31)), "controls?": dict}
    first_steps: ClassVar = {
        "controls": "Choose an image, the class that the attack aims at, and the length of a step.",
        "pictures": "The attack, step by step. Where the curve of a network meets zero, its prediction changes.",
        "head": Panel.first_steps["head"],
    }
    about = (
        "Choose an image; the <i>attack</i> changes its pixels step by step until the net predicts another class. The "
        "first image past the boundary is a <i>boundary supporting sample</i> (ring): BSS and AMKD train the student "
        "on it, because it shows where the teacher's boundary lies. The curve is the <i>logit gap</i> "
        "$f_b(x) - f_k(x)$ of base class $b$ and target class $k$: above zero a net prefers $b$, below it $k$; the "
        "cross marks where a net leaves its class, found by bisection. One step is "
        "$x \\leftarrow x + a\\,(f_b - f_k + \\epsilon)\\,g/\\|g\\|^p$, $g = \\nabla_x (f_k - f_b)$ "
        "(Heo et al., 2019, arXiv 1805.05532), in the normalised space. The maps show the plane through base, boundary "
        "sample and an image of another class: each of its points is an image; drag the blue point to see it."
    )

    _data: Dataset  # once there are nets

    def __init__(
        self,
        run: Run | Session | str | Path | None = None,
        *,
        teacher: nn.Module | str | Path | None = None,
        student: nn.Module | str | Path | None = None,
        dataset: Dataset | str | None = None,
        image: int | None = None,
        second: int | None = None,
        **controls: Any,
    ) -> None:
        run = opened(run, self, Run, type(None))
        self._session = run if isinstance(run, Session) else None
        self.run = run if isinstance(run, Run) else self._session.open_run(self) if self._session else None
        self._example = run if isinstance(run, str) else "digits"
        _check_example(self._example)
        # as text in the code that is shown
        self._names = {
            name: value
            for name, value in (("dataset", dataset), ("teacher", teacher), ("student", student))
            if isinstance(value, str | Path)
        }
        teacher, student = (load_teacher(n) if isinstance(n, str | Path) else n for n in (teacher, student))
        data = load(dataset) if isinstance(dataset, str) else dataset
        self._given = _given(self.run, teacher, student, data)
        super().__init__()
        self._threads = torch.get_num_threads()
        self._at_first: dict[str, Any] = {"base": image, "second": second}
        recipe = self.run.settled if self.run else EXAMPLE if self._given is None else Recipe()
        self._nets: dict[str, nn.Module] = {}
        self._page: tuple[Any, int] | None = None  # class and page of the strip
        self._shown: Shown | None = None
        self._negative: int | None = None  # position in the test split
        self._build(recipe)
        for name in controls:
            self[name]  # refuses unknown names
        self.opens_with(**{name: value for name, value in controls.items() if name not in OF_CLASSES})
        self._later = {name: value for name, value in controls.items() if name in OF_CLASSES}
        self.say("Reading the nets ...", "busy")
        self.compute.ask("load", self._load)

    def _build(self, recipe: Recipe) -> None:
        self.thumbs = Thumbs(uses=["base", "negative"], empty="Images appear once the nets are loaded.")
        self.walk = WalkCanvas(empty="Choose an image above to see its attack path.")
        self.plane = SamplePlane(self.paint)
        self.canvas = self.plane.canvas
        self.prediction = Prediction(self)
        names = ["teacher", "student"] if self._given is None else list(self._given[0])
        plane = widgets.VBox([self.canvas, self.plane.numbers, self.plane.point])
        self.assemble(
            {
                "Image": {
                    "shown": choice("show class", "all", ["all"], "class of the test images in the strip"),
                    "negative": choice(
                        "negative",
                        "nearest",
                        ["nearest"],
                        "third image of the plane: the nearest test image of another class, or of the class that you "
                        "choose, or the one that you Shift + click",
                    ),
                },
                "Attack": {
                    "net": choice("attacked net", names[0], names, "the net whose boundary the image is pushed to"),
                    **attack_controls(recipe),
                    "predict": toggle("What will happen? Ask me first", False, "answer before the path is shown"),
                },
                "View": {
                    "temperature": temperature_control(),
                },
            },
            [self.thumbs, self.prediction.row, self.walk, plane],
            [self.button("Find in EmbeddingLab", "show the image among the others, beneath", self.open_embedding)],
            parts={"Path": self.walk, "Plane": plane},
            stage=[self.thumbs, self.canvas],
        )
        self._use(self["sampler"])
        self.watch(self.thumbs, "chosen", lambda _: self.compute.ask("attack", self._attack))
        self.watch(self.thumbs, "second", self._second)
        self.thumbs.observe(lambda _: self.compute.ask("page", self._show_page), names="page")
        self.watch(self.canvas, "point", lambda _: self.compute.ask("look", self.plane.look))

    # what a person does

    def pick(self, index: int) -> BoundarySamples:
        """Choose the test image with the published ``index``, attack it, and return its boundary sample.

        Raises:
            InputError: there is no such test image.
        """
        self.wait()
        self.choose(index)
        return self.attack()

    def choose(self, index: int) -> None:
        """Choose the test image with this published index; raises as ``pick``."""
        at = (self._listed() == self._place(index)).nonzero()
        if len(at):  # else the strip shows another class
            self.thumbs.page = int(at[0, 0]) // PAGE
        self.thumbs.chosen = int(index)

    def open_embedding(self) -> Panel:
        """Show the image in EmbeddingLab, beneath this panel or above it.

        Raises:
            InputError: the nets were given without a run, or the image is not on the map.
        """
        run, index = self.run, self.thumbs.chosen
        if run is None or index is None:
            raise InputError("EmbeddingLab shows runs: open SampleLab on a run.")
        opened: Panel = self.visit(
            "EmbeddingLab", lambda kind: kind(run, picked=index, how="pca"), lambda panel: panel.pick(index)
        )
        return opened

    def attack(self) -> BoundarySamples:
        """Wait for the attack that the controls describe, and return its boundary sample.

        Raises:
            InputError: the attack failed, for the reason in the status line.
        """
        self.wait()
        if self._shown is None:
            raise InputError(self.status.text)
        return self._shown.samples

    def scrub(self, step: int) -> None:
        """Show the image after ``step`` updates; one more than the last shows the refined point."""
        self.wait()
        self.walk.step = int(step)

    def look(self, x: float, y: float) -> None:
        """Show the image at the point (x, y) of the plane, as if it had been dragged there."""
        self.wait()
        self.canvas.point = [float(x), float(y)]
        self.wait()

    def changed(self, name: str, value: Any) -> None:
        if name == "shown":
            self.thumbs.page = 0
            self.compute.ask("page", self._show_page)
        elif name == "negative":
            if value == "chosen" and self.thumbs.second is None:
                raise InputError("Shift + click a thumbnail to choose the negative.")
            self.compute.ask("plane", self._open_plane)
        elif name == "temperature":
            self.compute.ask("draw", self._draw_all)
        else:
            if name == "sampler":
                self._use(value)
            self.compute.ask("attack", self._attack)

    def _use(self, sampler: str) -> None:
        """Put the controls away that the sampler does not use."""
        for name in set().union(*map(used_by, samplers)):
            control, used = self.controls[name], name in used_by(sampler)
            control.disabled = not used
            control.layout.display = None if used and name not in self._put_away else "none"

    def _second(self, change: Any) -> None:
        if change["new"] is not None and not self.closed:
            if self["negative"] == "chosen":
                self.compute.ask("plane", self._open_plane)
            else:
                self.controls["negative"].value = "chosen"

    # nets and images

    def _load(self) -> None:
        if self._given is None:
            run = self.run or example(self._example, listen=self._trained)
            self.run = run
            given: tuple[Mapping[str, nn.Module], Dataset]
            given = {"teacher": run.teacher(), "student": run.student()}, run.dataset()
        else:
            given = self._given
        nets, data = given
        self._data = data.to("cpu")
        self._nets = {name: inference_copy(net).cpu() for name, net in nets.items()}
        if self._data.train.x[0].numel() > LARGE:
            torch.set_num_threads(self._threads)  # in this thread: no training runs beside it
        names = class_names(data.classes)
        classes = [(name, k) for k, name in enumerate(names)]
        restored = self._session.state if self._session else self._at_first
        base = restored.get("base")
        base = self._first_image() if base is None else base
        self._place(base)  # refuses an image that is not there

        def show() -> None:
            self.canvas.classes(data.classes)
            offered = {
                "shown": [("all", "all"), *classes],
                "negative": [("nearest", "nearest"), *classes, ("as chosen", "chosen")],
                "target": target_options(names),
            }
            for name, options in offered.items():
                self.put(name, options=options, value=self[name])
            self.thumbs.second = restored.get("second")
            self.set(**restored.get("controls", {}), **self._later)
            self.choose(base)
            self.compute.ask("page", self._show_page)
            self.compute.ask("attack", self._attack)

        self.paint.ask("classes", show)

    def _trained(self, event: Event) -> None:
        if isinstance(event, EpochEnded):
            self.say(f"Training the example, once, for about ten seconds: epoch {event.epoch} ...", "busy")

    def _first_image(self) -> int:
        """Return the published index of a test image that both nets classify correctly, whose attack shows something:
        a few steps, one crossing into the target, and the largest difference."""
        test = self._data.test
        tried = torch.tensor(keep(len(test), 2 * TRIES))  # spread out: the images of a folder are sorted by class
        x, y = test.floats(tried), test.y[tried]
        known = torch.stack([logits_at(net, x).argmax(1) == y for net in self._nets.values()]).all(0)
        rows = known.nonzero()[:, 0]
        rows = rows[keep(len(rows), TRIES)]
        if not len(rows):
            return int(test.index[0])
        net = self._nets[self["net"]]
        samples = attack(net, x[rows], self.values)
        few = (samples.steps >= STEPS.start) & (samples.steps < STEPS.stop)
        size = (samples.x - samples.origin).flatten(1).norm(dim=1)
        score = size / size.max().clamp_min(1e-9) + 2 * (samples.status == Ending.TARGET) + few
        order = score.argsort(descending=True).tolist()
        clean = (i for i in order[:4] if len(crossings_of(net, samples, i)) == 1)
        return int(test.index[tried[rows[next(clean, order[0])]]])

    def _show_page(self) -> None:
        if not self._nets:
            return
        test, shown, places = self._data.test, self["shown"], self._listed()
        pages = max(1, -(-len(places) // PAGE))
        page = min(max(self.thumbs.page, 0), pages - 1)
        if self._page == (shown, page):
            return
        self._page = shown, page
        on_page = places[page * PAGE : (page + 1) * PAGE]
        x, ids, labels = test.floats(on_page), test.index[on_page].tolist(), test.y[on_page].tolist()
        classes = self._data.classes

        def show() -> None:
            self.thumbs.empty = 'There is no test image of this class; choose another one under "show class".'
            self.thumbs.show(x, ids, labels, classes, page, pages)

        self.paint.ask("page", show)

    def _listed(self) -> torch.Tensor:
        """Return the places in the test set of the images that the strip lists, page after page."""
        test, shown = self._data.test, self["shown"]
        return torch.arange(len(test)) if shown == "all" else (test.y == shown).nonzero()[:, 0]

    def _place(self, index: int) -> int:
        if not self._nets:
            raise InputError("The images are not loaded yet; call wait() first.")
        places = (self._data.test.index == index).nonzero()
        if not len(places):
            raise InputError(f"{self._data.name} has no test image {index}; see dataset.test.index.")
        return int(places[0, 0])

    # the attack

    def _attack(self) -> None:
        if not self._nets or self.thumbs.chosen is None:
            return
        place, values = self._place(self.thumbs.chosen), self.values
        samples = attack(self._nets[values["net"]], self._data.test.floats([place]), values)
        path = walk(self._nets, samples, 0, values["net"])
        self._shown = Shown(place, values, samples, path)
        if values["predict"]:
            most = (
                f"{values['attack_steps']} steps at most"
                if "attack_steps" in used_by(values["sampler"])
                else "One step"
            )
            self.prediction.ask(most, *(class_label(self._data.classes, k) for k in (path.base, path.target)))
        else:
            self.prediction.drop()
        self._draw_path()
        self.compute.ask("plane", self._open_plane)

    def _draw_path(self, keep: bool = False) -> None:
        if self._shown is None:
            return
        path, classes, hidden = self._shown.path, self._data.classes, self.prediction.hidden
        temperature, step = self["temperature"], self.walk.step if keep else None
        words = self._words()

        def show() -> None:
            self.walk.show(path, classes, temperature=temperature, step=step, hidden=hidden)
            self.say_now(words)

        self.paint.ask("walk", show)

    def _words(self) -> str:
        assert self._shown is not None
        return walk_words(self._shown.samples, self._shown.path, self._data.classes, self.prediction.hidden)

    def _draw_all(self) -> None:
        self.plane.temperature = self["temperature"]
        self._draw_path(keep=True)
        self.plane.draw()
        self.plane.look()

    def answer(self, ending: int) -> None:
        """Predict where the image ends (a ``boundary.samples.Status``), and show it."""
        if self._shown is None or not self.prediction.hidden:
            return
        right = int(self._shown.samples.status) == int(ending)
        self.prediction.judge(right, "follow the path and look", "Choose another image.")
        self._draw_path()
        self.compute.ask("plane", self._open_plane)

    # the plane

    def _open_plane(self) -> None:
        """Draw the plane, coarse to fine, until newer requests wait."""
        why = self._no_plane()
        if why or self._shown is None:
            self.plane.close(why)
            return
        self.plane.temperature = self["temperature"]
        try:
            self._negative = self._third(self._shown)
            self.plane.open(self._nets, self._data, self._shown.samples, self._shown.path, self._negative)
        except InputError as error:
            self.plane.close(str(error))
            return
        over, began = self.cancel_point(*NEWER), time.monotonic()
        for _ in self.plane.finer():
            if self.compute.waits("look"):  # a point that is dragged does not wait for the maps
                self.plane.look()
            if over():
                break
            if time.monotonic() - began > PATIENCE:
                self.say(f"{self._words()} Refining the maps ...", "busy", cancellable=True)
        if not self.compute.waits(*NEWER):
            self.say(self._words())

    def _no_plane(self) -> str:
        """Return the reason why there is no plane to show, or an empty string."""
        if self._shown is None:
            return "The plane opens with the first attack."
        if self.prediction.hidden:
            return "Answer first: then the plane opens."
        if self._shown.path.steps == 0:
            return "The attack did not move the image, so there is no plane to show: choose another target."
        return ""

    def _third(self, shown: Shown) -> int:
        """Return the position of the negative in the test split."""
        chosen, test = self["negative"], self._data.test
        if chosen == "chosen" and self.thumbs.second is not None:
            return self._place(self.thumbs.second)
        label, last = int(test.y[shown.place]), int(shown.samples.logits[0].argmax())
        every = set(range(self._data.num_classes))
        classes = every - {shown.path.base, shown.path.target, last, label} or every - {
            label
        }  # if there are two classes
        if chosen == label:
            name = class_words(self._data.classes, chosen)
            raise InputError(f"The image is of class {name} itself; choose another class for the negative.")
        classes = classes if chosen in ("nearest", "chosen") else {chosen}
        return nearest_image(test, test.floats([shown.place])[0], classes, without=shown.place)

    # the attack on show: figures, session, code

    def path_view(self) -> View | None:
        """Return the attack path as a figure: images, differences and logit gaps."""
        if self._shown is None or self.prediction.hidden:
            return None
        name = self._shown.path.attacked
        nets = {name: self._nets[name]} | self._nets  # the attacked one first
        return boundary_path(nets, self._shown.samples, 0, self._data.classes, temperature=self["temperature"])

    def view(self) -> View | None:
        ground = self.plane.ground
        if ground is None or ground.images is None or self.prediction.hidden:
            return None
        look = {"resolution": FINE, "names": self._images, "temperature": self["temperature"]}
        return plane_map(self._nets, ground.images, self._data.classes, **look)

    @property
    def _images(self) -> tuple[str, str, str]:
        """Return the names of the plane's images: without a crossing, the second is not a boundary sample."""
        crossed = self._shown is None or bool(self._shown.samples.crossed[0])
        return NAMES if crossed else ("base", "attacked", "negative")

    def page(self) -> tuple[str, list[View]]:
        if self.prediction.hidden:
            raise InputError("Answer first; then there is a path to export.")
        views = [self.path_view(), self.view()]
        return "Attack path of one image to the decision boundary", [view for view in views if view is not None]

    def session(self) -> Session | None:
        if self.run is None or not self._nets or self.thumbs.chosen is None:
            return None
        return Session.of(self, self.run, base=self.thumbs.chosen, second=self.thumbs.second, controls=self.values)

    def line(self) -> str:
        names = [f"{name}={str(value)!r}" for name, value in self._names.items()]
        if self._given is not None:
            names += [f"{name}={name}" for name in ("dataset", *self._nets) if name not in self._names]
        elif self.run is None or self._example_is(self.run):
            names = [repr(self._example)]
        else:
            names = [repr(str(self.run.path))]
        for name, index in (("image", self.thumbs.chosen), ("second", self.thumbs.second)):
            names += [] if index is None else [f"{name}={index}"]
        return f"SampleLab({', '.join([*names, *filter(None, [self.differing()])])})"

    def still(self) -> Image.Image | None:
        return self.canvas.still()

    def release(self) -> None:
        self._nets, self._shown, self._given = {}, None, None
        vars(self).pop("_data", None)
        self.plane.release()

    def code(self) -> str:
        names = list(self._nets) or ["teacher"]
        shown, target, chosen, word = self._shown, 0, 0, ""
        values: Mapping[str, Any] = self.values
        if shown is not None:
            values, target, chosen = shown.values, shown.path.target, int(self._data.test.index[shown.place])
            word = class_words(self._data.classes, target)
        if self._given is not None:
            source = self._source(names)
        elif self.run is None or self._example_is(self.run):
            source = f"run = amkd_viz.example({self._example!r})\n"
        else:
            source = f"run = amkd_viz.Run.open({str(self.run.path)!r})\n"
        if self._given is None:
            source += "data, teacher, student = run.dataset(), run.teacher(), run.student()\n"
        third = "data.test.floats([...])[0]  # an image of another class"
        if self._negative is not None:
            third = f"data.test.floats(data.test.index == {int(self._data.test.index[self._negative])})[0]"
        attacked, warm = values["net"], ""
        if self["temperature"] != 1:
            warm = f", temperature={self['temperature']:g}"
        first = "nets" if attacked == names[0] else f"{{{attacked!r}: {attacked}}} | nets"  # the attacked one
        nets = ", ".join(f"{name!r}: {name}" for name in names)
        plane = (
            f"negative = {third}\n"
            f"images, names = [x[0], samples.x[0], negative], {self._images!r}\n"
            f"plane_map(nets, images, data.classes, resolution={FINE}, names=names{warm})\n"
        )
        if shown is not None and self.plane.ground is None:
            plane = f"# {self.canvas.empty}\n"
        return (
            "import amkd_viz\nimport torch\n"
            "from amkd_viz.boundary import samplers\n"
            "from amkd_viz.core.rng import generator\n"
            "from amkd_viz.views import boundary_path, plane_map\n\n"
            f"{source}"
            f"nets = {{{nets}}}\n\n"
            f"x = data.test.floats(data.test.index == {chosen})\n"
            f"target = torch.tensor([{target}])  # {word}\n"
            f"samples = {attack_code(attacked, 'x', 'target', values)}\n"
            f"boundary_path({first}, samples, 0, data.classes{warm})\n\n{plane}"
        )

    def _source(self, names: list[str]) -> str:
        """Return the code of nets and data that were given."""
        own = [f"{'data' if name == 'dataset' else name}" for name in ("dataset", *names) if name not in self._names]
        text = f"# {', '.join(own)}: the ones that you gave\n" if own else ""
        for name, value in self._names.items():
            call = f"load({value!r})" if name == "dataset" else f"load_teacher({str(value)!r})"
            text += f"{'data' if name == 'dataset' else name} = amkd_viz.{call}\n"
        return text

    def _example_is(self, run: Run) -> bool:
        return self._session is None and run.recipe == DIGITS and run.path.parent.name == "examples"


def _check_example(name: str) -> None:
    """Refuse the name of anything but an example of images."""
    if parse_name(name)[0] in PROBLEMS:
        raise InputError(f"SampleLab shows images, not 2-D points like {name}; use BoundaryLab for those.")
    if name not in EXAMPLES:
        raise InputError(
            f"SampleLab needs nets for {name}: give a run on it, or teacher= and dataset={name!r}; without nets it "
            "shows the example 'digits'."
        )


def _given(
    run: Run | None, teacher: nn.Module | None, student: nn.Module | None, dataset: Dataset | None
) -> tuple[dict[str, nn.Module], Dataset] | None:
    """Return nets by name and data set if they do not come from a run, else None; refuse what does not fit."""
    if run is not None and not run.finished:
        raise InputError(f"The run {run.path} is not finished; resume it first, or watch it in DistillLab.")
    name = parse_name(run.recipe.dataset)[0] if run else "" if dataset is None else dataset.name
    if name in PROBLEMS or (dataset is not None and dataset.kind != "images"):
        raise InputError(f"SampleLab shows images, not 2-D points like {name}; use BoundaryLab for those.")
    if teacher is None and student is None and dataset is None:
        return None
    if run is not None or teacher is None or dataset is None:
        raise InputError("Give SampleLab a run, or teacher= and dataset= (and student=), but not both.")
    nets = {"teacher": teacher} | ({} if student is None else {"student": student})
    for name, net in ((name, unwrapped(net)) for name, net in nets.items()):
        if isinstance(net, Classifier) and (net.shape != dataset.shape or net.num_classes != dataset.num_classes):
            raise InputError(
                f"The {name} takes {net.shape} images of {net.num_classes} classes, but {dataset.name} has "
                f"{dataset.shape} and {dataset.num_classes}."
            )
    return nets, dataset
