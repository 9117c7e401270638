"""The stand-ins for a bare machine read and write what the real packages do."""

from __future__ import annotations

import pytest
import safetensors
import safetensors.torch
import torch
import torchvision

from benchmarks import plain

pytest_plugins = ["shared_data"]

TENSORS = {
    "a": torch.randn(3, 4),
    "b": torch.arange(5),
    "empty": torch.zeros(0, 2),
    "scalar": torch.tensor(2.5, dtype=torch.bfloat16),
}


def test_what_one_writes_the_other_reads(tmp_path):
    written = {"plain": plain.save(TENSORS, {"k": "v"}), "real": safetensors.torch.save(TENSORS, {"k": "v"})}
    for name, opened in (("plain", safetensors.safe_open), ("real", plain.safe_open), ("plain", plain.safe_open)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(written[name])
        with opened(path, framework="pt") as file:
            assert file.metadata() == {"k": "v"}
            assert set(file.keys()) == set(TENSORS)
            for key, tensor in TENSORS.items():
                assert torch.equal(file.get_tensor(key), tensor)


@pytest.mark.parametrize("raw", [b"", b"\x80\x02abc", plain.save(TENSORS)[:-3]])
def test_a_damaged_file_is_refused(tmp_path, raw):
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(plain.SafetensorError):
        plain.safe_open(tmp_path / "x")


def test_the_installed_packages_are_left_alone():
    assert safetensors.safe_open is not plain.safe_open
    assert torchvision.datasets.CIFAR10 is not plain.CIFAR10


@pytest.mark.slow
def test_cifar10_is_the_same(cifar10_root):
    for train in (True, False):
        real, ours = torchvision.datasets.CIFAR10(cifar10_root, train), plain.CIFAR10(cifar10_root, train)
        assert (real.data == ours.data).all()
        assert (real.targets, real.classes) == (ours.targets, ours.classes)
