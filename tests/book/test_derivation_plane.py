"""Eq. 1 to 20 by SymPy, from mechanics and geometry, and the chapters that print them.

Where `gravity.kinematics` only adds, multiplies and divides, its functions are given
SymPy's symbols, so that the formula itself is compared and not samples of it. Each
equation is derived by another road than in the chapters: complex numbers for the
angle, the potential energy and the push of the plane for the motion.
"""

import re
from collections import Counter
from pathlib import Path

import nbformat
import numpy as np
import pytest
import sympy as sp

from gravity import kinematics
from gravity.book import execution

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = {
    name: ROOT / f"notebooks/derivation/{name}.ipynb"
    for name in ("inclined_plane", "learning_rate", "max_step_gradient")
}

a, t, l, m, s = sp.symbols("a_L t l m s", positive=True)  # noqa: E741
g, theta, x, v_0, x_0 = sp.symbols("g theta x v_0 x_0", real=True)

# Irregular, so that no two factors or terms can be exchanged unnoticed.
ANGLES = [-1.4, -0.8, -0.03, 0.0, 0.41, 1.0, 1.5]
GRADIENTS = [-37.0, -2.3, -1.0, -0.41, 0.0, 1e-6, 0.17, 0.9, 1.7, 260.0]
MAX_STEPS = [0.23, 1.0, 7.1]


def same(actual, expected):
    """Whether two expressions are identical; the package writes ½ as 0.5."""
    return sp.simplify(sp.nsimplify(actual - expected)) == 0


def close(actual, expected):
    """Compare a number with an expression that SymPy evaluates to 30 digits."""
    exact = float(sp.N(expected, 30))
    assert float(actual) == pytest.approx(exact, rel=1e-12, abs=1e-300)


def pushed(slope):
    """The acceleration of W on a plane of this slope, from the forces on the ball.

    The plane pushes with a force at right angles to itself, just as hard as keeps the
    ball on it. No angle is needed.
    """
    w, loss, push = sp.symbols("w loss push", real=True)
    forces = [
        sp.Eq(w, -push * slope),
        sp.Eq(loss, -a + push),
        sp.Eq(loss, slope * w),
    ]
    (solution,) = sp.solve(forces, [w, loss, push], dict=True)
    return sp.simplify(solution[w])


def travelled(acceleration):
    """The way from rest in the time t, as the integral of the integral."""
    time = sp.Symbol("tau", positive=True)
    return sp.integrate(sp.integrate(acceleration, (time, 0, time)), (time, 0, t))


@pytest.mark.parametrize("value", GRADIENTS)
def test_eq_1_the_angle_is_that_of_the_vector_1_g(value):
    close(kinematics.slope_angle(value), sp.arg(1 + sp.I * sp.Rational(value)))


@pytest.mark.parametrize("angle", ANGLES)
def test_eq_2_the_weight_is_the_real_part_of_the_rotated_way(angle):
    rotated = sp.Rational("1.7") * sp.exp(sp.I * sp.Rational(angle))
    close(kinematics.weight_shift(1.7, angle), sp.re(rotated))


@pytest.mark.parametrize("angle", ANGLES)
def test_eq_3_the_loss_is_the_imaginary_part_of_the_rotated_way(angle):
    rotated = sp.Rational("1.7") * sp.exp(sp.I * sp.Rational(angle))
    close(kinematics.loss_shift(1.7, angle), sp.im(rotated))


@pytest.mark.parametrize("angle", ANGLES)
def test_eq_4_the_acceleration_is_the_fall_of_the_potential_along_the_plane(angle):
    potential = a * sp.im(sp.expand_complex(x * sp.exp(sp.I * theta)))
    expected = -sp.diff(potential, x).subs({a: sp.Rational("9.81"), theta: angle})
    close(kinematics.acceleration_along_plane(9.81, angle), expected)


def test_eq_5_the_position_has_the_acceleration_speed_and_start_it_is_given():
    a_x = sp.Symbol("a_x", real=True)
    position = kinematics.position(a_x, t, v_0, x_0)
    assert same(sp.diff(position, t, 2), a_x)
    assert same(sp.diff(position, t).subs(t, 0), v_0)
    assert same(position.subs(t, 0), x_0)


def test_eq_6_from_rest_the_way_is_twice_integrated_acceleration():
    a_x = sp.Symbol("a_x", real=True)
    assert same(kinematics.position(a_x, t), travelled(a_x))


@pytest.mark.parametrize("angle", ANGLES)
def test_eq_7_the_weight_moves_by_the_real_part_of_the_way(angle):
    a_x, seconds = -1.3, 0.7
    way = kinematics.position(a_x, seconds)
    expected = travelled(sp.Rational(a_x) * sp.exp(sp.I * sp.Rational(angle)))
    expected = sp.re(expected.subs(t, sp.Rational(seconds)))
    close(kinematics.weight_shift(way, angle), expected)


@pytest.mark.parametrize("angle", ANGLES)
def test_eq_8_the_step_is_what_the_forces_do(angle):
    expected = travelled(pushed(sp.tan(sp.Rational(angle))))
    expected = expected.subs({a: sp.Rational(1.9), t: sp.Rational(1.3)})
    close(kinematics.inclined_plane_step(1.9, 1.3, angle), expected)


@pytest.mark.parametrize("value", GRADIENTS)
def test_eq_9_sine_of_arctangent(value):
    # The sine is the imaginary part of 1 + ix, brought to length 1.
    point = 1 + sp.I * sp.Rational(value)
    close(kinematics.sine_of_arctangent(value), sp.im(point / sp.Abs(point)))


@pytest.mark.parametrize("value", GRADIENTS)
def test_eq_10_cosine_of_arctangent(value):
    point = 1 + sp.I * sp.Rational(value)
    close(kinematics.cosine_of_arctangent(value), sp.re(point / sp.Abs(point)))


def test_eq_11_the_update_is_what_the_forces_do():
    assert same(kinematics.rational_plane_step(a, t, g), travelled(pushed(g)))


def test_eq_12_the_learning_rate_is_the_height_of_a_free_fall():
    assert same(kinematics.equivalent_learning_rate(a, t), travelled(a))


def test_eq_13_the_learning_rate_replaces_acceleration_and_time():
    (acceleration,) = sp.solve(sp.Eq(l, travelled(a)), a)
    expected = travelled(pushed(g)).subs(a, acceleration)
    assert same(kinematics.gravity_step(g, l), expected)


def test_eq_14_gradient_descent_is_the_line_that_touches_gravity_at_the_origin():
    tangent = sp.series(travelled(pushed(g)), g, 0, 2).removeO()
    (acceleration,) = sp.solve(sp.Eq(l, travelled(a)), a)
    assert same(kinematics.gradient_descent_step(g, l), tangent.subs(a, acceleration))


@pytest.mark.parametrize("value", GRADIENTS)
@pytest.mark.parametrize("knob", MAX_STEPS)
def test_eq_15_the_angle_is_that_of_the_vector_m_g(value, knob):
    expected = sp.arg(sp.Rational(knob) + sp.I * sp.Rational(value))
    close(kinematics.slope_angle(value, knob), expected)


def test_eq_16_the_update_is_what_the_forces_do_on_the_flattened_plane():
    expected = travelled(pushed(g / m))
    assert same(kinematics.rational_plane_step(a, t, g, m), expected)


def test_eq_17_the_learning_rate_is_minus_the_slope_of_the_update_at_the_origin():
    expected = -sp.diff(travelled(pushed(g / m)), g).subs(g, 0)
    assert same(kinematics.equivalent_learning_rate(a, t, m), expected)


def test_eq_18_the_learning_rate_replaces_acceleration_time_and_one_m():
    update = travelled(pushed(g / m))
    (acceleration,) = sp.solve(sp.Eq(l, -sp.diff(update, g).subs(g, 0)), a)
    assert same(kinematics.gravity_step(g, l, m), update.subs(a, acceleration))


def test_eq_19_the_longest_step_is_at_m_and_nothing_is_longer():
    step = kinematics.gravity_step(g, l, m)
    assert set(sp.solve(sp.diff(step, g), g)) == {m, -m}
    longest = kinematics.largest_step(l, m)
    assert same(step.subs(g, -m), longest)
    assert same(step.subs(g, m), -longest)
    # The room that is left is a square over something positive.
    room = sp.factor(longest**2 - step**2)
    assert same(room, (l * m * (g**2 - m**2) / (2 * (g**2 + m**2))) ** 2)


def test_eq_20_m_is_the_tangent_of_the_complementary_angle():
    assert sp.simplify(sp.tan(sp.pi / 2 - sp.atan(s)) - 1 / s) == 0
    tensor = np.array([[[0.3, -1.7]], [[1.2, 0.0]]])
    steepest = max(abs(value) for value in tensor.ravel().tolist())
    expected = sp.tan(sp.pi / 2 - sp.atan(sp.Rational(steepest)))
    close(kinematics.max_step_gradient(tensor), expected)


# What the chapters conclude from them.


def test_small_gradients_gravity_is_gradient_descent_to_third_order():
    gravity = kinematics.gravity_step(g, l, m)
    descent = kinematics.gradient_descent_step(g, l)
    assert sp.limit(gravity / descent, g, 0, "+") == 1
    assert sp.limit(gravity / descent, g, 0, "-") == 1
    assert sp.simplify(sp.limit((gravity - descent) / g**3, g, 0) - l / m**2) == 0


def test_extremum_stays_at_one_whatever_the_learning_rate():
    slope = sp.nsimplify(sp.diff(kinematics.gravity_step(g, l), g))
    assert sp.solveset(slope, g, sp.S.Reals) == {-1, 1}
    assert sp.simplify(sp.diff(slope / l, l)) == 0


@pytest.mark.parametrize(
    ("share", "place"), [("1/100", 1 / sp.sqrt(99)), ("1/10", sp.Rational(1, 3))]
)
def test_linear_region_grows_with_m(share, place):
    ratio = kinematics.gravity_step(g, l, m) / kinematics.gradient_descent_step(g, l)
    found = sp.solve(sp.Eq(sp.simplify(1 - ratio), sp.Rational(share)), g)
    assert any(sp.simplify(root - place * m) == 0 for root in found)


def test_multiplied_loss_changes_the_form_of_the_update():
    # Eq. 20 has the inverse of the unit that Eq. 18 needs.
    factor = sp.Symbol("lambda", positive=True)
    step = kinematics.gravity_step(factor * g, l, 1 / (factor * s))
    expected = -l * factor * g / (1 + factor**4 * g**2 * s**2)
    assert same(step, expected)
    right_unit = kinematics.gravity_step(factor * g, l, factor * s)
    assert same(right_unit, factor * kinematics.gravity_step(g, l, s))


@pytest.mark.parametrize(("curvature", "diverges"), [(19.9, False), (20.1, True)])
def test_gradient_descent_diverges_above_two_over_the_learning_rate(
    curvature, diverges
):
    descent = gravity = 1.0
    for _ in range(2000):
        descent += kinematics.gradient_descent_step(curvature * descent, 0.1)
        gravity += kinematics.gravity_step(curvature * gravity, 0.1, 5.0)
        assert abs(gravity) <= max(1.0, kinematics.largest_step(0.1, 5.0))
    assert (abs(descent) > 1.0) is diverges


# The chapters themselves.


def markdown(path):
    if path.suffix == ".md":
        return path.read_text()
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


def labels(text):
    return re.findall(r"\$\$ \((eq-[\w-]+)\)", text)


def test_eq_1_to_20_have_their_label_once_and_in_their_chapter():
    pages = [*ROOT.glob("book/**/*.md"), *ROOT.glob("notebooks/**/*.ipynb")]
    counts = Counter(label for page in pages for label in labels(markdown(page)))
    assert {n: counts[f"eq-{n}"] for n in range(1, 21)} == dict.fromkeys(
        range(1, 21), 1
    )
    homes = {"inclined_plane": (1, 11), "learning_rate": (12, 14)}
    homes["max_step_gradient"] = (15, 20)
    for name, (first, last) in homes.items():
        found = labels(markdown(CHAPTERS[name]))
        papers = [label for label in found if "-b" not in label]
        assert papers == [f"eq-{n}" for n in range(first, last + 1)]


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_displayed_equation_is_labelled_and_referred_to(name):
    notebook = nbformat.read(CHAPTERS[name], as_version=4)
    text = markdown(CHAPTERS[name])
    found = labels(text)
    assert text.count("$$") == 2 * len(found)
    source = "\n".join(cell.source for cell in notebook.cells)
    for label in found:
        assert f"(#{label})" in source, label


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_figure_is_captioned_described_and_referred_to(name):
    cells = nbformat.read(CHAPTERS[name], as_version=4).cells
    drawing = re.compile(r"plt\.subplots|plots\.(?!set_style|STYLES)")
    drawn = [c for c in cells if c.cell_type == "code" and drawing.search(c.source)]
    assert drawn
    figures = [cell.metadata["mystnb"] for cell in drawn]
    source = "\n".join(cell.source for cell in cells)
    for options in figures:
        assert options["figure"]["caption"].endswith(".")
        assert options["image"]["alt"].endswith(".")
        assert f"(#{options['figure']['name']})" in source, options["figure"]["name"]


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_ends_with_exercises_and_their_hidden_solutions(name):
    cells = nbformat.read(CHAPTERS[name], as_version=4).cells
    titles = re.findall(r"^## (.*)", markdown(CHAPTERS[name]), re.MULTILINE)
    assert titles[-2:] == ["Exercises", "Check yourself"]
    hidden = [c for c in cells if "hide-cell" in c.metadata.get("tags", [])]
    asked = re.findall(r"^\*\*\d\. ", markdown(CHAPTERS[name]), re.MULTILINE)
    assert 2 <= len(asked) == len(hidden) <= 4
    assert all("assert" in cell.source for cell in hidden)


OTHER_VALUES = {
    "inclined_plane": {"SLOPE": -2.0, "ACCELERATION": 9.81, "LARGEST_SLOPE": 2.0},
    "learning_rate": {
        "LEARNING_RATE": 0.3,
        "OTHER_LEARNING_RATE": 0.05,
        "ACCELERATIONS": [1.0],
    },
    "max_step_gradient": {
        "LEARNING_RATE": 0.15,
        "MAX_STEP_GRADIENTS": [0.5, 1.0, 3.0],
        "CURVATURES": [1.0, 14.0],
        "START": [1.0, -0.2],
        "VALLEY_M": 2.0,
        "SEED": 3,
    },
}


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_holds_for_other_values_and_needs_no_backend(name, tmp_path):
    # Its assertions are its verification, so running it is testing it.
    notebook = nbformat.read(CHAPTERS[name], as_version=4)
    probe = "import sys\nassert not {'keras', 'tensorflow'} & set(sys.modules)"
    notebook.cells.insert(-1, nbformat.v4.new_code_cell(probe))
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    execution.execute(
        tmp_path / "chapter.ipynb",
        tmp_path / "out.ipynb",
        OTHER_VALUES[name],
        progress=False,
    )
