"""Draw the packages and their imports: ``python -m docs.architecture`` writes docs/images/architecture.svg.

Arrows point to imported packages; an arrow is left out if other arrows imply it. A test fails if the drawing is
out of date.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "amkd_viz"
OUT = ROOT / "docs/images/architecture.svg"
ABOUT = {  # from the top of the house to the ground
    "commands": "the command line",
    "playground": "one page that trains in a browser",
    "panels": "widgets in JupyterLab",
    "experiments": "runs and one view each",
    "views": "figures with their numbers",
    "runs": "run folders, jobs, races",
    "training": "recipe, loop, evaluation",
    "objectives": "step, terms, methods",
    "boundary": "attacks, refinement",
    "models": "nets, wrapping, weights",
    "data": "splits, loader, augmentation",
    "core": "errors, files, fields, RNGs",
}
WIDTH, HEIGHT, GAP = 640, 50, 26
INK, LINE = "#737b8a", "#5790fc"  # legible on light and dark backgrounds


def imports() -> dict[str, set[str]]:
    """Return package -> packages that its files import."""
    found: dict[str, set[str]] = {name: set() for name in ABOUT}
    for name in ABOUT:
        for file in (PACKAGE / name).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("amkd_viz."):
                    found[name].add(node.module.split(".")[1])
        found[name] &= set(ABOUT) - {name}
    return found


def direct(imported: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return package -> imported packages, without those that another import implies."""

    def below(name: str) -> set[str]:
        return set().union(*({n} | below(n) for n in imported[name]))

    return {a: {b for b in imported[a] if not any(b in below(c) for c in imported[a] - {b})} for a in imported}


def picture() -> str:
    """Return the drawing as SVG."""
    found, order = imports(), list(ABOUT)
    top = {name: 10 + row * (HEIGHT + GAP) for row, name in enumerate(order)}
    height, edges = top[order[-1]] + HEIGHT + 10, direct(found)
    size = f'viewBox="0 0 {WIDTH + 20} {height}" font-family="sans-serif"'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>']
    out.append('<marker id="to" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">')
    out.append(f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker>')
    for name, about in ABOUT.items():
        y = top[name]
        names = ", ".join(other for other in order if other in found[name]) or "nothing"
        out.append(f'<rect x="10" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="none" stroke="{INK}"/>')
        out.append(f'<text x="26" y="{y + 30}" font-size="16" font-weight="bold" fill="{INK}">{name}</text>')
        out.append(f'<text x="140" y="{y + 22}" font-size="14" fill="{INK}">{about}</text>')
        out.append(f'<text x="140" y="{y + 40}" font-size="11" fill="{INK}">imports {names}</text>')
        for other in sorted(edges[name]):
            over = order.index(other) - order.index(name) - 1
            x = 540 + 40 * over if over else 82  # past other packages at the right, where they have no words
            way = f"M{x} {y + HEIGHT} V{top[other]}"
            out.append(f'<path d="{way}" fill="none" stroke="{LINE}" stroke-width="1.6" marker-end="url(#to)"/>')
    return "\n".join([*out, "</svg>"]) + "\n"


if __name__ == "__main__":
    OUT.write_text(picture(), encoding="utf-8")
    print(OUT.relative_to(ROOT))
