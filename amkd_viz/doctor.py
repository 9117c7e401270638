"""Report what this machine has for the toolkit, and what it lacks."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import files_below
from amkd_viz.core.version import __version__
from amkd_viz.data import status
from amkd_viz.runs import Run
from amkd_viz.training.device import bf16_hardware
from amkd_viz.training.teachers import cache_folder

__all__ = ["diagnosis"]

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "safetensors", "plotly", "umap-learn")
LAB = ("ipywidgets", "anywidget", "jupyterlab", "ipykernel")
EXTRA = {  # package -> the one command that needs it
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "export --onnx"),
    "tensorboard": "distill --tensorboard",
}


def diagnosis(root: str | None = None) -> list[str]:
    """Return lines of text: versions, devices, data, teachers, and how to get what is missing."""
    lines = [f"amkd_viz {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"]
    missing = []
    lines.append("\nPackages")
    for name in PACKAGES + LAB:
        try:
            lines.append(f"  {name:14s} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
            lines.append(f"  {name:14s} missing" + (" (only the notebooks need it)" if name in LAB else ""))
    if missing:
        lines.append(f"  To get them: pip install {' '.join(missing)}")
    for name, command in EXTRA.items():
        try:
            lines.append(f"  {name:14s} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"  {name:14s} missing (only '{command}' needs it: pip install {name})")
    lines.append(f"  {'.png and .svg':14s} {_painter()}")

    lines.append("\nDevices")
    lines.append(f"  cpu            {os.cpu_count()} cores, {torch.get_num_threads()} threads in torch")
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        lines.append(f"  cuda:{index}         {about.name}, {about.total_memory / 2**30:.0f} GiB")
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    hardware, simd = bf16_hardware(kind), torch.backends.cpu.get_cpu_capability()
    lines.append(
        f"  bf16           {f'in hardware ({hardware})' if hardware else f'emulated, slow (the CPU has {simd})'}"
    )
    if not torch.cuda.is_available():
        lines.append("  cuda           none found; everything runs on the CPU, CIFAR-10 in minutes to hours")

    lines.append("\nData")
    sources = status(root)
    width = max(len(line.name) for line in sources)
    lines += [f"  {line.name:{width}s} {'ready  ' if line.found else 'missing'}  {line.note}" for line in sources]
    absent = [line.name for line in sources if not line.found]
    if any(name.startswith("cifar") for name in absent):
        lines.append("  To get CIFAR: load(name, download=True) or --download; or put the official archive there.")
    if "tiny-imagenet" in absent:
        lines.append("  To get Tiny ImageNet: unpack tiny-imagenet-200.zip, from its authors' page, there.")
    lines.append("  Another folder: --root, or the environment variable AMKD_VIZ_DATA.")

    teachers = [path.parent for path in files_below(cache_folder() / "teachers") if path.name == "config.json"]
    free = shutil.disk_usage(next(p for p in [cache_folder(), *cache_folder().parents] if p.exists())).free
    lines.append(
        f"\nTeachers trained here: {len(teachers)}, in {cache_folder() / 'teachers'} ({free / 2**30:.0f} GiB free)"
    )
    lines += [f"  {path.name}: {_about(path)}" for path in teachers]
    return lines


def _painter() -> str:
    """Return what writes a view as a picture file."""
    if find_spec("kaleido"):
        return "by kaleido"
    try:
        from amkd_viz.views.chromium import browser
    except ImportError:  # a machine that only trains
        return "missing (they need plotly, and Chromium or kaleido)"
    return f"by {path}" if (path := browser()) else "missing (views save them with Chromium or Chrome, or kaleido)"


def _about(path: Path) -> str:
    """Return architecture, data set, validation accuracy and size of a teacher's run, or how far it is trained."""
    try:
        run = Run.open(path)
        net = f"{run.recipe.student} on {run.recipe.dataset}"
        if not run.finished:
            return f"{net}, {run.epochs_done} of {run.recipe.epochs} epochs"
        run.student()
        accuracy, size = run.summary.get("val_accuracy"), (path / "student.safetensors").stat().st_size
    except InputError:
        return "damaged or not readable; delete it, and it is trained again when it is needed"
    measured = f", {accuracy:.1%} validation accuracy" if isinstance(accuracy, int | float) else ""
    return f"{net}{measured}, {size / 1000:,.0f} kB"
