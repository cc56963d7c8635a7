"""The figures that several chapters share."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gravity.datasets import DATASETS
from gravity.experiment import TITLES
from gravity.runs import Run, in_order

if TYPE_CHECKING:
    from IPython.display import HTML

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
    for line, path in zip(lines, paths.values(), strict=True):
        line.set_data(*path.T)
        values = np.asarray(loss(*path.T))
        right.semilogy(values, color=line.get_color(), linestyle=line.get_linestyle())
    right.set_xlabel("Number of updates")
    right.set_ylabel("Loss")
    figure.legend(handles=lines, loc="outside upper center", ncols=len(lines))
    return figure


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
    its own accord.

    Args:
        loss, paths, minimum, window: as in `trajectories`.
        alt: what is to be seen, for those who don't see it.
        frames: number of pictures. Defaults to 26.
    """
    from IPython.display import HTML

    figure, axis = plt.subplots(figsize=(4.6, 3.2), dpi=80, layout="constrained")
    lines = _paths(axis, loss, paths, minimum, window)
    for line in lines:
        line.set(marker="o", markevery=[-1], markersize=5)
    axis.legend(fontsize=7, loc="lower left", frameon=True)
    updates = len(next(iter(paths.values()))) - 1

    def draw(number: int) -> list[Line2D]:
        shown = round(number * updates / (frames - 1))
        for line, path in zip(lines, paths.values(), strict=True):
            line.set_data(*path[: shown + 1].T)
        axis.set_title(f"{shown} updates", fontsize=10)
        return lines

    # `savefig.bbox` would make frames of different sizes.
    with mpl.rc_context({"savefig.bbox": "standard"}):
        animation = FuncAnimation(figure, draw, frames)
        text = animation.to_jshtml(fps=8, default_mode="once")
    plt.close(figure)
    # Matplotlib takes the signs on its buttons from the network.
    head, _, rest = text.partition("<link")
    text = head + _SIGNS + rest.partition(">")[2]
    image = '<img id="_anim_img'
    return HTML(text.replace(image, f'<img alt="{html.escape(alt)}" id="_anim_img', 1))


_SIGNS = """<style>
.animation .fa { font-family: inherit; font-style: normal; display: inline-block; }
.animation .fa-minus::before { content: "−"; }
.animation .fa-plus::before { content: "+"; }
.animation .fa-play::before { content: "▶"; }
.animation .fa-flip-horizontal { transform: scaleX(-1); }
.animation .fa-pause::before { content: "II"; }
.animation .fa-fast-backward::before { content: "«"; }
.animation .fa-step-backward::before { content: "‹"; }
.animation .fa-step-forward::before { content: "›"; }
.animation .fa-fast-forward::before { content: "»"; }
</style>"""


def _paths(
    axis: plt.Axes,
    loss: Callable[..., Any],
    paths: Mapping[str, NDArray[Any]],
    minimum: tuple[float, float],
    window: tuple[float, float, float, float],
) -> list[Line2D]:
    """Draw a surface and return a line without points for each of several paths."""
    colors = ("#000000", "#CC79A7", "#009E73", "#0072B2", "#D55E00")
    dashes = (":", (0, (5, 1, 1, 1, 1, 1)), "-.", "--", "-")
    left, right, low, high = window
    across, along = np.linspace(left, right, 121), np.linspace(low, high, 121)
    height = np.asarray(loss(*np.meshgrid(across, along)))
    # Even steps of the fourth root show the narrow floor of a steep valley.
    levels = height.max() * np.linspace(0, 1, 15) ** 4
    axis.grid(visible=False)
    axis.contourf(across, along, height, levels, cmap="Greys", norm=_faint(levels))
    lines = [
        axis.plot([], [], color=color, linestyle=dash, label=title)[0]
        for title, color, dash in zip(paths, colors, dashes, strict=False)
    ]
    start = next(iter(paths.values()))[0]
    axis.plot(*start, "o", color="white", markeredgecolor="black", zorder=3)
    axis.plot(*minimum, "*", color="white", markeredgecolor="black", markersize=11)
    axis.axis(window)
    axis.set_xlabel("Weight $W_1$")
    axis.set_ylabel("Weight $W_2$")
    return lines


def _faint(levels: NDArray[Any]) -> mpl.colors.PowerNorm:
    return mpl.colors.PowerNorm(0.25, vmin=0, vmax=16 * levels[-1])


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
