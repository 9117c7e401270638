"""What ``import amkd_viz`` gives."""

from __future__ import annotations

from importlib import import_module

import pytest

import amkd_viz


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
