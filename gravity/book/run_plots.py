"""The figures of runs: training curves, comparisons, findings."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gravity.book import dark
from gravity.book.style import COLORS, MARKERS, STYLES
from gravity.evidence import first_epochs as first_epochs_
from gravity.experiments import models
from gravity.experiments.datasets import DATASETS
from gravity.experiments.optimizers import TITLES
from gravity.experiments.runs import History, Run, by_optimizer

if TYPE_CHECKING:
    from gravity.evidence.findings import Finding


PANELS: Mapping[str, str] = {
    "loss": "Training loss",
    "accuracy": "Training accuracy (%)",
    "val_loss": "Test loss",
    "val_accuracy": "Test accuracy (%)",
}
"""The panels (a) to (d) of Figs. 10 to 19, with their axis labels."""


def training_curves(runs: Sequence[Run]) -> Figure:
    """Draw the four panels of Figs. 10 to 19 against epochs.

    Args:
        runs: the runs to show. Several seeds of an optimizer are drawn as thin lines
            around their mean. Without a run the figure says so.

    Returns:
        The figure: training loss and accuracy above, test loss and accuracy below.
    """
    return _four_panels(by_optimizer(runs), "Runs of this book")


def _four_panels(histories: Mapping[str, Sequence[History]], title: str) -> Figure:
    if not histories:
        return _none_here(title)
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
        for optimizer, each in histories.items():
            _curve(axis, [history[metric] for history in each], optimizer, percent)
        # From 0 on, curves that all are near 100 % would be a single line.
        if percent and axis.dataLim.ymin < 50:
            axis.set_ylim(bottom=0)
    for axis in axes[1]:
        axis.set_xlabel("Epoch")
        axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    if max(len(one["loss"]) for each in histories.values() for one in each) == 1:
        axes[0, 0].set_xlim(0, 2)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    # At the left, where a phone shows it: there the figure is wider than the page.
    figure.legend(
        handles, labels, title=title, loc="outside upper left", ncols=len(handles)
    )
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


def compared_curves(
    authors: Mapping[str, History], runs: Sequence[Run], begun: Sequence[Run] = ()
) -> Figure:
    """Draw the authors' histories, as the paper's Figs. 10 to 19 do, and ours beside.

    Args:
        authors: one history for each optimizer, 100 epochs long.
        runs: ours at another scale. Without one the authors' curves stand alone.
        begun: ours at the paper's scale, one epoch each. Defaults to none.

    Returns:
        The figure, a row for each of `PANELS`. On the left, on a grey ground, the
        authors' curves, with our first epochs as markers; on the right our runs.
        Accuracies share their axis.
    """
    ours = by_optimizer(runs)
    columns = 2 if ours else 1
    figure, axes = plt.subplots(
        4, columns, figsize=(4 * columns, 8.8), layout="constrained", squeeze=False
    )
    for row, (letter, (metric, label)) in enumerate(
        zip("abcd", PANELS.items(), strict=True)
    ):
        percent = label.endswith("(%)")
        left, *right = axes[row]
        left.set_facecolor("#F0F0F0")
        left.set_title(f"({letter})", loc="left", fontsize=10)
        left.set_ylabel(label)
        for optimizer, history in authors.items():
            _curve(left, [history[metric]], optimizer, percent)
        for run in begun:
            name = run.experiment.optimizer
            left.plot(
                1,
                run.history[metric][0] * (100 if percent else 1),
                MARKERS[name],
                color=STYLES[name]["color"],
                markeredgecolor="white",
                markersize=8,
                zorder=3,
            )
        for axis in right:
            for optimizer, each in ours.items():
                _curve(axis, [history[metric] for history in each], optimizer, percent)
            axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        for axis in axes[row]:
            axis.ticklabel_format(axis="y", useOffset=False)
        if percent:
            lows, highs = zip(*(axis.get_ylim() for axis in axes[row]), strict=True)
            # From 0 on, curves that all are near 100 % would be a single line.
            low = min(lows) if min(lows) > 50 else 0
            for axis in axes[row]:
                axis.set_ylim(low, max(highs))
    titles = ["The authors' runs"]
    if ours:
        titles.append(f"Runs of this book, width {_widths(runs)}")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.annotate(
            title,
            (0.5, 1),
            (0, 18),
            xycoords="axes fraction",
            ha="center",
            textcoords="offset points",
        )
    for axis in axes[3]:
        axis.set_xlabel("Epoch")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if begun:
        handles.append(
            Line2D([], [], color="#666666", marker="o", linestyle="", markersize=8)
        )
        labels.append("our first epoch at the paper's scale")
    figure.legend(handles, labels, loc="outside upper left", ncols=len(handles))
    return figure


def _widths(runs: Sequence[Run]) -> str:
    return ", ".join(
        f"{width:g}" for width in sorted({r.experiment.width for r in runs})
    )


def by_pair(
    panels: Mapping[str, Mapping[tuple[str, str, str], float]],
    *,
    log: bool = False,
    line: float | None = None,
) -> Figure:
    """Draw one number for each dataset, network and optimizer: a row for each pair.

    Args:
        panels: for each panel its axis label and the numbers by dataset, architecture
            and optimizer. Without a number the figure says so.
        log: whether the axes are logarithmic. Defaults to `False`.
        line: where a dashed line goes down each panel. Defaults to none.

    Returns:
        The figure: a column of points for each panel, the pairs from top to bottom in
        the order that the first panel has them.
    """
    numbers = next(iter(panels.values()))
    if not numbers:
        return _none_here("The authors' runs")
    pairs = list(dict.fromkeys(key[:2] for key in numbers))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(8, 4), sharey=True, layout="constrained", squeeze=False
    )
    for axis, (label, values) in zip(axes[0], panels.items(), strict=True):
        for name in dict.fromkeys(key[2] for key in values):
            own = {
                pairs.index(key[:2]): v for key, v in values.items() if key[2] == name
            }
            axis.plot(
                list(own.values()),
                list(own),
                MARKERS[name],
                color=STYLES[name]["color"],
                fillstyle="full" if name == "gravity" else "none",
                markersize=7,
                label=TITLES[name],
            )
        if line is not None:
            axis.axvline(line, color="#666666", linestyle="--", linewidth=1)
        axis.set_xscale("log" if log else "linear")
        axis.set_xlabel(label)
    axes[0, 0].set_yticks(
        range(len(pairs)),
        [f"{DATASETS[one].real_title} × {models.TITLES[two]}" for one, two in pairs],
    )
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(handles))
    return figure


def first_epochs(pairs: Sequence[first_epochs_.Pair]) -> Figure:
    """Draw our first epochs against the authors' first epochs, a point for each run.

    Args:
        pairs: of `gravity.evidence.first_epochs.pairs`, at least one.

    Returns:
        The figure: on the left the training loss as a share of ln C, on the right the
        test accuracy. On the dashed line both are equal, within the grey band they
        agree. Filled markers are VGG16, hollow ones VGG19; a ring marks the
        mislabelled run.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.6), layout="constrained")
    margins = first_epochs_.LOSS_SHARE, first_epochs_.ACCURACY_RATIO
    line = np.geomspace(0.01, 1.2, 200)
    bands = (
        (line - margins[0], line + margins[0]),
        (line / margins[1], line * margins[1]),
    )
    labels = ("Training loss / ln C", "Test accuracy (%)")
    for axis, label, (low, high), scale in zip(
        axes, labels, bands, (1, 100), strict=True
    ):
        axis.fill_between(scale * line, scale * low, scale * high, color="#E8E8E8")
        axis.plot(scale * line, scale * line, color="#666666", linestyle="--", lw=1)
        for pair in pairs:
            ours, theirs = pair.loss if scale == 1 else pair.accuracy
            name = pair.key[2]
            axis.plot(
                scale * theirs,
                scale * ours,
                MARKERS[name],
                color=STYLES[name]["color"],
                fillstyle="full" if pair.key[1] == "vgg16" else "none",
                markersize=7,
            )
            if not pair.counts:
                axis.plot(
                    scale * theirs, scale * ours, "o", color="black", ms=14, mfc="none"
                )
        axis.set_xlabel(f"{label}, the authors' first epoch")
        axis.set_ylabel(f"{label}, ours")
    axes[0].set(xlim=(0, 1.1), ylim=(0, 1.1))
    axes[1].set(xlim=(0.8, 130), ylim=(0.8, 130), xscale="log", yscale="log")
    for axis in axes[1:]:
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter("{x:g}")
    handles = [
        Line2D(
            [], [], marker=MARKERS[n], color=STYLES[n]["color"], ls="", label=TITLES[n]
        )
        for n in dict.fromkeys(pair.key[2] for pair in pairs)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def label_losses(found: first_epochs_.Labels, title: str) -> Figure:
    """Draw the first losses of the authors' mislabelled run over ours.

    Args:
        found: what `gravity.evidence.first_epochs.labels` found.
        title: the optimizer's name.

    Returns:
        The figure: the published losses as a line, ours on coarse labels as a band
        that is widened as registered, ours on fine labels as a point, and the losses
        of guessing as dashed lines.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    epochs = range(1, len(found.published) + 1)
    lows, highs = zip(*found.coarse, strict=True)
    widened = first_epochs_.LOSS_RATIO
    axis.fill_between(
        epochs,
        [low / widened for low in lows],
        [high * widened for high in highs],
        color="#56B4E9",
        alpha=0.35,
        label="ours on coarse labels, widened",
    )
    axis.plot(epochs, found.published, "o-", color="#000000", label=f"authors, {title}")
    axis.plot(1, found.fine, "s", color="#D55E00", label="ours on fine labels")
    for classes in (20, 100):
        axis.axhline(math.log(classes), color="#666666", linestyle="--", linewidth=1)
        axis.annotate(
            f"ln {classes}",
            (epochs[-1], math.log(classes)),
            (0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=9,
        )
    axis.set(
        xlabel="Epoch", ylabel="Training loss", xticks=list(epochs), ylim=(0, None)
    )
    axis.legend(loc="lower left", fontsize=9)
    return figure


def _none_here(title: str) -> Figure:
    figure, axis = plt.subplots(figsize=(8, 0.6))
    axis.axis("off")
    axis.text(0.5, 0.5, f"{title}: none here", ha="center", va="center")
    return figure


def sensitivity(runs: Sequence[Run], arguments: Mapping[str, str]) -> Figure:
    """Draw the last training loss against the argument that was tried.

    Args:
        runs: at least one run of each optimizer in `arguments`, of one dataset.
        arguments: for each optimizer, the argument that differs between its runs.

    Returns:
        The figure: a panel for each optimizer, with ln C, the loss of guessing among
        C classes, as a dashed line. A run that diverged, to NaN or to more than twice
        that loss, is a triangle at the top without a place on the loss axis.
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
        kept = [(value, loss) for value, loss in points if loss <= 2 * guessing]
        axis.loglog(*np.reshape(kept, (-1, 2)).T, marker="o", color=color)
        diverged = [value for value, loss in points if not loss <= 2 * guessing]
        top = [2 * guessing] * len(diverged)
        axis.plot(diverged, top, "^", color=color, markerfacecolor="white")
        axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        axis.set_xticks([value for value, _ in points[::2]])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_major_formatter("{x:g}")
        # A range of less than a power of ten has no other labels.
        axis.yaxis.set_minor_formatter(mpl.ticker.LogFormatter())
        axis.set_title(TITLES[optimizer], loc="left", fontsize=10)
        axis.set_xlabel(argument.replace("_", " "))
    np.atleast_1d(axes)[0].set_ylabel("Final training loss")
    return figure


def conditions(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    label: str,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Draw the values of several conditions, every seed as a point.

    Args:
        panels: for each panel's title the conditions, from top to bottom, each with a
            value for every seed. A condition without values keeps its place.
        label: what the values are, with their unit.
        marks: values to mark by a dashed line, by name. Defaults to none.

    Returns:
        The figure: a panel beside the other for each title, with a circle for every
        seed and a bar for the mean of at least two.
    """
    rows = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(8, 0.9 + 0.34 * len(rows)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (title, panel) in zip(axes[0], panels.items(), strict=True):
        axis.set_title(title, loc="left", fontsize=10)
        for name, value in (marks or {}).items():
            axis.axvline(value, color="#666666", linestyle="--", linewidth=1)
            if axis is axes[0, 0]:
                place = (value, 1.0)
                axis.annotate(
                    name,
                    place,
                    (3, -2),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    va="top",
                    fontsize=8,
                    color="#666666",
                )
        for name, values in panel.items():
            if not values:
                continue
            row = rows.index(name)
            # Apart, so that equal values are still seen to be several.
            shift = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else [0.0]
            axis.plot(
                values,
                row + np.asarray(shift),
                "o",
                color=COLORS[6],
                markerfacecolor="none",
                markersize=4.5,
                linestyle="none",
            )
            if len(values) > 1:
                axis.plot(np.mean(values), row, "|", color=COLORS[4], markersize=16)
        axis.set_yticks(range(len(rows)), rows)
        # With marks, there is room above the first row for their names.
        axis.set_ylim(len(rows) - 0.5, -0.9 if marks else -0.5)
        axis.grid(axis="y", visible=False)
    figure.supxlabel(label, fontsize=10)
    return figure


def alpha_map(
    losses: Mapping[tuple[float, float], float],
    best: Mapping[float, float],
    ceiling: float = math.inf,
) -> Figure:
    """Draw a loss over α and the width of the network.

    Args:
        losses: for each width and α a loss; NaN or infinite where training diverged.
            Without one the figure says so.
        best: for each width the best α, through the first of which, in order of the
            widths, the predicted line α ∝ 1 / √width runs.
        ceiling: larger losses aren't told apart: one run that exploded would leave all
            others a single colour. Defaults to none.

    Returns:
        The figure: a cell for each pair with its loss in it, the darker the smaller,
        the best of each width in bold, and the prediction as a dashed line.
    """
    if not losses:
        return _none_here("Runs of this study")
    widths = sorted({width for width, _ in losses})
    alphas = sorted({alpha for _, alpha in losses})
    cells = np.array([[losses.get((w, a), np.nan) for w in widths] for a in alphas])
    figure, axis = plt.subplots(figsize=(8, 0.5 + 0.42 * len(alphas)))
    shown = np.ma.masked_invalid(np.minimum(cells, ceiling))
    axis.imshow(shown, origin="lower", aspect="auto", cmap="viridis")
    middle = (shown.max() + shown.min()) / 2 if shown.count() else 0
    for row, alpha in enumerate(alphas):
        for column, width in enumerate(widths):
            if (width, alpha) not in losses:
                continue
            loss = cells[row, column]
            label = f"> {ceiling:.2g}" if loss > ceiling else f"{loss:.2f}"
            # Left of the middle, where the prediction runs. What stands on a cell's
            # colour has one colour for both schemes.
            axis.text(
                column - 0.28,
                row,
                label if math.isfinite(loss) else "diverged",
                ha="center",
                va="center",
                color="white" if loss < middle else "black",
                fontweight="bold" if best.get(width) == alpha else "normal",
                gid=f"{dark.KEEP}-{row}-{column}",
            )
    if best:
        first = min(best)
        line = [best[first] * math.sqrt(first / width) for width in widths]
        # Rows are equally spaced in log α where the values of α are. Beyond them there
        # is no row for the line to run through.
        places = np.interp(
            np.log(line), np.log(alphas), range(len(alphas)), left=np.nan, right=np.nan
        )
        axis.plot(range(len(widths)), places, color="#D55E00", linestyle="--")
    axis.set_xticks(range(len(widths)), [f"{width:g}" for width in widths])
    axis.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axis.set_xlabel("Width of the network, in multiples of the paper's")
    axis.set_ylabel("α")
    axis.grid(visible=False)
    return figure


def findings(results: Sequence["Finding"]) -> Figure:
    """Draw the numbers of the findings with their intervals.

    Args:
        results: what `gravity.evidence.findings.summary` returns. One without a number
            keeps its place, and says that it can't tell.

    Returns:
        The figure: differences in points around zero, and beside them the exponent.
    """
    groups = {
        "Difference of test accuracy (points)": (0.0, "points"),
        "Exponent": (-0.5, ""),
    }
    points = [one for one in results if one.unit == "points" or math.isnan(one.low)]
    figure, axes = plt.subplots(
        1,
        2,
        figsize=(8, 0.9 + 0.4 * len(results)),
        width_ratios=(3, 1),
        sharey=True,
        layout="constrained",
    )
    for axis, (label, (mark, unit)) in zip(axes, groups.items(), strict=True):
        axis.axvline(mark, color="#666666", linestyle="--", linewidth=1)
        for row, one in enumerate(results):
            if one in points and math.isnan(one.low):
                if unit:
                    axis.text(mark, row, " can't tell yet", va="center", fontsize=9)
            elif (one in points) == bool(unit):
                axis.plot([one.low, one.high], [row, row], color=COLORS[6])
                axis.plot(one.estimate, row, "o", color=COLORS[6])
        axis.set_xlabel(label)
        axis.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(results)), [str(n + 1) for n in range(len(results))])
    axes[0].set_ylim(len(results) - 0.5, -0.5)
    axes[0].set_ylabel("Finding")
    return figure
