"""`gravity.book.ledger_table`: the ledger's claims as a table in Markdown."""

import re

from gravity.book import ledger_table
from gravity.evidence.ledger import LEDGER, Entry
from gravity.evidence.verdicts import Answer, Verdict


def test_table_escapes_what_markdown_would_read():
    entry = Entry(
        "9", "a|b*c", "t_t", "fig-1", lambda _: Verdict(Answer.SUPPORTED, "1 < 2")
    )
    row = ledger_table.table([entry], {}, []).data.splitlines()[-1]
    first, second, third = row.split(" | ")
    assert first == r"| **9** a\|b\*c [Figure](#fig-1)<br>*Decided by: t\_t.*"
    assert (second, third) == (r"**supported**: 1 \< 2.", "– |")


def test_table_of_everything_has_a_row_for_each_entry():
    for entries in LEDGER.values():
        rows = ledger_table.table(entries, {}, []).data.splitlines()[2:]
        assert len(rows) == len(entries)
        assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
