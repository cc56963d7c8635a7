"""Equations 21 to 30, Table 2, Figs. 7 to 9 and Algorithm 1, as the chapters have them.

`test_kinematics.py` checks the functions with numbers; here SymPy gets them as they
are, with symbols for arguments, and the claims of the chapters are checked anew.
"""

import json
import math
import re
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import mpmath
import nbformat
import numpy as np
import pytest
import sympy as sp

from gravity import Gravity, kinematics
from gravity.book import derivation_plots
from gravity.experiments import experiment, models, runs

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "notebooks" / "derivation"

g, m, rate, beta, alpha, sigma = sp.symbols("g m l beta alpha sigma", positive=True)
V, zeta, t = sp.symbols("V zeta t", positive=True)


def parameters(chapter):
    """The values of a chapter's parameters cell."""
    notebook = nbformat.read(CHAPTERS / f"{chapter}.ipynb", as_version=4)
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    values = {}
    exec(cell.source, values)
    return values


def same(one, other):
    return sp.simplify(sp.nsimplify(one - other)) == 0


# Eq. 21 to 24.


def test_eq_21_is_eq_16_without_the_learning_rate_of_eq_17():
    a_L, time = sp.symbols("a_L tau", positive=True)
    step = kinematics.rational_plane_step(a_L, time, g, m)
    rate_17 = kinematics.equivalent_learning_rate(a_L, time, m)
    assert same(step, -rate_17 * kinematics.gradient_term(g, m))


def test_eq_22_unrolls_into_a_geometric_sum():
    terms = sp.symbols("zeta_1:6")
    average = V
    for term in terms:
        average = kinematics.moving_average(average, term, beta)
    weights = [(1 - beta) * beta ** (5 - k) for k in range(1, 6)]
    assert same(average, beta**5 * V + sum(map(sp.Mul, weights, terms)))


def test_eq_22_from_zero_lags_behind_equal_terms():
    average = sp.Integer(0)
    for updates in range(1, 7):
        average = kinematics.moving_average(average, zeta, beta)
        assert same(average, (1 - beta**updates) * zeta)


def test_eq_23_with_eq_21_and_no_memory_is_eq_18():
    velocity = kinematics.moving_average(V, kinematics.gradient_term(g, m), 0)
    assert same(
        kinematics.velocity_step(velocity, rate), kinematics.gravity_step(g, rate, m)
    )


def test_eq_24_counts_values_of_weight_1_minus_1_over_e():
    assert same(kinematics.averaged_count(beta) * (1 - beta), 1)
    n = sp.Symbol("n", positive=True)
    (x,) = sp.solve(kinematics.averaged_count(beta) - n, beta)
    assert sp.limit(1 - x**n, n, sp.oo) == 1 - sp.exp(-1)


# Eq. 25.


def bias_corrections(dtype, x, updates):
    """Velocities for the gradient term 1: Eq. 25 as printed, and as Adam corrects."""
    with np.errstate(over="ignore", invalid="ignore"):
        x, one = np.dtype(dtype).type(x), np.dtype(dtype).type(1)
        printed = average = np.dtype(dtype).type(0)
        for step in range(1, updates + 1):
            printed = kinematics.bias_corrected_average(printed, one, x, step)
            average = kinematics.moving_average(average, one, x)
            yield float(printed), float(average / (1 - x**step))


def test_eq_25_agrees_with_adam_in_the_first_update_only():
    first, second = sp.symbols("zeta_1 zeta_2")
    printed = kinematics.bias_corrected_average(0, first, beta, 1)
    assert same(printed, first)
    printed = kinematics.bias_corrected_average(printed, second, beta, 2)
    adam = (beta * first + second) / (1 + beta)
    # What was corrected once already is divided by 1 - β another time.
    assert same(printed - adam, beta**2 * first / (1 - beta**2))


@pytest.mark.parametrize(
    ("dtype", "finite", "overflows"),
    [("float32", 0.9838, 0.9839), ("float64", 0.9977, 0.9978)],
)
def test_eq_25_overflows_near_1_and_adams_correction_never(dtype, finite, overflows):
    printed, adam = np.transpose(list(bias_corrections(dtype, finite, 2000)))
    assert np.isfinite(printed).all()
    np.testing.assert_allclose(adam, 1, rtol=1e-3 if dtype == "float32" else 1e-10)
    printed, adam = np.transpose(list(bias_corrections(dtype, overflows, 2000)))
    assert np.isinf(printed).any()
    np.testing.assert_allclose(adam, 1, rtol=1e-3 if dtype == "float32" else 1e-10)


# Eq. 26, Table 2 and Fig. 8.


def test_eq_26_with_beta_1_is_the_plain_mean():
    terms = sp.symbols("zeta_0:6")
    average = V
    for step, term in enumerate(terms):
        beta_hat = kinematics.effective_beta(sp.Integer(step), 1)
        assert kinematics.averaged_count(beta_hat) == step + 2
        average = kinematics.moving_average(average, term, beta_hat)
        assert same(average, (V + sum(terms[: step + 1])) / (step + 2))


def test_eq_26_goes_from_one_half_to_beta():
    beta_hat = kinematics.effective_beta(t, beta)
    assert beta_hat.subs(t, 0) == sp.Rational(1, 2)
    assert sp.limit(beta_hat, t, sp.oo) == beta
    assert sp.solve(sp.diff(beta_hat, t), beta) == [sp.Rational(1, 2)]


def test_table_2_has_five_digits_cut_off_and_none_wrong():
    # The chapter decides which; this is the paper's print, typed once more.
    printed = {
        **{0: "0.5", 1: "0.6667", 2: "0.75", 3: "0.8", 4: "0.8333", 5: "0.8571"},
        **{6: "0.875", 7: "0.8889", 8: "0.9", 9: "0.9090", 10: "0.9166"},
        **{11: "0.9230", 12: "0.9285", 13: "0.9333", 14: "0.9375", 15: "0.9411"},
    }
    cut, rounded = set(), set()
    for step, digits in printed.items():
        exact = kinematics.effective_beta(step, Fraction(1))
        assert exact == Fraction(step + 1, step + 2)
        value = Decimal(exact.numerator) / exact.denominator
        down = value.quantize(Decimal(digits), ROUND_DOWN)
        nearest = value.quantize(Decimal(digits), ROUND_HALF_UP)
        assert Decimal(digits) in (down, nearest)
        if down != nearest:
            (cut if Decimal(digits) == down else rounded).add(step)
    assert cut == {9, 10, 11, 12, 15}
    assert rounded == {1, 7}
    source = (CHAPTERS / "moving_average.ipynb").read_text()
    assert " ".join(printed[step] for step in range(8)) in source
    assert " ".join(printed[step] for step in range(8, 16)) in source


def test_fig_8_shows_beta_hat_and_the_averaged_count():
    count = kinematics.averaged_count(kinematics.effective_beta(t, beta))
    assert same(count, (t + 2) / ((1 - beta) * t + 1))
    assert same(sp.limit(count, t, sp.oo), kinematics.averaged_count(beta))


# Fig. 7.


def test_fig_7_shows_runs_that_are_stored_and_clean():
    values = parameters("moving_average")
    push = {x: float(displacement(x)) for x in values["BETAS"]}
    store = runs.RunStore(ROOT / "book" / "results")
    for x in values["BETAS"]:
        for a in (values["ALPHA"], values["ALPHA"] * push[values["BETA"]] / push[x]):
            wanted = experiment.grid(
                "digits",
                "vgg16",
                optimizers=["gravity"],
                arguments={"gravity": {"beta": x, "alpha": round(a, 4)}},
                width=0.125,
                epochs=values["EPOCHS"],
                batch_size=16,
                seeds=values["SEEDS"],
            )
            found = store.find_all(wanted)
            assert len(found) == len(wanted), (x, a)
            for run in found:
                assert run.provenance["commit"]
                assert not run.provenance["dirty"]
                assert len(run.history["loss"]) == values["EPOCHS"]


# Eq. 27 to 30 and Fig. 9.


def test_eq_27_and_eq_30_are_each_others_inverse():
    assert same(kinematics.velocity_std(alpha, rate) * rate, alpha)
    scale = kinematics.initial_scale(sigma, rate)
    assert same(kinematics.velocity_std(scale, rate), sigma)


def test_eq_28_is_the_update_at_t_0_and_eq_29_its_part_from_the_noise():
    beta_hat = kinematics.effective_beta(0, beta)
    velocity = kinematics.moving_average(V, zeta, beta_hat)
    noise, gradient = kinematics.first_step_parts(V, zeta, rate)
    assert same(kinematics.velocity_step(velocity, rate), noise + gradient)
    assert same(noise, -rate * V / 2)
    # The inequality before Eq. 30, at V = σ.
    width = kinematics.velocity_std(alpha, rate)
    typical, _ = kinematics.first_step_parts(width, 0, rate)
    assert same(typical, -alpha / 2)


@pytest.mark.parametrize(
    "width", [0.25, pytest.param(1.0, marks=pytest.mark.slow)], ids=["quarter", "full"]
)
def test_fig_9_velocities_of_a_vgg16_follow_the_68_95_997_rule(width):
    model = models.build("vgg16", (32, 32, 3), 10, width)
    optimizer = Gravity(0.1, alpha=0.01, seed=0)
    optimizer.build(model.trainable_variables)
    velocities = np.concatenate(
        [keras.ops.convert_to_numpy(v).ravel() for v in optimizer.velocities]
    )
    assert velocities.size == model.count_params()
    for k, share in [(1, 0.682689), (2, 0.954500), (3, 0.997300)]:
        spread = math.sqrt(share * (1 - share) / velocities.size)
        within = np.mean(np.abs(velocities) < k * 0.1)
        assert within == pytest.approx(share, abs=5 * spread)


# How far the noise carries a weight.


def displacement(x, first_step=0):
    """The sum of the products of β̂, by its hypergeometric series."""
    with mpmath.workdps(30):
        x, first = mpmath.mpf(x), mpmath.mpf(first_step)
        if x == 0:
            return mpmath.e - 2 if first_step == 0 else 2 * mpmath.e - 5
        start = (x * first + 1) / (first + 2)
        return start * mpmath.hyp2f1(1, first + 1 + 1 / x, first + 3, x)


@pytest.mark.parametrize("x", [0.1, 0.5, 0.9, 0.97])
def test_closed_form_of_the_total_displacement(x):
    closed = (1 - x) ** (-1 / x) - 1 / (1 - x) - 1
    assert closed == pytest.approx(float(displacement(x)), rel=1e-12)
    assert 2 * closed - 1 == pytest.approx(float(displacement(x, 1)), rel=1e-12)
    for first_step in (0, 1):
        assert kinematics.noise_displacement_std(
            0.3, 5000, x, first_step
        ) == pytest.approx(0.3 * float(displacement(x, first_step)), rel=1e-12)


def test_total_displacement_is_1_92_alpha_or_2_83_alpha():
    assert float(displacement(0.9)) == pytest.approx(1.92, abs=0.005)
    assert float(displacement(0.9, 1)) == pytest.approx(2.83, abs=0.005)
    closed = (1 - beta) ** (-1 / beta) - 1 / (1 - beta) - 1
    assert sp.limit(closed, beta, 0) == sp.E - 2


# Algorithm 1.


def algorithm_1(gradient, W, V, rate, beta, t_max):
    """Algorithm 1 as it is printed, line by line, for one weight matrix."""
    path = []
    t = 0
    while t < t_max:
        t = t + 1
        beta_hat = (beta * t + 1) / (t + 2)
        G = gradient(W)
        m = 1 / max(abs(each) for each in G)
        terms = [each / (1 + (each / m) ** 2) for each in G]
        V = [beta_hat * v + (1 - beta_hat) * z for v, z in zip(V, terms, strict=True)]
        W = [w - rate * v for w, v in zip(W, V, strict=True)]
        path.append(W)
    return path


def steep(W):
    return [W[0] - 0.3 * W[1], 4 * W[1] - 0.3 * W[0]]


def test_algorithm_1_as_printed_is_the_reference_counting_from_1():
    W, V = [1.0, -2.0], [0.1, -0.05]
    printed = algorithm_1(steep, W, V, 0.13, 0.9, 40)
    gradients = [steep(w) for w in [W, *printed[:-1]]]
    weights, _ = kinematics.trajectory(
        np.array(W), np.array(V), np.array(gradients), 0.13, 0.9, first_step=1
    )
    np.testing.assert_allclose(weights, printed, rtol=1e-12)
    other, _ = kinematics.trajectory(
        np.array(W), np.array(V), np.array(gradients), 0.13, 0.9
    )
    assert np.abs(other[0] - printed[0]).max() > 1e-3


def test_algorithm_1_as_printed_is_the_optimizer_with_first_step_1():
    W, V = [1.0, -2.0], [0.1, -0.05]
    printed = algorithm_1(steep, W, V, 0.13, 0.9, 40)
    variable = keras.Variable(np.array(W, "float32"))
    optimizer = Gravity(0.13, beta=0.9, first_step=1, seed=0)
    optimizer.build([variable])
    optimizer.velocities[0].assign(np.array(V, "float32"))
    for expected in printed:
        G = steep(keras.ops.convert_to_numpy(variable))
        optimizer.apply([keras.ops.convert_to_tensor(G, "float32")], [variable])
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(variable), expected, rtol=1e-5
        )


SURFACES = {
    "valley": (lambda x, y: (x**2 + 20 * y**2) / 20, (-4.0, 1.0)),
    "Rosenbrock": (
        lambda x, y: ((1 - x) ** 2 + 100 * (y - x**2) ** 2) / 100,
        (-1.2, 1.0),
    ),
    "Beale": (
        lambda x, y: (
            (
                (1.5 - x + x * y) ** 2
                + (2.25 - x + x * y**2) ** 2
                + (2.625 - x + x * y**3) ** 2
            )
            / 50
        ),
        (1.0, 1.5),
    ),
}


def stays_below_its_start(optimizer, rate, steps):
    """Whether no loss rises above that of the start, on any of the three surfaces."""
    torch = pytest.importorskip("torch")
    make = {
        "Gradient descent": lambda W: torch.optim.SGD(W, rate),
        "Momentum": lambda W: torch.optim.SGD(W, rate, momentum=0.9),
        "RMSprop": lambda W: torch.optim.RMSprop(W, rate, alpha=0.9, eps=1e-7),
        "Adam": lambda W: torch.optim.Adam(W, rate, eps=1e-7),
    }
    for surface, start in SURFACES.values():
        W = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        other = make[optimizer]([W]) if optimizer in make else None
        stream = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(0,)))
        V = stream.standard_normal(2, np.float32) * (0.01 / rate)
        limit = surface(*start)
        for step in range(steps):
            W.grad = None
            loss = surface(*W)
            if not loss.item() <= limit:
                return False
            loss.backward()
            if other:
                other.step()
                continue
            moved, V = kinematics.update(
                W.detach().numpy(), V, W.grad.numpy(), step, rate
            )
            W = torch.tensor(moved, requires_grad=True)
        if not surface(*W).item() <= limit:
            return False
    return True


def test_learning_rates_on_the_surfaces_are_chosen_as_the_chapter_says():
    values = parameters("algorithm")
    tried = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
    names = ["Gradient descent", "Momentum", "RMSprop", "Adam", "Gravity"]
    for name, rate in zip(names, values["RATES"], strict=True):
        calm = [x for x in tried if stays_below_its_start(name, x, values["STEPS"])]
        assert max(calm) == rate, name


# The figures of the chapter on Algorithm 1.


@pytest.fixture
def scene():
    loss, start = SURFACES["valley"]
    path = np.linspace(start, (0, 0), 21)
    paths = {"Gradient descent": path, "Gravity": path**3 / 16}
    return loss, paths, (0.0, 0.0), (-4.6, 2.0, -1.6, 1.6)


def test_trajectories_show_paths_and_losses(scene):
    loss, paths, *_ = scene
    left, right = derivation_plots.trajectories(*scene).axes
    shown = {line.get_label(): line.get_xydata() for line in left.lines}
    for title, path in paths.items():
        np.testing.assert_allclose(shown[title], path)
    for line, path in zip(right.lines, paths.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), loss(*path.T))
    dashes = [line.get_linestyle() for line in left.lines[:2]]
    assert dashes[0] != dashes[1]


def test_a_path_and_its_loss_have_one_pattern_of_dashes(scene):
    loss, paths, minimum, window = scene
    five = {str(number): path for number, path in enumerate([*paths.values()] * 2)}
    five["4"] = paths["Gravity"]
    left, right = derivation_plots.trajectories(loss, five, minimum, window).axes
    patterns = [line._unscaled_dash_pattern for line in left.lines[:5]]
    assert patterns == [line._unscaled_dash_pattern for line in right.lines]
    assert len(set(map(str, patterns))) == 5


def test_race_has_every_update_and_needs_no_network(scene):
    open_before = plt.get_fignums()
    text = derivation_plots.race(*scene, alt='Two "dots" race.', frames=4).data
    assert plt.get_fignums() == open_before
    assert 'aria-label="Two &quot;dots&quot; race."' in text
    loads = r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//"
    assert not re.search(loads, text)
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names)), "the two drawings share a name"
    # The picture's coordinates are the weights', but for one scale in each direction.
    places = np.array(json.loads(re.search(r"points = (\[.+\])", text)[1]))
    paths = np.array(list(scene[1].values()))
    assert places.shape == paths.shape
    for axis, sign in ((0, 1), (1, -1)):
        weights, drawn = paths[..., axis].ravel(), places[..., axis].ravel()
        if np.ptp(weights):
            slope, offset = np.polyfit(weights, drawn, 1)
            assert sign * slope > 0
            np.testing.assert_allclose(drawn, slope * weights + offset, atol=0.06)


# Labels.


def test_equations_21_to_30_are_labelled_once_and_all_labels_referred_to():
    texts = {
        path: "\n".join(
            "".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]
        )
        for path in (ROOT / "notebooks").rglob("*.ipynb")
    }
    texts |= {path: path.read_text() for path in (ROOT / "book").rglob("*.md")}
    everything = "\n".join(texts.values())
    labels = re.findall(r"\$\$ \((eq-[\w-]+)\)", everything)
    for number in range(21, 31):
        assert labels.count(f"eq-{number}") == 1
    own = "\n".join(
        texts[CHAPTERS / f"{name}.ipynb"]
        for name in ("moving_average", "initial_velocity", "algorithm")
    )
    for label in re.findall(r"\$\$ \((eq-[\w-]+)\)", own):
        assert f"(#{label})" in everything, label
