"""Recipes as command-line flags."""

from __future__ import annotations

import argparse
import re
import textwrap
from argparse import SUPPRESS
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import Any

from amkd_viz.boundary import samplers
from amkd_viz.core.errors import InputError
from amkd_viz.core.fields import Fields
from amkd_viz.core.parse import parse
from amkd_viz.data import datasets
from amkd_viz.models import architectures
from amkd_viz.objectives import known_terms, methods
from amkd_viz.training import Recipe, suggested
from amkd_viz.training.examples import PRESETS, preset, weights_in
from amkd_viz.training.training import LIVE

__all__ = ["changes_of", "in_flags", "overrides_of", "recipe_flags", "recipe_of"]

NETS = ("teacher", "student")
ALIASES = {"num_train": ("--limit-train",)}


def recipe_flags(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    """Add one flag for each field of Recipe, with its help and choices, and list all names in the epilog."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _names()
    parser.add_argument("--preset", default=SUPPRESS, metavar="NAME", help=f"a published recipe: {', '.join(PRESETS)}")
    parser.add_argument("--download", action="store_true", default=SUPPRESS, help="fetch CIFAR first if it is absent")
    for field in fields(Recipe):
        if field.name in without:
            continue
        if field.name == "overrides":
            parser.add_argument(
                "--set", action="append", default=SUPPRESS, metavar="TERM.FIELD=VALUE", help=field.metadata["help"]
            )
            continue
        kinds: dict[str, Callable[[str], Any]] = {
            "int": int,
            "float": float,
            "int | None": int,
            "float | str": number,
            "int | str": whole,
        }
        kind = kinds.get(str(field.type), str)
        default = field.default
        if field.name in NETS:
            points, images = (getattr(suggested(name), field.name) for name in ("moons", "cifar10"))
            default = f"{default} for {Recipe.dataset}, {points} for 2-D problems, {images} for other images"
        if str(field.type) == "bool":
            parser.add_argument(_flag(field.name), action="store_true", default=SUPPRESS, help=field.metadata["help"])
            continue
        text = field.metadata["help"] + ("" if default is None else f" (default: {default})")
        alone = {"nargs": "?", "const": field.metadata["alone"]} if "alone" in field.metadata else {}
        if "choices" in field.metadata:
            text = f"one of {', '.join(field.metadata['choices'])}: {text}"
        # without a default, so that missing flags can be recognized
        parser.add_argument(
            _flag(field.name),
            *ALIASES.get(field.name, ()),
            type=kind,
            default=SUPPRESS,
            metavar=kind.__name__.upper(),
            help=text.replace("%", "%%"),
            **alone,
        )


def overrides_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings beside ``--resume``: those that may change while a run trains.

    Raises:
        InputError: another setting is given, which a resumed run keeps.
    """
    given = {n: v for n, v in vars(args).items() if n not in ("resume", "tensorboard", "set") and v is not None}
    for name in given:
        if name not in LIVE:
            raise InputError(
                f"--resume goes on with the settings of {args.resume}, so {_flag(name)} would not count; only "
                f"{', '.join(map(_flag, [*LIVE, 'set']))} may change. Leave it out, or train from one of its epochs "
                "with other settings by amkd_viz.runs.fork."
            )
    return given | changes_of(args)


def recipe_of(args: argparse.Namespace, overrides: dict[str, Any] | None = None) -> Recipe:
    """Return the recipe that the flags make; fetch its data if asked for. Nets that are not named fit the data.

    Args:
        overrides: replace those of ``--set``.

    Raises:
        InputError: see ``Recipe``.
    """
    from amkd_viz.data import load

    values = {f.name: getattr(args, f.name) for f in fields(Recipe) if hasattr(args, f.name)}
    with in_flags():
        if "preset" in args:
            values = preset(args.preset).overrides_of_default() | values
        elif values.get("dataset", Recipe.dataset) != Recipe.dataset:  # whose own nets the defaults are
            values = {name: getattr(suggested(values["dataset"]), name) for name in NETS} | values
        method = values.get("method", Recipe.method)
        values["overrides"] = changes_of(args, [method]) if overrides is None else overrides
        recipe = Recipe(**values)
    if "download" in args:
        load(recipe.dataset, root=recipe.root, download=True)
    return recipe


@contextmanager
def in_flags() -> Iterator[None]:
    """Rename fields of Recipe to their flags in an InputError.

    A word with a _ is always a field; the other fields are plain words, so they are renamed only at the beginning.
    """
    names = "|".join(f.name for f in fields(Recipe))
    scored = "|".join(f.name for f in fields(Recipe) if "_" in f.name)
    try:
        yield
    except InputError as error:
        text = re.sub(
            rf"^({names})(?= must )|(?<![\w./-])({scored})(?![\w./-])",
            lambda found: _flag("set" if found[0] == "overrides" else found[0]),
            str(error),
        )
        raise InputError(text) from error


def changes_of(args: argparse.Namespace, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the numbers of ``--set``, by TERM.FIELD, and those of ``--preset`` for the terms of the methods ``names``.

    Raises:
        InputError: one is not written so, or is given twice.
    """
    changes: dict[str, Any] = {}
    for text in getattr(args, "set", []):
        name, equals, value = text.partition("=")
        if not equals or "." not in name:
            raise InputError(f"--set takes TERM.FIELD=VALUE, e.g. boundary_triplet.margin=0.2, not {text!r}.")
        if name in changes:
            raise InputError(f"--set gives {name} twice, as {changes[name]} and as {value}; leave one of them out.")
        changes[name] = _value(value)
    if "preset" in args:
        return weights_in(args.preset, [term for name in names for term in methods[name]().names]) | changes
    return changes


def number(text: str) -> float | str:
    """Return a number, or the word that stands in its place."""
    try:
        return float(text)
    except ValueError:
        return text


def whole(text: str) -> int | str:
    """Return a whole number, or the word that stands in its place."""
    try:
        return int(text)
    except ValueError:
        return text


def _value(text: str) -> Any:
    """Return a number or a truth value if the text is one, so that 0.20 and .2 make the same recipe as 0.2."""
    with suppress(ValueError):
        return parse(text, object)
    with suppress(ValueError):
        return float(text)
    return text


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _names() -> str:
    """Return every name that the flags take; the first value of a field is its default."""
    lines = ["data sets, for --dataset, besides folder:PATH:", *_wrapped("  ", ", ".join(datasets)), ""]
    lines += ["methods, for --method or --methods:"]
    lines += [f"  {name:16s} {methods.about(name)}" for name in methods]
    lines += ["", "terms, for --set TERM.FIELD=VALUE; each also has weight (constant) and scale (times its schedule):"]
    lines += [line for label, term in known_terms().items() for line in _options(label, term)]
    lines += ["", "samplers, for --sampler and --set SAMPLER.FIELD=VALUE:"]
    lines += [line for name, kind in samplers.items() for line in _options(name, kind())]
    points = ", ".join(architectures((2,)))
    lines += [
        "",
        f"nets, for --teacher and --student, besides torchvision:NAME and timm:NAME; only {points} take points:",
    ]
    return "\n".join([*lines, *_wrapped("  ", ", ".join(architectures()))])


def _options(name: str, thing: Fields) -> list[str]:
    """Return the name and the fields of a term or a sampler, with choices or defaults."""
    shown = [f for f in fields(thing) if not f.metadata.get("wiring")]  # type: ignore[arg-type]
    options = [f"{f.name}={'|'.join(map(str, f.metadata.get('choices', [f.default])))}" for f in shown]
    return _wrapped(f"  {name:16s} ", ", ".join(options) or "-")


def _wrapped(start: str, words: str) -> list[str]:
    return textwrap.wrap(words, 100, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)
