"""Identify the running notebook cell, so that a cell that runs again replaces its own panel only."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Cell", "this_cell"]


class Cell(NamedTuple):
    """One execution of one cell."""

    cell: str
    execution: str

    def same_but_later(self, other: Cell) -> bool:
        """Return whether ``other`` is another execution of the same cell."""
        return self.cell == other.cell and self.execution != other.execution


def this_cell() -> Cell | None:
    """Return the cell that JupyterLab is executing; None outside of a notebook."""
    try:
        from IPython import get_ipython

        message = get_ipython().kernel.get_parent()
        return Cell(message["metadata"]["cellId"], message["header"]["msg_id"])
    except (ImportError, AttributeError, KeyError, TypeError):
        return None
