"""What the theme and its companions get wrong in the pages that they write.

Each repair is named here with its reason. The browser test finds the page at fault
when one of them is missing, or is needed no longer.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

# The theme calls no colour scheme at all an invalid one, and shows the light scheme
# until its script has run.
SCHEME = (
    "const page = document.documentElement.dataset;"
    'if (!page.mode) { page.mode = "auto"; page.theme = '
    'matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" }'
)

# A search result's extract is fetched from its page, which a browser refuses to do for
# a page that was opened from a file. The list of results is what remains there.
EXTRACTS = (
    'if (location.protocol === "file:") '
    "DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false"
)

# An image of known size keeps its place while it loads, unless a style says so: that
# would distort it on a narrow page.
SIZE = re.compile(
    r'(<img class="[^"]*gravity-(?:light|dark)[^>]*?|<img alt="[^"]*" '
    r'class="[^"]*gravity-(?:light|dark)[^>]*?)'
    r'style="width: (\d+)px; height: (\d+)px;"'
)

# The arrow that unfolds a chapter's pages has no name.
SUMMARY = re.compile(
    r'(<a class="(?:current )?reference internal" href="[^"]*">([^<]*)</a>'
    r"<details[^>]*>)<summary>"
)

TABLE = 'pst-scrollable-table-container" tabindex="0" role="group" aria-label="Table"'


def repair_page(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Repair what a page is made of."""
    # Cells that run in the page would need the network, and the book doesn't use them.
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{getattr(script, 'filename', script)} "
        f"{getattr(script, 'attributes', {}).get('body', '')}"
    ]
    if "body" in context:
        context["body"] = SIZE.sub(r'\1width="\2" height="\3"', context["body"])


def repair_files(app: Sphinx, exception: Exception | None) -> None:
    """Repair what is only in the finished pages."""
    if exception or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        repaired = SUMMARY.sub(r'\1<summary aria-label="Pages of \2">', text)
        # What is scrolled must be reached with the keyboard.
        repaired = repaired.replace(
            'class="pst-scrollable-table-container"', f'class="{TABLE}'
        )
        # Roles that HTML has no use for, and that are wrong where they stand.
        repaired = repaired.replace('role="list" class="citation-list"', "")
        repaired = repaired.replace(' role="doc-biblioentry"', "")
        if repaired != text:
            path.write_text(repaired, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_js_file(None, body=SCHEME)
    app.add_js_file(None, body=EXTRACTS)
    app.connect("html-page-context", repair_page, priority=900)
    app.connect("build-finished", repair_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
