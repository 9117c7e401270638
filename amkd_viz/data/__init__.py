"""Data sets in memory, the loader that walks them, and their augmentation.

Images are uint8 (N, C, H, W) at rest and float in [0, 1] wherever a person or a network meets them; points of the
2-D problems are float32 (N, 2).
"""

from __future__ import annotations

from amkd_viz.data.augment import Augment, augment_for
from amkd_viz.data.catalogue import dataset_names, load, parse_name, short_name
from amkd_viz.data.checks import check_images, check_inputs
from amkd_viz.data.dataset import Dataset, Split
from amkd_viz.data.loader import Batch, Loader
from amkd_viz.data.where import Status, data_root, find, status

__all__ = [
    "Augment",
    "Batch",
    "Dataset",
    "Loader",
    "Split",
    "Status",
    "augment_for",
    "check_images",
    "check_inputs",
    "data_root",
    "dataset_names",
    "find",
    "load",
    "parse_name",
    "short_name",
    "status",
]
