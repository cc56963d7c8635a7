"""The figures of the derivation: planes, steps, and ways down a surface."""

import html
import io
import itertools
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from gravity import kinematics
from gravity.book import dark
from gravity.book.style import STYLES

if TYPE_CHECKING:
    from IPython.display import HTML


def inclined_plane(slope: float) -> Figure:
    """Draw the inclined plane with its two coordinate systems: Fig. 1.

    Both systems start at one point, as Eq. 2 and Eq. 3 take it. The ball lies a unit
    of length from there, and the arrows of the acceleration and of its part along the
    plane are to one scale.

    Args:
        slope: the plane's slope g = dL/dW, of either sign.

    Returns:
        The figure. Its arrows have the names of what they stand for as their `gid`:
        `W`, `L`, `x`, `y`, `a_L` and `a_x`.
    """
    theta = float(kinematics.slope_angle(slope))
    along = np.array([math.cos(theta), math.sin(theta)])
    across = np.array([-math.sin(theta), math.cos(theta)])
    fall = np.array([0.0, -0.5])
    red, blue = STYLES["gravity"]["color"], STYLES["adam"]["color"]
    figure, axis = plt.subplots(figsize=(7, 4.4), layout="tight")
    wedge = [(0.0, 0.0), tuple(1.45 * along), (1.45 * along[0], 0.0)]
    axis.add_patch(mpl.patches.Polygon(wedge, color="#EEEEEE", zorder=0))
    axis.plot(*np.outer(along, [0, 1.45]), color="#777777", linewidth=3)
    _arrow(axis, "W", [0, 0], [1.6, 0], [0.06, 0])
    _arrow(axis, "L", [0, 0], [0, 1.15], [0, 0.06])
    _arrow(axis, "x", [0, 0], 1.6 * along, 0.06 * along, color=blue)
    _arrow(axis, "y", [0, 0], 0.6 * across, 0.06 * across, color=blue)
    ball = along + 0.07 * across
    axis.add_patch(mpl.patches.Circle(tuple(ball), 0.07, color="#E69F00", zorder=1))
    _arrow(axis, "a_L", ball, ball + fall, [0.08, 0], color=red)
    part = ball + (fall @ along) * along
    _arrow(axis, "a_x", ball, part, 0.09 * across, color=red)
    axis.plot(*np.stack([ball + fall, part], axis=1), ":", color=red, linewidth=1.2)
    low, high = sorted([0.0, math.degrees(theta)])
    axis.add_patch(mpl.patches.Arc((0, 0), 0.7, 0.7, theta1=low, theta2=high))
    middle = 0.43 * np.array([math.cos(theta / 2), math.sin(theta / 2)])
    axis.text(middle[0], middle[1], r"$\theta$", fontsize=13, va="center", ha="center")
    axis.set_aspect("equal")
    axis.margins(0.08)
    axis.axis("off")
    return figure


def _arrow(
    axis: plt.Axes,
    name: str,
    start: ArrayLike,
    end: ArrayLike,
    label: ArrayLike,
    color: str = "black",
) -> None:
    tail, tip = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    arrow = axis.annotate(
        "",
        xy=tuple(tip),
        xytext=tuple(tail),
        arrowprops={"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 0},
    )
    arrow.set_gid(name)
    axis.update_datalim([tip, tail])
    x, y = tip + np.asarray(label)
    axis.text(x, y, f"${name}$", color=color, fontsize=13, ha="center", va="center")


def step_functions(
    gradients: ArrayLike,
    *,
    gravity: Sequence[tuple[float, float]] = (),
    descent: Sequence[float] = (),
) -> Figure:
    """Draw steps against the gradient that causes them: Figs. 2 to 5.

    Args:
        gradients: the gradients dL/dW to draw over, increasing.
        gravity: a pair (l, m) of learning rate and max-step gradient for each curve of
            Gravity. A dot marks its longest step on either side. Defaults to none.
        descent: a learning rate for each line of gradient descent. Defaults to none.

    Returns:
        The figure. Where Gravity is in it, lines of gradient descent leave it above
        and below, at two and a half times Gravity's longest step.
    """
    gradients = np.asarray(gradients, dtype=float)
    figure, axis = plt.subplots(figsize=(6.5, 3.8), layout="tight")
    axis.axhline(0, color="#999999", linewidth=0.8, zorder=1)
    axis.axvline(0, color="#999999", linewidth=0.8, zorder=1)
    shown_m = len({m for _, m in gravity}) > 1
    looks = zip(
        ["#D55E00", "#0072B2", "#009E73", "#CC79A7"],
        ["-", "--", "-.", (0, (5, 1, 1, 1, 1, 1))],
        strict=True,
    )
    for (color, dashes), (rate, m) in zip(
        itertools.cycle(looks), gravity, strict=False
    ):
        label = f"Gravity, $l$ = {rate:g}" + (f", $m$ = {m:g}" if shown_m else "")
        steps = np.asarray(kinematics.gravity_step(gradients, rate, m))
        axis.plot(gradients, steps, color=color, linestyle=dashes, label=label)
        peak = float(kinematics.largest_step(rate, m))
        axis.plot([-m, m], [peak, -peak], "o", color=color, markersize=5)
    for number, rate in enumerate(descent):
        axis.plot(
            gradients,
            np.asarray(kinematics.gradient_descent_step(gradients, rate)),
            label=f"Gradient descent, $l$ = {rate:g}",
            linewidth=1.4 + 0.8 * number,
            **STYLES["gradient_descent"],
        )
    if gravity:
        bound = 2.5 * max(float(kinematics.largest_step(*pair)) for pair in gravity)
        axis.set_ylim(-bound, bound)
    axis.set_xlim(gradients[0], gradients[-1])
    axis.set_xlabel("Gradient $g$ = d$L$/d$W$")
    axis.set_ylabel(r"Step $\Delta W$")
    axis.legend(loc="best")
    return figure


def valley(curvatures: Sequence[float], paths: Mapping[str, NDArray[Any]]) -> Figure:
    """Draw what optimizers do in a quadratic valley, seen from above: Fig. 6.

    Args:
        curvatures: the two curvatures c of the loss ½ c₁ W₁² + ½ c₂ W₂².
        paths: the weights after every step, of shape `(steps + 1, 2)`, by the title
            of the panel that they are drawn in.

    Returns:
        The figure, a panel for each path, all over the same part of the valley. The
        start is a white square, the minimum a cross, and darker is higher.
    """
    figure, axes = plt.subplots(
        1, len(paths), figsize=(8, 3.9), sharex=True, sharey=True, layout="tight"
    )
    reach = 1.15 * np.abs(np.concatenate(list(paths.values()))).max(axis=0)
    across, along = (np.linspace(-far, far, 61) for far in reach)
    height = 0.5 * (
        curvatures[0] * across[None, :] ** 2 + curvatures[1] * along[:, None] ** 2
    )
    levels = height.max() * np.linspace(0, 1, 13) ** 2
    for axis, (title, path) in zip(np.atleast_1d(axes), paths.items(), strict=True):
        axis.grid(visible=False)
        _heights(axis, across, along, height, levels, vmax=2 * levels[-1])
        axis.plot(*path.T, "-o", color="black", linewidth=1.2, markersize=4)
        # On a dark page the path is white as well: the shape tells the start from it.
        (start,) = axis.plot(*path[0], "s", zorder=3, color="white", mec="black")
        start.set_gid(dark.KEEP)
        axis.plot(0, 0, "x", color="black", markersize=8, zorder=3)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xlabel("Weight $W_1$")
    np.atleast_1d(axes)[0].set_ylabel("Weight $W_2$")
    return figure


def trajectories(
    loss: Callable[..., Any],
    paths: Mapping[str, NDArray[Any]],
    minimum: tuple[float, float],
    window: tuple[float, float, float, float],
) -> Figure:
    """Draw the ways of several optimizers down one surface, and their losses.

    Args:
        loss: the surface, a function of the two weights, 0 at the minimum.
        paths: the weights before the first and after every update, of shape
            `(updates + 1, 2)`, by the optimizer's title; at most five.
        minimum: where the surface is lowest.
        window: the part to show: least and largest first weight, then second.

    Returns:
        The figure. On the left the surface from above, darker where it is higher,
        with the start as a white dot and the minimum as a star; on the right the loss
        against the number of updates.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
    lines = _paths(left, loss, paths, minimum, window)
    # A line that is asked for its style gives no pattern of dashes back.
    for line, path, dash in zip(lines, paths.values(), _DASHES, strict=False):
        line.set_data(*path.T)
        values = np.asarray(loss(*path.T))
        right.semilogy(values, color=line.get_color(), linestyle=dash)
    right.set_xlabel("Number of updates")
    right.set_ylabel("Loss")
    figure.legend(handles=lines, loc="outside upper center", ncols=len(lines))
    return figure


_DASHES: Any = (":", (0, (5, 1, 1, 1, 1, 1)), "-.", "--", "-")
"""The lines of `_paths`, in its order."""


def _paths(
    axis: plt.Axes,
    loss: Callable[..., Any],
    paths: Mapping[str, NDArray[Any]],
    minimum: tuple[float, float],
    window: tuple[float, float, float, float],
) -> list[Line2D]:
    """Draw a surface and return a line without points for each of several paths."""
    colors = ("#000000", "#CC79A7", "#009E73", "#0072B2", "#D55E00")
    left, right, low, high = window
    across, along = np.linspace(left, right, 121), np.linspace(low, high, 121)
    height = np.asarray(loss(*np.meshgrid(across, along)))
    # Even steps of the fourth root show the narrow floor of a steep valley.
    levels = height.max() * np.linspace(0, 1, 15) ** 4
    axis.grid(visible=False)
    _heights(axis, across, along, height, levels, norm=_faint(levels))
    lines = [
        axis.plot([], [], color=color, linestyle=dash, label=title)[0]
        for title, color, dash in zip(paths, colors, _DASHES, strict=False)
    ]
    start = next(iter(paths.values()))[0]
    (dot,) = axis.plot(*start, "o", zorder=3, color="white", mec="black")
    (star,) = axis.plot(*minimum, "*", markersize=11, color="white", mec="black")
    dot.set_gid(f"{dark.KEEP}-start")
    star.set_gid(f"{dark.KEEP}-minimum")
    axis.axis(window)
    axis.set_xlabel("Weight $W_1$")
    axis.set_ylabel("Weight $W_2$")
    return lines


def _heights(
    axis: plt.Axes,
    across: NDArray[Any],
    along: NDArray[Any],
    height: NDArray[Any],
    levels: NDArray[Any],
    **scale: Any,
) -> None:
    """Draw a surface from above, darker where it is higher, in either scheme."""
    drawn = axis.contourf(across, along, height, levels, cmap="Greys", **scale)
    drawn.set_gid(dark.HEIGHTS)


def _faint(levels: NDArray[Any]) -> mpl.colors.PowerNorm:
    return mpl.colors.PowerNorm(0.25, vmin=0, vmax=16 * levels[-1])


def race(
    loss: Callable[..., Any],
    paths: Mapping[str, NDArray[Any]],
    minimum: tuple[float, float],
    window: tuple[float, float, float, float],
    alt: str,
    frames: int = 26,
) -> "HTML":
    """Return the left panel of `trajectories` as an animation with a play button.

    Everything is in the text itself, so it plays without network. It doesn't play of
    its own accord: at first it shows the end.

    Args:
        loss, paths, minimum, window: as in `trajectories`.
        alt: what is to be seen, for those who don't see it.
        frames: number of pictures that it plays. Defaults to 26.
    """
    from IPython.display import HTML

    # At 72 dots per inch a dot is a unit of the SVG.
    figure, axis = plt.subplots(figsize=(5.5, 3.9), dpi=72, layout="constrained")
    lines = _paths(axis, loss, paths, minimum, window)
    for number, (line, path) in enumerate(zip(lines, paths.values(), strict=True)):
        line.set(data=path.T, gid=f"path-{number}")
        axis.plot(*path[-1], "o", color=line.get_color(), gid=f"dot-{number}")
    axis.legend(fontsize=8, loc="lower left", frameon=True)
    light = io.StringIO()
    # `savefig.bbox` would cut the margins and so move the coordinates.
    with mpl.rc_context({"savefig.bbox": "standard"}):
        figure.savefig(light, format="svg")
    places = [axis.transData.transform(path) for path in paths.values()]
    height = figure.bbox.height
    plt.close(figure)
    points = [
        [[round(x, 1), round(height - y, 1)] for x, y in place.tolist()]
        for place in places
    ]
    updates = len(points[0]) - 1
    return HTML(
        _RACE.format(
            name=f"race-{zlib.crc32(alt.encode()):x}",
            alt=html.escape(alt),
            light=_inline(light.getvalue(), "light"),
            # Whoever has no style sheet of the book's sees the light version only.
            dark=_inline(dark.twin(light.getvalue()), "dark", "display: none"),
            points=json.dumps(points, separators=(",", ":")),
            updates=updates,
            pace=max(1, round(updates / (frames - 1))),
        )
    )


def _inline(svg: str, scheme: str, style: str = "") -> str:
    """Return a drawing as part of a page, with names that only it has."""
    drawing = svg[svg.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    # A style sheet in the page would be the whole page's.
    drawing = drawing.replace('type="text/css">*', 'type="text/css">.gravity-race *')
    drawing = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{scheme}-", drawing)
    return drawing.replace("<svg", f'<svg class="gravity-{scheme}" style="{style}"', 1)


_RACE = """\
<div id="{name}" class="gravity-race">
<div role="img" aria-label="{alt}">{light}{dark}</div>
<button type="button" aria-label="Play or pause">▶</button>
<input type="range" min="0" max="{updates}" value="{updates}" aria-label="Updates made">
<output>{updates} updates</output>
<script>
(() => {{
  const race = document.getElementById("{name}"), points = {points}
  const [button, slider, output] = race.querySelectorAll("button, input, output")
  let timer = null
  const show = () => {{
    const made = Number(slider.value)
    output.textContent = made + " updates"
    for (const svg of race.querySelectorAll("svg"))
      points.forEach((path, number) => {{
        const part = (name) => svg.querySelector(`[id$="-${{name}}-${{number}}"]`)
        const way = "M" + path.slice(0, made + 1).join("L")
        part("path").querySelector("path").setAttribute("d", way)
        const dot = part("dot").querySelector("use")
        dot.setAttribute("x", path[made][0])
        dot.setAttribute("y", path[made][1])
      }})
  }}
  const stop = () => {{ clearInterval(timer); timer = null; button.textContent = "▶" }}
  slider.oninput = () => {{ stop(); show() }}
  button.onclick = () => {{
    if (timer) return stop()
    if (slider.value == slider.max) slider.value = 0
    button.textContent = "❚❚"
    timer = setInterval(() => {{
      slider.value = Number(slider.value) + {pace}
      show()
      if (slider.value == slider.max) stop()
    }}, 125)
  }}
}})()
</script>
</div>
"""
