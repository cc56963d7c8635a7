"""Draws the book's logo and favicon: a ball on a slope of 45°, and the circle.

`--check` writes nothing and fails where a file isn't what it would be drawn.
"""

import argparse
import sys
from pathlib import Path

STATIC = Path(__file__).resolve().parent / "_static"

# Okabe and Ito's vermilion and blue; the blue is lightened on a dark ground.
DRAWING = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">
<path fill="none" stroke="{arc}" stroke-width="3" stroke-dasharray="4 4.3" \
d="M 10 8 A {radius} {radius} 0 0 1 10 {bottom}"/>
<path fill="none" stroke="{plane}" stroke-width="4" stroke-linecap="round" \
d="M 10 8 L 58 56"/>
<circle cx="{ball}" cy="{height}" r="9" fill="#D55E00"/>
</svg>
"""
FILES = {
    "logo.svg": {"plane": "#0072B2", "arc": "#666666"},
    "logo-dark.svg": {"plane": "#56B4E9", "arc": "#999999"},
    "favicon.svg": {"plane": "#0072B2", "arc": "#999999"},
}


def draw(plane: str, arc: str) -> str:
    """Return the drawing in two colours."""
    radius = 24
    # On a slope of 45° the ball is as far to the side as it is below the start.
    return DRAWING.format(
        plane=plane,
        arc=arc,
        radius=radius,
        bottom=8 + 2 * radius,
        ball=10 + radius,
        height=8 + radius,
    )


def main() -> int:
    """Write the files, or compare them; 1 if a comparison found a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = [
        (STATIC / name, draw(**colors))
        for name, colors in FILES.items()
        if not (STATIC / name).exists() or (STATIC / name).read_text() != draw(**colors)
    ]
    for path, text in stale:
        if not check:
            path.write_text(text)
        print(f"{'stale' if check else 'drawn'}: {path.name}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
