"""What ``import amkd_viz`` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import amkd_viz


def in_a_fresh_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    return done.stdout.strip()


def test_importing_it_loads_none_of_the_heavy_libraries():
    code = "import sys, amkd_viz; dir(amkd_viz); amkd_viz.__version__; print(*sys.modules, sep=chr(10))"
    loaded = set(in_a_fresh_python(code).split())
    assert "amkd_viz" in loaded
    assert not loaded & {"torch", "numpy", "plotly", "umap", "sklearn", "ipywidgets", "tqdm", "amkd_viz.training"}


def test_every_name_resolves_to_what_it_says():
    from amkd_viz.data import load
    from amkd_viz.models import build, load_teacher
    from amkd_viz.objectives import methods
    from amkd_viz.runs import Run, distill, example
    from amkd_viz.training import Recipe

    ours = {
        "Recipe": Recipe,
        "Run": Run,
        "build": build,
        "distill": distill,
        "example": example,
        "load": load,
        "load_teacher": load_teacher,
        "methods": methods,
    }
    assert set(amkd_viz.__all__) == set(ours)
    assert all(getattr(amkd_viz, name) is value for name, value in ours.items())
    assert amkd_viz.methods() == list(methods)


def test_a_name_is_looked_up_once():
    code = """
import amkd_viz
assert "build" not in vars(amkd_viz)
amkd_viz.build
print("build" in vars(amkd_viz))
"""
    assert in_a_fresh_python(code) == "True"


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(AttributeError, match=r"has no attribute 'distil'; it has .*build, distill, example, load"):
        _ = amkd_viz.distil
    assert not hasattr(amkd_viz, "torch")


def test_dir_lists_every_name_once():
    _ = amkd_viz.load  # now it is a global as well
    names = dir(amkd_viz)
    assert set(amkd_viz.__all__) <= set(names)
    assert "__version__" in names
    assert len(names) == len(set(names))
    assert names == sorted(names)
