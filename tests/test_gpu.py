"""What must hold on a GPU holds there; on a CPU the same functions run, with its own recorder and its own watch."""

from __future__ import annotations

import pytest
import torch

from amkd_viz.training import Recipe
from benchmarks.gpu_checks import CHECKS, recipe_for

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
    ),
]


@pytest.fixture(scope="module", params=DEVICES)
def recipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return recipe_for(request.param, tmp_path_factory.mktemp("patterns"))


@pytest.mark.parametrize("name", CHECKS)
def test_it_holds(name: str, recipe: Recipe) -> None:
    CHECKS[name](recipe)
