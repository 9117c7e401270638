"""What cells show: a widget with what readers without a kernel see in its place, and text wrapped at words."""

from __future__ import annotations

import re
import textwrap
from html import escape
from typing import Any
from uuid import uuid4

from IPython.display import display

__all__ = ["display_live", "say", "still"]

# While the widget is alive its still is hidden; once it is not, so is what JupyterLab says in its place.
STYLE = (
    "<style>.jp-OutputArea:has(.amkd-live) .jp-OutputArea-child:has(.amkd-still-words),"
    ".jp-OutputArea:has(.amkd-still-words) .jp-OutputArea-output:not([data-mime-type]):not(:has(*)){display:none}"
    ".amkd-live{border-left:4px solid #6b7280;padding:.2em .8em}.amkd-live button{width:auto}"
    ".amkd-live .widget-html-content{line-height:1.45}</style>"
)


def still(words: str) -> dict[str, str]:
    """Return plain text as the output that stands for a widget."""
    return {"text/html": f'{STYLE}<p class="amkd-still-words">{escape(words)}</p>', "text/plain": words}


def display_live(box: Any, words: str) -> str:
    """Display a widget and its still; return the display id of the still."""
    place = uuid4().hex
    box.add_class("amkd-live")
    display(box)
    display(still(words), raw=True, display_id=place)
    return place


def say(*texts: object, width: int = 100) -> None:
    """Print each text on lines of its own, wrapped at words; JupyterLab breaks long printed lines within words.

    >>> say("kd = ce() + 4->1 * kd()", width=16)
    kd = ce() +
      4->1 * kd()
    """
    for line in "\n".join(map(str, texts)).splitlines():
        words = re.match(r" *(\S+ {2,})?", line)  # of a table the first column, else the indent
        inside = " " * (words.end() if words and words[1] else len(line) - len(line.lstrip()) + 2)
        whole = textwrap.fill(line, width, subsequent_indent=inside, break_long_words=False, break_on_hyphens=False)
        print(whole if len(line) > width else line)
