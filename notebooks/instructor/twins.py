"""Write a clean twin of each notebook: code, headings and questions without prose or outputs, to lecture from.

    make twins

Twins are written beside the notebooks, as ``clean_00_start_here.ipynb``, and are not committed. Each is also a set of
slides: ``jupyter nbconvert --to slides --execute clean_00_start_here.ipynb`` (reveal.js comes from the network).
"""

from __future__ import annotations

from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parent.parent
KEPT = ("#", "**What will happen?**", "**Exercise ")


def twin(path: Path) -> nbformat.NotebookNode:
    """Return the clean twin of the notebook ``path``."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = "\n\n".join(line for line in cell.source.splitlines() if line.startswith(KEPT))
            cell.metadata["slideshow"] = {"slide_type": "slide"}
        else:
            cell.outputs, cell.execution_count = [], None
    notebook.cells = [cell for cell in notebook.cells if cell.source]
    return notebook


if __name__ == "__main__":
    for lesson in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        out = lesson.with_name(f"clean_{lesson.name}")
        nbformat.write(twin(lesson), out)
        print(out.relative_to(NOTEBOOKS))
