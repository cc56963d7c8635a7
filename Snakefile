"""Runs → executed chapters → book. `make book` calls it; so can you, with --dry-run.

Call it with `--rerun-triggers mtime`: a stored run stays as it is when the rule that
would make it changes.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

PROFILE = config.get("profile", "quick")
BUILD = Path(config.get("build", "_build")) / PROFILE

# The smoke scale trains on generated files. `gravity` reads the variable on import.
if PROFILE == "smoke":
    MANIFEST = (BUILD / "data/manifest.json").absolute()
    if not MANIFEST.exists():
        command = [sys.executable, "tests/make_datasets.py", str(MANIFEST.parent)]
        subprocess.run(command, check=True)
    os.environ["GRAVITY_DATA_MANIFEST"] = str(MANIFEST)
    # Nor do runs of this scale belong among the others.
    os.environ.setdefault("GRAVITY_RUNS", f"{BUILD / 'runs'}{os.pathsep}book/results")

from gravity.book import contents
from gravity.evidence import studies
from gravity.experiments.datasets import DATASETS
from gravity.experiments.experiment import grid
from gravity.experiments.runs import RunStore, default_roots

SOURCE = BUILD / "source"
# Real data are the same for all profiles, and so are the runs on them.
DATA = BUILD / "data" if PROFILE == "smoke" else BUILD.parent / "data"
STORE = RunStore(*(root.absolute() for root in default_roots()))
PYTHON = shlex.quote(sys.executable)
JUPYTER_BOOK = shlex.quote(str(Path(sys.executable).with_name("jupyter-book")))

# Chapters find the runs where the rules put them, whatever folder they run in.
os.environ["GRAVITY_RUNS"] = os.pathsep.join(map(str, STORE.roots))


def read_yaml(path):
    with open(path) as file:
        return yaml.safe_load(file)


# For each profile, the parameters of every chapter that doesn't run with its own.
PROFILES = {
    path.stem: read_yaml(path) for path in sorted(Path("book/profiles").glob("*.yaml"))
}
if PROFILE not in PROFILES:
    raise WorkflowError(
        f"profile must be one of {', '.join(PROFILES)}. Received: profile={PROFILE}"
    )

CHAPTERS = [
    page.removeprefix("notebooks/")
    for _, page in contents.pages("_toc.yml")
    if page.startswith("notebooks/")
]
PAIRS = [
    Path(chapter).name
    for chapter in CHAPTERS
    if chapter.startswith("benchmark/") and "_vgg" in chapter
]


def experiments(pair, settings):
    """The runs that a profile's settings ask for in one pair's chapter."""
    dataset, _, architecture = pair.rpartition("_")
    values = {
        name.lower(): value for name, value in settings.items() if name != "TRAIN"
    }
    return grid(dataset, architecture, **values)


def settings(pair):
    """A pair's parameters.

    A pair that the profile leaves out shows what is stored at the largest scale.
    """
    if pair in PROFILES[PROFILE]:
        return PROFILES[PROFILE][pair]
    for name in ("paper", "preview", "fashion", "quick"):
        values = PROFILES[name].get(pair)
        if values is not None and any(map(STORE.find, experiments(pair, values))):
            return values | {"TRAIN": False}
    return {"TRAIN": False}


def shown(pair):
    """The runs that a pair's chapter trains or reads."""
    asked = experiments(pair, SETTINGS[pair])
    if SETTINGS[pair].get("TRAIN", True):
        return asked
    return [run for run in asked if STORE.find(run)]


SETTINGS = PROFILES[PROFILE] | {pair: settings(pair) for pair in PAIRS}
RUNS = {pair: shown(pair) for pair in PAIRS}
EXPERIMENTS = {run.run_id: run for runs in RUNS.values() for run in runs}
# Chapters read the runs of studies where they are stored. Trained they are by `study`.
STUDIES = {name: studies.experiments(name) for name in studies.STUDIES}
# The winners of a study's tries, known when those are stored.
STUDIES["tuned"] = [run for group in studies.tuned(STORE).values() for run in group]
TRAINABLE = EXPERIMENTS | {run.run_id: run for runs in STUDIES.values() for run in runs}


def run_file(experiment):
    """Where the run is stored already, else where the rule `run` will store it."""
    roots = [root for root in STORE.roots if (root / experiment.run_id).is_dir()]
    return (roots or STORE.roots)[0] / experiment.run_id / "run.json"


def chapter_runs(wildcards):
    """The runs of a pair's chapter; the overview needs all of them."""
    name = Path(wildcards.chapter).name
    runs = EXPERIMENTS.values() if name == "overview" else RUNS.get(name, ())
    # What else a chapter reads may be any run that came with the checkout: the folder
    # changes when one is added or taken away.
    reads = wildcards.chapter.startswith(("benchmark/", "evidence/"))
    return [run_file(run) for run in runs] + ["book/results"] * reads


def chapter_parameters(wildcards):
    """The chapter's values, as arguments of `python -m gravity execute`."""
    return " ".join(
        shlex.join(["-p", name, value if isinstance(value, str) else repr(value)])
        for name, value in SETTINGS.get(Path(wildcards.chapter).name, {}).items()
    )


def train_command(wildcards):
    return shlex.join(TRAINABLE[wildcards.run].command)


rule book:
    """The rendered book."""
    input:
        expand(SOURCE / "notebooks/{chapter}.ipynb", chapter=CHAPTERS),
        "_config.yml",
        "_toc.yml",
        [str(path) for path in sorted(Path("book").rglob("*.md"))],
        [str(path) for path in sorted(Path("book/_static").iterdir())],
        [str(path) for path in sorted(Path("book/_ext").glob("*.py"))],
        "book/references.bib",
        "book/equations.yaml",
        [str(path) for path in sorted(Path("gravity").rglob("*.py"))],
    output:
        BUILD / "html/index.html",
    log:
        BUILD / "logs/book.log",
    params:
        source=SOURCE,
        build=BUILD,
    message:
        "Rendering the book"
    shell:
        # The copies are made anew so that what left the checkout leaves the book.
        "rm -rf {params.source}/book {params.source}/gravity {params.build}/html"
        " && mkdir -p {params.source}"
        " && cp _config.yml _toc.yml {params.source}"
        " && cp -r book {params.source}/book"
        " && cp -r gravity {params.source}"
        " && {JUPYTER_BOOK} build -n -W --keep-going"
        " --path-output {params.build}/sphinx {params.source} > {log} 2>&1"
        " && cp -r {params.build}/sphinx/_build/html {params.build}/html"
        " && mkdir -p {params.build}/html/_static/mathjax"
        " && cp \"$({PYTHON} -c 'import mathjax; print(*mathjax.__path__)')\""
        "/static/mathjax/es5/tex-svg.js {params.build}/html/_static/mathjax/"


rule runs:
    """All runs of the profile, and nothing else."""
    input:
        [run_file(run) for run in EXPERIMENTS.values()],
    localrule: True


rule study:
    """All runs of one of `gravity.evidence.studies`, as in: make study STUDY=plateau."""
    input:
        lambda wildcards: map(run_file, STUDIES[wildcards.study]),
    output:
        touch(BUILD / "studies/{study}"),
    wildcard_constraints:
        study="|".join(STUDIES),
    localrule: True


rule chapter:
    """A chapter, executed from top to bottom."""
    input:
        "notebooks/{chapter}.ipynb",
        f"book/profiles/{PROFILE}.yaml",
        chapter_runs,
        [str(path) for path in sorted(Path("gravity").rglob("*.py"))],
        "gravity/book/costs.json",
        "gravity/book/tpu.json",
    output:
        SOURCE / "notebooks/{chapter}.ipynb",
    log:
        BUILD / "logs/{chapter}.log",
    params:
        values=chapter_parameters,
    message:
        "Executing {wildcards.chapter}"
    shell:
        "{PYTHON} -m gravity execute {input[0]} -o {output} {params.values}"
        " > {log} 2>&1"


rule data:
    """A dataset's files, downloaded once for all runs, where Snakemake was started."""
    output:
        touch(DATA / "{dataset}.fetched"),
    log:
        BUILD / "logs/data/{dataset}.log",
    message:
        "Fetching {wildcards.dataset}"
    localrule: True
    shell:
        "{PYTHON} -m gravity data fetch {wildcards.dataset} > {log} 2>&1"


def data_file(wildcards):
    """What a run needs first; nothing when it is stored."""
    run = TRAINABLE[wildcards.run]
    if STORE.find(run):
        return []
    # Both versions of CIFAR-100 are in the same files.
    files = DATASETS[run.dataset].files
    first = next(name for name, spec in DATASETS.items() if spec.files == files)
    return [DATA / f"{first}.fetched"]


rule run:
    """A training run. Nothing but its description decides whether it's up to date."""
    input:
        ancient(data_file),
    output:
        STORE.roots[0] / "{run}/run.json",
    log:
        BUILD / "logs/{run}.log",
    params:
        command=train_command,
        stored=str(STORE.roots[0] / "{run}/run.json"),
    message:
        "Training {wildcards.run}"
    # Small networks gain little from a second core: two runs side by side gain more.
    threads: 1
    shell:
        "TF_NUM_INTRAOP_THREADS={threads} TF_NUM_INTEROP_THREADS=1"
        " OMP_NUM_THREADS={threads}"
        " {PYTHON} {params.command} > {log} 2>&1"
        # Where pods share no files, Snakemake wants a copy in a place of its own.
        " && (test -e {output} || cp {params.stored} {output})"
