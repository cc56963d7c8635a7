"""The ledger of claims as the table that its chapter shows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gravity.book import prose
from gravity.evidence.judgement import judge_authors, judge_ours
from gravity.evidence.ledger import Entry
from gravity.evidence.published import Key, Published
from gravity.evidence.verdicts import Verdict
from gravity.experiments.runs import Run

if TYPE_CHECKING:
    from IPython.display import Markdown


def table(
    entries: Iterable[Entry], authors: Mapping[Key, Published], stored: Sequence[Run]
) -> "Markdown":
    """Return claims with their verdicts as a table that wraps and has links.

    Args:
        entries: of `gravity.evidence.ledger.LEDGER`.
        authors: the authors' runs.
        stored: ours; may be empty.
    """
    entries = list(entries)
    computed = "Computed, or the authors' runs"
    first = (
        computed if any(each.is_computed for each in entries) else "The authors' runs"
    )
    rows = [f"| The paper says | {first} | Our runs |", "| :--- | :--- | :--- |"]
    for entry in entries:
        ours = judge_ours(entry, stored)
        cells = (
            f"**{entry.section}** {_plain(entry.text)} [{_kind(entry.link)}]"
            f"(#{entry.link})<br>*Decided by: {_plain(entry.test)}.*",
            _cell(judge_authors(entry, authors)),
            "–" if ours is None else _cell(ours),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return prose.say("\n".join(rows))


def _kind(label: str) -> str:
    return "Figure" if label.startswith("fig-") else "Equation"


def _cell(verdict: Verdict) -> str:
    return f"**{verdict.answer}**: {_plain(verdict.evidence)}."


def _plain(text: str) -> str:
    for sign in "\\|*_$<[":
        text = text.replace(sign, f"\\{sign}")
    return text
