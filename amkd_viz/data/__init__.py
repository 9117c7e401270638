"""Data sets in memory, their batches and their augmentation.

Images are stored as uint8 (N, C, H, W) and given to networks and callers as float32 in [0, 1]; points of 2-D problems
are float32 (N, 2). ``datasets()`` lists the names, ``register`` adds one.
"""

from __future__ import annotations

from amkd_viz.data.augment import Augment, augment_for
from amkd_viz.data.catalogue import (
    PATH_KINDS,
    data_fingerprint,
    datasets,
    listed,
    load,
    moved,
    parse_name,
    path_kind,
    register,
    short_name,
    with_size,
)
from amkd_viz.data.checks import check_images, check_inputs
from amkd_viz.data.dataset import Dataset, Split
from amkd_viz.data.loader import Batch, Loader
from amkd_viz.data.where import Status, data_root, find, status

__all__ = [
    "PATH_KINDS",
    "Augment",
    "Batch",
    "Dataset",
    "Loader",
    "Split",
    "Status",
    "augment_for",
    "check_images",
    "check_inputs",
    "data_fingerprint",
    "data_root",
    "datasets",
    "find",
    "listed",
    "load",
    "moved",
    "parse_name",
    "path_kind",
    "register",
    "short_name",
    "status",
    "with_size",
]
