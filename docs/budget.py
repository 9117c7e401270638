"""Draw the budget of a step: ``python -m docs.budget`` reads benchmarks/results/budget.json."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
WIDTH, LEFT, BAR, GAP, TOP = 820, 150, 34, 26, 74
INK = "#737b8a"  # legible on light and dark backgrounds
COLOURS = {  # a part has the same colour in every bar
    "attack": "#e42536",
    "all else": "#9c9ca1",
    "teacher, clean batch": "#f89c20",
    "student, clean batch": "#5790fc",
    "student, boundary samples": "#7a21dd",
    "losses": "#b9ac70",
    "backward": "#964a8b",
    "update": "#717581",
}


def picture(shares: dict[str, dict[str, float]]) -> str:
    """Return an SVG of stacked bars; ``shares`` are fractions of the published step, by bar and part."""
    scale = (WIDTH - LEFT - 70) / max(1.0, *(sum(parts.values()) for parts in shares.values()))
    shown = list(dict.fromkeys(part for parts in shares.values() for part in parts if parts[part] >= 0.005))
    height = TOP + len(shares) * (BAR + GAP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">']
    x, y = LEFT, 14
    for part in shown:
        wide = 24 + 6.6 * len(part)
        if x + wide > WIDTH:
            x, y = LEFT, y + 22
        out.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{COLOURS[part]}"/>')
        out.append(f'<text x="{x + 17}" y="{y}" font-size="12" fill="{INK}">{escape(part)}</text>')
        x += wide
    for row, (name, parts) in enumerate(shares.items()):
        top, at = TOP + row * (BAR + GAP), float(LEFT)
        out.append(
            f'<text x="{LEFT - 10}" y="{top + 22}" font-size="13" text-anchor="end" fill="{INK}">{escape(name)}</text>'
        )
        for part, share in parts.items():
            wide = share * scale
            out.append(
                f'<rect x="{at:.1f}" y="{top}" width="{max(0.0, wide - 1):.1f}" height="{BAR}" fill="{COLOURS[part]}">'
                f"<title>{escape(part)}: {100 * share:.0f} % of the published step</title></rect>"
            )
            if wide > 34:
                out.append(
                    f'<text x="{at + wide / 2:.1f}" y="{top + 22}" font-size="12" text-anchor="middle" '
                    f'fill="#fff">{100 * share:.0f} %</text>'
                )
            at += wide
        whole = f"{sum(parts.values()):.2f}"
        out.append(f'<text x="{at + 8:.1f}" y="{top + 22}" font-size="13" fill="{INK}">{whole}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def main() -> None:
    found = json.loads((ROOT / "benchmarks/results/budget.json").read_text())
    (ROOT / "docs/images/budget.svg").write_text(picture(found["share of the published step"]))


if __name__ == "__main__":
    main()
