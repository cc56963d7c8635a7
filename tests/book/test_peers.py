"""`gravity.book.peers`: against Keras, PyTorch and the cited papers' own formulas."""

import math
import re
from fractions import Fraction
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
import torch

from gravity.book import peers

CHAPTER = Path(__file__).resolve().parents[2] / "notebooks/derivation/optimizers.ipynb"

# Keras keeps a learning rate in single precision, so these are sums of few powers of 2.
RATE, BETA, BETA_2, EPSILON = 2**-7, 0.8125, 0.984375, 2**-20

STREAM = np.random.default_rng(11)
START = STREAM.normal(size=(2, 3))
GRADIENTS = STREAM.normal(size=(25, 2, 3)) * STREAM.choice([0.01, 1, 30], (25, 1, 1))

ADAPTIVE = {"learning_rate": RATE, "epsilon": EPSILON}
FADING = ADAPTIVE | {"rho": BETA}
TWO_BETAS = ADAPTIVE | {"beta_1": BETA, "beta_2": BETA_2}
HEAVY = {"learning_rate": RATE, "beta": BETA}

# For each optimizer its arguments here, and Keras's optimizer with the same.
CASES = {
    "sgd": ({"learning_rate": RATE}, lambda: keras.optimizers.SGD(RATE)),
    "momentum": (HEAVY, lambda: keras.optimizers.SGD(RATE, momentum=BETA)),
    "adagrad": (
        ADAPTIVE | {"slots": (0.125,)},
        lambda: keras.optimizers.Adagrad(initial_accumulator_value=0.125, **ADAPTIVE),
    ),
    "adadelta": (FADING, lambda: keras.optimizers.Adadelta(**FADING)),
    "rmsprop": (FADING, lambda: keras.optimizers.RMSprop(**FADING)),
    "nesterov": (
        HEAVY,
        lambda: keras.optimizers.SGD(RATE, momentum=BETA, nesterov=True),
    ),
    "adam": (TWO_BETAS, lambda: keras.optimizers.Adam(**TWO_BETAS)),
    "adamax": (TWO_BETAS, lambda: keras.optimizers.Adamax(**TWO_BETAS)),
    "nadam": (TWO_BETAS, lambda: keras.optimizers.Nadam(**TWO_BETAS)),
    "amsgrad": (TWO_BETAS, lambda: keras.optimizers.Adam(amsgrad=True, **TWO_BETAS)),
}
# Keras has Nadam's 0.96 in single precision, and PyTorch its products.
TOLERANCE = {"nadam": 1e-6}
DEFAULTS = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda: keras.optimizers.SGD(momentum=0.9),
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "rmsprop": keras.optimizers.RMSprop,
    "nesterov": lambda: keras.optimizers.SGD(momentum=0.9, nesterov=True),
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "nadam": keras.optimizers.Nadam,
    "amsgrad": lambda: keras.optimizers.Adam(amsgrad=True),
}


def keras_path(optimizer):
    variable, path = keras.Variable(START, dtype="float64"), []
    for G in GRADIENTS:
        optimizer.apply([keras.ops.convert_to_tensor(G)], [variable])
        path.append(keras.ops.convert_to_numpy(variable))
    return np.array(path)


def torch_path(make):
    tensor, path = torch.tensor(START, requires_grad=True), []
    optimizer = make([tensor])
    for G in GRADIENTS:
        tensor.grad = torch.tensor(G)
        optimizer.step()
        path.append(tensor.detach().numpy().copy())
    return np.array(path)


def assert_same_path(path, expected, tolerance):
    """Compare within a fraction of the longest way that a weight has gone."""
    longest = np.abs(expected - START).max()
    assert longest > 0
    np.testing.assert_allclose(path, expected, rtol=0, atol=tolerance * longest)


@pytest.mark.parametrize("name", CASES)
def test_update_is_keras_s(name):
    arguments, make = CASES[name]
    path = peers.trajectory(getattr(peers, name), START, GRADIENTS, **arguments)
    expected = keras_path(make())
    assert_same_path(path, expected, TOLERANCE.get(name, 1e-12))


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_keras_s(name):
    path = peers.trajectory(getattr(peers, name), START, GRADIENTS)
    expected = keras_path(DEFAULTS[name]())
    # Single precision's 0.999 leaves 1 - β₂ with five digits.
    assert_same_path(path, expected, 3e-5)


# PyTorch puts ε beside the root where Keras puts it under, so ε is 0 where it matters.
BARE = {"eps": 0.0, "lr": RATE}
BETAS = {"betas": (BETA, BETA_2)}
TORCH = {
    "sgd": lambda w: torch.optim.SGD(w, RATE),
    "adagrad": lambda w: torch.optim.Adagrad(
        w, initial_accumulator_value=0.125, **BARE
    ),
    "adadelta": lambda w: torch.optim.Adadelta(w, RATE, rho=BETA, eps=EPSILON),
    "rmsprop": lambda w: torch.optim.RMSprop(w, alpha=BETA, **BARE),
    "adam": lambda w: torch.optim.Adam(w, **BARE, **BETAS),
    "adamax": lambda w: torch.optim.Adamax(w, **BARE, **BETAS),
    "nadam": lambda w: torch.optim.NAdam(
        w, RATE, eps=EPSILON, momentum_decay=1.0, **BETAS
    ),
    "amsgrad": lambda w: torch.optim.Adam(w, amsgrad=True, **BARE, **BETAS),
}


@pytest.mark.parametrize("name", TORCH)
def test_update_is_pytorch_s_but_for_epsilon(name):
    arguments = dict(CASES[name][0])
    if "epsilon" in arguments and name not in ("adadelta", "nadam"):
        arguments["epsilon"] = 0.0
    path = peers.trajectory(getattr(peers, name), START, GRADIENTS, **arguments)
    expected = torch_path(TORCH[name])
    assert_same_path(path, expected, TOLERANCE.get(name, 1e-12))


def test_momentum_is_polyak_s_heavy_ball():
    before, W = START, START
    for G, moved in zip(
        GRADIENTS, peers.trajectory(peers.momentum, START, GRADIENTS), strict=True
    ):
        before, W = W, W - 0.01 * G + 0.9 * (W - before)
        np.testing.assert_allclose(moved, W, rtol=1e-12)


def test_nesterov_is_sutskever_s_path_seen_from_ahead():
    slope = np.array([0.3, 2.0])
    theta, V = np.array([1.0, -2.0]), np.zeros(2)
    W, slots = theta, (0.0,)
    for t in range(1, 15):
        V = 0.75 * V - 0.1 * slope * (theta + 0.75 * V)
        theta = theta + V
        W, slots = peers.nesterov(W, slope * W, t, slots, 0.1, 0.75)
        np.testing.assert_allclose(W, theta + 0.75 * V, rtol=1e-12)


def test_first_steps_by_hand():
    # AdaGrad: 0.1 + 0.5² = 0.35. RMSprop: the root of 0.1 · 4².
    assert peers.adagrad(0.0, 0.5, 1, epsilon=0)[0] == pytest.approx(
        -0.001 * 0.5 / math.sqrt(0.35)
    )
    assert peers.rmsprop(0.0, 4.0, 1, epsilon=0)[0] == pytest.approx(
        -0.001 / math.sqrt(0.1)
    )
    # Adam and AdaMax move by l, whatever the gradient.
    for step in (peers.adam, peers.adamax, peers.amsgrad):
        assert step(2.0, -7.0, 1, learning_rate=0.5, epsilon=0)[0] == pytest.approx(2.5)


def test_nadam_by_fractions():
    W, V, S = 0.0, Fraction(0), 0.0
    mu = [Fraction(9, 10) * (1 - Fraction(96, 100) ** t / 2) for t in range(1, 6)]
    slots = (0.0, 0.0)
    expected = 0.0
    for t, G in enumerate([Fraction(1, 2), Fraction(-3), Fraction(2)], start=1):
        V = Fraction(9, 10) * V + Fraction(1, 10) * G
        S = 0.999 * S + 0.001 * float(G) ** 2
        ahead = mu[t] * V / (1 - math.prod(mu[: t + 1]))
        ahead += (1 - mu[t - 1]) * G / (1 - math.prod(mu[:t]))
        expected -= 0.001 * float(ahead) / math.sqrt(S / (1 - 0.999**t))
        W, slots = peers.nadam(W, float(G), t, slots, epsilon=0)
        np.testing.assert_allclose(W, expected, rtol=1e-12)


def test_amsgrad_is_adam_until_gradients_shrink():
    rising, falling = np.array([0.1, 1.0, 10.0]), np.array([10.0, 0.1, 0.1])
    options = {"beta_2": 0.5}
    for gradients, same in ((rising, True), (falling, False)):
        paths = [
            peers.trajectory(step, 0.0, gradients, **options)
            for step in (peers.adam, peers.amsgrad)
        ]
        assert np.allclose(*paths, rtol=1e-12) is same


def test_arguments_are_left_as_they_were():
    for name, (arguments, _) in CASES.items():
        W, G = np.ones(3), np.full(3, 2.0)
        step = getattr(peers, name)
        _, slots = step(W, G, 1, **arguments)
        kept = [np.copy(slot) for slot in slots]
        step(W, G, 2, **arguments | {"slots": slots})
        np.testing.assert_array_equal(W, np.ones(3))
        np.testing.assert_array_equal(G, np.full(3, 2.0))
        for slot, before in zip(slots, kept, strict=True):
            np.testing.assert_array_equal(slot, before)


# As printed, in the paper's order.
TABLE_1 = """
1951 SGD | 1964 SGD with momentum | 2011 AdaGrad | 2012 AdaDelta | 2012 RMSProp
| 2013 SGD with Nesterov momentum | 2015 Adam | 2015 AdaMax | 2016 Nadam | 2018 AMSGrad
"""


def test_table_1_is_the_papers():
    (cell,) = (
        cell
        for cell in nbformat.read(CHAPTER, as_version=4).cells
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == "table-1"
    )
    rows = re.findall(r'^    "(\w+)": "(\d+) \| ([\w ]+) \|', cell.source, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(CASES)
    shown = [f"{year} {title}".lower() for _, year, title in rows]
    assert shown == [row.strip().lower() for row in TABLE_1.split("|")]


def test_chapter_has_every_optimizer_with_equation_code_and_comparison():
    cells = nbformat.read(CHAPTER, as_version=4).cells
    text = "\n".join(cell.source for cell in cells)
    for number, name in enumerate(CASES, start=1):
        assert text.count(f"$$ (eq-b7-{number})\n") == 1
        assert f"prose.code_of(peers.{name})" in text
        assert f'"{name}": makers.' in text
