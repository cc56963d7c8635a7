"""The figures that several chapters share."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from gravity.datasets import DATASETS
from gravity.experiment import TITLES
from gravity.runs import Run, in_order

# Okabe and Ito's colours, safe for colour-blind readers; the dashes tell the lines
# apart in greyscale.
STYLES: Mapping[str, Mapping[str, Any]] = {
    "gravity": {"color": "#D55E00", "linestyle": "-"},
    "adam": {"color": "#0072B2", "linestyle": "--"},
    "rmsprop": {"color": "#009E73", "linestyle": "-."},
}
"""How each optimizer is drawn, in every chapter."""

COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2")
"""Okabe and Ito's colours but for their yellow, for other curves than optimizers'."""

PANELS: Mapping[str, str] = {
    "loss": "Training loss",
    "accuracy": "Training accuracy (%)",
    "val_loss": "Test loss",
    "val_accuracy": "Test accuracy (%)",
}
"""The panels (a) to (d) of Figs. 10 to 19, with their axis labels."""


def set_style() -> None:
    """Make figures of this session SVG, with the book's sizes and spines."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("svg")
    mpl.rcParams.update(
        {
            "figure.facecolor": "white",
            "figure.dpi": 100,
            "savefig.bbox": "tight",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "svg.hashsalt": "gravity",
        }
    )


def training_curves(runs: Sequence[Run]) -> Figure:
    """Draw the four panels of Figs. 10 to 19 against epochs.

    Args:
        runs: the runs to show. Several seeds of an optimizer are drawn as thin lines
            around their mean. Without a run the panels say so.

    Returns:
        The figure: training loss and accuracy above, test loss and accuracy below.
    """
    runs = in_order(runs)
    figure, axes = plt.subplots(2, 2, figsize=(8, 5.6), sharex=True, layout="tight")
    for letter, axis, (metric, label) in zip(
        "abcd", axes.flat, PANELS.items(), strict=True
    ):
        axis.set_ylabel(label)
        axis.set_title(f"({letter})", loc="left", fontsize=10)
        if not runs:
            axis.text(0.5, 0.5, "no run stored", ha="center", transform=axis.transAxes)
        for optimizer in dict.fromkeys(run.experiment.optimizer for run in runs):
            histories = [
                run.history[metric]
                for run in runs
                if run.experiment.optimizer == optimizer
            ]
            _curve(axis, histories, optimizer, percent=label.endswith("(%)"))
        if label.endswith("(%)"):
            axis.set_ylim(bottom=0)
    for axis in axes[1]:
        axis.set_xlabel("Epoch")
        axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    if runs:
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(handles))
    return figure


def sensitivity(runs: Sequence[Run], arguments: Mapping[str, str]) -> Figure:
    """Draw the last training loss against the argument that was tried.

    Args:
        runs: at least one run of each optimizer in `arguments`, of one dataset.
        arguments: for each optimizer, the argument that differs between its runs.

    Returns:
        The figure: a panel for each optimizer, with ln C, the loss of guessing among
        C classes, as a dashed line.
    """
    figure, axes = plt.subplots(
        1, len(arguments), figsize=(8, 2.8), sharey=True, layout="tight"
    )
    for axis, (optimizer, argument) in zip(
        np.atleast_1d(axes), arguments.items(), strict=True
    ):
        points = sorted(
            (run.experiment.arguments[argument], run.history["loss"][-1])
            for run in runs
            if run.experiment.optimizer == optimizer
        )
        guessing = math.log(DATASETS[runs[0].experiment.dataset].classes)
        axis.axhline(guessing, color="#666666", linestyle="--", linewidth=1)
        color = STYLES[optimizer]["color"]
        axis.semilogx(*zip(*points, strict=True), marker="o", color=color)
        axis.set_title(TITLES[optimizer], loc="left", fontsize=10)
        axis.set_xlabel(argument.replace("_", " "))
    np.atleast_1d(axes)[0].set_ylabel("Final training loss")
    return figure


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


def _curve(
    axis: plt.Axes, histories: Sequence[Sequence[float]], optimizer: str, percent: bool
) -> None:
    scale = 100 if percent else 1
    epochs = range(1, len(histories[0]) + 1)
    mean = [
        scale * sum(values) / len(values) for values in zip(*histories, strict=True)
    ]
    axis.plot(epochs, mean, label=TITLES[optimizer], **STYLES[optimizer])
    if len(histories) > 1:
        for history in histories:
            axis.plot(
                epochs,
                [scale * value for value in history],
                color=STYLES[optimizer]["color"],
                linewidth=0.7,
                alpha=0.5,
            )
