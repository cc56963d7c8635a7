"""How figures look in every chapter."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from gravity.experiments.optimizers import OPTIMIZERS

STYLES: Mapping[str, Mapping[str, Any]] = {
    **{name: each.style for name, each in OPTIMIZERS.items()},
    "gradient_descent": {"color": "#000000", "linestyle": ":"},
}
"""How each optimizer is drawn, in every chapter."""

MARKERS: Mapping[str, str] = {name: each.marker for name, each in OPTIMIZERS.items()}
"""The markers of single numbers, by optimizer."""

COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2")
"""Okabe and Ito's colours but for their yellow, for other curves than optimizers'."""


def use() -> None:
    """Make figures of this session SVG, with the book's sizes and spines."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("svg")
    mpl.rcParams.update(
        {
            "figure.facecolor": "white",
            "figure.dpi": 100,
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            # The strongest first.
            "axes.prop_cycle": plt.cycler(color=[*COLORS[:2:-1], *COLORS[2:0:-1]]),
            "axes.axisbelow": True,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "svg.hashsalt": "gravity",
        }
    )


def framework_styles(count: int) -> list[dict[str, Any]]:
    """Return how to draw curves that lie on each other, so that all are seen.

    Args:
        count: how many, 7 at most.

    Returns:
        Keyword arguments for each curve, in the order of drawing: wide and solid
        first, narrow last, every other one dashed.
    """
    return [
        {
            "color": color,
            "linewidth": 1.5 * (count - place),
            "linestyle": "--" if place % 2 else "-",
        }
        for place, color in enumerate(COLORS[:count])
    ]
