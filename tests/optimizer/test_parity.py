"""Every implementation of Gravity through the same 200 gradients from the same V₀."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from gravity import kinematics
from gravity.book import frameworks
from gravity.book.frameworks import Case

TOLERANCES = {"float32": 1e-6, "float64": 1e-12}
SHAPES = [(), (7,), (3, 3, 2, 4)]

# Rates that float32 has exactly, because Keras keeps them in it.
SETTINGS = {
    "from 0": {},
    "from 1": {"first_step": 1},
    "schedule": {"rates": {0: 0.25, 50: 0.125, 120: 0.0625}},
    "schedule from 1": {"rates": {0: 0.0625, 20: 0.5}, "first_step": 1},
    "weight decay": {"weight_decay": 0.0625},
    "all": {
        "rates": {0: 0.25, 100: 0.125},
        "first_step": 1,
        "weight_decay": 0.0625,
        "alpha": 0.3,
        "beta": 0.35,
    },
}


def case(dtype, shape, rates=None, **settings) -> Case:
    """Random gradients whose size differs by orders of magnitude between steps."""
    stream = np.random.default_rng(len(shape))
    sizes = 10 ** stream.uniform(-3, 1.5, (200,) + (1,) * len(shape))
    gradients = stream.normal(size=(200, *shape)) * sizes
    start = np.asarray(stream.normal(size=shape))
    return Case(
        start.astype(dtype),
        gradients.astype(dtype),
        rates or {0: 0.125},
        seed=4,
        **settings,
    )


# The quick run has the two ends: no setting but the defaults, and all of them.
QUICK = ("from 0", "all")


def cases(dtype, quick):
    return {
        (name, shape): case(dtype, shape, **settings)
        for name, settings in SETTINGS.items()
        for shape in SHAPES
        if (name in QUICK) == quick
    }


@cache
def paths(framework, dtype, quick):
    """What one process of the framework made of its cases."""
    named = cases(dtype, quick)
    found = frameworks.follow(framework, list(named.values()))
    return dict(zip(named, found, strict=True))


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in SETTINGS
    ],
)
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("framework", list(frameworks.NEEDS)[1:])
def test_200_updates_are_those_of_the_numpy_loop(framework, dtype, setting):
    quick = setting in QUICK
    for shape in SHAPES:
        weights, velocities = paths(framework, dtype, quick)[setting, shape]
        expected = paths("NumPy", dtype, quick)[setting, shape]
        one = cases(dtype, quick)[setting, shape]
        assert weights.dtype == velocities.dtype == dtype
        assert weights.shape == (200, *shape)
        tolerance = TOLERANCES[dtype]
        for actual, reference, start in zip(
            (weights, velocities), expected, (one.start, one.V_0), strict=True
        ):
            error = frameworks.difference(actual, reference, start)
            assert error.max() <= tolerance, (shape, error.argmax(), error.max())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_numpy_loop_is_algorithm_1(shape):
    one = case("float64", shape, rates={0: 0.25, 50: 0.125}, first_step=1)
    rates = [0.25] * 50 + [0.125] * 150
    expected = kinematics.trajectory(one.start, one.V_0, one.gradients, rates, 0.9, 1)
    ((weights, velocities),) = frameworks.follow("NumPy", [one])
    np.testing.assert_array_equal(weights, expected[0])
    np.testing.assert_array_equal(velocities, expected[1])


def test_cases_differ_by_more_than_the_tolerance():
    """A setting that a framework ignored would be seen."""
    plain = paths("NumPy", "float64", True)["from 0", (7,)][0]
    start = cases("float64", True)["from 0", (7,)].start
    for setting in list(SETTINGS)[1:]:
        other = paths("NumPy", "float64", setting in QUICK)[setting, (7,)][0]
        assert frameworks.difference(other, plain, start).max() > 1e-3


def test_difference_is_relative_to_the_largest_number_so_far():
    reference = np.array([[4.0, 1.0], [1.0, 1.0], [8.0, 0.0]])
    path = reference + np.array([[0.0, 0.4], [0.2, 0.0], [0.0, -0.8]])
    found = frameworks.difference(path, reference, np.array([2.0, 0.0]))
    np.testing.assert_allclose(found, [0.1, 0.05, 0.1])


def test_a_failure_is_told():
    broken = case("float32", (3,), alpha=-1.0)
    with pytest.raises(RuntimeError, match=r"(?s)PyTorch failed: .*`alpha`"):
        frameworks.follow("PyTorch", [broken])


def test_the_stored_run_is_the_books_case():
    record = frameworks.stored(frameworks.book_case())
    assert record is not None
    assert set(record["weights"]) == set(frameworks.NEEDS)
    start = frameworks.book_case().start
    ((reference, _),) = frameworks.follow("NumPy", [frameworks.book_case()])
    for weights in record["weights"].values():
        assert frameworks.difference(np.array(weights), reference, start).max() < 1e-4
    assert frameworks.stored(frameworks.book_case(steps=3)) is None


# Extras.

HIDDEN = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("hidden", "module"), [("torch", "torch"), ("optax", "optax"), ("jax", "optax")]
)
def test_a_missing_package_is_named_with_its_command(hidden, module):
    code = HIDDEN.format(hidden={hidden})
    for line in (f"import gravity.{module}", f"import gravity; gravity.{module}"):
        run = python(code + line)
        assert run.returncode == 1
        assert f'pip install "gravity-optimizer[{module}]"' in run.stderr
        assert "ImportError" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "loaded"),
    [
        ("import gravity, gravity.book.frameworks", set()),
        ("import gravity; gravity.torch.Gravity", {"torch"}),
        ("import gravity; gravity.optax.gravity", {"jax", "optax"}),
    ],
)
def test_no_framework_is_imported_unless_used(line, loaded):
    heavy = {"keras", "tensorflow", "torch", "jax", "optax"}
    run = python(f"{line}; import sys; print(sorted({heavy} & set(sys.modules)))")
    assert run.stdout.strip() == str(sorted(loaded)), run.stderr
