"""The how-to page on papermill: all of its code, as it stands there."""

import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

from gravity.book import execution

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book/howto/papermill.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CHAPTER = "notebooks/derivation/max_step_gradient.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the chapters are where a checkout has them."""
    folder = tmp_path_factory.mktemp("papermill")
    (folder / "notebooks").symlink_to(ROOT / "notebooks")
    return folder


def run(folder, language, text):
    tools = str(Path(sys.executable).parent)
    commands = {"bash": ["bash", "-e"], "python": [sys.executable, "-"]}
    return subprocess.run(
        commands[language],
        input=text,
        cwd=folder,
        env=os.environ
        | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def done(folder):
    """What each block of the page printed, run in their order."""
    printed = []
    for language, text in BLOCK.findall(PAGE):
        if language == "console":
            continue
        result = run(folder, language, text)
        assert result.returncode == 0, text + result.stdout + result.stderr
        printed.append(result.stdout)
    return printed


def results(path):
    """An executed chapter's sentences and formulas; drawings hold the time."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    return [
        text
        for cell in code
        for output in cell.outputs
        for kind, text in output.get("data", {}).items()
        if kind in ("text/markdown", "text/latex")
    ]


def test_help_lists_every_parameter(done):
    for name, entry in execution.parameters(ROOT / CHAPTER).items():
        assert f"{name}: {entry['inferred_type_name']} (default" in done[0]


def test_both_ways_give_the_same_results(done, folder):
    ours, plain = (folder / f"mine/{name}.ipynb" for name in ("flat", "plain"))
    assert sorted(path.name for path in (folder / "mine").iterdir()) == [
        "flat.ipynb",
        "plain.ipynb",
    ]
    assert len(results(ours)) > 10
    assert results(ours) == results(plain)
    assert results(ours) != results(folder / "sweep/m=05.ipynb")


def test_error_is_the_one_that_the_page_shows(folder):
    (console,) = (
        text for language, text in BLOCK.findall(PAGE) if language == "console"
    )
    # The page breaks the message where a line would be too long for a phone.
    command, message = console.removeprefix("$ ").split("gravity: ")
    result = run(folder, "bash", command)
    assert result.returncode == 1
    assert result.stderr.split() == f"gravity: {message}".split()


def test_sweep_takes_ten_lines_at_most():
    sweep, _ = (text for language, text in BLOCK.findall(PAGE) if language == "python")
    assert len([line for line in sweep.splitlines() if line.strip()]) <= 10


def test_comparison_shows_the_figure_of_every_value(done, folder):
    class Reader(html.parser.HTMLParser):
        titles, images, inside = [], [], False

        def handle_starttag(self, tag, attributes):
            self.inside = tag == "h2"
            if tag == "img":
                self.images.append(dict(attributes))

        def handle_data(self, data):
            if self.inside:
                self.titles.append(data.strip())

    reader = Reader()
    reader.feed((folder / "sweep/index.html").read_text())
    titles = [title for title in reader.titles if title]
    assert titles == [f"{{'VALLEY_M': {m:.1f}}}" for m in (2, 5, 10)]
    drawings = [
        (folder / "sweep" / image["src"]).read_text() for image in reader.images
    ]
    assert len(set(drawings)) == 3
    assert all("<svg" in drawing for drawing in drawings)
    assert all(len(image["alt"]) > 20 for image in reader.images)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (np.float64(0.5), "float", 0.5),
        (np.int64(3), "int", 3),
        (2, "float", 2.0),
        (np.array([1.0, 2.0]), "list[float]", [1.0, 2.0]),
        ("[1, 2]", "list[float]", [1, 2]),
        ("1e-3", "float", 0.001),
        ("true", "bool", True),
        ("-1e-3", "float", -0.001),
        ("None", "int | None", None),
        ("5", "int | None", 5),
        ("[1]", "int | list[int]", [1]),
    ],
)
def test_value_becomes_a_builtin(value, kind, expected):
    parsed = execution.parse(value, kind)
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float64(0.5), "int"),
        (True, "float"),
        (7, "str"),
        ("['a']", "list[int]"),
        ([1, "a"], "list[float]"),
        ("1 + 1", "int"),
        ("many", "int | None"),
        ("None", "int"),
    ],
)
def test_value_of_another_type_is_refused(value, kind):
    with pytest.raises(
        ValueError, match=re.escape(f"must be of type {kind}. Received")
    ):
        execution.parse(value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "python"),
    [
        ('{"a": true}', "dict", "{'a': True}"),
        ("null", "int | None", "None"),
    ],
)
def test_json_is_refused_with_what_to_write_instead(value, kind, python):
    with pytest.raises(ValueError, match="which is JSON") as refused:
        execution.parse(value, kind)
    assert str(refused.value).endswith(f"which is JSON. In Python it is {python}")


def test_chapter_is_never_its_own_output(tmp_path):
    path = tmp_path / "chapter.ipynb"
    path.write_text((ROOT / CHAPTER).read_text())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="must be another file than the chapter"):
        execution.execute(path, tmp_path / "x/../chapter.ipynb", progress=False)
    assert path.read_bytes() == before
