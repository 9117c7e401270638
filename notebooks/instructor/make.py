"""Write the clean twin of each notebook: its code and its headings, without prose or outputs, to lecture from.

    python notebooks/instructor/make.py

Twins are generated; edit the notebook, then run this again. A test compares them.
"""

from __future__ import annotations

from pathlib import Path

import nbformat

HERE = Path(__file__).parent


def twin(path: Path) -> str:
    """The clean twin of the notebook ``path``, as text."""
    notebook = nbformat.read(path, as_version=4)
    kept = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = "\n".join(line for line in cell.source.splitlines() if line.startswith("#"))
        else:
            cell.outputs, cell.execution_count = [], None
        if cell.source:
            kept.append(cell)
    notebook.cells = kept
    return nbformat.writes(notebook) + "\n"


def twins() -> dict[Path, str]:
    """Path of each twin -> its text."""
    return {HERE / "clean" / path.name: twin(path) for path in sorted(HERE.parent.glob("[0-9]*.ipynb"))}


if __name__ == "__main__":
    for path, text in twins().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(HERE))
