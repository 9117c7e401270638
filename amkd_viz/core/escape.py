"""Names that a user or a file gives, made harmless: one function for each place where they are shown."""

from __future__ import annotations

import html
import re

__all__ = ["for_html", "for_markdown", "for_terminal", "in_code"]

PLAIN = " .,-+=()/'"  # marks that mean nothing within a line of Markdown


def for_html(text: object) -> str:
    """Escape markup for HTML and for Plotly, which reads tags, ``%{...}`` and formulas between dollars in any text, and
    knows numeric entities but not ``&quot;``.

    >>> for_html("<b>cat</b> & $dog$ %{x}")
    '&lt;b&gt;cat&lt;/b&gt; &amp; &#36;dog&#36; &#37;{x}'
    """
    escaped = html.escape(str(text), quote=True)
    return escaped.replace("&quot;", "&#34;").replace("$", "&#36;").replace("%{", "&#37;{")


def for_markdown(text: object) -> str:
    """Escape everything that Markdown or HTML gives a meaning to, in a line or a cell of a table.

    >>> for_markdown("a_b|<img src=x>")
    'a&#95;b&#124;&#60;img src=x&#62;'
    """
    return "".join(c if c.isalnum() or c in PLAIN else f"&#{ord(c)};" for c in for_terminal(text))


def in_code(text: object) -> str:
    """Return a code span of Markdown, whose fence is longer than any in the text.

    >>> in_code("a"), in_code("a`b")
    ('`a`', '`` a`b ``')
    """
    line = for_terminal(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if "`" in line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def for_terminal(text: object, keep: str = "") -> str:
    r"""Replace what is not printable, such as the start of a terminal's commands, by its escape in Python.

    Args:
        keep: letters that stay, such as a newline between lines.

    >>> for_terminal("cat\x1b[31m\n"), for_terminal("a\nb", keep="\n")
    ('cat\\x1b[31m\\n', 'a\nb')
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in str(text))
