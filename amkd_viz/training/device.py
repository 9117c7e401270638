"""What a machine gives to a training: device, precision, threads and memory."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch

from amkd_viz.core.errors import InputError, unknown

__all__ = [
    "bf16_hardware",
    "cpu_flags",
    "fitting_threads",
    "kept_memory",
    "one_heap",
    "on_gpu",
    "on_one_thread",
    "pick_device",
    "pick_precision",
    "tf32",
    "tf32_use",
    "threads_here",
]

T = TypeVar("T")
_thread = threading.local()
_one_by_one = threading.Lock()
_tf32: list[str] = []  # settings of the GPU trainings that run in this process: all the same
_before: dict[str, str] = {}  # PyTorch's flags before the first of them

KINDS = ("cpu", "cuda", "mps", "xpu")
BF16 = ("amx_bf16", "avx512_bf16", "bf16")  # x86, x86, ARM
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8  # malloc.h


def pick_device(name: str) -> torch.device:
    """Return the device of this name, with its index; "auto" is the current CUDA device, else the CPU.

    Raises:
        InputError: there is no such kind of device, or it is not usable here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in KINDS:
        raise unknown("device", name, ["auto", *KINDS])
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0].partition(". ")[0].removesuffix(".")
        raise InputError(f"Device {name!r} is not usable here: {why}; use 'auto' or 'cpu'.") from error


def on_gpu(name: str) -> bool:
    """Return whether a device name stands for a CUDA device here, without taking one."""
    return name.startswith("cuda") or (name == "auto" and torch.cuda.is_available())


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the instruction sets of the processor, as Linux names them; elsewhere those that PyTorch detects."""
    with suppress(OSError):
        for line in cpuinfo.read_text().splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in ("flags", "Features"):  # x86, ARM
                return frozenset(flags.split())
    asked = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    return frozenset(flag for flag, name in asked.items() if getattr(torch.cpu, name, bool)())


def bf16_hardware(device: str, flags: Collection[str] | None = None) -> str | None:
    """Return what computes in bfloat16 on this device, or None if it would be emulated in software.

    Args:
        device: "cpu", "cuda", "cuda:1", ... flags: of the processor; default: ``cpu_flags()``.

    >>> bf16_hardware("cpu", {"avx2", "avx512f", "avx512_bf16"}), bf16_hardware("cpu", {"avx2"})
    ('avx512_bf16', None)
    """
    if device.partition(":")[0] == "cuda":
        with torch.cuda.device(device) if ":" in device else nullcontext():  # it is asked of the current device
            there = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
        return "cuda" if there else None
    if device != "cpu":
        return None
    flags = cpu_flags() if flags is None else flags
    return next((flag for flag in BF16 if flag in flags), None)


def pick_precision(name: str, device: str, flags: Collection[str] | None = None) -> tuple[str, str | None]:
    """Return "fp32" or "bf16", and a sentence for the user where the choice needs one.

    Args:
        name: "fp32", "bf16", or "auto": bf16 where the device has hardware for it.
        device, flags: as for ``bf16_hardware``.

    >>> pick_precision("auto", "cpu", {"avx2", "amx_bf16"})[0], pick_precision("auto", "cpu", {"avx2"})[0]
    ('bf16', 'fp32')
    """
    hardware = bf16_hardware(device, flags) if name != "fp32" else None
    lacks = f"this processor has none of {', '.join(BF16[:2])}" if device == "cpu" else f"{device} has no bf16 hardware"
    if name == "auto":
        chosen = "bf16" if hardware else "fp32"
        return chosen, f"precision='auto' is {chosen} here: {f'found {hardware}' if hardware else lacks}."
    if name == "bf16" and hardware is None and device.partition(":")[0] in ("cpu", "cuda"):
        return name, f"precision='bf16' is emulated here and several times slower than 'fp32': {lacks}; use 'auto'."
    return name, None


def tf32_use(setting: str) -> str:
    """Return where a GPU computes in TF32 under a setting of ``Recipe.tf32``, such as "convolutions", or "nowhere"."""
    used = [
        words
        for words, flag in _tf32_flags().items()
        if setting == "on" or (setting == "default" and flag.fp32_precision == "tf32")
    ]
    return " and ".join(used) or "nowhere"


@contextmanager
def tf32(setting: str, device: str) -> Iterator[None]:
    """Allow TF32, a float32 with 10 bits of mantissa, in this context; afterwards PyTorch's flags are as they were.

    Args:
        setting: "on" or "off", for matrix products and convolutions, or "default": PyTorch's flags as they are. Unless
            a program has set them, those are TF32 in convolutions and not in matrix products.
        device: the kind of device; only "cuda" has TF32.

    Raises:
        InputError: another training in this process has another setting: the flags belong to the process.
    """
    if device != "cuda":
        yield
        return
    with _one_by_one:
        if _tf32 and setting != _tf32[0]:
            raise InputError(
                f"tf32 must be {_tf32[0]!r} while another training with that setting runs in this process, got "
                f"{setting!r}; wait for it, or start another process."
            )
        if not _tf32 and setting != "default":
            _before.update({words: flag.fp32_precision for words, flag in _tf32_flags().items()})
            for flag in _tf32_flags().values():
                flag.fp32_precision = "tf32" if setting == "on" else "ieee"
        _tf32.append(setting)
    try:
        yield
    finally:
        with _one_by_one:
            _tf32.pop()
            if not _tf32 and setting != "default":
                for words, flag in _tf32_flags().items():
                    flag.fp32_precision = _before[words]


def _tf32_flags() -> dict[str, Any]:
    return {"matrix products": torch.backends.cuda.matmul, "convolutions": torch.backends.cudnn.conv}  # type: ignore[attr-defined]


def threads_here(count: int) -> None:
    """Set the number of PyTorch's CPU threads for the calling thread alone.

    A thread that starts later takes what was set last in any thread, so the usual number is set again elsewhere.
    """
    with _one_by_one, suppress(RuntimeError):  # an interpreter that ends starts no thread
        usual = _elsewhere(torch.get_num_threads)
        torch.get_num_threads()  # a thread takes the usual number when it first asks, so ask before setting another
        torch.set_num_threads(count)
        _elsewhere(lambda: torch.set_num_threads(usual))


def _elsewhere(work: Callable[[], T]) -> T:
    """Return the result of ``work``, run in a new thread."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def on_one_thread(shape: tuple[int, ...]) -> bool:
    """Return whether inputs of this shape train on one CPU thread: points and images below 16 x 16."""
    return len(shape) < 3 or shape[-1] < 16


@contextmanager
def fitting_threads(shape: tuple[int, ...]) -> Iterator[None]:
    """Use one CPU thread for inputs that are too small to share, see ``on_one_thread``.

    On busy cores a training on such inputs takes ten times as long with two threads, which wait for each other. Of
    several trainings that take turns in one thread, the last to end restores the first number.
    """
    born = threading.get_ident()
    if not getattr(_thread, "inside", 0):
        _thread.inside, _thread.before = 0, torch.get_num_threads()
    _thread.inside += 1
    if on_one_thread(shape):
        threads_here(1)
    try:
        yield
    finally:
        if threading.get_ident() == born:  # a generator may be collected in another thread, which has its own number
            _thread.inside -= 1
            if not _thread.inside:
                threads_here(_thread.before)


def one_heap() -> None:
    """Make the threads that start from now on share one heap.

    By default glibc gives each thread its own and keeps what is free in each: three panels of 200 classes took 2.0 GB
    instead of 1.8.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_ARENA_MAX, 1)


def _glibc() -> Any:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None  # musl has neither


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in the process until the end, then return it to the system.

    By default glibc returns megabytes at once and takes them again page by page in the next step, which costs a CIFAR
    step on a CPU 5 to 10 % of its time. Its settings cannot be read, so they outlast this context.
    """
    libc = _glibc()
    if libc is not None:  # the first one takes at most 32 MB
        for setting, size in ((M_MMAP_THRESHOLD, 32 << 20), (M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 64 << 20)):
            libc.mallopt(setting, size)
    try:
        yield
    finally:
        if libc is not None:
            libc.malloc_trim(0)
