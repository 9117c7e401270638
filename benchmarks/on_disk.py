"""A data set that is larger than memory: order, epoch time and memory of a generated pack of 64 x 64 images.

    python -m benchmarks.on_disk --images 1300000 --folder SCRATCH     # 16 GB, deleted after
    python -m benchmarks.on_disk --images 40000

One process reads the pack as a training does, in batches of 256 with crops and mirroring, from a disk of which nothing
is in memory at first; a second one reads the same batches from memory where they fit. Also: the factors that cached
logits of a teacher save on digits, clean and augmented.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amkd_viz import Recipe
from amkd_viz.data import Dataset, Loader, Split, augment_for, load
from amkd_viz.data.pack import Part, write_pack
from amkd_viz.runs import prepare
from amkd_viz.training import events

from .students import write_result
from .timing import host

SHAPE, CLASSES, BATCH = (3, 64, 64), 1000, 256


def noise(start: int, stop: int) -> Tensor:
    """Return images whose first bytes are their row, so that the order can be read back from them."""
    x = torch.randint(256, (stop - start, *SHAPE), generator=torch.Generator().manual_seed(start), dtype=torch.uint8)
    rows = torch.arange(start, stop)
    x[:, 0, 0, :4] = torch.stack([rows // 256**k % 256 for k in range(4)], 1).to(torch.uint8)
    return x


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    import resource

    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def forget(folder: Path) -> None:
    """Let the system drop what it has of the files in memory, so that an epoch reads them from the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_epoch(name: str, whole: bool) -> dict[str, Any]:
    """Return what one epoch of reading takes, and a digest of its order."""
    start = resident()
    data = load(name)
    if whole:
        train = Split(data.train.x[:], data.train.y, data.train.index)
        data = Dataset(data.name, data.classes, train, data.val, data.test, data.mean, data.std)
    opened, most, digest, seen = resident(), 0, hashlib.sha256(), 0
    begun, own = time.perf_counter(), time.process_time()
    for x, _, at in Loader(data.train, BATCH, seed=1, augment=augment_for(data)).epoch(0):
        digest.update(at.numpy().tobytes())
        most, seen = max(most, resident()), seen + len(x)
    took, own = time.perf_counter() - begun, time.process_time() - own
    first = data.train.x[torch.arange(64)][:, 0, 0, :4].long()
    rows = sum(first[:, k] * 256**k for k in range(4))
    assert torch.equal(torch.as_tensor(rows), data.train.index[:64])
    return {
        "images": seen,
        "seconds": round(took, 3),  # other programs and a busy disk count
        "images_per_cpu_second": round(seen / own),
        "order": digest.hexdigest()[:16],
        "resident_bytes_opened": opened - start,
        "resident_bytes": most - start,
    }


def cached_factors(pairs: int, **changes: Any) -> dict[str, Any]:
    """Return the processor time of KD on digits over that with the teacher's logits from the cache.

    Args:
        changes: fields of the recipe, such as its augmentation.
    """
    usual = Recipe(method="kd", epochs=3, teacher_epochs=2, magsim_samples=0, device="cpu", **changes)
    kept = usual.replace(cache_teacher="all")

    def seconds(recipe: Recipe) -> float:
        training, begun = prepare(recipe), time.process_time()
        for _ in events(training):
            pass
        return time.process_time() - begun

    first = seconds(kept)  # with augmentation, the run that fills the cache
    factors = [seconds(usual) / seconds(kept) for _ in range(pairs)]
    return {
        "pair": f"{usual.teacher} to {usual.student}",
        "first_run": round(seconds(usual) / first, 3),
        "factors": [round(factor, 3) for factor in factors],
        "median": round(statistics.median(factors), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--folder", type=Path, help="where the set is generated (default: the system's)")
    parser.add_argument("--memory", action="store_true", help="also read the same set from memory")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/on_disk.json"))
    parser.add_argument("--read", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read_epoch(args.read, args.memory)))
        return
    begun = time.time()
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        pack = Path(scratch) / "pack"
        y = torch.arange(args.images) % CLASSES
        for done, total in write_pack(pack, tuple(map(str, range(CLASSES))), SHAPE, {"train": Part(y, noise)}):
            print(f"\r{done:,} of {total:,} images", end="", file=sys.stderr, flush=True)
        written, found = time.time() - begun, {}
        for kind in ("disk", "memory") if args.memory else ("disk",):
            forget(pack)
            words = [sys.executable, "-m", "benchmarks.on_disk", "--read", f"pack:{pack}"]
            words += ["--memory"] if kind == "memory" else []
            found[kind] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    size = args.images * 3 * 64 * 64
    with tempfile.TemporaryDirectory() as cache:
        os.environ["AMKD_VIZ_CACHE"] = cache
        cached = {name: cached_factors(5, augment=name) for name in ("none", "crop")}
    content = {
        "images": args.images,
        "bytes": size,
        "bytes_per_image": size // args.images,
        "seconds_to_write": round(written, 1),
        **found,
        "resident_share": round(found["disk"]["resident_bytes"] / size, 4),
        "cached_teacher": cached,
        "host": host(torch.get_num_threads()),
    }
    print(json.dumps(content, indent=2))
    write_result(args.out, begun, **content)


if __name__ == "__main__":
    main()
