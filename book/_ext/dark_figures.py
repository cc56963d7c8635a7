"""Gives every figure that a cell drew a twin for the dark colour scheme.

The drawing in a chapter's output is on white. On a dark page the reader sees the twin
that `gravity.book.dark` makes of it; style sheet and theme decide which of the two
shows.
"""

import re
import zlib
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from gravity.book import dark

SIZE = re.compile(
    r'<svg[^>]*?width="([\d.]+)pt"[^>]*?height="([\d.]+)pt"|'
    r'<svg[^>]*?height="([\d.]+)pt"[^>]*?width="([\d.]+)pt"'
)
PIXELS = 96 / 72
"""In a point."""


class DarkFigures(SphinxTransform):
    """Adds the twins before Sphinx collects the images."""

    default_priority = 400

    def apply(self) -> None:
        for image in list(self.document.findall(nodes.image)):
            path = self.path_of(image["uri"])
            if path is None:
                continue
            svg = path.read_text(encoding="utf-8")
            self.set_size(image, svg)
            twin = path.with_name(f"{path.stem}-dark.svg")
            twin.write_text(dark.twin(svg), encoding="utf-8")
            other = image.copy()
            other["uri"] = image["uri"].removesuffix(".svg") + "-dark.svg"
            # The theme makes all other images dimmer and their ground white.
            image["classes"] = [*image["classes"], "dark-light", "gravity-light"]
            other["classes"] = [*other["classes"], "dark-light", "gravity-dark"]
            # A browser doesn't load a lazy image that isn't shown.
            other["loading"] = "lazy"
            image.parent.insert(image.parent.index(image) + 1, other)

    def path_of(self, uri: str) -> Path | None:
        """Return an image's file if it is a drawing among the cells' outputs."""
        if not uri.endswith(".svg") or "://" in uri:
            return None
        path = Path(self.env.relfn2path(uri)[1])
        outputs = Path(self.env.doctreedir).parent / "jupyter_execute"
        return path if outputs.resolve() in path.resolve().parents else None

    @staticmethod
    def set_size(image: nodes.image, svg: str) -> None:
        """Reserve the place, so that the text stays where it is as images arrive."""
        found = SIZE.search(svg)
        if found:
            width, height = (float(size) for size in found.groups() if size)
            if found[1] is None:
                width, height = height, width
            image["width"] = f"{width * PIXELS:.0f}"
            image["height"] = f"{height * PIXELS:.0f}"


def setup(app: Sphinx) -> dict[str, int]:
    app.add_transform(DarkFigures)
    return {
        "parallel_read_safe": True,
        "parallel_write_safe": True,
        # Pages are read again, and their twins made, when the rules for them change.
        "env_version": zlib.crc32(Path(dark.__file__).read_bytes()),
    }
