"""Which device a recipe means, and how much of it a training takes."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch

from amkd_viz.core.errors import InputError, unknown

__all__ = ["fitting_threads", "kept_memory", "pick_device", "threads_here"]

T = TypeVar("T")
_own = threading.local()
_one_by_one = threading.Lock()

KINDS = ("cpu", "cuda", "mps", "xpu")
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h; the last one takes at most 32 MB


def pick_device(name: str) -> torch.device:
    """``auto`` is the first CUDA device, else the CPU.

    Raises:
        InputError: no such kind of device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in KINDS:
        raise unknown("device", name, ["auto", *KINDS])
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0].partition(". ")[0].removesuffix(".")
        raise InputError(f"Device {name!r} is not usable here: {why}; use 'auto' or 'cpu'.") from error
    return device


def threads_here(count: int) -> None:
    """So many threads of the CPU for PyTorch in the calling thread alone: a thread that is born later takes what was
    set last, anywhere."""
    with _one_by_one, suppress(RuntimeError):  # an interpreter that ends starts no thread
        usual = _elsewhere(torch.get_num_threads)
        torch.get_num_threads()  # a thread takes the usual number when it first asks: not after it is given its own
        torch.set_num_threads(count)
        _elsewhere(lambda: torch.set_num_threads(usual))


def _elsewhere(work: Callable[[], T]) -> T:
    """The result of ``work`` in a thread of its own."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@contextmanager
def fitting_threads(shape: tuple[int, ...]) -> Iterator[None]:
    """Inputs of a few dozen numbers leave a second thread nothing to do but to be waited for: on busy cores a training
    takes ten times as long with it. So points and images below 16 x 16 take one thread of the CPU.

    Of several trainings that take turns in one thread, the last to end puts back what the first one found.
    """
    born = threading.get_ident()
    if not getattr(_own, "inside", 0):
        _own.inside, _own.before = 0, torch.get_num_threads()
    _own.inside += 1
    if len(shape) < 3 or shape[-1] < 16:
        threads_here(1)
    try:
        yield
    finally:
        if threading.get_ident() == born:  # a generator may be collected in another thread, which has its own number
            _own.inside -= 1
            if not _own.inside:
                threads_here(_own.before)


@contextmanager
def kept_memory() -> Iterator[None]:
    """What tensors give back stays with the process until the end, then the system gets it.

    By default glibc returns megabytes at once and takes them again page by page at the next step, which costs a CIFAR
    step on a CPU 5 to 10 % of its time. Its settings cannot be read, so they outlast this.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    tunable = hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")  # musl has neither
    if tunable:
        for setting, size in ((M_MMAP_THRESHOLD, 32 << 20), (M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 64 << 20)):
            libc.mallopt(setting, size)
    try:
        yield
    finally:
        if tunable:
            libc.malloc_trim(0)
