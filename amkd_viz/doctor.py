"""What this machine has for the toolkit, and what it lacks."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

import torch

from amkd_viz import __version__
from amkd_viz.data import status
from amkd_viz.training.teachers import cache_folder

__all__ = ["diagnosis"]

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "safetensors", "plotly", "umap-learn")
LAB = ("ipywidgets", "anywidget", "jupyterlab", "ipykernel")


def diagnosis(root: str | None = None) -> list[str]:
    """Lines for a person: versions, devices, data, teachers, and how to get what is missing."""
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

    lines.append("\nDevices")
    lines.append(f"  cpu            {os.cpu_count()} cores, {torch.get_num_threads()} threads in torch")
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        lines.append(f"  cuda:{index}         {about.name}, {about.total_memory / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        lines.append("  cuda           none found; everything runs on the CPU, CIFAR-10 in minutes to hours")

    lines.append("\nData")
    found = status(root)
    width = max(len(line.name) for line in found)
    lines += [f"  {line.name:{width}s} {'ready  ' if line.found else 'missing'}  {line.note}" for line in found]
    absent = [line.name for line in found if not line.found]
    if any(name.startswith("cifar") for name in absent):
        lines.append("  To get CIFAR: load(name, download=True) or --download; or put the official archive there.")
    if "tiny-imagenet" in absent:
        lines.append("  To get Tiny ImageNet: unpack tiny-imagenet-200.zip, from its authors' page, there.")
    lines.append("  Another folder: --root, or the environment variable AMKD_VIZ_DATA.")

    teachers = sorted((cache_folder() / "teachers").glob("*.safetensors"))
    free = shutil.disk_usage(next(p for p in [cache_folder(), *cache_folder().parents] if p.exists())).free
    lines.append(
        f"\nTeachers trained here: {len(teachers)}, in {cache_folder() / 'teachers'} ({free / 2**30:.0f} GiB free)"
    )
    lines += [f"  {path.stem}" for path in teachers]
    return lines
