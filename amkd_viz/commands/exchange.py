"""Commands that read and write files of other programs: import, export, pack."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amkd_viz.commands.parser import Parser, floats, say
from amkd_viz.core.errors import InputError
from amkd_viz.core.files import claim, readable

__all__ = ["export", "import_", "pack"]

KINDS = {"onnx": "ONNX, for any ONNX runtime", "torch-export": "a program for torch.export.load"}


def import_(parser: Parser, words: Sequence[str]) -> None:
    """Turn a checkpoint of other code into a teacher: a safetensors file with its normalisation."""
    from amkd_viz.models import import_net, save_classifier
    from amkd_viz.training import accuracy, logits_on

    numbers = "of its training, per channel in [0, 1] units, separated by commas"
    parser.add_argument("file", type=Path, metavar="FILE", help=".pth, .pt, .th, .pth.tar, .ckpt, .bin or .safetensors")
    parser.add_argument("--architecture", help="name of the net (default: a CIFAR ResNet, inferred from its weights)")
    parser.add_argument("--mean", type=floats, help=f"mean {numbers}")
    parser.add_argument("--std", type=floats, help=f"standard deviation {numbers}")
    parser.add_argument("--shortcut", help="of a CIFAR ResNet: pad-end, pad-both or conv")
    parser.add_argument(
        "--size", type=int, help="height and width of its images in pixels (default: 32; torchvision and timm: 224)"
    )
    parser.add_argument(
        "--classes", type=Path, help="text file with the names of its classes, one a line, in their order"
    )
    parser.add_argument("--dataset", help="measure it on the test split of this data set")
    parser.add_argument("--root", help="folder of the downloaded data sets")
    parser.add_argument("--out", type=Path, help="a new .safetensors file (default: beside FILE)")
    args = parser.parse_args(words)
    out = claim(args.out or args.file.with_suffix("").with_suffix(".imported.safetensors"))
    if out.suffix != ".safetensors":
        raise InputError(f"--out must end in .safetensors, got {out}.")
    net, taken = import_net(
        args.file, args.architecture, mean=args.mean, std=args.std, shortcut=args.shortcut, size=args.size
    )
    classes = _lines_of(args.classes) if args.classes else []
    if classes and len(classes) != net.num_classes:
        raise InputError(f"{args.classes} must name {net.num_classes} classes, got {len(classes)}.")
    parameters = sum(p.numel() for p in net.parameters())
    say(f"Took {taken}: {net.architecture}, {parameters:,} parameters, {net.num_classes} classes, inputs {net.shape}.")
    if args.dataset:
        from amkd_viz.data import load

        data = load(args.dataset, root=args.root)
        if data.num_classes != net.num_classes:
            raise InputError(f"The net knows {net.num_classes} classes, but {data.name} has {data.num_classes}.")
        share = accuracy(logits_on(net, data.test), data.test.y)
        say(f"It classifies {share:.2%} of the test split of {data.name} correctly.")
    facts: dict[str, Any] = {"classes": classes} if classes else {}
    save_classifier(net, out, **facts)
    say(f"The teacher is {out}: amkd-viz distill --teacher {out} ...")


def _lines_of(path: Path) -> list[str]:
    with readable(path):
        try:
            return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (FileNotFoundError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read ({error}); give a text file with one name a line.") from error


def export(parser: Parser, words: Sequence[str]) -> None:
    """Export the student of a finished run, checked against torch, with a model card."""
    kind = parser.add_mutually_exclusive_group(required=True)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    for name in ("onnx", "torch-export"):
        kind.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=f"as {KINDS[name]}")
    parser.add_argument("--out", type=Path, help="a new file (default: student.onnx or student.pt2 in the run)")
    args = parser.parse_args(words)
    from amkd_viz.export import export
    from amkd_viz.runs import Run

    done = export(Run.open(args.run), args.out, args.format)
    say(
        f"The student is {done.path}, its card {done.card}.\n"
        f"Largest logit difference from torch on {done.checked} inputs: {done.difference:.2g}."
    )


def pack(parser: Parser, words: Sequence[str]) -> None:
    """Write images as a pack: a data set that stays on disk, for more images than memory holds."""
    parser.add_argument(
        "source", metavar="DATASET", help="folder:PATH, parquet:PATH or tiny-imagenet; pack:PATH to check"
    )
    parser.add_argument("--root", help="folder of the downloaded data sets")
    parser.add_argument("--out", type=Path, help="a new folder, or that of the same pack, which then goes on")
    args = parser.parse_args(words)
    from amkd_viz.data import listed, load
    from amkd_viz.data.pack import check_pack, pack

    if args.source.startswith("pack:"):
        say(f"All {check_pack(args.source.removeprefix('pack:'))} shards are as they were written.")
        return
    if args.out is None:
        raise InputError("pack needs --out FOLDER.")
    for done, total in pack(listed(args.source, args.root), args.out):
        print(f"\r{done:,} of {total:,} images ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    say(f"{load(f'pack:{args.out}')!r}\nTrain from it: amkd-viz distill --dataset pack:{args.out} ...")
