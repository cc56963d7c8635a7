"""Runs → executed chapters → book. `make book` calls it; so can you, with --dry-run.

Call it with `--rerun-triggers mtime`: a stored run stays as it is when the rule that
would make it changes.
"""

import os
import shlex
import sys
from pathlib import Path

import yaml


def read_yaml(path):
    with open(path) as file:
        return yaml.safe_load(file)


# For each profile, the parameters of every chapter that doesn't run with its own.
PROFILES = {
    path.stem: read_yaml(path) for path in sorted(Path("book/profiles").glob("*.yaml"))
}
# Snakemake makes `None` of what is given and empty.
PROFILE = config.get("profile", "quick") or ""
if PROFILE not in PROFILES:
    sys.exit(
        f"profile must be one of {', '.join(PROFILES)}. Received: profile={PROFILE}"
    )
BUILD = Path(config.get("build", "_build")) / PROFILE

# The smoke scale trains on generated files, whose checksums are part of the names of
# its runs: no rule can make them. `gravity` reads the variable on import.
if PROFILE == "smoke":
    from book import make_datasets

    MANIFEST = (BUILD / "data/manifest.json").absolute()
    if not MANIFEST.exists():
        make_datasets.write(MANIFEST.parent)
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
# Its own script would take the installed `gravity`, not the one of this folder.
JUPYTER_BOOK = f"{PYTHON} -c 'from jupyter_book.cli.main import main; main()'"

# Chapters find the runs where the rules put them, whatever folder they run in.
os.environ["GRAVITY_RUNS"] = os.pathsep.join(map(str, STORE.roots))


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
STUDY = config.get("study") or ""
if "study" in config and STUDY not in STUDIES:
    sys.exit(f"study must be one of {', '.join(STUDIES)}. Received: study={STUDY}")
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


def epochs(wildcards):
    return TRAINABLE[wildcards.run].epochs


BUILDS = []


onstart:
    from book import make_book

    # The file is open, and locked, until this process ends.
    BUILDS.append(make_book.announce())


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
        "pages"
    shell:
        # What left the checkout must leave the book.
        "rm -rf {params.source:q}/book {params.source:q}/gravity {params.build:q}/html"
        " && mkdir -p {params.source:q}"
        " && cp _config.yml _toc.yml {params.source:q}"
        " && cp -r book {params.source:q}/book"
        " && cp -r gravity {params.source:q}"
        " && ({JUPYTER_BOOK} build -n -W --keep-going"
        " --path-output {params.build:q}/sphinx {params.source:q} > {log:q} 2>&1"
        # The last lines are then those that matter, not where Jupyter Book gave up.
        " || (grep -aE '[:m] ?(WARNING|ERROR): |Error: ' {log:q} | tail -n 15 >> {log:q}; false))"
        " && cp -r {params.build:q}/sphinx/_build/html {params.build:q}/html"
        " && mkdir -p {params.build:q}/html/_static/mathjax"
        " && cp \"$({PYTHON} -c 'import mathjax; print(*mathjax.__path__)')\""
        "/static/mathjax/es5/tex-svg.js {params.build:q}/html/_static/mathjax/"


rule runs:
    """All runs of the profile, and nothing else."""
    input:
        [run_file(run) for run in EXPERIMENTS.values()],
    message:
        "all runs"
    localrule: True


rule study:
    """All runs of one of `gravity.evidence.studies`, as in: make study STUDY=plateau."""
    input:
        [run_file(run) for run in STUDIES.get(STUDY, ())],
    message:
        f"study {STUDY}"
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
        "chapter {wildcards.chapter}"
    shell:
        "{PYTHON} -m gravity execute {input[0]:q} -o {output:q} {params.values}"
        " > {log:q} 2>&1"


rule data:
    """A dataset's files, downloaded once for all runs, where Snakemake was started."""
    output:
        touch(DATA / "{dataset}.fetched"),
    log:
        BUILD / "logs/data/{dataset}.log",
    message:
        "data {wildcards.dataset}"
    localrule: True
    shell:
        "{PYTHON} -m gravity data fetch {wildcards.dataset} > {log:q} 2>&1"


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
        "training {wildcards.run}"
    # Small networks gain little from a second core: two runs side by side gain more.
    threads: 1
    resources:
        # Nothing limits them: they tell how long the bar of `make book` is.
        epochs=epochs,
    shell:
        "TF_NUM_INTRAOP_THREADS={threads} TF_NUM_INTEROP_THREADS=1"
        " OMP_NUM_THREADS={threads}"
        " {PYTHON} {params.command} > {log:q} 2>&1"
        # Where pods share no files, Snakemake wants a copy in a place of its own.
        " && (test -e {output:q} || cp {params.stored:q} {output:q})"
