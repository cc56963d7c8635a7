"""Writes what each profile costs into the README and the book, from stored runs.

`--check` writes nothing and fails where a page has another table.
"""

import argparse
import math
import sys
from pathlib import Path

import yaml

from gravity.book import costs
from gravity.book.prose import duration
from gravity.experiments import environment, models
from gravity.experiments.datasets import DATASETS
from gravity.experiments.experiment import Experiment, grid
from gravity.experiments.optimizers import OPTIMIZERS
from gravity.experiments.paper import PAPER_LEARNING_RATES
from gravity.experiments.runs import Run, RunStore

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "book/howto/profiles.md")
BEGIN, END = "<!-- costs: python book/profile_costs.py -->", "<!-- end of costs -->"


def experiments(profile: str) -> list[Experiment]:
    """Return the runs of a profile, on real data whatever it runs on."""
    pairs = yaml.safe_load((ROOT / f"book/profiles/{profile}.yaml").read_text())
    runs = []
    for pair, values in pairs.items():
        dataset, _, architecture = pair.rpartition("_")
        if architecture in ("vgg16", "vgg19"):
            arguments = {
                name.lower(): value for name, value in values.items() if name != "TRAIN"
            }
            runs += grid(dataset, architecture, **arguments)
    return runs


def rate(run: Experiment, stored: list[Run]) -> float:
    """Return the operations a second of the stored run that is most like `run`."""
    nearest = min(
        stored,
        key=lambda other: (
            abs(math.log(other.experiment.width / run.width)),
            other.experiment.dataset != run.dataset,
            other.experiment.architecture != run.architecture,
            other.experiment.optimizer != run.optimizer,
            two_cores(other),
        ),
    )
    return costs.operations(nearest.experiment) / two_cores(nearest)


def weights(run: Experiment) -> int:
    """Return the bytes of a run's weights, without biases."""
    spec = DATASETS[run.dataset]
    shapes = models.weight_shapes(
        run.architecture, spec.shape[-1], spec.classes, run.width
    )
    return 4 * sum(map(math.prod, shapes))


def two_cores(run: Run) -> float:
    """Return the seconds that a stored run takes of two cores' time.

    Two runs that were given one thread each have run side by side.
    """
    threads = run.provenance.get("threads", {}).get("TF_NUM_INTRAOP_THREADS")
    share = int(threads) / run.provenance["cores"] if threads else 1.0
    return run.provenance["seconds"] * min(share, 1.0)


def pairs_table(store: RunStore) -> str:
    """Return what the runs of each of the paper's pairs took, as Markdown."""
    header = ["Pair", "`preview`, nine runs", "`first_epoch`, three runs"]
    lines = [header, ["---"] * len(header)]
    for dataset, architecture in PAPER_LEARNING_RATES:
        cells = [f"{DATASETS[dataset].title} × {models.TITLES[architecture]}"]
        for profile in ("preview", "first_epoch"):
            runs = [
                run
                for run in experiments(profile)
                if (run.dataset, run.architecture) == (dataset, architecture)
            ]
            found = store.find_all(runs)
            seconds = sum(map(two_cores, found))
            part = "" if len(found) == len(runs) else f", {len(found)} of {len(runs)}"
            cells.append(duration(seconds) + part if found else "–")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def row(profile: str, store: RunStore) -> list[str]:
    """Return a profile's row of the table."""
    runs = experiments(profile)
    kept = [run for run in store if run.experiment.architecture in ("vgg16", "vgg19")]
    found = [stored for run in runs if (stored := store.find(run))]
    seconds = sum(
        two_cores(stored)
        if (stored := store.find(run))
        else costs.operations(run) / rate(run, kept)
        for run in runs
    )
    if profile == "smoke":
        time = "minutes, most of them to start the runs"
    else:
        time = f"{duration(seconds)}, {basis(len(found), len(runs))}"
    largest = max(runs, key=weights)
    alike = [
        run.provenance["peak_memory"]
        for run in kept
        if run.experiment.width == largest.width
        and run.experiment.batch_size == largest.batch_size
        and "peak_memory" in run.provenance
    ]
    spec = DATASETS[largest.dataset]
    images = 4 * math.prod(spec.shape) * (2 * spec.train_size + spec.test_size)
    least = images + 5 * weights(largest)
    memory = (
        f"{max(alike) / 1e9:.1f} GB, measured"
        if alike
        else f"at least {least / 1e9:.1f} GB, counted"
    )
    if profile == "smoke":
        memory = "as `quick`"
    disk = max(2 * (1 + OPTIMIZERS[run.optimizer].slots) * weights(run) for run in runs)
    tpu = "–"
    if all(run.is_papers for run in runs):
        bounds = [
            costs.run_bounds(run.dataset, run.architecture, run.optimizer, run.epochs)
            for run in runs
        ]
        least = sum(bound.counted for bound in bounds)
        tpu = f"at least {duration(least)}, a bound"
    return [
        f"`{profile}`",
        str(len(runs)),
        time,
        memory,
        f"{math.ceil(disk / 1e6)} MB",
        tpu,
    ]


def basis(found: int, runs: int) -> str:
    """Return on what a time rests."""
    if found == runs:
        return "measured"
    return f"{found} of {runs} runs measured" if found else "estimated"


def table() -> str:
    """Return the table as Markdown, with what it rests on below it."""
    store = RunStore(ROOT / "book/results")
    header = ["Profile", "Runs", "Time on two cores", "Memory", "Disk", "Time on a TPU"]
    lines = [header, ["---"] * len(header)]
    lines += [
        row(name, store)
        for name in ("smoke", "quick", "fashion", "preview", "first_epoch", "paper")
    ]
    machines = sorted(
        {environment.processor_of(run.provenance["device"]) for run in store}
    )
    return (
        "\n".join(f"| {' | '.join(line)} |" for line in lines)
        + "\n\n"
        + "Times are those of training alone on two cores of "
        f"{' and '.join(machines)}, which other work shared at times: runs with two "
        "threads one after the other, those with one thread two at a time. "
        "What isn't stored is estimated at the operations a second of the stored run "
        "most like it. Memory is the largest of a process; where none of that width "
        "was measured it is what images, weights, gradients and the optimizer take at "
        "least. Disk is what the largest run keeps while it trains; a finished one "
        "takes 10 kB, and the datasets' files 170 MB or less each. The TPU's bound is "
        "the compiler's count of operations and bytes of every step on a v5e chip, at "
        "the chip's published speed.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = []
    short = table()
    pairs = pairs_table(RunStore(ROOT / "book/results"))
    long = f"{short}\nWhat was measured for each pair:\n\n{pairs}\n"
    for page, new in zip(PAGES, (short, long), strict=True):
        text = page.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        wanted = f"{before}{BEGIN}\n\n{new}\n{END}{rest.partition(END)[2]}"
        if wanted != text:
            stale.append(page.relative_to(ROOT))
            if not options.check:
                page.write_text(wanted, encoding="utf-8")
    for page in stale:
        print(f"{'stale' if options.check else 'written'}: {page}")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
