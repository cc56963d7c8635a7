"""`gravity.book.contents`, on a small table of contents and on the book's own."""

from pathlib import Path

from gravity.book import contents

ROOT = Path(__file__).resolve().parents[2]

TOC = """\
format: jb-book
root: front
parts:
  - caption: One
    chapters:
      - file: a
        sections:
          - file: a/b
            sections:
              - file: a/b/c
          - url: https://example.org
      - file: d
  - caption: Two
    chapters:
      - file: e
"""


def test_pages_come_in_reading_order_with_their_depths(tmp_path):
    path = tmp_path / "_toc.yml"
    path.write_text(TOC)
    assert contents.pages(path) == [
        (0, "front"),
        (0, "a"),
        (1, "a/b"),
        (2, "a/b/c"),
        (0, "d"),
        (0, "e"),
    ]


def test_every_page_is_a_file():
    for _, name in contents.pages(ROOT / "_toc.yml"):
        assert len(list(ROOT.glob(f"{name}.*"))) == 1, name
