"""What is let in as a batch of images or points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from amkd_viz.core.errors import InputError
from amkd_viz.data import check_images, check_inputs

GOOD = torch.linspace(0, 1, 24).reshape(2, 3, 2, 2)


@pytest.mark.parametrize("check", [check_images, check_inputs])
@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (GOOD.numpy(), "photo is a ndarray; give a torch tensor"),
        ((GOOD * 255).byte(), r"photo is torch.uint8; convert to float and divide by 255"),
        (GOOD[0], r"photo has shape \(3, 2, 2\)"),
        (GOOD[:0], "holds nothing"),
        (GOOD * np.nan, "photo contains NaN"),
        (GOOD * 255, r"photo has values from 0 to 255; images lie in \[0, 1\], so divide by 255"),
        (GOOD * 4 - 2, "photo has values from -2 to 2; .* undo the normalisation or clamp"),
        (GOOD + 1e-3, "photo has values from 0.001 to 1.001"),
        (GOOD / 0, "contains NaN|values from .* to inf"),
    ],
)
def test_images_that_are_refused(check, x, sentence):
    with pytest.raises(InputError, match=sentence):
        check(x, "photo")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_images_that_pass(dtype):
    check_images(GOOD.to(dtype))
    check_inputs(GOOD.to(dtype, copy=True).requires_grad_())


def test_rounding_passes():
    check_images(GOOD * (1 + 1e-6) - 5e-7)


def test_points():
    check_inputs(torch.randn(5, 2) * 100)
    for x, sentence in [
        (torch.tensor([[0.0, np.nan]]), "contains NaN"),
        (torch.tensor([[0.0, -np.inf]]), "infinite coordinates"),
        (torch.zeros(5, 3), r"shape \(5, 3\); points are \(N, 2\)"),
        (torch.zeros(5, 2, dtype=torch.long), "is torch.int64"),
    ]:
        with pytest.raises(InputError, match=sentence):
            check_inputs(x)
