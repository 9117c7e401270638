"""One HTML file that trains students of points or digits: graphs, data, runtime and script, nothing fetched."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amkd_viz.boundary import BSS
from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.files import check_writable, claim, write_atomic
from amkd_viz.data import augment_for, parse_name
from amkd_viz.data.points import PROBLEMS
from amkd_viz.objectives import methods
from amkd_viz.objectives.methods import READING_OF_AMKD
from amkd_viz.playground.runtime import runtime
from amkd_viz.playground.situations import situations
from amkd_viz.playground.trace import check_packages, flat, logits_graph, step_graph, walk_graph
from amkd_viz.runs import Run
from amkd_viz.runs.prepare import prepare
from amkd_viz.runs.run import Listener
from amkd_viz.training import Recipe, Training, suggested
from amkd_viz.training.schedule import drops, learning_rate
from amkd_viz.training.step_size import settled
from amkd_viz.views.labels import safe
from amkd_viz.views.page import spec, variables
from amkd_viz.views.raster import LEVELS, WARM, class_table
from amkd_viz.views.slices import window
from amkd_viz.views.theme import DARK, FONT, LIGHT, class_colour

__all__ = ["DATA", "VERSION", "write_playground"]

VERSION = 1  # of links; a page reads links of its own version
METHODS = ("ce", "kd", "bss", "amkd")
VARIANTS = ("amkd-student", "amkd-calibrated")
SHARED = ("ce", "kd", "amkd")  # graphs; bss is amkd where the triplets have no weight, which gives the same numbers
SEEDS = 10
LABELS = (15, 25, 50, 100, 200, 400, 800)
# with two classes no negative lies outside a pair of them, and the triplets would be empty
DATA = {"spirals": "spirals", "moons": "moons:classes=3", "rings": "circles:classes=3", "blobs": "blobs"}
DATA |= {"digits": "digits"}
GALLERY = 2  # test images of each class to choose from
# by the number of dimensions of one input
WORDS = {
    1: {
        "intro": "Colour is the class that a net predicts, strength its confidence. Drag the blue point to see how the "
        "attack carries it across each boundary.",
        "walk": "The walk of the point",
        "about": "Only the order of the points and the random draws come from this page. Rings on the student's map "
        "are the boundary samples of the last step, with lines from the points that they come from.",
    },
    3: {
        "intro": "Choose a test image: red frames mark those that the student gets wrong. The maps lie in the plane "
        "through it and its nearest images of the two likeliest other classes; pale parts have pixels out of range. "
        "Drag the blue point to start the walk from another image of the plane; a walk is drawn as its shadow on it.",
        "walk": "The walk of the image",
        "about": "Only the order of the images, their random crops and the random draws come from this page. Where a "
        "step has fewer boundary samples than the largest number, the first of them are repeated for the student's "
        "batch statistics, as in the library on a GPU.",
    },
}
# The page fetches nothing. The runtime is a module of a blob, and compiles WebAssembly.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src data: blob:"
)


def write_playground(
    out: str | Path,
    data: str = "spirals",
    *,
    teacher: str | Path | None = None,
    run: Run | None = None,
    listen: Listener | None = None,
    say: Callable[[str], object] | None = None,
) -> Path:
    """Write a page that trains students of points or digits in any browser, without a kernel, a server or a network.

    The page runs the library's own step, attack and nets, exported to ONNX, and shows decision maps of both nets. It
    needs onnx and onnxscript, and npm the first time.

    Args:
        out: a new .html file.
        data: "spirals", "moons", "rings", "blobs", "digits", or a 2-D data set with options as in ``load``.
        teacher: a safetensors file of a net for these inputs; by default the recipe's, trained once and cached.
        run: a run of one of these problems, on whose nets the page opens; ``data`` and ``teacher`` are the run's.
        listen: called with the events of a teacher's training.
        say: called with a line when the long part of the work begins.

    Raises:
        InputError: ``out`` exists, the data are other images, the run's method or nets cannot be exported, or a package
            or npm is missing.
    """
    out = Path(out)
    if out.suffix.lower() != ".html":
        raise InputError(f"The playground is an HTML page, which {out} cannot be; choose a name that ends in .html.")
    check_writable(claim(out).parent)
    check_packages()
    recipe = run.located() if run else _recipe(data, teacher)
    _check(recipe)
    content = runtime()
    training = prepare(recipe, listen=listen)
    if say is not None:
        say("Tracing the training step and the attack (about a minute) ...")
    problem = _problem(training, run)
    return write_atomic(out, _page(problem, content.module, content.wasm), new=True)


def _recipe(data: str, teacher: str | Path | None) -> Recipe:
    name = DATA.get(data, data)
    if not _drawn(name):
        raise InputError(
            f"The playground shows digits and 2-D problems, got {data!r}; choose among {', '.join(DATA)}, or open "
            "SampleLab for other images."
        )
    recipe = suggested(name)
    return recipe if teacher is None else recipe.replace(teacher=str(teacher))


def _drawn(name: str) -> bool:
    return parse_name(name)[0] in (*PROBLEMS, "digits")


def _check(recipe: Recipe) -> None:
    """Refuse a recipe that a page cannot train by."""
    if not _drawn(recipe.dataset):
        raise InputError(f"The playground shows digits and 2-D problems, but this run is of {recipe.dataset}.")
    if recipe.method not in (*METHODS, *VARIANTS):
        raise unknown("method for the playground", recipe.method, [*METHODS, *VARIANTS])
    if not isinstance(recipe.boundary.sampler, BSS):
        raise InputError(f"sampler must be bss for the playground, got {recipe.sampler}.")
    if recipe.overrides.get("boundary_triplet.mining") == "random":
        raise InputError("boundary_triplet.mining must not be random for the playground: a page has no such draws.")
    recipe.check_nets()
    if len(recipe.teachers) > 1 or recipe.peers:
        raise InputError("The playground has one teacher and one student; this run has more nets.")


def _problem(training: Training, run: Run | None) -> dict[str, Any]:
    """Return everything that the page knows, as plain data."""
    recipe, full, student, teacher = training.recipe, training.full, training.student, training.nets["teacher"]
    sampler = recipe.boundary.sampler
    assert isinstance(sampler, BSS)
    batch, augment = training.loader.batch_size, augment_for(full, recipe.augment)
    names = [*METHODS, *([recipe.method] if recipe.method in VARIANTS else [])]
    recipes = {name: _of_method(recipe, name) for name in names}
    if len(recipe.objective.modules(training.nets)):
        raise InputError("The playground takes terms without learned parts; set boundary_triplet.embedding to logit.")
    labels = sorted(
        {n for n in (*LABELS, recipe.num_train or len(full.train)) if full.num_classes <= n <= len(full.train)}
    )
    few = labels[-1] if recipe.num_train is None else recipe.num_train
    start = {
        "method": recipe.method,
        "seed": recipe.seed if recipe.seed < SEEDS else 0,
        "labels": few,
        "step_size": sampler.step_size,
        "rate": 1.0,
        **{term: 1.0 for own in recipes.values() for term in own.objective.names},
    }
    usual = settled(suggested(recipe.dataset), teacher, full)
    given = None if run is None else {"theta": _numbers(flat(run.student()))}
    return {
        "version": VERSION,
        "name": full.name,
        "data": recipe.dataset,
        "classes": full.classes,
        "colours": [class_colour(k) for k in range(full.num_classes)],
        "table": class_table(full.num_classes).reshape(full.num_classes, LEVELS, 4).tolist(),
        "warm": WARM,
        "area": window(full) if full.kind == "points" else None,
        "shape": full.shape,
        "gallery": _gallery(full.test) if full.kind == "images" else [],
        "augment": {"pad": augment.pad, "flip": augment.flip},
        "parameters": sum(p.numel() for p in student.parameters()),
        "train": _split(full.train),
        "test": _split(full.test),
        "batch": batch,
        "limit": min(batch, recipe.max_boundary_samples),
        "attack_steps": sampler.steps,
        "epochs": recipe.epochs,
        "labels": labels,
        "seeds": [_seed(training, seed, labels) for seed in range(SEEDS)],
        "rates": {str(n): _rates(recipe, max(1, n // batch)) for n in labels},
        "methods": {name: _method(own, training, batch) for name, own in recipes.items()},
        "shared": SHARED,
        "start": start,
        "run": given,
        "nets": [teacher.architecture.removeprefix("folded "), student.architecture],
        "teacher": _numbers(flat(teacher)),
        "graphs": {
            "student": _packed(logits_graph(student.eval())),
            "teacher": _packed(logits_graph(teacher)),
            "walk": {
                "student": _packed(walk_graph(student, recipe)),
                "teacher": _packed(walk_graph(teacher, recipe)),
            },
        },
        "situations": situations(recipe.dataset) if recipe == usual else [],
    }


def _of_method(recipe: Recipe, name: str) -> Recipe:
    """Return the recipe with another method, and those overrides that it has terms for."""
    known = {*methods[name]().names, recipe.sampler}
    return recipe.replace(
        method=name, overrides={key: v for key, v in recipe.overrides.items() if key.partition(".")[0] in known}
    )


def _method(recipe: Recipe, training: Training, batch: int) -> dict[str, Any]:
    objective, traced = recipe.objective, recipe.method in (*SHARED, *VARIANTS)
    return {
        "terms": objective.names,
        "shorts": [term.short for term, _ in objective.summands],
        "weights": [list(objective.weights((e + 1) / recipe.epochs).values()) for e in range(recipe.epochs)],
        "graph": _packed(step_graph(training.student, training.nets["teacher"], recipe, batch)) if traced else None,
    }


def _seed(training: Training, seed: int, labels: list[int]) -> dict[str, Any]:
    """Return what a seed decides: the student's first weights, and which points have labels, the first N of a list."""
    recipe = training.recipe.replace(seed=seed)
    row = {int(index): place for place, index in enumerate(training.full.train.index)}
    order: dict[int, None] = {}
    for n in labels:  # a smaller choice is a subset of a larger one
        chosen = recipe.replace(num_train=n).subset(training.full).train.index
        order |= dict.fromkeys(row[int(index)] for index in chosen)
    return {"theta": _numbers(flat(prepare(recipe, like=training).student)), "order": list(order)}


def _rates(recipe: Recipe, batches: int) -> dict[str, Any]:
    """Return the learning rate at each step, and the steps at which the momentum starts anew."""
    steps, of = recipe.epochs * batches, (recipe.epochs * batches, recipe.epochs)
    stepped = recipe.schedule == "step"
    return {
        "batches": batches,
        "rate": [round(learning_rate(recipe.schedule, recipe.learning_rate, at, *of), 9) for at in range(steps)],
        "anew": [at for at in range(steps) if stepped and drops(at, *of) > drops(at - 1, *of)],
    }


def _split(split: Any) -> dict[str, Any]:
    x = split.x
    return {"x": _numbers(x) if x.is_floating_point() else _coded(x.numpy().tobytes()), "y": split.y.tolist()}


def _gallery(split: Any) -> list[int]:
    """Return positions of the first images of each class."""
    return [int(i) for k in split.y.unique() for i in (split.y == k).nonzero()[:GALLERY, 0]]


def _numbers(values: Tensor) -> str:
    """Return float32 numbers in base64."""
    return _coded(values.detach().to(torch.float32).contiguous().numpy().astype("<f4").tobytes())


def _packed(content: bytes) -> str:
    return _coded(gzip.compress(content, 9, mtime=0))


def _coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _page(problem: dict[str, Any], module: bytes, wasm: bytes) -> str:
    parts = {
        "policy": POLICY,
        "title": safe(f"AMKD playground: {problem['name']}"),
        "style": "\n".join(
            [
                variables(LIGHT, ":root"),
                variables(DARK, ':root[data-theme="dark"]'),
                _asset("page.css").replace("/*font*/", FONT),
            ]
        ),
        **{name: safe(text) for name, text in WORDS[len(problem["shape"])].items()},
        "reading": safe(READING_OF_AMKD),
        "problem": spec(problem),
        "module": _packed(module),
        "wasm": _packed(wasm),
        "script": "\n".join([_pen(), *map(_asset, ("engine.js", "images.js", "draw.js", "page.js"))]),
    }
    return re.sub(r"<!--(\w+)-->", lambda found: parts[found[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return resources.files("amkd_viz.playground").joinpath("static", name).read_text("utf-8")


def _pen() -> str:
    return resources.files("amkd_viz.panels").joinpath("static", "pen.js").read_text("utf-8")
