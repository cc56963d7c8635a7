"""Makes one printable PDF of a built book. `make pdf` calls it.

    python book/make_pdf.py _build/quick/html gravity-book.pdf

Chromium prints each page of the contents, with what is folded unfolded. The parts
are joined behind a title page and a list of contents, with page numbers, bookmarks, and
links that lead to the pages of the PDF.
"""

import argparse
import html
import io
import shutil
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import yaml
from playwright.sync_api import Browser, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Link
from pypdf.generic import DictionaryObject, Fit

from gravity.book import contents

ROOT = Path(__file__).resolve().parents[1]
PRINT = Path(__file__).with_name("print.css")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Between the margins there are 643 pixels, for what scripts lay out on the screen.
PAPER = {
    "format": "A4",
    "print_background": True,
    "margin": {"top": "18mm", "bottom": "20mm", "left": "20mm", "right": "20mm"},
}

# Mathematics and pictures come after the page itself; what is folded is unfolded, but
# for the names of many runs, and an animation shows its end.
READY = """
async () => {
  document.documentElement.dataset.theme = "light"
  document.documentElement.dataset.mode = "light"
  document.querySelectorAll("details:not(.gravity-runs)")
    .forEach((each) => { each.open = true })
  document.querySelectorAll("img").forEach((each) => { each.loading = "eager" })
  document.querySelectorAll('.animation button[title="Last frame"]')
    .forEach((each) => each.click())
  if (window.MathJax?.startup?.promise) await MathJax.startup.promise
  await Promise.all([...document.images].map((image) => image.decode().catch(() => 0)))
  await document.fonts.ready
}
"""
LOST = """
() => {
  const wide = [...document.querySelectorAll("article *")].filter((each) => {
    const box = each.getBoundingClientRect()
    return box.width && (box.left < -1 || box.right > innerWidth + 1)
  }).map((each) => `<${each.localName} class="${each.className}"> is too wide`)
  const missing = [...document.querySelectorAll("article img")]
    .filter((each) => !each.naturalWidth).map((each) => `${each.src} is missing`)
  return [...missing, ...wide.slice(0, 3)]
}
"""
BODY = "font-family: sans-serif; font-size: 10pt"


def printed(browser: Browser, path: Path) -> tuple[str, bytes]:
    """Return a built page's title, and the page as a PDF.

    Raises:
        RuntimeError: a picture can't be loaded, or something is wider than the paper.
    """
    page = browser.new_page(
        color_scheme="light", viewport={"width": 643, "height": 900}
    )
    page.goto(path.resolve().as_uri())
    page.emulate_media(media="print")
    page.add_style_tag(path=PRINT)
    page.evaluate(READY)
    if page.evaluate("Boolean(window.Bokeh)"):
        page.wait_for_function("Bokeh.documents.every((each) => each.is_idle)")
    if lost := page.evaluate(LOST):
        raise RuntimeError(f"{path} can't be printed whole: {', '.join(lost)}")
    title = page.locator("article h1").first.evaluate("each => each.firstChild.data")
    made = page.pdf(**PAPER)
    page.close()
    return title, made


def from_html(browser: Browser, text: str, **options: object) -> PdfReader:
    page = browser.new_page()
    page.set_content(f'<!doctype html><body style="margin: 0; {BODY}">{text}')
    made = page.pdf(**(PAPER | options))
    page.close()
    return PdfReader(io.BytesIO(made))


def front(title: str, entries: list[tuple[int, str, int]]) -> str:
    """Return the title page and the list of contents, as HTML."""
    rows = "".join(
        f'<div style="display: flex; margin: 1.2mm 0 1.2mm {6 * depth}mm">'
        f"<span>{html.escape(name)}</span>"
        '<span style="flex: 1; border-bottom: 1px dotted #888; margin: 0 2mm"></span>'
        f"<span>{number}</span></div>"
        for depth, name, number in entries
    )
    return (
        f'<h1 style="margin-top: 90mm; font-size: 30pt; text-align: center">'
        f"{html.escape(title)}</h1>"
        f'<h2 style="break-before: page">Contents</h2>{rows}'
    )


def numbers(count: int) -> str:
    """Return pages with nothing but their number, the first one without, as HTML."""
    return "".join(
        '<div style="height: 296mm; position: relative; break-after: page">'
        '<span style="position: absolute; bottom: 10mm; width: 100%; '
        f'text-align: center; color: #555">{number if number > 1 else ""}</span></div>'
        for number in range(1, count + 1)
    )


def make(folder: Path, output: Path, toc: list[tuple[int, str]]) -> None:
    """Print a built book.

    Args:
        folder: the built book, with `index.html`.
        output: the PDF.
        toc: the pages to print with their depth, as `gravity.book.contents.pages`
            returns them.

    Raises:
        FileNotFoundError: a page isn't in the folder.
        RuntimeError: a page can't be printed whole, see `printed`.
    """
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    files = [(folder / f"{name}.html").resolve(strict=True) for _, name in toc]
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        parts = []
        for file in files:
            title, made = printed(browser, file)
            parts.append((title, PdfReader(io.BytesIO(made))))
            print(f"{len(parts[-1][1].pages):4} pages: {title}", flush=True)
        entries = [
            (depth, title, 0) for (depth, _), (title, _) in zip(toc, parts, strict=True)
        ]
        # How many pages the list of contents takes doesn't depend on its numbers.
        first = len(from_html(browser, front(config["title"], entries)).pages)
        starts = []
        for _, part in parts:
            starts.append(first)
            first += len(part.pages)
        entries = [
            (depth, title, start + 1)
            for (depth, title, _), start in zip(entries, starts, strict=True)
        ]
        opening = from_html(browser, front(config["title"], entries))
        margin = dict.fromkeys(("top", "bottom", "left", "right"), "0")
        overlay = from_html(browser, numbers(first), margin=margin)
        browser.close()

    writer = PdfWriter()
    for reader in (opening, *(part for _, part in parts)):
        for page in reader.pages:
            writer.add_page(page)
    for page, number in zip(writer.pages, overlay.pages, strict=False):
        page.merge_page(number)
    pages = dict(zip(map(str, files), starts, strict=True))
    for number in range(len(writer.pages)):
        _lead_inside(writer, number, pages)
    above: dict[int, object] = {}
    for depth, title, start in entries:
        above[depth] = writer.add_outline_item(
            title=title, page_number=start - 1, parent=above.get(depth - 1)
        )
    writer.add_metadata({"/Title": config["title"], "/Author": config["author"]})
    writer.compress_identical_objects()
    output.parent.mkdir(parents=True, exist_ok=True)
    writer.write(output)
    print(f"{len(writer.pages)} pages in {output}")


def _lead_inside(writer: PdfWriter, number: int, pages: dict[str, int]) -> None:
    """Make links to the book's files into links to the PDF's pages.

    A link to a file that isn't printed, such as a notebook's source, is dropped.
    """
    page = writer.pages[number]
    kept, inside = [], []
    for reference in page.get("/Annots", []):
        annotation = reference.get_object()
        action = annotation.get("/A", DictionaryObject()).get_object()
        uri = str(action.get("/URI", ""))
        if not uri.startswith("file:"):
            kept.append(reference)
            continue
        target = unquote(urlsplit(urldefrag(uri).url).path)
        if target in pages:
            inside.append((annotation["/Rect"], pages[target]))
    if "/Annots" in page:
        page["/Annots"].clear()
        page["/Annots"].extend(kept)
    for rectangle, start in inside:
        link = Link(
            rect=tuple(map(float, rectangle)),
            target_page_index=start,
            fit=Fit.fit_horizontally(),
        )
        writer.add_annotation(number, link)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the built book, with index.html")
    parser.add_argument("output", type=Path, help="the PDF to make")
    options = parser.parse_args()
    make(options.folder, options.output, contents.pages(ROOT / "_toc.yml"))


if __name__ == "__main__":
    main()
