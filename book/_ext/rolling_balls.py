"""The directive `rolling-balls`: the front page's moving picture, computed here.

Balls let go at one moment from one point, on planes of different slopes, lie on a
circle at every later moment. How far sideways each has got is Gravity's step.
"""

import math

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gravity import kinematics

SLOPES = (0.15, 0.35, 0.6, 1.0, 1.7, 3.0, 6.0, math.inf)
"""The planes; the last one is a wall."""

DIAMETER = 230
"""Of the circle on which the balls lie in the end, in units of the picture."""

START = (30, 26)
"""Where the balls are let go."""

ORIGIN = (46, 252)
"""Of the axes in the right panel."""

PER_SLOPE, PER_STEP = 44, 1.6
"""Units of the picture for one unit of slope and for one unit moved sideways."""

FIGURE = """\
<figure class="gravity-balls">
<div>
<svg viewBox="0 0 340 278" role="img" aria-label="{left_alt}">{left}</svg>
<svg viewBox="0 0 340 278" role="img" aria-label="{right_alt}">{right}</svg>
</div>
<figcaption>{caption}
<button type="button" class="gravity-replay" onclick="{replay}">Let go again</button>
</figcaption>
</figure>
"""
LEFT_ALT = (
    "Eight balls, let go together on planes of eight slopes, lie on a half circle "
    "below the point where they started. The one on the plane of 45 degrees is "
    "furthest to the side; the one at the wall is straight below the start."
)
RIGHT_ALT = (
    "How far to the side each ball got, against the slope of its plane: the curve "
    "rises to its highest point at slope 1 and falls slowly from there. A dotted "
    "straight line for gradient descent leaves the picture."
)
CAPTION = (
    "Balls let go together, one on each slope, lie on a circle a moment later. "
    "On a slope of 45° a ball gets furthest to the side, at the wall it falls straight "
    "down. How far each got is the step that Gravity takes."
)
REPLAY = (
    "this.closest('figure').getAnimations({subtree: true})"
    ".forEach(each => {each.currentTime = 0; each.play()})"
)


def offset(slope: float) -> tuple[float, float]:
    """Return how far to the side and down a ball has got in the end."""
    if math.isinf(slope):
        return 0.0, float(DIAMETER)
    aside = -float(kinematics.gravity_step(slope, DIAMETER))
    return aside, slope * aside


def circle(x: float, y: float, dx: float, dy: float, slope: float) -> str:
    """Return a ball that rolls from (x, y) to (x + dx, y + dy)."""
    kind = "ball best" if slope == 1 else "ball"
    return (
        f'<circle class="{kind}" cx="{x + dx:.2f}" cy="{y + dy:.2f}" r="7" '
        f'style="--x: {-dx:.2f}px; --y: {-dy:.2f}px"/>'
    )


def left_panel() -> str:
    """Return the planes, and the balls on them."""
    x, y = START
    planes, balls = [], []
    for slope in SLOPES:
        angle = math.atan(slope)
        # As long as the picture is high or wide.
        far = min(246 / max(math.sin(angle), 1e-9), 296 / max(math.cos(angle), 1e-9))
        end = (x + far * math.cos(angle), y + far * math.sin(angle))
        planes.append(
            f'<line class="plane" x1="{x}" y1="{y}" '
            f'x2="{end[0]:.2f}" y2="{end[1]:.2f}"/>'
        )
        balls.append(circle(x, y, *offset(slope), slope))
    radius = DIAMETER / 2
    arc = (
        f'<path class="arc" style="transform-origin: {x}px {y}px" '
        f'd="M {x} {y} A {radius} {radius} 0 0 1 {x} {y + DIAMETER}"/>'
    )
    return "".join([*planes, arc, *balls])


def right_panel() -> str:
    """Return the axes, the two curves, and the balls' ways to the side."""
    x, y = ORIGIN
    slopes = [number / 20 for number in range(131)]
    points = " ".join(
        f"{x + PER_SLOPE * slope:.1f},{y - PER_STEP * offset(slope)[0]:.1f}"
        for slope in slopes
    )
    highest = 226
    steepest = highest / PER_STEP / DIAMETER
    balls = "".join(
        circle(x + PER_SLOPE * slope, y, 0, -PER_STEP * offset(slope)[0], slope)
        for slope in SLOPES[:-1]
    )
    return (
        f'<path class="axis" d="M {x} {y - highest} V {y} H {x + 290}"/>'
        f'<line class="descent" x1="{x}" y1="{y}" '
        f'x2="{x + PER_SLOPE * steepest:.1f}" y2="{y - highest}"/>'
        f'<polyline class="curve" points="{points}"/>{balls}'
        f'<text x="{x + 290}" y="{y + 20}" text-anchor="end">slope</text>'
        f'<text transform="translate({x - 14} {y}) rotate(-90)">'
        "distance to the side</text>"
        f'<text x="{x + 38}" y="{y - highest + 10}">gradient descent</text>'
        f'<text class="best" x="{x + 150}" y="{y - 118}">Gravity</text>'
    )


class RollingBalls(SphinxDirective):
    """Shows the moving picture. It moves once, for less than five seconds."""

    def run(self) -> list[nodes.Node]:
        figure = FIGURE.format(
            left=left_panel(),
            right=right_panel(),
            left_alt=LEFT_ALT,
            right_alt=RIGHT_ALT,
            caption=CAPTION,
            replay=REPLAY,
        )
        return [nodes.raw("", figure, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("rolling-balls", RollingBalls)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
