"""Draw the picture at the head of each notebook, for readers who have no kernel: ``python notebooks/images/make.py``.

The pictures are views of the demo's runs. Drawing them needs Chromium; trained runs are read from the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from amkd_viz import example
from amkd_viz.boundary import bss, refine, sample_targets, select_bases
from amkd_viz.core.rng import generator
from amkd_viz.runs import Job, cells, compare, train_cells
from amkd_viz.training import DIGITS, SPIRALS
from amkd_viz.views import View, boundary_map, boundary_path, curves, embedding, plane_map
from exercises import attention_maps

HERE = Path(__file__).parent


def pictures(folder: Path) -> Iterator[tuple[str, View]]:
    """Name and view of each picture; ``folder`` takes a run."""
    run = example("spirals", "kd")
    data, teacher = run.dataset(), run.teacher()
    yield "00", boundary_map({"teacher": teacher}, data, split="train")  # no student: the notebook asks for them
    x = data.test.floats(slice(30))
    target = sample_targets(teacher(x), generator("cpu", "pictures"))
    samples = bss(teacher, x, target, step_rule="newton", step_size=1.05, steps=20, keep_path=True)
    yield "01", boundary_map({"teacher": teacher}, data, samples=refine(teacher, samples))

    run = example("digits", "amkd")
    data, teacher = run.dataset(), run.teacher()
    nets = {"teacher": teacher, "student": run.student()}
    x, y = data.test.floats(), data.test.y
    chosen = select_bases(teacher(x), nets["student"](x), y, 40)
    target = sample_targets(teacher(x[chosen]), generator("cpu", "pictures"))
    samples = bss(teacher, x[chosen], target, step_size=0.1, steps=20, keep_path=True)
    which = int((samples.steps * samples.crossed).argmax())
    yield "02", boundary_path(nets, samples, which, data.classes)
    yield "03", embedding(nets, data, samples=samples, how="pca")

    job = Job(DIGITS.replace(num_train=400, epochs=40), folder / "run")  # as in the notebook, up to its question
    for _ in range(20):
        job.step_epoch()
        job.settle()
    job.stop()
    job.settle()
    assert job.run is not None
    yield "04", curves(job.run)
    spirals = compare(SPIRALS, ["ce"], 3, folder / "seeds")  # seeds of a method that the notebook does not draw
    yield "05", boundary_map({f"seed {own.recipe.seed}": own.student() for own in spirals}, spirals[0].dataset())
    yield "07", attention_maps({"teacher": teacher}, data)
    nets_of = cells(SPIRALS.replace(method="ce", num_train=None, epochs=30), student=["mlp-tiny", "mlp-small", "mlp"])
    sizes = train_cells(nets_of, folder / "sizes", jobs=1)
    yield "08", boundary_map({own.recipe.student: own.student() for own in sizes}, sizes[0].dataset())
    yield "06", plane_map(nets, x[[0, 1, 2]], data.classes, names=("A", "B", "C"))


def main() -> None:
    with TemporaryDirectory() as folder:
        for name, view in pictures(Path(folder)):
            path, drawn = HERE / f"{name}.png", view.save(Path(folder) / f"{name}.png", width=900)
            # a median cut would drop colours of small areas, such as a legend's
            small = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            small.save(path, optimize=True)
            print(path.name, path.stat().st_size // 1000, "kB")


if __name__ == "__main__":
    main()
