"""What ``import amkd_viz`` gives, and what it loads."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import amkd_viz


def in_a_fresh_python(code: str) -> str:
    root = Path(__file__).parents[1]
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout


def test_importing_it_loads_none_of_the_heavy_libraries():
    code = "import sys, amkd_viz; dir(amkd_viz); amkd_viz.__version__; print(*sys.modules, sep=chr(10))"
    loaded = set(in_a_fresh_python(code).split())
    assert "amkd_viz" in loaded
    assert not loaded & {"torch", "numpy", "plotly", "umap", "sklearn", "ipywidgets", "tqdm", "amkd_viz.training"}


def test_every_name_is_that_of_its_package():
    assert {"Recipe", "Run", "build", "distill", "example", "load", "load_teacher", "methods"} <= set(amkd_viz.__all__)
    for name in amkd_viz.__all__:
        home = import_module(f"amkd_viz.{amkd_viz._HOMES[name]}")
        assert getattr(amkd_viz, name) is getattr(home, name)
    assert amkd_viz.methods() == list(amkd_viz.methods)
    names = dir(amkd_viz)
    assert {*amkd_viz.__all__, "__version__"} <= set(names)
    assert names == sorted(set(names))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"has no attribute 'distil'; it has .*build, distill, example, load"):
        _ = amkd_viz.distil
    assert not hasattr(amkd_viz, "torch")
