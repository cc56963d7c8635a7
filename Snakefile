"""Runs → executed chapters → book. `make book` calls it; so can you, with --dry-run."""

import os
import shlex
import sys
from pathlib import Path

import yaml

from gravity.experiment import grid
from gravity.runs import RunStore, default_roots

PROFILE = config.get("profile", "quick")
BUILD = Path(config.get("build", "_build")) / PROFILE
SOURCE = BUILD / "source"
STORE = RunStore(*(root.absolute() for root in default_roots()))
PYTHON = shlex.quote(sys.executable)

# Chapters find the runs where the rules put them, whatever folder they run in.
os.environ["GRAVITY_RUNS"] = os.pathsep.join(map(str, STORE.roots))


def read_yaml(path):
    with open(path) as file:
        return yaml.safe_load(file)


def pages(entry):
    """The files of a table of contents, depth first."""
    if isinstance(entry, list):
        return [page for item in entry for page in pages(item)]
    if isinstance(entry, dict):
        own = [entry[key] for key in ("root", "file") if key in entry]
        return own + [page for item in entry.values() for page in pages(item)]
    return []


PROFILES = {
    path.stem: read_yaml(path)["pairs"]
    for path in sorted(Path("book/profiles").glob("*.yaml"))
}
if PROFILE not in PROFILES:
    raise WorkflowError(
        f"profile must be one of {', '.join(PROFILES)}. Received: profile={PROFILE}"
    )

CHAPTERS = [
    page.removeprefix("notebooks/")
    for page in pages(read_yaml("_toc.yml"))
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
    settings = {name.lower(): value for name, value in settings.items()}
    return grid(dataset, architecture, **settings)


def settings(pair):
    """A pair's parameters.

    A pair that the profile leaves out shows what is stored at another profile's scale.
    """
    if pair in PROFILES[PROFILE]:
        return PROFILES[PROFILE][pair]
    for name in ("fashion", "quick"):
        values = PROFILES[name].get(pair)
        if values and all(map(STORE.find, experiments(pair, values))):
            return values | {"TRAIN": False}
    return {"TRAIN": False}


SETTINGS = {pair: settings(pair) for pair in PAIRS}
RUNS = {
    pair: experiments(pair, values) if values.get("TRAIN", True) else []
    for pair, values in SETTINGS.items()
}
EXPERIMENTS = {run.run_id: run for runs in RUNS.values() for run in runs}


def run_file(experiment):
    """Where the run is stored already, else where the rule `run` will store it."""
    roots = [root for root in STORE.roots if (root / experiment.run_id).is_dir()]
    return (roots or STORE.roots)[0] / experiment.run_id / "run.json"


def chapter_runs(wildcards):
    return [run_file(run) for run in RUNS.get(Path(wildcards.chapter).name, ())]


def chapter_parameters(wildcards):
    """The chapter's values, as arguments of `python -m gravity execute`."""
    return " ".join(
        shlex.join(["-p", name, value if isinstance(value, str) else repr(value)])
        for name, value in SETTINGS.get(Path(wildcards.chapter).name, {}).items()
    )


def train_arguments(wildcards):
    """The run's description, as arguments of `python -m gravity train`."""
    described = EXPERIMENTS[wildcards.run].describe()
    del described["training_rules"]
    optimizer_arguments = described.pop("arguments")
    words = [
        word
        for name, value in described.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    for name, value in optimizer_arguments.items():
        words += ["--argument", f"{name}={value}"]
    return shlex.join(words)


rule book:
    """The rendered book."""
    input:
        expand(SOURCE / "notebooks/{chapter}.ipynb", chapter=CHAPTERS),
        "_config.yml",
        "_toc.yml",
        [str(path) for path in sorted(Path("book").rglob("*.md"))],
        [str(path) for path in sorted(Path("book/_static").iterdir())],
        "book/references.bib",
        "book/equations.yaml",
        [str(path) for path in sorted(Path("gravity").glob("*.py"))],
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
        " && mkdir -p {params.source}/gravity"
        " && cp _config.yml _toc.yml {params.source}"
        " && cp -r book {params.source}/book"
        " && cp gravity/*.py {params.source}/gravity"
        " && {PYTHON} -m jupyter_book.cli.main build -n -W --keep-going"
        " --path-output {params.build}/sphinx {params.source} > {log} 2>&1"
        " && cp -r {params.build}/sphinx/_build/html {params.build}/html"
        " && cp \"$({PYTHON} -c 'import mathjax; print(*mathjax.__path__)')\""
        "/static/mathjax/es5/tex-svg.js {params.build}/html/_static/mathjax/"


rule chapter:
    """A chapter, executed from top to bottom."""
    input:
        "notebooks/{chapter}.ipynb",
        chapter_runs,
        [str(path) for path in sorted(Path("gravity").glob("*.py"))],
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


rule run:
    """A training run. Nothing but its description decides whether it's up to date."""
    output:
        STORE.roots[0] / "{run}/run.json",
    log:
        BUILD / "logs/{run}.log",
    params:
        values=train_arguments,
    message:
        "Training {wildcards.run}"
    # Small networks gain little from a second core: two runs side by side gain more.
    threads: 1
    shell:
        "TF_NUM_INTRAOP_THREADS={threads} TF_NUM_INTEROP_THREADS=1"
        " OMP_NUM_THREADS={threads}"
        " {PYTHON} -m gravity train {params.values} > {log} 2>&1"
