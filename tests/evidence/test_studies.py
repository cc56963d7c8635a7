"""`gravity.evidence.studies`: the grids are what their text says."""

import itertools

import numpy as np
import pytest

from gravity import initialization, kinematics
from gravity.evidence import studies
from gravity.experiments import training
from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import RunStore


def test_every_condition_has_the_same_seeds():
    for name, study in studies.STUDIES.items():
        seeds = {tuple(one.seed for one in group) for group in study().values()}
        assert len(seeds) == 1, name
        assert name == "width_map" or name == "tuning" or len(*seeds) >= 5


def test_conditions_differ_and_nothing_else_does():
    """Two conditions of a study never share a run."""
    for name, study in studies.STUDIES.items():
        runs = [one.run_id for group in study().values() for one in group]
        assert len(runs) == len(set(runs)) == len(studies.experiments(name))


def test_push_is_that_of_the_closed_form():
    beta = 0.9
    closed = (1 - beta) ** (-1 / beta) - 1 / (1 - beta) - 1
    assert closed == pytest.approx(initialization.PUSH, abs=0.005)
    # And added up step by step: velocities decay by the moving average alone.
    velocity, total = 1.0, 0.0
    for t in range(5000):
        velocity *= kinematics.effective_beta(t, beta)
        total += velocity
    assert total == pytest.approx(initialization.PUSH, abs=0.005)


def test_noise_of_the_plateau_is_gravitys_push():
    study = studies.plateau(alpha=0.03)
    (adam, *_) = study["Adam", "Glorot + noise"]
    (gravity, *_) = study["Gravity", "Glorot"]
    assert adam.weight_noise == pytest.approx(1.92 * gravity.arguments["alpha"])


def test_descent_equals_gravity_but_for_bound_average_and_push():
    study = studies.parts()
    (gravity, *_) = study["Gravity"]
    (descent, *_) = study["SGD"]
    rate, beta = (gravity.arguments[name] for name in ("learning_rate", "beta"))
    assert descent.arguments["learning_rate"] == pytest.approx(rate * (1 - beta))
    assert descent.arguments["momentum"] == beta


def test_same_push_moves_the_weights_as_far():
    """Velocities without gradients, added up step by step."""
    study = studies.parts()
    pushes = []
    for name in ("Gravity", "neither, same push"):
        (one, *_) = study[name]
        constant = one.optimizer == "variant"
        velocity, total = one.arguments["alpha"], 0.0
        for t in range(5000):
            velocity *= 0.9 if constant else kinematics.effective_beta(t, 0.9)
            total += velocity
        pushes.append(total)
    assert pushes[1] == pytest.approx(pushes[0], rel=0.01)


def test_tuning_gives_every_optimizer_the_same_number_of_tries():
    counts = {}
    for one in itertools.chain(*studies.tuning().values()):
        key = one.initial_weights, one.optimizer
        counts[key] = counts.get(key, 0) + 1
        assert one.validation_size
    assert len(counts) == 8
    assert len(set(counts.values())) == 1


def test_gradient_sizes_are_those_of_the_run_that_is_trained(tmp_path):
    """The rows' mean loss is the epoch's, and departures are what few steps can be."""
    one = Experiment(
        dataset="digits",
        architecture="vgg16",
        optimizer="gravity",
        width=0.0625,
        epochs=1,
        batch_size=16,
        train_size=64,
    )
    rows = studies.gradient_sizes(one, every=1)
    run = training.train(one, RunStore(tmp_path), progress=False)
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert np.mean([row["loss"] for row in rows]) == pytest.approx(
        run.history["loss"][0], rel=1e-5
    )
    for row in rows:
        assert 0 < row["smallest"] <= row["median"] <= row["largest"]
        # With x = max|G|², no entry loses more than x² / (1 + x²) of itself.
        bent = row["largest"] ** 4
        assert 0 < row["departure"] <= bent / (1 + bent) * (1 + 1e-5)
