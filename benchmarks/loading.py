"""Reading and augmenting batches from memory against torchvision's transforms in a DataLoader.

    python -m benchmarks.loading --root DATA

CIFAR-10, batches of 256: crops of the image padded by 4, mirrored at random, floats in [0, 1].
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from amkd_viz.data import Loader, Split, augment_for, load

from .students import write_result
from .timing import host, quartiles, ratio, rounds

BATCH, BATCHES = 256, 4


class Pictures(Dataset):  # type: ignore[type-arg]
    """As ``torchvision.datasets.CIFAR10`` does it: one PIL image at a time."""

    def __init__(self, split: Split) -> None:
        self.pixels, self.y = split.x.permute(0, 2, 3, 1).contiguous().numpy(), split.y.tolist()
        self.change = transforms.Compose(
            [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.change(Image.fromarray(self.pixels[i])), self.y[i]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/loading.json"))
    args = parser.parse_args()
    begun = time.time()

    dataset = load("cifar10", root=args.root)
    ours = Loader(dataset.train, BATCH, augment=augment_for(dataset))
    theirs = DataLoader(Pictures(dataset.train), BATCH, shuffle=True)
    took = rounds(
        {
            "torchvision": lambda: list(islice(theirs, BATCHES)),
            "ours": lambda: list(islice(ours.epoch(0), BATCHES)),
        },
        args.rounds,
    )
    found = ratio(took["torchvision"], took["ours"])
    size = dataset.train.x.nbytes + dataset.val.x.nbytes + dataset.test.x.nbytes
    write_result(
        args.out,
        begun,
        what=__doc__,
        host=host(1),
        **{"times faster than torchvision": found, "CIFAR-10 in memory, MB": round(size / 1e6, 1)},
        others=quartiles(took["others"]),
    )
    print(f"{found['median']} x torchvision; CIFAR-10 takes {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
