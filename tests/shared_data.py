"""Session fixtures for the real data sets, from AMKD_VIZ_DATA or from the packed copies beside the checkout.

A test module takes them with ``pytest_plugins = ["shared_data"]``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from amkd_viz.data import data_root, find

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def _root(name: str, packed: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find(name):
        return data_root()
    if not (SHARED / "unpack.py").is_file():
        pytest.skip(f"needs {name}: set AMKD_VIZ_DATA to the folder that holds it")
    root = tmp_path_factory.mktemp(packed)
    subprocess.run([sys.executable, SHARED / "unpack.py", root, packed], check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def cifar10_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that holds the official CIFAR-10 files."""
    return _root("cifar10", "cifar10", tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that holds Tiny ImageNet, whole or in part, in the official layout."""
    return _root("tiny-imagenet", "tiny_imagenet", tmp_path_factory)
