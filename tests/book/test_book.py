"""The book, built end to end at smoke scale, and what a reader finds in it."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml
from smoke_book import make

from gravity.evidence import studies
from gravity.experiments.experiment import grid
from gravity.experiments.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.images, self.links, self.text = [], [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        if tag == "a":
            self.links.append(dict(attributes).get("href", ""))

    def handle_data(self, data):
        self.text += data


def test_benchmark_chapter_shows_the_four_panels(built):
    path = built / "html/notebooks/benchmark/digits_vgg16.html"
    page = Page(path)
    figure, twin = (i for i in page.images if "Four panels" in i.get("alt", ""))
    assert figure["alt"] == twin["alt"]
    drawing = (path.parent / figure["src"]).read_text()
    assert "<svg" in drawing
    # matplotlib writes text as outlines and its wording as a comment beside them.
    labels = re.findall(r"<!-- (.*?) -->", drawing)
    for panel in ("(a)", "(b)", "(c)", "(d)"):
        assert panel in labels
    for axis in (
        "Training loss",
        "Training accuracy (%)",
        "Test loss",
        "Test accuracy (%)",
    ):
        assert axis in labels
    for optimizer in ("Gravity", "Adam", "RMSprop"):
        assert optimizer in labels
        assert optimizer in page.text


def test_benchmark_chapter_says_at_which_scale_it_was_run(built):
    page = Page(built / "html/notebooks/benchmark/digits_vgg16.html")
    assert "Smoke scale" in page.text
    assert "64 of 1,437 training images" in page.text
    assert "VGG16, width 0.0625" in page.text
    assert "1 epochs" not in page.text


def test_no_page_shows_an_error_or_raw_markup(built):
    pages = sorted((built / "html").rglob("*.html"))
    assert len(pages) >= 7
    for path in pages:
        text = Page(path).text
        assert "Traceback" not in text, path
        assert not re.search(r"^(:::|```)", text, re.MULTILINE), path
        assert "{eq}" not in text, path


def test_no_page_says_that_there_is_nothing_to_see(built):
    for page in (built / "html").rglob("*.html"):
        text = page.read_text()
        for words in ("none here",):
            assert words not in text, f"{page.name}: {words}"


def test_every_executed_page_opens_its_clean_source_in_colab(built):
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    owner = repository["url"].removeprefix("https://github.com/")
    executed = sorted((built / "source/notebooks").rglob("*.ipynb"))
    assert executed
    for notebook in executed:
        path = notebook.relative_to(built / "source")
        assert (ROOT / path).is_file()
        link = (
            "https://colab.research.google.com/github/"
            f"{owner}/blob/{repository['branch']}/{path}"
        )
        assert link in Page(built / "html" / path.with_suffix(".html")).links


def test_front_page_leads_to_the_book(built):
    index = (built / "html/index.html").read_text()
    assert "book/introduction.html" in index


def test_second_build_has_nothing_to_do(built):
    result = make(built.parents[1], "book")
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert line.startswith("The book is made")


@pytest.mark.parametrize("value", ["huge", ""])
@pytest.mark.parametrize("name", ["profile", "study"])
def test_unknown_profile_or_study_is_named(name, value, tmp_path):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--cores", "1", "--nolock"),
            *("--config", f"{name}={value}", f"build={tmp_path}"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    profiles = (path.stem for path in sorted((ROOT / "book/profiles").glob("*.yaml")))
    known = {"profile": profiles, "study": [*studies.STUDIES, "tuned"]}
    assert result.stderr == (
        f"{name} must be one of {', '.join(known[name])}. Received: {name}={value}\n"
    )


def test_every_notebook_has_its_set_up_and_the_pair_chapters_are_up_to_date():
    result = subprocess.run(
        [sys.executable, "book/make_chapters.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout


def test_costs_of_the_profiles_are_those_of_the_stored_runs():
    result = subprocess.run(
        [sys.executable, "book/profile_costs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_stale_chapter_is_found(tmp_path):
    for name in ("book", "notebooks", "gravity", "_config.yml"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(
            ROOT / name, tmp_path / name
        )
    chapter = tmp_path / "notebooks/benchmark/digits_vgg16.ipynb"
    chapter.write_text(chapter.read_text().replace("EPOCHS", "EPOCHES"))
    command = [sys.executable, "book/make_chapters.py"]
    check = subprocess.run(
        [*command, "--check"], cwd=tmp_path, capture_output=True, text=True
    )
    assert check.returncode == 1
    assert "stale: notebooks/benchmark/digits_vgg16.ipynb" in check.stdout
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    original = ROOT / "notebooks/benchmark/digits_vgg16.ipynb"
    assert chapter.read_text() == original.read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_source_notebook_is_clean_and_its_cells_short(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    lengths = sorted(len(cell.source.splitlines()) for cell in code)
    assert lengths[-1] <= 30
    assert lengths[len(lengths) // 2] <= 10
    assert notebook.cells[0].source.startswith("# ")
    assert "cards.colophon(" in code[-1].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_card_names_the_runs_that_a_chapter_reads(path):
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    if any("RunStore(" in source for source in code):
        # Else the gate would not know what the page shows.
        assert "colophon()" not in code[-1]


def test_every_figure_says_what_is_to_be_seen():
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and "plots." in cell.source:
                options = cell.metadata["mystnb"]
                assert len(options["image"]["alt"]) > 20, path
                assert options["figure"]["caption"], path


def test_readme_shows_a_picture_that_exists():
    readme = (ROOT / "README.md").read_text()
    for path in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme):
        assert (ROOT / path).read_bytes().startswith(b"\x89PNG")


def test_quick_profile_has_the_settings_that_won_the_study():
    """One seed and six tries for each optimizer, judged by the last training loss."""
    settings = nbformat.read(ROOT / "notebooks/benchmark/settings.ipynb", as_version=4)
    (parameters,) = (
        cell.source
        for cell in settings.cells
        if "parameters" in cell.metadata.get("tags", [])
    )
    tried: dict = {}
    exec(parameters, tried)
    quick = yaml.safe_load((ROOT / "book/profiles/quick.yaml").read_text())
    scale = {"width": tried["WIDTH"], "epochs": tried["EPOCHS"]}
    scale |= {"batch_size": tried["BATCH_SIZE"], "seeds": [tried["SEED"]]}
    for optimizer, argument, values in (
        ("gravity", "alpha", tried["ALPHAS"]),
        ("adam", "learning_rate", tried["ADAM_RATES"]),
        ("rmsprop", "learning_rate", tried["RMSPROP_RATES"]),
    ):
        assert len(values) == 6
        losses = {}
        for value in values:
            (one,) = grid(
                tried["DATASET"],
                tried["ARCHITECTURE"],
                optimizers=[optimizer],
                arguments={optimizer: {argument: value}},
                **scale,
            )
            run = RunStore(ROOT / "book/results").find(one)
            losses[value] = run.history["loss"][-1]
        chosen = quick["digits_vgg16"]["ARGUMENTS"][optimizer][argument]
        assert chosen == min(losses, key=losses.get)
