"""On a bare machine with torch and numpy alone: stand-ins for what training uses of safetensors and torchvision.

Import this module before ``amkd_viz``. The format: eight bytes with the length of a JSON header, the header (name ->
dtype, shape, data_offsets, and ``__metadata__``), then the numbers (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
import math
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["CIFAR10", "SafetensorError", "safe_open", "save"]

NAMES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
NAMES |= {"I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool}


class SafetensorError(Exception):
    """The file is not whole."""


class safe_open:
    """Reads a whole file at once."""

    def __init__(self, path: str | Path, framework: str = "pt") -> None:
        raw = bytearray(Path(path).read_bytes())
        try:
            length = int.from_bytes(raw[:8], "little")
            self._header: dict[str, Any] = json.loads(raw[8 : 8 + length].decode())
            self._metadata = self._header.pop("__metadata__", None)
            self._body, end = raw[8 + length :], 0
            for about in sorted(self._header.values(), key=lambda about: about["data_offsets"]):
                start, size = end, math.prod(about["shape"]) * NAMES[about["dtype"]].itemsize
                end = start + size
                if about["data_offsets"] != [start, end] or size < 0:
                    raise ValueError("a tensor has another size than its place")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SafetensorError(f"its header is damaged ({error})") from error
        if end != len(self._body):
            raise SafetensorError("it has another length than its header says")

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def keys(self) -> list[str]:
        return list(self._header)

    def metadata(self) -> dict[str, str] | None:
        return self._metadata

    def get_tensor(self, name: str) -> Tensor:
        about = self._header[name]
        start, end = about["data_offsets"]
        flat = torch.frombuffer(self._body[start:end] or bytearray(1), dtype=torch.uint8)[: end - start].clone()
        return flat.view(NAMES[about["dtype"]]).reshape(about["shape"])


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a file."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    body, of = b"", {dtype: name for name, dtype in NAMES.items()}
    for name, tensor in tensors.items():
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": of[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


class CIFAR10:
    """The official files, each opened only after its md5 has matched the published one: they are pickles."""

    base_folder, filename, tgz_md5 = "cifar-10-batches-py", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"
    labels, names = "labels", "label_names"
    train_list = (
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    )
    test_list = (("test_batch", "40351d587109b95175f43aff81a1287e"),)
    meta = {"filename": "batches.meta", "md5": "5ff9c542aee3614f3951f8cda6e48888"}  # noqa: RUF012

    def __init__(self, root: Path, train: bool = True, download: bool = False) -> None:
        parts = [self._read(root, *file) for file in (self.train_list if train else self.test_list)]
        pixels = np.concatenate([part["data"] for part in parts])
        self.data = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self.targets = [label for part in parts for label in part[self.labels]]
        self.classes = self._read(root, self.meta["filename"], self.meta["md5"])[self.names]

    def _read(self, root: Path, name: str, md5: str) -> Any:
        raw = (root / self.base_folder / name).read_bytes()
        if hashlib.md5(raw).hexdigest() != md5:
            raise RuntimeError(f"{name} is truncated or altered")
        return pickle.loads(raw, encoding="latin1")


class CIFAR100(CIFAR10):
    """As CIFAR10, with the 100 fine classes."""

    base_folder, filename, tgz_md5 = "cifar-100-python", "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"
    labels, names = "fine_labels", "fine_label_names"
    train_list = (("train", "16019d7e3df5f24257cddd939b257f8d"),)
    test_list = (("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),)
    meta = {"filename": "meta", "md5": "7973b15100ade9c7d40fb424638fde48"}  # noqa: RUF012


def _check_integrity(path: Path, md5: str) -> bool:
    return hashlib.md5(path.read_bytes()).hexdigest() == md5


def _stand_in(name: str, **contents: object) -> None:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__dict__.update(contents)
    sys.modules[name] = module


if importlib.util.find_spec("torchvision") is None:
    _stand_in("torchvision")
    _stand_in("torchvision.datasets", CIFAR10=CIFAR10, CIFAR100=CIFAR100)
    _stand_in("torchvision.datasets.utils", check_integrity=_check_integrity)
if importlib.util.find_spec("safetensors") is None:
    _stand_in("safetensors", safe_open=safe_open, SafetensorError=SafetensorError)
    _stand_in("safetensors.torch", save=save)
