"""The figures: what is drawn, against formulas that no module of the book uses."""

import itertools
import math

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from gravity.book import derivation_plots, run_plots, style
from gravity.evidence.findings import Finding
from gravity.evidence.first_epochs import MISLABELLED, Labels, Pair
from gravity.experiments.experiment import grid
from gravity.experiments.runs import METRICS, RunStore

AUTHORS = {
    "adam": {
        "loss": [2.0, 1.0, 0.5],
        "accuracy": [0.1, 0.5, 0.9],
        "val_loss": [2.1, 1.2, 0.8],
        "val_accuracy": [0.91, 0.95, 0.99],
    }
}
FIRST = [
    Pair(("mnist", "vgg16", "adam"), "adam", (0.5, 0.4), (0.9, 0.8)),
    Pair(MISLABELLED, "gravity", (0.9, 0.6), (0.05, 0.15)),
]
GRADIENTS = np.linspace(-6, 6, 241)


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context():
        style.use()
        yield
    plt.close("all")


def by_angle(gradients, rate, m):
    """Gravity's step from the sine of twice the plane's angle."""
    return -rate * m / 2 * np.sin(2 * np.arctan2(gradients, m))


def curves(figure):
    """What the legend names, as arrays by label."""
    (axis,) = figure.axes
    return {
        line.get_label(): np.column_stack(line.get_data())
        for line in axis.lines
        if not line.get_label().startswith("_")
    }


def dots(figure):
    """The places of the marked longest steps."""
    (axis,) = figure.axes
    return [
        tuple(map(float, place))
        for line in axis.lines
        if line.get_marker() == "o"
        for place in zip(*line.get_data(), strict=True)
    ]


def arrows(figure):
    """The drawn arrows as pairs (tail, tip), by their name."""
    (axis,) = figure.axes
    return {
        text.get_gid(): (np.array(text.xyann), np.array(text.xy))
        for text in axis.texts
        if text.get_gid()
    }


def test_pairs_are_rows_and_optimizers_markers():
    pairs = [("mnist", "vgg16"), ("cifar10", "vgg19")]
    values = {
        (*pair, name): float(10 * row + column)
        for row, pair in enumerate(pairs)
        for column, name in enumerate(("gravity", "adam"))
    }
    other = {key: -value for key, value in values.items()}
    figure = run_plots.by_pair({"One": values, "Other": other}, line=3.0)
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["MNIST × VGG16", "CIFAR-10 × VGG19"]
    assert figure.axes[0].yaxis_inverted()
    for axis, label, sign in zip(figure.axes, ("One", "Other"), (1, -1), strict=True):
        assert axis.get_xlabel() == label
        points = {line.get_label(): line for line in axis.lines[:2]}
        for column, name in enumerate(("Gravity", "Adam")):
            drawn = np.transpose(points[name].get_data())
            expected = [[sign * column, 0], [sign * (10 + column), 1]]
            np.testing.assert_array_equal(drawn, expected)
        assert points["Gravity"].get_marker() != points["Adam"].get_marker()
        np.testing.assert_array_equal(axis.lines[2].get_xdata(), [3, 3])
    assert run_plots.by_pair({"One": values}, log=True).axes[0].get_xscale() == "log"


def test_no_numbers_are_said_to_be_none():
    (axis,) = run_plots.by_pair({"One": {}}).axes
    assert axis.texts[0].get_text() == "The authors' runs: none here"


@pytest.mark.parametrize("slope", [0.75, 2.0, -1.5])
def test_fig_1_shows_plane_axes_and_accelerations(slope):
    figure = derivation_plots.inclined_plane(slope)
    (axis,) = figure.axes
    drawn = {name: tip - tail for name, (tail, tip) in arrows(figure).items()}
    assert set(drawn) == {"W", "L", "x", "y", "a_L", "a_x"}
    # The global axes are level and upright, the local ones lie along and across.
    assert drawn["W"][1] == drawn["L"][0] == 0
    assert drawn["x"][1] / drawn["x"][0] == pytest.approx(slope)
    assert drawn["x"] @ drawn["y"] == pytest.approx(0, abs=1e-12)
    assert np.cross([*drawn["x"], 0], [*drawn["y"], 0])[2] > 0
    # a_x lies along the plane, downhill; what is missing to a_L is at right angles.
    assert drawn["a_L"][0] == 0
    assert drawn["a_L"][1] < 0
    assert drawn["a_x"][1] / drawn["a_x"][0] == pytest.approx(slope)
    assert drawn["a_x"][1] < 0
    assert (drawn["a_L"] - drawn["a_x"]) @ drawn["a_x"] == pytest.approx(0, abs=1e-12)
    plane = axis.lines[0]
    assert np.diff(plane.get_ydata()) / np.diff(plane.get_xdata()) == pytest.approx(
        slope
    )
    words = {text.get_text() for text in axis.texts}
    assert {"$W$", "$L$", "$x$", "$y$", "$a_L$", "$a_x$", r"$\theta$"} <= words


@pytest.mark.parametrize("slope", [0.75, -1.5])
def test_fig_1_shows_the_angle_and_a_ball_that_touches_the_plane(slope):
    figure = derivation_plots.inclined_plane(slope)
    (axis,) = figure.axes
    (arc,) = (p for p in axis.patches if isinstance(p, mpl.patches.Arc))
    low, high = sorted([0.0, math.degrees(math.atan(slope))])
    assert (arc.theta1, arc.theta2) == pytest.approx((low, high))
    (ball,) = (p for p in axis.patches if isinstance(p, mpl.patches.Circle))
    across, up = ball.center
    assert (up - slope * across) / math.hypot(1, slope) == pytest.approx(ball.radius)
    for name in ("a_L", "a_x"):
        np.testing.assert_allclose(arrows(figure)[name][0], ball.center)


def test_fig_2_shows_gradient_descent_as_a_straight_line():
    ((label, line),) = curves(
        derivation_plots.step_functions(GRADIENTS, descent=[0.1])
    ).items()
    assert label == "Gradient descent, $l$ = 0.1"
    np.testing.assert_allclose(line, np.column_stack([GRADIENTS, -GRADIENTS / 10]))


def test_fig_3_shows_gravity_beside_gradient_descent():
    figure = derivation_plots.step_functions(
        GRADIENTS, gravity=[(0.1, 1.0)], descent=[0.1]
    )
    drawn = curves(figure)
    assert list(drawn) == ["Gravity, $l$ = 0.1", "Gradient descent, $l$ = 0.1"]
    bent, straight = drawn.values()
    np.testing.assert_allclose(bent[:, 1], by_angle(GRADIENTS, 0.1, 1.0), atol=1e-15)
    np.testing.assert_allclose(straight[:, 1], -GRADIENTS / 10)
    assert dots(figure) == [(-1.0, 0.05), (1.0, -0.05)]
    (axis,) = figure.axes
    assert axis.get_ylim() == pytest.approx((-0.125, 0.125))


def test_fig_4_shows_the_longest_step_at_one_gradient_for_both_learning_rates():
    figure = derivation_plots.step_functions(
        GRADIENTS, gravity=[(0.1, 1.0), (0.25, 1.0)], descent=[0.1, 0.25]
    )
    drawn = curves(figure)
    for rate in (0.1, 0.25):
        bent = drawn[f"Gravity, $l$ = {rate:g}"]
        np.testing.assert_allclose(
            bent[:, 1], by_angle(GRADIENTS, rate, 1.0), atol=1e-15
        )
        assert bent[np.argmin(bent[:, 1]), 0] == pytest.approx(1.0)
        straight = drawn[f"Gradient descent, $l$ = {rate:g}"]
        np.testing.assert_allclose(straight[:, 1], -rate * GRADIENTS)
    assert dots(figure) == [(-1.0, 0.05), (1.0, -0.05), (-1.0, 0.125), (1.0, -0.125)]


def test_fig_5_shows_the_longest_step_at_each_max_step_gradient():
    figure = derivation_plots.step_functions(
        GRADIENTS, gravity=[(0.1, 1.25), (0.1, 2.0)], descent=[0.1]
    )
    drawn = curves(figure)
    for m in (1.25, 2.0):
        bent = drawn[f"Gravity, $l$ = 0.1, $m$ = {m:g}"]
        np.testing.assert_allclose(bent[:, 1], by_angle(GRADIENTS, 0.1, m), atol=1e-15)
        assert bent[np.argmin(bent[:, 1]), 0] == pytest.approx(m)
    assert dots(figure) == [(-1.25, 0.0625), (1.25, -0.0625), (-2.0, 0.1), (2.0, -0.1)]


def test_step_functions_can_be_told_apart_without_colour():
    figure = derivation_plots.step_functions(
        GRADIENTS, gravity=[(0.1, m) for m in (0.5, 1.0, 2.0, 4.0)], descent=[0.1, 0.2]
    )
    (axis,) = figure.axes
    named = [line for line in axis.lines if not line.get_label().startswith("_")]
    looks = {
        (str(line.get_linestyle()), str(line._dash_pattern), line.get_linewidth())
        for line in named
    }
    assert len(looks) == len(named) == 6


def test_fig_6_shows_the_valley_and_the_paths():
    curvatures, rate = (2.0, 21.0), 0.1
    steps = np.arange(13)[:, None]
    runaway = (1 - rate * np.array(curvatures)) ** steps * [-1.6, 0.35]
    still = np.tile([-0.5, 0.1], (13, 1))
    figure = derivation_plots.valley(curvatures, {"Runaway": runaway, "Still": still})
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Runaway", "Still"]
    for axis, path in zip(figure.axes, (runaway, still), strict=True):
        line, start, minimum = axis.lines
        np.testing.assert_allclose(np.column_stack(line.get_data()), path)
        assert np.column_stack(start.get_data()).tolist() == [path[0].tolist()]
        assert start.get_marker() != line.get_marker()
        assert np.column_stack(minimum.get_data()).tolist() == [[0, 0]]
        assert axis.get_xlim()[0] < path[:, 0].min()
        assert axis.get_ylim()[1] > path[:, 1].max()
    (filled,) = figure.axes[0].collections
    band = 0.02 * filled.levels[-1]
    bands = itertools.pairwise(filled.levels)
    for (low, high), outline in zip(bands, filled.get_paths(), strict=True):
        x, y = outline.vertices.T
        height = curvatures[0] * x**2 / 2 + curvatures[1] * y**2 / 2
        assert height.min() > low - band
        assert height.max() < high + band


@pytest.mark.parametrize(
    "draw",
    [
        lambda: derivation_plots.inclined_plane(0.75),
        lambda: derivation_plots.step_functions(
            GRADIENTS, gravity=[(0.1, 2.0)], descent=[0.1]
        ),
        lambda: derivation_plots.valley(
            (1.0, 9.0), {"A": np.ones((3, 2)), "B": np.ones((2, 2))}
        ),
        lambda: run_plots.compared_curves(AUTHORS, []),
        lambda: run_plots.first_epochs(FIRST),
        lambda: run_plots.label_losses(Labels((2.9,), [(2.8, 3.0)], 4.4), "Gravity"),
    ],
    ids=[
        "inclined_plane",
        "step_functions",
        "valley",
        "compared_curves",
        "first_epochs",
        "label_losses",
    ],
)
def test_drawings_are_on_white_and_large_enough_to_read(draw):
    figure = draw()
    figure.canvas.draw()
    assert mpl.colors.to_hex(figure.get_facecolor()) == "#ffffff"
    shown = [text for text in figure.findobj(mpl.text.Text) if text.get_text().strip()]
    assert shown
    assert min(text.get_fontsize() for text in shown) >= 9


def ours(tmp_path, epochs=2, seeds=(0, 1), low=0.0):
    """Runs with accuracies of `low`, `low` + 0.1 and so on, and losses of the same."""
    store = RunStore(tmp_path / f"{epochs} {low}")
    experiments = grid(
        "mnist", "vgg16", optimizers=["adam"], seeds=seeds, width=0.25, epochs=epochs
    )
    return [
        store.save(
            each, {m: [low + 0.1 * (e + n) for e in range(epochs)] for m in METRICS}, {}
        )
        for n, each in enumerate(experiments)
    ]


def test_the_authors_curves_stand_beside_ours_on_another_ground(tmp_path):
    begun = ours(tmp_path, epochs=1, seeds=(0,), low=0.3)
    figure = run_plots.compared_curves(AUTHORS, ours(tmp_path), begun)
    left, right = figure.axes[::2], figure.axes[1::2]
    for axis, metric in zip(left, METRICS, strict=True):
        scale = 100 if "accuracy" in metric else 1
        curve, point = axis.lines
        np.testing.assert_allclose(
            curve.get_ydata(), [scale * value for value in AUTHORS["adam"][metric]]
        )
        assert (point.get_xdata(), point.get_ydata()) == (
            pytest.approx([1]),
            pytest.approx([30 if scale == 100 else 0.3]),
        )
        assert axis.get_facecolor()[:3] != (1, 1, 1)
    for axis, metric in zip(right, METRICS, strict=True):
        # The mean of two seeds, then each of them.
        drawn = [list(line.get_ydata()) for line in axis.lines]
        scale = 100 if "accuracy" in metric else 1
        np.testing.assert_allclose(
            drawn, np.array([[0.05, 0.15], [0, 0.1], [0.1, 0.2]]) * scale, atol=1e-12
        )
        assert axis.get_facecolor()[:3] == (1, 1, 1)
    # Accuracies are read across: both panels have one axis, from 0 on.
    for row in (1, 3):
        assert left[row].get_ylim() == right[row].get_ylim()
        assert left[row].get_ylim()[0] == 0


def test_the_authors_curves_stand_alone_where_there_are_none_of_ours():
    figure = run_plots.compared_curves(AUTHORS, [])
    assert len(figure.axes) == 4
    limits = {axis.get_ylabel(): axis.get_ylim() for axis in figure.axes}
    assert limits["Training accuracy (%)"][0] == 0
    # From 0 on, curves that all are near 100 % would be a single line.
    assert 90 < limits["Test accuracy (%)"][0] < 91


def test_a_figure_without_runs_says_so():
    (axis,) = run_plots.training_curves([]).axes
    assert "none here" in axis.texts[0].get_text()


def test_first_epochs_are_points_against_the_authors():
    losses, accuracies = run_plots.first_epochs(FIRST).axes
    assert losses.get_xlabel() == "Training loss / ln C, the authors' first epoch"
    for axis, expected in (
        (losses, [(0.4, 0.5), (0.6, 0.9), (0.6, 0.9)]),
        (accuracies, [(80, 90), (15, 5), (15, 5)]),
    ):
        equal, *points = axis.lines
        np.testing.assert_allclose(equal.get_xdata(), equal.get_ydata())
        drawn = [np.ravel(point.get_data()) for point in points]
        np.testing.assert_allclose(drawn, expected)
    # The last one is the ring of the mislabelled run, the band ends at the margins.
    assert losses.lines[-1].get_markersize() > losses.lines[-2].get_markersize()
    ((band,), (wide,)) = (axis.collections for axis in (losses, accuracies))
    x, y = band.get_paths()[0].vertices.T
    assert np.abs(y - x).max() == pytest.approx(0.1)
    x, y = wide.get_paths()[0].vertices.T
    assert (y / x).max() == pytest.approx(1.5)


def test_label_losses_show_the_widened_band():
    found = Labels((2.9, 2.6), [(2.8, 3.0), (2.5, 2.7)], 4.4)
    (axis,) = run_plots.label_losses(found, "Gravity").axes
    published, fine, *guesses = axis.lines
    assert list(published.get_ydata()) == [2.9, 2.6]
    assert list(fine.get_ydata()) == [4.4]
    heights = sorted(line.get_ydata()[0] for line in guesses)
    assert heights == pytest.approx([math.log(20), math.log(100)])
    _, y = axis.collections[0].get_paths()[0].vertices.T
    assert (y.min(), y.max()) == pytest.approx((2.5 / 1.1, 3.0 * 1.1))


def test_tries_that_diverged_leave_the_others_their_scale(tmp_path):
    store = RunStore(tmp_path)
    losses = {0.01: 2.0, 0.1: 1.5, 1.0: 432.5, 10.0: math.nan}
    for rate, loss in losses.items():
        (one,) = grid(
            "digits",
            "vgg16",
            optimizers=["sgd"],
            arguments={"sgd": {"learning_rate": rate}},
            epochs=1,
        )
        store.save(one, {metric: [loss] for metric in METRICS}, {})
    figure = run_plots.sensitivity(list(store), {"sgd": "learning_rate"})
    (axis,) = figure.axes
    lines = {line.get_marker(): line for line in axis.lines}
    np.testing.assert_array_equal(lines["o"].get_xydata(), [[0.01, 2], [0.1, 1.5]])
    np.testing.assert_array_equal(lines["^"].get_xdata(), [1, 10])
    assert set(lines["^"].get_ydata()) == {2 * math.log(10)}
    assert axis.get_ylim()[1] < 10
    assert axis.get_title(loc="left") == "SGD with momentum"


def test_every_optimizer_is_drawn_in_its_own_way():
    looks = list(style.STYLES.values())
    assert len({look["color"] for look in looks}) == len(looks)
    # What greyscale leaves.
    assert len({look["linestyle"] for look in looks}) == len(looks)
    assert len(set(style.MARKERS.values())) == len(style.MARKERS)
    assert "sgd" in style.STYLES


def test_conditions_show_every_seed_and_the_mean():
    values = {"one": [1.0, 2.0, 6.0], "two": [4.0], "three": []}
    figure = run_plots.conditions({"panel": values}, "Accuracy (%)", {"guessing": 10.0})
    (axis,) = figure.axes
    seeds = {
        round(np.mean(line.get_ydata())): sorted(line.get_xdata())
        for line in axis.lines
        if line.get_marker() == "o"
    }
    assert seeds == {0: [1, 2, 6], 1: [4]}
    bars = [line for line in axis.lines if line.get_marker() == "|"]
    # Of one seed there is no mean to show.
    assert [(float(*b.get_xdata()), float(*b.get_ydata())) for b in bars] == [(3, 0)]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(values)
    assert [line.get_xdata()[0] for line in axis.lines if line.get_ls() == "--"] == [10]


def test_alpha_map_marks_the_best_and_draws_the_prediction():
    losses = {(w, a): a + w for w in (0.25, 1.0) for a in (0.01, 0.02, 0.04)}
    losses[1.0, 0.04] = math.nan
    figure = run_plots.alpha_map(losses, {0.25: 0.02, 1.0: 0.01})
    (axis,) = figure.axes
    bold = {t.get_text() for t in axis.texts if t.get_fontweight() == "bold"}
    assert bold == {"0.27", "1.01"}
    assert [t.get_text() for t in axis.texts].count("diverged") == 1
    (line,) = axis.lines
    # From the second row, 0.02, to the first: four times the width, half the α.
    np.testing.assert_allclose(line.get_ydata(), [1, 0])
    # The smaller the loss, the darker its cell, and the text on it is to be read.
    (image,) = axis.images
    dark, light = (image.to_rgba([value])[0][:3].sum() for value in (0.26, 1.02))
    assert dark < light
    colours = {text.get_text(): text.get_color() for text in axis.texts}
    assert (colours["0.26"], colours["1.02"]) == ("white", "black")
    # On a dark page the cells stay as they are, and so does the text on them.
    assert all(text.get_gid().startswith("keep") for text in axis.texts)


def test_alpha_map_keeps_its_colours_where_a_loss_exploded():
    losses = {(1.0, 0.01): 0.2, (1.0, 0.02): 1.1, (1.0, 0.04): 4e9}
    (axis,) = run_plots.alpha_map(losses, {1.0: 0.01}, 2.5).axes
    assert [text.get_text() for text in axis.texts] == ["0.20", "1.10", "> 2.5"]
    (image,) = axis.images
    assert image.get_clim() == (0.2, 2.5)


def test_alpha_map_draws_no_prediction_beyond_the_grid():
    losses = {(w, a): a + w for w in (0.25, 1.0, 4.0) for a in (0.01, 0.02)}
    (line,) = run_plots.alpha_map(losses, {0.25: 0.02}).axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [1, 0, math.nan])


def test_map_of_nothing_says_so():
    (axis,) = run_plots.alpha_map({}, {}).axes
    assert "none here" in axis.texts[0].get_text()


def test_findings_are_drawn_with_their_intervals():
    def finding(estimate, low, high, unit):
        numbers = {"estimate": estimate, "low": low, "high": high}
        return Finding(hypothesis="", result="", figure="", unit=unit, **numbers)

    figure = run_plots.findings(
        [
            finding(3.0, 1.0, 4.0, "points"),
            finding(-0.4, -0.6, -0.2, ""),
            finding(math.nan, math.nan, math.nan, ""),
        ]
    )
    points, exponent = figure.axes
    for axis, row, low, high in ((points, 0, 1.0, 4.0), (exponent, 1, -0.6, -0.2)):
        bars = [line for line in axis.lines if list(line.get_ydata()) == [row, row]]
        assert [list(bar.get_xdata()) for bar in bars] == [[low, high]]
    assert [text.get_text().strip() for text in points.texts] == ["can't tell yet"]
    assert not exponent.texts
