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
        (GOOD.numpy(), "photo must be a torch tensor of images .*, got ndarray"),
        ((GOOD * 255).byte(), "photo must be floating point, got torch.uint8; divide by 255"),
        (GOOD[0], r"photo must be a batch of images .*, got shape \(3, 2, 2\)"),
        (GOOD[:0], "must hold at least one sample"),
        (GOOD * np.nan, "photo must be finite, got NaN"),
        (GOOD * 255, r"photo must lie in \[0, 1\], got values from 0 to 255; divide by 255"),
        (GOOD * 4 - 2, "got values from -2 to 2; undo the normalisation or clamp"),
        (GOOD + 1e-3, "got values from 0.001 to 1.001"),
        (GOOD / 0, "got NaN|values from .* to inf"),
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
        (torch.tensor([[0.0, np.nan]]), "must be finite, got NaN"),
        (torch.tensor([[0.0, -np.inf]]), "infinite coordinates"),
        (torch.zeros(5, 3), r"must have shape \(N, 2\) for points .* got \(5, 3\)"),
        (torch.zeros(5, 2, dtype=torch.long), "got torch.int64"),
    ]:
        with pytest.raises(InputError, match=sentence):
            check_inputs(x)
