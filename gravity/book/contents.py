"""The pages of the book, in the order of its table of contents."""

from collections.abc import Iterator
from pathlib import Path


def pages(path: str | Path) -> list[tuple[int, str]]:
    """Return the pages of a table of contents with their depths, in reading order.

    Args:
        path: the file, as Jupyter Book reads it.

    Returns:
        For each page its depth and its name, the path without its ending. The front
        page and all chapters have depth 0, their sections 1, and so on.

    Raises:
        sphinx_external_toc.parsing.MalformedError: the file is no table of contents.
    """
    # Chapters don't need it, and Colab, where they run too, doesn't have it.
    from sphinx_external_toc.parsing import FileItem, parse_toc_yaml

    site = parse_toc_yaml(path)

    def below(name: str, depth: int) -> Iterator[tuple[int, str]]:
        for tree in site[name].subtrees:
            for item in tree.items:
                if isinstance(item, FileItem):
                    yield depth, str(item)
                    yield from below(item, depth + 1)

    root = site.root.docname
    return [(0, root), *below(root, 0)]
