"""Cards: what a method or a term transfers, its formula, its source and its trap, from one docstring each.

The first paragraph of a docstring is the idea; ``Formula:``, ``Weights:`` (as published), ``Source:``, ``Reading:``
(how our loss relates to that source), ``Trap:`` and ``Checked:`` (golden files, or what a test compares with) begin a
line each. The command line, the docs and the panels show these.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import fill

from amkd_viz.core.errors import unknown
from amkd_viz.objectives.algebra import Objective, Term, terms
from amkd_viz.objectives.methods import methods
from amkd_viz.objectives.zoo.pair import Pair

__all__ = ["Card", "card", "table"]

KEYS = ("Formula", "Weights", "Source", "Reading", "Trap", "Checked")


@dataclass(frozen=True)
class Card:
    """What a person should know about a method or a term.

    Attributes:
        name: of the method or the term. idea: what it transfers, one sentence.
        sum: the method's terms with their weights. reads: the cells of a step that it looks at: its passes.
        parts: heading, such as "Formula" -> text.
    """

    name: str
    idea: str
    sum: str
    reads: str
    parts: dict[str, str]

    def __str__(self) -> str:
        lines = {"Sum": self.sum, "Reads": self.reads, **self.parts}
        rows = [
            fill(text, 110, initial_indent=f"  {key:8s} ", subsequent_indent=" " * 11) for key, text in lines.items()
        ]
        return "\n".join([f"{self.name}: {self.idea}", *rows])


def card(name: str) -> Card:
    """Return the card of a method, or of a term where no method has this name.

    What a method's docstring leaves out comes from its last term that has it.

    Raises:
        InputError: an unknown name.

    >>> card("hinton").parts["Reading"]
    'exact'
    """
    if name not in methods and name not in terms:
        raise unknown("method", name, [*methods, *terms])
    made = methods[name]() if name in methods else Objective(terms[name]().parts())
    parts = parsed((methods[name] if name in methods else terms[name]).__doc__)
    idea = parts.pop("idea")
    for term, _ in reversed(made.summands):
        parts = {key: value for key, value in parsed(term.__doc__).items() if key != "idea"} | parts
    return Card(name, idea, str(made), _reads(made), {key: parts[key] for key in KEYS if key in parts})


def parsed(doc: str | None) -> dict[str, str]:
    """Return the first paragraph of a docstring as "idea", and what follows each of ``KEYS``."""
    found: dict[str, str] = {"idea": ""}
    at = "idea"
    for line in inspect.cleandoc(doc or "").splitlines():
        key, colon, rest = line.partition(": ")
        if colon and key in KEYS:
            at, line = key, rest
        at = at if line else ""  # a blank line ends a part
        if at:
            found[at] = f"{found.get(at, '')} {line.strip()}".strip()
    return found


def _reads(objective: Objective) -> str:
    cells: dict[str, list[str]] = {}
    for net, on, layer in objective.reads():
        cells.setdefault(f"{net} on {on}", []).extend([] if layer is None else [repr(layer)])
    words = [cell + (f" (layers {', '.join(layers)})" if layers else "") for cell, layers in cells.items()]
    learned = [t.label for t, _ in objective.summands if type(t).module is not Term.module and not _plain(t)]
    return ", ".join(words) + (f"; may learn a part of {', '.join(learned)}" if learned else "")


def _plain(term: Term) -> bool:
    return isinstance(term, Pair) and type(term).learned is Pair.learned


def table() -> Iterator[tuple[str, str, str, str]]:
    """Yield source, name, reading and check of every method, for the docs."""
    for name in methods:
        parts = card(name).parts
        yield parts.get("Source", ""), name, parts.get("Reading", ""), parts.get("Checked", "")
