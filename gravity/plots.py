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
from gravity.runs import History, Run, in_order

# Okabe and Ito's colours, safe for colour-blind readers; the dashes tell the lines
# apart in greyscale.
STYLES: Mapping[str, Mapping[str, Any]] = {
    "gravity": {"color": "#D55E00", "linestyle": "-"},
    "adam": {"color": "#0072B2", "linestyle": "--"},
    "rmsprop": {"color": "#009E73", "linestyle": "-."},
}
"""How each optimizer is drawn, in every chapter."""

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
    histories: dict[str, list[History]] = {}
    for run in in_order(runs):
        histories.setdefault(run.experiment.optimizer, []).append(run.history)
    return _four_panels(histories, "Runs of this book")


def published_curves(histories: Mapping[str, History]) -> Figure:
    """Draw the authors' histories as the paper's Figs. 10 to 19 do.

    Args:
        histories: one for each optimizer. Without one the panels say so.

    Returns:
        The figure, as `training_curves`, on a grey ground to be told apart from it.
    """
    figure = _four_panels(
        {name: [history] for name, history in histories.items()}, "The authors' runs"
    )
    for axis in figure.axes:
        axis.set_facecolor("#F0F0F0")
    return figure


def _four_panels(histories: Mapping[str, Sequence[History]], title: str) -> Figure:
    figure, axes = plt.subplots(
        2, 2, figsize=(8, 5.6), sharex=True, layout="constrained"
    )
    for letter, axis, (metric, label) in zip(
        "abcd", axes.flat, PANELS.items(), strict=True
    ):
        percent = label.endswith("(%)")
        axis.set_ylabel(label)
        axis.set_title(f"({letter})", loc="left", fontsize=10)
        axis.ticklabel_format(axis="y", useOffset=False)
        if not histories:
            axis.text(0.5, 0.5, "no run stored", ha="center", transform=axis.transAxes)
        for optimizer, each in histories.items():
            _curve(axis, [history[metric] for history in each], optimizer, percent)
        if percent:
            axis.set_ylim(bottom=0)
    for axis in axes[1]:
        axis.set_xlabel("Epoch")
        axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    if histories:
        if max(len(one["loss"]) for each in histories.values() for one in each) == 1:
            axes[0, 0].set_xlim(0, 2)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            title=title,
            loc="outside upper center",
            ncols=len(handles),
        )
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
        1, len(arguments), figsize=(8, 2.8), sharey=True, layout="constrained"
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
        axis.loglog(*zip(*points, strict=True), marker="o", color=color)
        axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        axis.set_xticks([value for value, _ in points[::2]])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_title(TITLES[optimizer], loc="left", fontsize=10)
        axis.set_xlabel(argument.replace("_", " "))
    np.atleast_1d(axes)[0].set_ylabel("Final training loss")
    return figure


def _curve(
    axis: plt.Axes, histories: Sequence[Sequence[float]], optimizer: str, percent: bool
) -> None:
    scale = 100 if percent else 1
    epochs = range(1, len(histories[0]) + 1)
    mean = [
        scale * sum(values) / len(values) for values in zip(*histories, strict=True)
    ]
    # One epoch makes no line.
    marker = "o" if len(mean) == 1 else None
    axis.plot(epochs, mean, label=TITLES[optimizer], marker=marker, **STYLES[optimizer])
    if len(histories) > 1:
        for history in histories:
            axis.plot(
                epochs,
                [scale * value for value in history],
                color=STYLES[optimizer]["color"],
                linewidth=0.7,
                alpha=0.5,
            )
