"""Read tensors from files: safetensors, and the checkpoints of other code as people have them, without running code."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from amkd_viz.core.errors import InputError
from amkd_viz.core.files import readable
from amkd_viz.core.memory import check_memory
from amkd_viz.data.checks import require

__all__ = ["Checkpoint", "is_checkpoint", "read_checkpoint", "read_tensors", "safetensors"]

SUFFIXES = (".pth", ".pt", ".th", ".tar", ".ckpt", ".bin", ".pkl")
# Keys under which training scripts keep weights, in the order in which they are looked for.
CONTAINERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "teacher", "params"),
    *("weights", "ema", "model_ema", "state_dict_ema", "student"),
)
PREFIXES = ("module.", "model.", "net.", "network.", "_orig_mod.", "student.", "teacher.", "encoder.")
CONVERT = (
    'if you trust its source, convert it where it was made: python -c "import torch; '
    "s = torch.load('{name}', map_location='cpu', weights_only=False); s = s if isinstance(s, dict) else "
    "s.state_dict(); torch.save(s.get('state_dict', s), 'weights.pth')\""
)


class Checkpoint(NamedTuple):
    """The weights in a checkpoint.

    Attributes:
        tensors: by name, without the prefixes that wrappers add.
        metadata: of a safetensors file.
        taken: where in the file they were: keys and prefixes, for a message.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    taken: str


def is_checkpoint(name: str) -> bool:
    """Return whether a name is that of a checkpoint file rather than of an architecture."""
    return name.lower().endswith(SUFFIXES)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Return the weights in a file. Pickles are read with ``weights_only=True``: tensors and numbers, no code.

    Raises:
        InputError: the file is missing, damaged, needs code to be read, or holds no weights.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        tensors, metadata = read_tensors(path)
        content: Any = tensors
    else:
        content, metadata = _unpickled(path), {}
    tensors, taken = _weights(content, path)
    tensors, prefixes = _without_prefixes(tensors)
    words = [f"the weights under {taken!r}" if taken else "the weights"]
    words += [f"without the prefix {prefixes!r}"] if prefixes else []
    return Checkpoint(tensors, metadata, ", ".join(words))


def read_tensors(path: Path, only_metadata: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors by name, none of them with ``only_metadata``, and the metadata of a safetensors file."""
    with readable(path):
        if not path.is_file():
            raise InputError(f"File not found: {path}; give the path of a .safetensors file.")
        check_memory(path.stat().st_size, f"{path}", "free some, or use a smaller net")
        with path.open("rb") as opened:
            start = opened.read(9)
    opener = safetensors().safe_open
    try:
        with opener(path, framework="pt") as file:
            names = [] if only_metadata else file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except Exception as error:  # whatever a header can make safetensors or torch raise
        # pickle protocol 2+, or the zip that torch.save writes; a header's length may begin with any byte
        pickled = start[8:] != b"{" and (start[:1] == b"\x80" or start[:2] == b"PK")
        why = "it looks like a pickle (torch.save), which can run code and is never loaded" if pickled else str(error)
        way_out = "save the weights as safetensors" if pickled else "fetch or write it again"
        raise InputError(f"{path} is not a valid safetensors file: {why}; {way_out}.") from error


def safetensors(part: str = "") -> Any:
    """Return the package safetensors, or a part of it; raise InputError where it is not installed."""
    return require(f"safetensors{part}", "safetensors", "Reading and writing nets")


def _unpickled(path: Path) -> Any:
    with readable(path):
        if not path.is_file():
            raise InputError(f"File not found: {path}; give the path of a checkpoint.")
        size = path.stat().st_size
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as parts:
                size = max(size, sum(part.file_size for part in parts.infolist()))
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}); fetch it again.") from error
    check_memory(size, f"{path}", "free some, or use a smaller net")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes torch raise
        text = " ".join(str(error).split())
        if "weights_only" in text or "Unsupported" in text:
            what = (
                text.partition("WeightsUnpickler error: ")[2].partition(" Please")[0][:120] or "it is not a state dict"
            )
            advice = CONVERT.format(name=path.name)
            raise InputError(
                f"{path} is a pickle that needs code to be read ({what}), and is not loaded; {advice}"
            ) from None
        raise InputError(
            f"{path} is not a checkpoint of PyTorch, or is damaged ({text[:120]}); fetch it again."
        ) from error


def _weights(content: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors by name in what a file holds, and the keys that led there."""
    taken: list[str] = []
    while isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        inner = {str(key): value for key, value in content.items() if isinstance(value, Mapping)}
        key = next((key for key in CONTAINERS if key in inner), None)
        if key is None and not tensors and len(inner) == 1:
            (key,) = inner
        if key is None or len(tensors) > 1:
            if tensors:
                return tensors, ".".join(taken)
            break
        taken.append(key)
        content = inner[key]
    keys = ", ".join(map(str, list(content)[:6])) if isinstance(content, Mapping) else type(content).__name__
    raise InputError(
        f"{path} holds no weights: expected tensors by name, or one of {', '.join(CONTAINERS[:4])}, got {keys}."
    )


def _without_prefixes(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return the tensors without prefixes that all names share, and those prefixes."""
    removed = ""
    while True:
        prefix = next((p for p in PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None)
        if prefix is None:
            return tensors, removed
        tensors, removed = {name.removeprefix(prefix): t for name, t in tensors.items()}, removed + prefix
