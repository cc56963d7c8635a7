"""The explorer: its numbers, and its page in a real browser without network."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import browser
import mathjax
import numpy as np
import pytest
import yaml

from gravity import kinematics
from gravity.book import execution, explorer

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "notebooks/derivation/explorer"
START = {"learning_rate": 0.1, "m": 1.0, "beta": 0.9, "alpha": 0.1, "g": 2.0}

READ = """
() => {
  const document = Bokeh.documents[0]
  const table = (name) => Object.fromEntries(
    Object.entries(document.get_model_by_name(name).data).map(
      ([column, values]) => [column, Array.from(values)]))
  return {curve: table("curve"), mark: table("mark"), path: table("path")}
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The explorer's page, in a book of its own."""
    browser.chromium()
    folder = tmp_path_factory.mktemp("explorer")
    source = folder / "source"
    source.mkdir()
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    (source / "_config.yml").write_text(yaml.safe_dump(config))
    (source / "_toc.yml").write_text(f"format: jb-book\nroot: {CHAPTER}\n")
    shutil.copytree(ROOT / "book", source / "book")
    execution.execute(
        ROOT / f"{CHAPTER}.ipynb", source / f"{CHAPTER}.ipynb", progress=False
    )
    command = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    result = subprocess.run(
        [
            *(sys.executable, "-c", command, "build"),
            *("--path-output", str(folder), str(source)),
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    html = folder / "_build/html"
    (html / "_static/mathjax").mkdir()
    (package,) = mathjax.__path__
    shutil.copy(f"{package}/static/mathjax/es5/tex-svg.js", html / "_static/mathjax")
    return html / f"{CHAPTER}.html"


@pytest.fixture(scope="module")
def chromium():
    with browser.launched() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def opened(chromium, built):
    return browser.open_page(chromium, built)


@pytest.fixture
def page(opened):
    """The page as it opens, whatever another test did with it."""
    opened.problems.clear()
    opened.reload()
    opened.wait_for_function("window.Bokeh && Bokeh.documents.length == 1")
    opened.locator(".noUi-handle").first.wait_for()
    opened.wait_for_function("Bokeh.documents[0].is_idle")
    return opened


def assert_shows(page, values):
    """Every number behind the picture is what NumPy computes."""
    shown, expected = page.evaluate(READ), explorer.data(**values)
    for source, table in expected.items():
        assert set(shown[source]) >= set(table)
        for column, numbers in table.items():
            np.testing.assert_allclose(
                shown[source][column],
                numbers,
                rtol=1e-12,
                atol=1e-12,
                err_msg=f"{source}.{column} at {values}",
            )


def picture(page):
    """What the three plots look like."""
    plots = page.locator(".bk-Figure")
    assert plots.count() == 3
    return [plots.nth(index).screenshot() for index in range(3)]


def move(page, name, steps):
    """Move a slider with the arrow keys and wait until its value has arrived."""
    *_, step = explorer.SLIDERS[name]
    index = list(explorer.SLIDERS).index(name)
    handle = page.locator(".noUi-handle").nth(index)
    before = page.evaluate(f"Bokeh.documents[0].get_model_by_name('{name}').value")
    for _ in range(abs(steps)):
        handle.press("ArrowRight" if steps > 0 else "ArrowLeft")
    wanted = before + steps * step
    page.wait_for_function(
        "([name, value]) => Math.abs("
        "Bokeh.documents[0].get_model_by_name(name).value - value) < 1e-9",
        arg=[name, wanted],
    )
    page.wait_for_function("Bokeh.documents[0].is_idle")
    return wanted


def test_page_opens_with_the_parameters_values(page):
    assert_shows(page, START)
    assert page.problems == []


@pytest.mark.parametrize(
    ("name", "steps", "changed"),
    [
        ("learning_rate", 7, [0, 1, 2]),
        ("m", -4, [0, 1, 2]),
        ("beta", -10, [1, 2]),
        ("alpha", 12, [1, 2]),
        ("g", -12, [0, 1, 2]),
    ],
)
def test_slider_changes_the_picture_and_the_numbers(page, name, steps, changed):
    before = picture(page)
    value = move(page, name, steps)
    # A frame is painted some time after the data has changed.
    waiting, deadline = set(changed), time.monotonic() + 30
    while waiting and time.monotonic() < deadline:
        after = picture(page)
        waiting = {index for index in waiting if before[index] == after[index]}
    assert not waiting, "plots that look as before"
    assert_shows(page, START | {name: value})
    assert page.problems == []


def test_sliders_work_together(page):
    values = dict(START)
    for name, steps in (("g", 31), ("m", 9), ("learning_rate", 4), ("beta", 5)):
        values[name] = move(page, name, steps)
    assert_shows(page, values)


def test_page_without_javascript_says_what_there_is_to_see(chromium, built):
    page = browser.open_page(chromium, built, javascript=False)
    text = page.locator("noscript p").inner_text()
    assert "The sliders need JavaScript." in text
    # -0.1 · 2 / (1 + 2²), and 30 times -0.1 · 2.
    assert "step without memory is -0.04," in text
    assert "gradient descent by -6." in text


def test_data_are_the_equations_by_hand():
    shown = explorer.data(0.5, 2.0, 0.0, 0.25, 2.0)
    assert shown["mark"] == {"g": [2.0], "gravity": [-0.5], "descent": [-1.0]}
    path = shown["path"]
    # β = 0 makes β̂ = 1/(t + 2); ζ = 2 / (1 + 1) = 1; V starts at ±0.25 / 0.5.
    np.testing.assert_allclose(path["V_up"][:3], [0.5, 0.75, 11 / 12], rtol=1e-14)
    np.testing.assert_allclose(path["V_none"][:3], [0, 0.5, 5 / 6], rtol=1e-14)
    np.testing.assert_allclose(path["W_down"][:3], [0, -0.125, -0.5], rtol=1e-14)
    assert path["W_descent"][:3] == [0, -1, -2]
    assert len(path["made"]) == explorer.UPDATES + 1
    curve = shown["curve"]
    np.testing.assert_array_equal(
        curve["gravity"], kinematics.gravity_step(np.array(curve["g"]), 0.5, 2.0)
    )


def test_a_value_that_no_slider_reaches_is_named():
    with pytest.raises(ValueError, match=r"`m` must be from 0\.1 to 5\. Received: m=9"):
        explorer.show(m=9)
