"""What every command takes its flags from and prints with."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from amkd_viz.core.escape import for_terminal

__all__ = ["Parser", "floats", "one_line", "say"]

NUMBERS = {  # name of an argument's type -> what it takes
    "int": "a whole number",
    "float": "a number",
    "floats": "numbers separated by commas",
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line and whose flags cannot be abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        for kind, words in NUMBERS.items():
            message = re.sub(rf"argument (\S+): invalid {kind} value: ", rf"\1 takes {words}, not ", message)
        self.exit(2, one_line(f"{self.prog}: {message}; see '{self.prog} --help'."))


def floats(text: str) -> list[float]:
    """Return numbers that are separated by commas."""
    return [float(part) for part in text.split(",")]


def say(text: str) -> None:
    """Print lines; names in them send no commands to the terminal."""
    print(for_terminal(text, keep="\n"), flush=True)


def one_line(message: str) -> str:
    """Return a message as one line that ends, without commands to the terminal."""
    return for_terminal(" ".join(message.splitlines())) + "\n"
