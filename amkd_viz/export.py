"""Export a student as one file that runs without this library, checked against PyTorch, with a model card."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError, unknown
from amkd_viz.core.escape import for_markdown, in_code
from amkd_viz.core.files import claim, write_atomic
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset, moved, path_kind
from amkd_viz.models import Classifier, freeze
from amkd_viz.runs import Run
from amkd_viz.runs.run import versions

__all__ = ["FORMATS", "Exported", "export"]

FORMATS = {"onnx": ".onnx", "torch-export": ".pt2"}
# ONNX Runtime, its newest opset and IR version, from its compatibility table
RUNTIMES = (
    ("1.14", 18, 8),
    ("1.15", 19, 9),
    ("1.17", 20, 9),
    ("1.18", 21, 10),
)
NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch-export": ()}
CHECKED = 256  # number of inputs on which the file is compared with the student
TOLERANCE = 1e-4  # on a logit: float32 sums in another order

Forward = Callable[[Tensor], Tensor]


class Exported(NamedTuple):
    """The files that ``export`` wrote.

    Attributes:
        path: the exported net. card: its model card, ``path`` with ``.md`` appended.
        difference: largest absolute difference of a logit between the file and the student in PyTorch, below 1e-4.
        checked: number of inputs on which they were compared.
    """

    path: Path
    card: Path
    difference: float
    checked: int
    needs: str = ""


def export(run: Run, out: str | Path | None = None, format: str = "onnx") -> Exported:
    """Write the final student of a finished run as one file, and a model card beside it.

    The file maps float32 ``images`` (N, C, H, W) in [0, 1], or ``points`` (N, 2), to ``logits`` (N, K) for any N >= 1;
    it includes the normalisation. It is loaded again and compared with the student before anything is written.

    Args:
        out: file to write; default: ``student.onnx`` or ``student.pt2`` in the run folder.
        format: ``onnx`` for any ONNX runtime, or ``torch-export`` for ``torch.export.load``.

    Raises:
        InputError: the format is unknown, a package is missing, the run is not finished, ``out`` or its card exists,
            or the exported net differs from the student. Nothing is written.
    """
    if format not in FORMATS:
        raise unknown("export format", format, FORMATS)
    missing = [name for name in NEEDS[format] if find_spec(name) is None]
    if missing:
        install = f"pip install {' '.join(missing)}"
        raise InputError(f"Exporting to ONNX needs {' and '.join(missing)}; install with '{install}'.")
    path = Path(out) if out is not None else run.path / f"student{FORMATS[format]}"
    card = path.with_name(f"{path.name}.md")
    for name in (path, card):
        claim(name)
    summary, student, dataset = run.summary, run.student(), run.dataset()
    inputs = _inputs(dataset)
    with freeze(student), torch.no_grad():
        content, again = (_onnx if format == "onnx" else _torch_export)(student, torch.zeros(2, *dataset.shape))
        # a whole batch and a single input: N is dynamic
        parts = [(inputs, student(inputs)), (inputs[:1], student(inputs[:1]))]
        difference = max(float((again(x) - logits).abs().max()) for x, logits in parts)
    if not difference < TOLERANCE:
        raise InputError(
            f"The exported net must give the student's logits within {TOLERANCE:g}, got a difference of "
            f"{difference:.2g}; nothing was written; try {' or '.join(name for name in FORMATS if name != format)}."
        )
    done = Exported(path, card, difference, len(inputs), _needs(content) if format == "onnx" else "")
    text = _card(run, summary, student, dataset, done, format)
    write_atomic(path, content)
    try:
        write_atomic(card, text)
    except BaseException:
        path.unlink()  # never a net without its card
        raise
    return done


def _inputs(dataset: Dataset) -> Tensor:
    """Return 256 test inputs, padded with noise if the test split has fewer."""
    inputs = dataset.test.floats(slice(0, CHECKED)).cpu()
    noise = torch.rand((CHECKED - len(inputs), *dataset.shape), generator=generator("cpu", "export"))
    return torch.cat([inputs, noise])


def _onnx(student: Classifier, example: Tensor) -> tuple[bytes, Forward]:
    program = torch.onnx.export(
        student,
        (example,),
        input_names=["images" if example.ndim == 4 else "points"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise InputError("PyTorch could not convert this student to ONNX; try torch-export.")
    proto = program.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]  # stack traces, with the folders of this machine
    content: bytes = proto.SerializeToString()
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return content, lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def _needs(content: bytes) -> str:
    """Return a sentence on the versions of an ONNX file, and the oldest ONNX Runtime that reads them."""
    import onnx

    model = onnx.load_from_string(content)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    oldest = next((name for name, newest, ir in RUNTIMES if opset <= newest and model.ir_version <= ir), None)
    reads = f"ONNX Runtime {oldest} or newer reads it" if oldest else "it needs a recent ONNX Runtime"
    return f" ONNX opset {opset}, IR version {model.ir_version}: {reads}."


def _torch_export(student: Classifier, example: Tensor) -> tuple[bytes, Forward]:
    program = torch.export.export(student, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds the folders of this machine
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return file.getvalue(), torch.export.load(file).module()


# the model card

RUN = {
    "onnx": """import numpy, onnxruntime
session = onnxruntime.InferenceSession({file!r})
{inputs} = numpy.random.rand(4, {shape}).astype("float32")  # yours: {space}
(logits,) = session.run(["logits"], {{"{inputs}": {inputs}}})
print(logits.argmax(1))""",
    "torch-export": """import torch
net = torch.export.load({file!r}).module()
{inputs} = torch.rand(4, {shape})  # yours: {space}
logits = net({inputs})
print(logits.argmax(1))""",
}


def _card(run: Run, summary: dict[str, Any], student: Classifier, dataset: Dataset, done: Exported, format: str) -> str:
    recipe, name = run.recipe, _without_folders(dataset.name)
    images = dataset.kind == "images"
    what, space = ("images", "RGB or grey values in [0, 1]") if images else ("points", "in the units of the data")
    shape = ", ".join(map(str, dataset.shape))
    code = RUN[format].format(file=done.path.name, inputs=what, shape=shape, space=space)
    names = ", ".join(map(for_markdown, dataset.classes[:20])) + (", ..." if dataset.num_classes > 20 else "")
    made = summary.get("versions", {}) | {f"{k} of the export": v for k, v in versions("cpu").items() if k == "torch"}
    settings = {key: value for key, value in recipe.to_json().items() if value not in (None, {}) and key != "root"}
    settings |= {key: _without_folders(settings[key]) for key in ("dataset", "teacher")}
    return "\n".join(
        [
            f"# {for_markdown(f'{student.architecture}, distilled on {name} by {recipe.method}')}",
            "",
            f"Takes float32 `{what}` (N, {shape}), {space}, any N; gives `logits` (N, {dataset.num_classes}). "
            f"The normalisation is inside the file.{done.needs}",
            "",
            "```python",
            code,
            "```",
            "",
            "## Numbers",
            "",
            "From the last epoch, on the test split, which was not used for any choice.",
            "",
            "| what | value |",
            "| --- | --- |",
            *_numbers(summary),
            f"| largest logit difference from torch, {done.checked} inputs | {done.difference:.2g} |",
            "",
            "## Data",
            "",
            f"{for_markdown(name)}: {len(dataset.train):,} training, {len(dataset.val):,} validation and "
            f"{len(dataset.test):,} test {what}, {dataset.num_classes} classes: {names}.",
            "",
            "## Recipe",
            "",
            f"Objective: {in_code(recipe.objective)}. Teacher: {in_code(settings['teacher'])}.",
            "",
            "| field | value |",
            "| --- | --- |",
            *(f"| {key} | {for_markdown(value)} |" for key, value in settings.items()),
            "",
            f"Made with {for_markdown(', '.join(f'{key} {value}' for key, value in made.items()))}.",
            *(
                f"Note of the training: {for_markdown(line['text'])}"
                for line in run.lines()
                if line.get("kind") == "note"
            ),
            "",
            "## Limits",
            "",
            *(f"- {limit}" for limit in _limits(run, dataset, what)),
            "",
        ]
    )


def _without_folders(name: str) -> str:
    """Return the name of a data set or a teacher without local folders."""
    return moved(name, lambda path: Path(path).name) if path_kind(name) else Path(name).name


def _numbers(summary: dict[str, Any]) -> list[str]:
    words = {
        "test_accuracy": "accuracy",
        "teacher_test_accuracy": "accuracy of the teacher",
        "test_agreement": "agreement with the teacher",
    }
    return [f"| {label} | {summary[name]:.2%} |" for name, label in words.items() if summary.get(name) is not None]


def _limits(run: Run, dataset: Dataset, what: str) -> list[str]:
    recipe = run.recipe
    found = [
        f"It predicts one of its {dataset.num_classes} classes for any input; its logits are not calibrated.",
        "Adversarial samples change its prediction. At most it was trained on boundary samples of its teacher; "
        "robustness was not measured and is not claimed.",
        f"One seed ({recipe.seed}): other seeds give other numbers.",
    ]
    if recipe.num_train:
        found.append(f"Trained on only {recipe.num_train:,} labelled {what}.")
    if recipe.method.startswith("amkd"):
        found.append(
            "AMKD's loss is our reading of a public abstract: the paper's loss, margin and tables are not public, so "
            "these are not the paper's numbers."
        )
    if run.interventions():
        found.append("Settings were overridden during training; see metrics.jsonl of its run.")
    return found
