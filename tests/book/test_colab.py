"""Chapters as Colab's TPU runtime runs them: JAX, no TensorFlow, no checkout."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from make_datasets import write as write_datasets

from gravity.experiments import runs
from gravity.experiments.checkpoints import Checkpoints, Progress
from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import METRICS, RunStore

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "benchmark/mnist_vgg16"
CHAPTERS = [
    path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))
    if path.stem != "template"
]
# What a TPU runtime of Colab has of what chapters use; the last two execute them.
SHIPPED = (
    *("jax", "keras", "numpy", "matplotlib", "scipy", "sympy", "scikit-learn", "bokeh"),
    *("pooch", "filelock", "tqdm", "optax", "ipykernel", "nbclient"),
)
# pytest.warns passes on the warnings that it wasn't asked for.
pytestmark = pytest.mark.filterwarnings("ignore:Try . of 5:RuntimeWarning")
# As a reader in a hurry would set them; all other chapters' values are the profile's.
VALUES = {
    "WIDTH": 0.0625,
    "EPOCHS": 1,
    "BATCH_SIZE": 50,
    "TRAIN_SIZE": 100,
    "OPTIMIZERS": ["gravity"],
}
SMOKE = yaml.safe_load((ROOT / "book/profiles/smoke.yaml").read_text())
SMOKE |= {"mnist_vgg16": VALUES, "initial_velocity": {"WIDTH": 0.125}}
# Packages of these names are not found, as if they were not installed.
ABSENT = """
import os, sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in os.environ["ABSENT"].split(","):
            return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""
EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=None).execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The package of this checkout, as `pip` installs it."""
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "gravity", source / "gravity", ignore=ignored)
    shutil.copytree(ROOT / "book/results", source / "book/results")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", source / "dist", source], check=True)
    (path,) = (source / "dist").glob("*.whl")
    return path


@pytest.fixture
def place(tmp_path):
    """Folders: to work in (empty), packages to import, Keras's settings, the data."""
    for name in ("work", "packages", "keras", "data"):
        (tmp_path / name).mkdir()
    # What Keras itself writes where TensorFlow was installed once.
    (tmp_path / "keras/keras.json").write_text('{"backend": "tensorflow"}')
    (tmp_path / "packages/sitecustomize.py").write_text(ABSENT)
    return tmp_path


def environment(place, absent, **settings):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GRAVITY_", "KERAS_", "TF_", "PYTHON"))
    }
    return kept | {
        "ABSENT": ",".join(absent),
        "KERAS_HOME": str(place / "keras"),
        "PYTHONPATH": str(place / "packages"),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Nothing in a test is fetched from the authors' repository.
        "GRAVITY_PUBLISHED": str(place / "nowhere"),
        **settings,
    }


def edited_copy(place, chapter):
    """The chapter with other values written into its parameters cell."""
    notebook = nbformat.read(ROOT / f"notebooks/{chapter}.ipynb", as_version=4)
    for name, value in SMOKE.get(Path(chapter).name, {}).items():
        (cell,) = (
            cell
            for cell in notebook.cells
            if "parameters" in cell.metadata.get("tags", [])
        )
        pattern = rf"^({name}: [^=]+=) .*?(  #)"
        replacement = rf"\1 {value!r}\2"
        cell.source, count = re.subn(pattern, replacement, cell.source, flags=re.M)
        assert count == 1, name
    nbformat.write(notebook, place / "chapter.ipynb")
    return place / "chapter.ipynb"


def run_chapter(place, python, chapter, absent=(), **settings):
    """Execute a chapter in the empty folder; return its outputs."""
    executed = place / "executed.ipynb"
    done = subprocess.run(
        [python, "-c", EXECUTE, edited_copy(place, chapter), executed],
        cwd=place / "work",
        env=environment(
            place,
            absent,
            GRAVITY_DATA_MANIFEST=str(write_datasets(place / "data")),
            **settings,
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    outputs = [
        output
        for cell in nbformat.read(executed, as_version=4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert "runs" in outputs[-1].metadata["gravity"]
    return outputs


def run_pair(place, python, absent=(), **settings):
    """Execute a pair's chapter; return its text and its run's provenance."""
    outputs = run_chapter(place, python, CHAPTER, absent, **settings)
    drawings = [
        output.data["image/svg+xml"]
        for output in outputs
        if "image/svg+xml" in output.get("data", {})
    ]
    for panel in ("(a)", "(b)", "(c)", "(d)", "Gravity"):
        assert f"<!-- {panel} -->" in drawings[0]
    (record,) = (place / "work/gravity-runs").glob("*/run.json")
    text = "".join(output.get("text", "") for output in outputs)
    return text, json.loads(record.read_text())["provenance"]


def words(outputs):
    """What a reader sees of outputs but for drawings."""
    shown = [output.get("data", {}) for output in outputs]
    texts = [data.get("text/markdown") or data.get("text/html", "") for data in shown]
    return "\n".join(texts)


NOT_ON_A_TPU = ("tensorflow", "torch", "papermill")


def test_chapter_runs_on_jax_without_tensorflow_papermill_or_a_checkout(place, wheel):
    shutil.unpack_archive(wheel, place / "packages", "zip")
    text, made = run_pair(place, sys.executable, NOT_ON_A_TPU)
    assert made["backend"] == "jax"
    assert "tensorflow" not in made["versions"]
    assert "seed 0, on cpu:0" in text


def test_chapter_without_any_framework_runs_alone(place, wheel):
    shutil.unpack_archive(wheel, place / "packages", "zip")
    absent = (*NOT_ON_A_TPU, "jax", "keras")
    said = words(run_chapter(place, sys.executable, "derivation/learning_rate", absent))
    assert "Step at g = 0.5" in said
    assert list((place / "work").iterdir()) == []


def test_chapter_finds_the_runs_that_the_package_brings_along(place, wheel):
    shutil.unpack_archive(wheel, place / "packages", "zip")
    said = words(run_chapter(place, sys.executable, "benchmark/settings", NOT_ON_A_TPU))
    assert "The others of the 18 tries stayed there" in said
    # Nothing was trained.
    assert not (place / "work/gravity-runs").exists()


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """The Python of an environment as Colab's TPU runtime has it."""
    folder = tmp_path_factory.mktemp("colab")
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    versions = (f"{name}=={metadata.version(name)}" for name in SHIPPED)
    subprocess.run([*pip, "install", *versions], check=True)
    return python


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_set_up_cell_installs_gravity_and_nothing_else(place, colab, wheel, chapter):
    """Every chapter alone in an empty folder; the first cell installs the package."""
    pip = [colab, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "uninstall", "--yes", "gravity-optimizer"], check=True)
    (place / "packages/sitecustomize.py").unlink()
    before = subprocess.run([*pip, "freeze"], check=True, capture_output=True).stdout
    assert not {b"tensorflow", b"papermill", b"torch", b"gravity-optimizer"} & {
        line.partition(b"==")[0].partition(b" ")[0] for line in before.splitlines()
    }
    settings = {"GRAVITY_INSTALL": wheel.as_uri(), "PIP_NO_INDEX": "1"}
    if chapter == CHAPTER:
        text, made = run_pair(place, colab, **settings)
        assert made["backend"] == "jax"
        assert made["commit"] is None
        assert "on cpu:0" in text
    else:
        run_chapter(place, colab, chapter, **settings)
    freeze = [*pip, "freeze", "--exclude", "gravity-optimizer"]
    assert subprocess.run(freeze, check=True, capture_output=True).stdout == before


@pytest.mark.parametrize(
    ("absent", "settings", "configured", "chosen"),
    [
        ((), {}, None, None),
        (("tensorflow",), {}, None, "jax"),
        (("tensorflow",), {}, "tensorflow", "jax"),
        (("tensorflow",), {}, "torch", "torch"),
        (("tensorflow", "jax"), {}, "jax", "torch"),
        (("tensorflow",), {"KERAS_BACKEND": "torch"}, None, "torch"),
        (("tensorflow", "jax", "torch"), {}, None, None),
    ],
)
def test_backend_is_one_that_is_installed(place, absent, settings, configured, chosen):
    (place / "keras/keras.json").write_text(json.dumps({"backend": configured}))
    shutil.copytree(ROOT / "gravity", place / "packages/gravity")
    code = (
        "import os; from gravity.experiments import environment; environment.prepare();"
        "print(os.environ.get('KERAS_BACKEND'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(place, absent, **settings),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(chosen)


def test_runs_go_to_the_drive_when_it_is_mounted(tmp_path, monkeypatch):
    monkeypatch.delenv("GRAVITY_RUNS", raising=False)
    # As an installed package, not in a checkout.
    monkeypatch.setattr(
        runs, "__file__", str(tmp_path / "site/gravity/experiments/runs.py")
    )
    monkeypatch.setattr(runs, "DRIVE", tmp_path / "MyDrive")
    assert runs.default_roots() == [Path("gravity-runs")]
    (tmp_path / "MyDrive").mkdir()
    assert runs.default_roots() == [tmp_path / "MyDrive/gravity-runs"]
    # A wheel has the stored runs beside its modules; they are read and not written to.
    brought = tmp_path / "site/gravity/results"
    brought.mkdir(parents=True)
    assert runs.default_roots() == [tmp_path / "MyDrive/gravity-runs", brought]
    monkeypatch.setenv("GRAVITY_RUNS", "elsewhere")
    assert runs.default_roots() == [Path("elsewhere")]


SMALL = Experiment(
    dataset="digits", architecture="vgg16", optimizer="gravity", epochs=1
)
HISTORY = {metric: [0.5] for metric in METRICS}


@pytest.fixture
def flaky(monkeypatch):
    """Makes a function of `os` fail a number of times before it works again."""
    monkeypatch.setattr(runs, "_PAUSE_SECONDS", 0.0)

    def make(name, code, failures):
        real, left = getattr(os, name), [failures]

        def call(*arguments, **options):
            if left[0]:
                left[0] -= 1
                raise OSError(code, os.strerror(code))
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, call)
        return left

    return make


@pytest.mark.parametrize("name", ["rename", "fsync", "mkdir"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOTCONN])
def test_run_is_stored_when_the_drive_is_back(tmp_path, flaky, name, code):
    left = flaky(name, code, 4)
    with pytest.warns(RuntimeWarning, match="Try 4 of 5 failed"):
        run = RunStore(tmp_path / "runs").save(SMALL, HISTORY, {})
    assert left == [0]
    assert run.history == HISTORY
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [SMALL.run_id]


@pytest.mark.parametrize(
    ("code", "failures", "tries"), [(errno.EIO, 99, 5), (errno.ENOSPC, 99, 1)]
)
def test_error_that_does_not_pass_is_raised(tmp_path, flaky, code, failures, tries):
    left = flaky("rename", code, failures)
    with pytest.raises(OSError, match=re.escape(os.strerror(code))):
        RunStore(tmp_path).save(SMALL, HISTORY, {})
    assert failures - left[0] == tries
    assert not list(tmp_path.iterdir())


def test_finished_epoch_is_kept_when_the_drive_is_back(tmp_path, flaky):
    checkpoints = Checkpoints(tmp_path, SMALL)
    made = {"gravity": "1", "versions": {"python": "3"}, "backend": "jax"}
    for _ in range(3):
        left = flaky("replace", errno.EIO, 2)
        progress = Progress("", [made], HISTORY)
        with pytest.warns(RuntimeWarning, match="Try 2 of 5 failed"):
            checkpoints.save(progress, [])
        assert left == [0]
    kept, arrays = checkpoints.load(made)
    assert (kept, arrays) == (progress, [])
