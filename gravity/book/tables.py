"""The tables that chapters show."""

import html
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gravity.book.prose import (
    argument,
    arguments,
    markup,
    percent,
    training_time,
    unbroken,
)
from gravity.evidence import learning, statistics
from gravity.evidence.claims import Claim
from gravity.evidence.judgement import by_seed
from gravity.evidence.verdicts import over_seeds
from gravity.experiments import datasets, models
from gravity.experiments.experiment import paper_experiment
from gravity.experiments.optimizers import OPTIMIZERS, TITLES, Argument
from gravity.experiments.paper import PAPER_LEARNING_RATES, PAPER_OPTIMIZERS
from gravity.experiments.runs import History, Run, in_order

if TYPE_CHECKING:
    from IPython.display import HTML

    from gravity.evidence.first_epochs import Pair


LONGEST_LABEL = 12
"""Characters of a row's label that isn't worth a second line."""


def table(
    header: Iterable[str], rows: Iterable[Iterable[str | None]], *, prose: bool = False
) -> "HTML":
    """Return a table; its first column heads the rows.

    Args:
        header: the columns' names.
        rows: for each row the cells, as plain text. Columns with a number in them are
            aligned at the right; those of words alone wrap. `None` for a row's label
            joins the row with the one above.
        prose: whether the cells are sentences, which wrap, rather than numbers.
            Defaults to `False`.
    """
    cells_of = [list(row) for row in rows]
    words = [
        not any(_is_number(cell) for cell in column if cell)
        for column in zip(*cells_of, strict=True)
    ]
    kinds = [' class="gravity-words"' if each else "" for each in words]
    names = list(header)
    kinds += [""] * (len(names) - len(kinds))
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(name)}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body, longest = "", 0
    for number, row in enumerate(cells_of):
        longest = max(longest, len(row[0] or ""))
        first, *rest = (html.escape(_with_minus(cell or "")) for cell in row)
        joined = itertools.takewhile(
            lambda below: below[0] is None, cells_of[number + 1 :]
        )
        rows_high = 1 + sum(1 for _ in joined)
        span = f' rowspan="{rows_high}"' if rows_high > 1 else ""
        label = "" if row[0] is None else f'<th scope="row"{span}>{first}</th>'
        # Sentences side by side are too many for a phone, which stacks them.
        tags = [
            f'{kind} data-column="{html.escape(name)}"' if prose else kind
            for name, kind in zip(names[1:], kinds[1:], strict=True)
        ]
        cells = "".join(
            f"<td{tag}>{unbroken(cell) if prose else cell}</td>"
            for cell, tag in zip(rest, tags, strict=True)
        )
        body += f"<tr>{label}{cells}</tr>"
    kind = "gravity-table"
    if prose:
        kind += " gravity-prose"
    elif longest <= LONGEST_LABEL:
        kind += " gravity-short"
    return markup(
        # A table that is wider than the page is scrolled, with the keyboard as well.
        f'<div class="{kind}" tabindex="0" role="group" aria-label="Table">'
        f'<table class="table"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def results_table(runs: Sequence[Run]) -> "HTML":
    """Return the final and best values of every run as a table.

    Arguments have a column where an optimizer's runs differ in them.
    "Left the plateau" is the first epoch whose training loss is below 90 % of ln C, the
    loss of guessing among C classes; a dash says that there is none. A loss that is no
    number any more is called diverged.
    """
    if not runs:
        return markup("<p>No run is stored yet.</p>")
    columns: dict[str, Callable[[Run], str]] = {
        "Optimizer": lambda run: TITLES[run.experiment.optimizer],
        "Seed": lambda run: str(run.experiment.seed),
        "Final training loss": lambda run: _loss(run.history["loss"][-1]),
        "Final test loss": lambda run: _loss(run.history["val_loss"][-1]),
        "Final training accuracy": lambda run: percent(run.history["accuracy"][-1]),
        "Final test accuracy": lambda run: percent(run.history["val_accuracy"][-1]),
        "Best test accuracy (epoch)": _best,
        "Left the plateau (epoch)": lambda run: str(learning.plateau_left(run) or "–"),
        "Training time": lambda run: f"{run.provenance['seconds']:,.0f} s",
    }
    varied = _varied_arguments(runs)
    if any(varied.values()):
        columns["Arguments"] = lambda run: ", ".join(
            # Where the column is narrow, the line breaks before the sign.
            f"{name} =\u00a0{argument(run.experiment.arguments[name])}"
            for name in varied[run.experiment.optimizer]
        )
    order = list(columns)
    if "Arguments" in columns:
        order.insert(1, order.pop())
    return table(
        order, [[columns[name](run) for name in order] for run in in_order(runs)]
    )


def datasets_table() -> "HTML":
    """Return the paper's datasets with their sizes, as its Table 3."""
    papers = dict.fromkeys(dataset for dataset, _ in PAPER_LEARNING_RATES)
    rows = []
    for name in papers:
        spec = datasets.DATASETS[name]
        height, width, channels = spec.shape
        rows.append(
            [
                spec.title,
                f"{height} × {width} × {channels}",
                f"{spec.train_size:,}",
                f"{spec.test_size:,}",
                str(spec.classes),
                f"{spec.train_size // spec.classes:,}",
            ]
        )
    header = ["Dataset", "Shape", "Training images", "Test images", "Classes"]
    return table([*header, "Training images a class"], rows)


def settings_table() -> "HTML":
    """Return the learning rates that the paper uses, as its Table 5."""
    rows = [
        [
            f"{datasets.DATASETS[dataset].title} × {models.TITLES[architecture]}",
            f"{OPTIMIZERS['gravity'].defaults['learning_rate']:g}",
            *(f"{rates[name]:.2e}" for name in ("adam", "rmsprop")),
        ]
        for (dataset, architecture), rates in PAPER_LEARNING_RATES.items()
    ]
    return table(["Pair", "Gravity", "Adam", "RMSprop"], rows)


def common_settings_table() -> "HTML":
    """Return what all the paper's runs have in common, as its section 3.3."""
    pair = next(iter(PAPER_LEARNING_RATES))
    papers = {name: paper_experiment(*pair, name) for name in PAPER_OPTIMIZERS}
    rows = [
        ["Epochs", f"{papers['gravity'].epochs}"],
        ["Images in a step", f"{papers['gravity'].batch_size}"],
    ]
    for name, paper in papers.items():
        listed = [
            f"{setting} = {argument(value)}"
            for setting, value in paper.arguments.items()
            # Table 5 has the learning rates that differ between pairs.
            if setting != "learning_rate" or name not in PAPER_LEARNING_RATES[pair]
        ]
        rows.append([TITLES[name], ", ".join(listed)])
    return table(["Setting", "Everywhere"], rows, prose=True)


def store_table(runs: Iterable[Run]) -> "HTML":
    """Return what is stored, a row for runs of the same network, budget and data.

    A row has the number of runs of each optimizer, whatever their arguments, seeds and
    initial weights.
    """
    groups: dict[tuple[str, str, float, int, int, int], list[Run]] = {}
    for run in in_order(runs):
        each = run.experiment
        images = each.train_size or datasets.DATASETS[each.dataset].train_size
        trained = f"{each.dataset_title} × {models.TITLES[each.architecture]}"
        key = (trained, each.scale, each.width, each.epochs, each.batch_size, images)
        groups.setdefault(key, []).append(run)
    rows = []
    for (trained, scale, width, epochs, batch, images), group in sorted(groups.items()):
        numbers = Counter(TITLES[run.experiment.optimizer] for run in group)
        # A name stays whole and with its number, however narrow the column.
        listed = ", ".join(
            f"{name} {number}".replace(" ", "\N{NO-BREAK SPACE}")
            for name, number in numbers.items()
        )
        sizes = (f"{width:g}", f"{epochs}", f"{batch}", f"{images:,}")
        taken = training_time(group)
        rows.append([trained, scale, *sizes, listed, taken])
    header = ["Runs of", "Scale", "Width", "Epochs", "Batch", "Training data"]
    return table([*header, "Runs", "Training time"], rows)


def argument_values(runs: Sequence[Run]) -> dict[str, dict[str, list[Argument]]]:
    """Return for each optimizer and argument the different values in its runs."""
    values: dict[str, dict[str, list[Argument]]] = {}
    for run in in_order(runs):
        for name, value in run.experiment.arguments.items():
            seen = values.setdefault(run.experiment.optimizer, {}).setdefault(name, [])
            if value not in seen:
                seen.append(value)
    return values


def _varied_arguments(runs: Sequence[Run]) -> dict[str, list[str]]:
    """For each optimizer, the names of the arguments that its runs differ in."""
    return {
        optimizer: [name for name, each in seen.items() if len(each) > 1]
        for optimizer, seen in argument_values(runs).items()
    }


def differences(
    found: Mapping[str, Sequence[Run]],
    pairs: Sequence[tuple[str, str]],
    metric: str = "val_accuracy",
) -> "HTML":
    """Return a table of paired comparisons between conditions.

    Args:
        found: the runs of each condition.
        pairs: which to compare; the first minus the second.
        metric: `val_accuracy` (the default) or `accuracy`, shown in points.

    Returns:
        A row for each pair: the mean difference, its 95 % interval, and p, corrected
        for the number of pairs that can be compared; a dash where a condition has
        fewer than five seeds.
    """
    compared = {
        pair: statistics.difference(found[pair[0]], found[pair[1]], metric)
        for pair in pairs
        if min(len(found[name]) for name in pair) >= statistics.FEWEST_SEEDS
    }
    corrected = dict(
        zip(compared, statistics.holm([c.p for c in compared.values()]), strict=True)
    )
    rows = []
    for pair in pairs:
        name = " minus ".join(f"({each})" for each in pair)
        if pair not in compared:
            rows.append([name, "–", "too few seeds", "–"])
            continue
        each = compared[pair]
        rows.append(
            [
                name,
                statistics.signed(100 * each.mean),
                f"{statistics.signed(100 * each.low)} to "
                f"{statistics.signed(100 * each.high)}",
                f"{corrected[pair]:.3f}",
            ]
        )
    return table(["Compared", "Points", "95 % interval", "p, corrected"], rows)


def verdicts(
    statements: Sequence[Claim],
    authors: Mapping[str, History],
    runs: Sequence[Run],
) -> "HTML":
    """Return a table of statements with the numbers that decide each.

    Args:
        statements: the paper's, about one pair.
        authors: the authors' history for each optimizer.
        runs: ours, at most one of each optimizer and seed; may be empty. Each seed is
            judged by itself; the numbers are means over the seeds.
    """
    ours = by_seed(runs)
    reduced = any(run.experiment.scale != "paper" for run in runs)
    seeds = f"ours, {len(ours)} seed{'s' * (len(ours) != 1)}"
    rows: list[list[str | None]] = []
    for statement in statements:
        judged = {"authors'": statement.judge(authors)}
        if ours:
            judged[seeds] = over_seeds(statement.judge, ours, reduced=reduced)
        name: str | None = statement.text
        for whose, verdict in judged.items():
            for line in verdict.measured or (None,):
                numbers = [
                    line.written(each) if line and each in line.values else "–"
                    for each in PAPER_OPTIMIZERS
                ]
                what = line.name if line else verdict.evidence
                rows.append([name, whose, what, *numbers, verdict.answer])
                name = None
    header = ["The paper says", "Runs", "Compared"]
    header += [TITLES[name] for name in PAPER_OPTIMIZERS]
    return table([*header, "Verdict"], rows)


def first_epochs_table(pairs: Sequence["Pair"]) -> "HTML":
    """Return our first epochs and the authors' as a table, a row for each run.

    Args:
        pairs: of `gravity.evidence.first_epochs.pairs`.
    """
    rows = [
        [
            " × ".join(
                [
                    datasets.DATASETS[pair.key[0]].real_title,
                    models.TITLES[pair.key[1]],
                    TITLES[pair.key[2]],
                ]
            ),
            *(f"{share:.2f}" for share in reversed(pair.loss)),
            *(percent(share) for share in reversed(pair.accuracy)),
            ("yes" if pair.agrees else "no") if pair.counts else "20 outputs",
        ]
        for pair in pairs
    ]
    header = ["Run", "Loss / ln C, authors", "ours", "Test accuracy, authors", "ours"]
    return table([*header, "Agrees"], rows)


def winners(runs: Sequence[Run]) -> "HTML":
    """Return a table of each optimizer's run with the smallest last training loss."""
    return table(
        ["Optimizer", "Final training loss", "Arguments"],
        [
            [
                TITLES[run.experiment.optimizer],
                _loss(run.history["loss"][-1]),
                arguments(run),
            ]
            for run in in_order(learning.best_runs(runs).values())
        ],
        prose=True,
    )


def _loss(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "diverged"


def _best(run: Run) -> str:
    accuracy = run.history["val_accuracy"]
    best = max(accuracy)
    return f"{percent(best)} ({accuracy.index(best) + 1})"


def _with_minus(cell: str) -> str:
    """Return a cell whose numbers have the sign that they have in figures."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", cell)


def _is_number(cell: str) -> bool:
    return cell[:1] in "+-−–≥~" or cell[:1].isdigit()
