"""The built book in a real browser without network, and its links."""

import html
import re
import shlex
import subprocess
import sys
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
import nbformat
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe

from gravity.__main__ import _parser
from gravity.book import execution, gate, prose

ROOT = Path(__file__).resolve().parents[2]


# Prose, a front page with a picture, figures and tables, sliders, generated lists.
TYPICAL = (
    "book/introduction",
    "book/executions",
    "book/symbols",
    "book/bibliography",
    "notebooks/benchmark/mnist_vgg16",
    "notebooks/benchmark/overview",
    "notebooks/derivation/algorithm",
    "notebooks/derivation/explorer",
    "search",
)
LOOKS = [("light", 1440), ("dark", 390)]
# What a page tells about itself. Code and mathematics may hold what looks like markup.
FACTS = r"""
async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise
  const shown = (node) => node.checkVisibility()
  const text = document.querySelector("main").cloneNode(true)
  text.querySelectorAll("pre, code, .math, mjx-container, script, style")
    .forEach((node) => node.remove())
  return {
    formulas: document.querySelectorAll("span.math, div.math").length,
    rendered: [...document.querySelectorAll("span.math, div.math")]
      .filter((node) => node.querySelector("mjx-container svg")).length,
    wrong: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
    text: text.textContent,
    images: [...document.querySelectorAll("main img")].filter(shown).map((node) => ({
      name: node.getAttribute("src").split("/").pop(),
      alt: node.alt,
      ground: getComputedStyle(node).backgroundColor,
      scale: node.getBoundingClientRect().width / node.getAttribute("width"),
    })),
    cut: [...document.querySelectorAll("main p span.math")].filter(shown)
      .filter((node) => node.scrollWidth > node.closest("p").clientWidth)
      .map((node) => node.textContent),
  }
}
"""
WIDTH = "document.documentElement.scrollWidth"
# A page hears some time later that its reader prefers the other scheme.
FOLLOWED = "scheme => document.documentElement.dataset.theme == scheme"


def pages(built):
    return [
        path
        for path in sorted((built / "html").rglob("*.html"))
        if "_static" not in path.parts and path.name != "index.html"
    ]


@pytest.fixture(scope="module")
def chromium():
    browser.chromium()
    with browser.launched() as running:
        yield running


@pytest.fixture(scope="module")
def visited(chromium, built):
    """What every page told: wide and light, then on a dark phone."""
    told = {}
    opened = browser.open_page(chromium, built / "html/search.html", width=1440)
    for path in pages(built):
        opened.problems.clear()
        opened.emulate_media(color_scheme="light")
        opened.set_viewport_size({"width": 1440, "height": 1000})
        opened.goto(path.as_uri())
        facts = opened.evaluate(FACTS)
        opened.emulate_media(color_scheme="dark")
        opened.set_viewport_size({"width": 390, "height": 800})
        opened.wait_for_function(FOLLOWED, arg="dark")
        dark = opened.evaluate(FACTS)
        facts |= {f"dark {name}": dark[name] for name in ("images", "cut")}
        facts["phone"] = opened.evaluate(WIDTH)
        facts["problems"] = list(opened.problems)
        told[str(path.relative_to(built / "html"))] = facts
    assert len(told) >= 40
    return told


def test_no_page_needs_the_network_or_reports_an_error(visited):
    problems = {page: facts["problems"] for page, facts in visited.items()}
    assert not {page: found for page, found in problems.items() if found}


def test_all_mathematics_is_rendered(visited):
    for page, facts in visited.items():
        assert facts["rendered"] == facts["formulas"], page
        assert facts["wrong"] == 0, page
    assert visited["notebooks/derivation/inclined_plane.html"]["formulas"] > 20


def test_no_page_shows_markup(visited):
    raw = re.compile(r":::|```|\{[a-z-]+\}`|\$\$|\\\(|\\begin\{|\{\{ ?\w|\]\(#")
    for page, facts in visited.items():
        assert not raw.search(facts["text"]), (page, raw.search(facts["text"]))


def test_every_figure_has_the_version_of_the_scheme(visited):
    count = 0
    for page, facts in visited.items():
        light, dark = facts["images"], facts["dark images"]
        drawn = [image for image in light if image["name"].endswith(".svg")]
        count += len(drawn)
        assert [image["name"].replace(".svg", "-dark.svg") for image in drawn] == [
            image["name"] for image in dark if image["name"].endswith(".svg")
        ], page
        for image in light + dark:
            if image["name"].endswith(".svg"):
                assert len(image["alt"]) > 20, (page, image)
                # Else it would be a white box on a dark page.
                assert image["ground"] == "rgba(0, 0, 0, 0)", (page, image)
    assert count >= 20


def test_no_page_is_wider_than_a_phone(visited):
    assert not {page: f["phone"] for page, f in visited.items() if f["phone"] > 390}


def test_letters_of_figures_are_as_large_on_a_phone_as_one_can_read(visited):
    scales = {
        (page, image["name"]): image["scale"]
        for page, facts in visited.items()
        for image in facts["dark images"]
        if image["name"].endswith("-dark.svg")
    }
    assert len(scales) >= 20
    # They have 10 points, 13 pixels, at a scale of 1.
    assert not {where: scale for where, scale in scales.items() if scale < 0.75}


def test_no_formula_in_a_sentence_is_wider_than_a_phone(visited):
    assert not {page: f["dark cut"] for page, f in visited.items() if f["dark cut"]}


def violations(chromium, path, scheme, width):
    """Serious and critical findings of axe-core on one page, everything unfolded."""
    opened = browser.open_page(chromium, path, scheme=scheme, width=width)
    try:
        opened.evaluate(
            "document.querySelectorAll('main details').forEach(d => d.open = 1)"
        )
        opened.evaluate("async () => { await window.MathJax?.startup?.promise }")
        if path.stem == "explorer":
            opened.locator(".noUi-handle[aria-label]").first.wait_for()
        # What unfolds fades in, and is faint on the way. What fades as it is scrolled
        # never ends.
        opened.wait_for_function(
            "document.getAnimations().every(one => one.timeline != document.timeline"
            " || one.playState != 'running')"
        )
        found = Axe().run(opened).response["violations"]
        return [
            (path.stem, scheme, width, one["id"], node["html"][:300])
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
    finally:
        opened.context.close()


@pytest.mark.parametrize("name", TYPICAL)
def test_typical_page_has_no_serious_accessibility_violation(chromium, built, name):
    path = built / f"html/{name}.html"
    found = [one for look in LOOKS for one in violations(chromium, path, *look)]
    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_has_a_serious_accessibility_violation(chromium, built, scheme, width):
    found = [
        one
        for path in pages(built)
        for one in violations(chromium, path, scheme, width)
    ]
    assert found == []


def test_accessibility_test_finds_a_nameless_slider_and_faint_text(chromium, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<!doctype html><html lang="en"><title>Bad</title><body><main><h1>Bad</h1>'
        '<input type="range"><p style="color: #999; background: #fff">Faint.</p>'
        "</main></body></html>"
    )
    found = {one[3] for one in violations(chromium, bad, "light", 1440)}
    assert {"label", "color-contrast"} <= found


FOCUSABLE = """
() => [...document.querySelectorAll(
    "a[href], button:not([disabled]), summary, input:not([disabled]), [tabindex='0']")]
  .filter((node) => node.tabIndex >= 0 && node.getClientRects().length
    && node.checkVisibility({visibilityProperty: true}) && !node.closest("[inert]"))
  .map((node, number) => {
    node.dataset.number = number
    return node.outerHTML.slice(0, 160)
  })
"""
FOCUSED = "document.activeElement.dataset.number ?? document.activeElement.tagName"


def passed_over(chromium, path):
    """What on a page the Tab key doesn't reach."""
    opened = browser.open_page(chromium, path, width=1440)
    try:
        opened.evaluate("async () => { await window.MathJax?.startup?.promise }")
        wanted = opened.evaluate(FOCUSABLE)
        assert len(wanted) > 30
        reached = []
        for _ in range(2 * len(wanted)):
            opened.keyboard.press("Tab")
            number = opened.evaluate(FOCUSED)
            if reached and number in ("BODY", "0"):
                break
            reached.append(number)
        # The first thing reached leads past the navigation.
        assert "#main-content" in wanted[int(reached[0])]
        return [
            (path.stem, markup)
            for number, markup in enumerate(wanted)
            if str(number) not in reached
        ]
    finally:
        opened.context.close()


@pytest.mark.parametrize(
    "name",
    [
        "book/introduction",
        "book/map",
        "notebooks/benchmark/mnist_vgg16",
        "notebooks/derivation/algorithm",
        "notebooks/derivation/explorer",
    ],
)
def test_keyboard_alone_reaches_everything(chromium, built, name):
    assert passed_over(chromium, built / f"html/{name}.html") == []


def test_panel_and_colab_link_open_with_the_keyboard(chromium, built):
    path = built / "html/notebooks/benchmark/mnist_vgg16.html"
    opened = browser.open_page(chromium, path, width=1440)
    panel = opened.locator("details.gravity-panel, .gravity-panel details").first
    assert panel.get_attribute("open") is None
    panel.locator("summary").focus()
    opened.keyboard.press("Enter")
    assert panel.get_attribute("open") is not None
    assert panel.locator("button.copybtn").count() == 2
    panel.locator("button.copybtn").first.focus()
    opened.keyboard.press("Enter")
    opened.keyboard.press("Control+k")
    opened.keyboard.press("Control+v")
    opened.wait_for_function(
        "start => document.activeElement.value?.startsWith(start)",
        arg="python -m gravity execute notebooks/benchmark/mnist_vgg16",
    )
    opened.keyboard.press("Escape")
    rocket = opened.locator(".dropdown-launch-buttons button")
    rocket.focus()
    opened.keyboard.press("Enter")
    link = opened.locator(".dropdown-launch-buttons a[href*='colab']")
    link.wait_for()
    assert link.get_attribute("href").endswith("notebooks/benchmark/mnist_vgg16.ipynb")


def test_search_works_from_the_file_system(chromium, built):
    opened = browser.open_page(
        chromium, built / "html/notebooks/benchmark/mnist_vgg16.html", width=1440
    )
    opened.keyboard.press("Control+k")
    opened.keyboard.type("plateau")
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/search.html?q=plateau**")
    results = opened.locator("#search-results ul.search li")
    results.first.wait_for()
    found = opened.locator("#search-results a").evaluate_all(
        "links => links.map(link => link.href)"
    )
    assert any("book/glossary" in link for link in found)
    assert opened.problems == []


def test_front_page_leads_on_within_one_screen(chromium, built):
    path = built / "html/book/introduction.html"
    opened = browser.open_page(chromium, path, width=1440)
    opened.set_viewport_size({"width": 1440, "height": 900})
    cards = opened.locator(".gravity-cards .sd-card")
    titles = cards.locator(".sd-card-title").all_inner_texts()
    assert titles == ["Read", "Open in Colab", "Re-run"]
    boxes = [cards.nth(number).bounding_box() for number in range(3)]
    assert max(box["y"] + box["height"] for box in boxes) <= 900
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    owner = repository["url"].removeprefix("https://github.com/")
    link = cards.nth(1).locator("a").get_attribute("href")
    assert f"/github/{owner}/blob/{repository['branch']}/notebooks/" in link
    assert cards.nth(0).locator("a").count() == 2


BALLS = """
(names) => names.map((name) => [...document.querySelectorAll(name)].map((ball) => {
  const box = ball.getBBox(), move = new DOMMatrix(getComputedStyle(ball).transform)
  return [box.x + box.width / 2 + move.e, box.y + box.height / 2 + move.f]
}))
"""


def test_balls_roll_once_and_lie_on_a_circle_at_every_moment(chromium, built):
    path = built / "html/book/introduction.html"
    opened = browser.open_page(chromium, path, width=1440)
    names = [f".gravity-balls svg:nth-child({side}) .ball" for side in (1, 2)]
    moving = "document.querySelector('.gravity-balls').getAnimations({subtree: true})"
    # Nothing moves of its own accord for longer than five seconds.
    for each in opened.evaluate(f"{moving}.map(a => a.effect.getComputedTiming())"):
        assert each["endTime"] <= 5000
        assert each["iterations"] == 1
    radii = []
    for moment in (1500, 2500, 4000):
        opened.evaluate(
            f"{moving}.forEach(a => {{ a.pause(); a.currentTime = {moment} }})"
        )
        left, right = opened.evaluate(BALLS, names)
        x0, y0 = left[-1][0], left[-1][1] - 2 * (radius := (left[-1][1] - 26) / 2)
        radii.append(radius)
        for x, y in left:
            assert (x - x0) ** 2 + (y - y0 - radius) ** 2 == pytest.approx(
                radius**2, rel=1e-3
            )
        # 45° gets furthest, by the sine of twice the angle.
        assert max(left)[0] - x0 == pytest.approx(radius, rel=1e-3)
        for (x, _), (_, height) in zip(left, right, strict=False):
            assert (252 - height) / 1.6 == pytest.approx(x - x0, abs=0.05)
    # The circle grows as the square of time after the half second at the start.
    assert radii[0] / radii[2] == pytest.approx((1 / 3) ** 2, rel=0.01)
    assert radii[1] / radii[2] == pytest.approx((2 / 3) ** 2, rel=0.01)
    opened.locator(".gravity-replay").click()
    assert opened.evaluate(f"{moving}.some(a => a.playState === 'running')")


def test_balls_stay_at_the_end_for_who_wants_no_motion(chromium, built):
    path = built / "html/book/introduction.html"
    opened = browser.open_page(chromium, path)
    opened.emulate_media(reduced_motion="reduce")
    moving = "document.querySelector('.gravity-balls').getAnimations({subtree: true})"
    assert opened.evaluate(f"{moving}.length") == 0
    assert not opened.locator(".gravity-replay").is_visible()


def test_race_plays_to_its_end_and_can_be_wound(chromium, built):
    path = built / "html/notebooks/derivation/algorithm.html"
    opened = browser.open_page(chromium, path, scheme="dark")
    race = opened.locator(".gravity-race")
    slider, output = race.locator("input"), race.locator("output")
    last = int(slider.get_attribute("max"))
    assert output.inner_text() == f"{last} updates"
    slider.focus()
    opened.keyboard.press("Home")
    assert output.inner_text() == "0 updates"
    dots = (
        "[...document.querySelectorAll('.gravity-race svg.gravity-dark [id*=dot] use')]"
    )
    places = f"{dots}.map(d => d.getAttribute('x') + ' ' + d.getAttribute('y'))"
    assert len(set(opened.evaluate(places))) == 1, "all start at one point"
    race.locator("button").click()
    opened.wait_for_function(
        "last => document.querySelector('.gravity-race input').value == last", arg=last
    )
    assert len(set(opened.evaluate(places))) == 5
    assert race.locator("svg.gravity-dark").is_visible()
    assert not race.locator("svg.gravity-light").is_visible()
    assert opened.problems == []


# Without a browser.


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.names, self.links = Counter(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        for name in (given.get("id"), given.get("name") if tag == "a" else None):
            if name:
                self.names[name] += 1
        for key in ("href", "src"):
            if given.get(key):
                self.links.append(given[key])


@cache
def links(path):
    return Links(path.read_text(encoding="utf-8"))


def test_every_internal_link_and_anchor_leads_somewhere(built):
    broken = []
    for path in [*pages(built), built / "html/index.html"]:
        for link in links(path).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve()
            target = target if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (
                anchor and target.suffix == ".html" and not links(target).names[anchor]
            ):
                broken.append(f"{path.relative_to(built)}: {link}")
    assert broken == []


def test_every_external_link_is_well_formed(built):
    external = {
        link
        for path in pages(built)
        for link in links(path).links
        if urlsplit(link).scheme not in ("", "data", "mailto")
    }
    assert len(external) > 20
    host = re.compile(r"([a-z0-9-]+\.)+[a-z]{2,}")
    for link in external:
        parts = urlsplit(link)
        assert parts.scheme == "https" or "www.w3.org" in link, link
        assert host.fullmatch(parts.netloc), link
        assert not re.search(r"[\s<>\"{}|\\^`]", link), link


def words(markup):
    """What a reader sees of a page's part, with straight quotation marks."""
    text = html.unescape(re.sub(r"<[^>]+>", "", markup))
    return text.translate(str.maketrans("‘’“”", "''\"\""))


def test_panel_has_the_notebooks_own_parameters_and_commands_that_work(built):
    executed = sorted((built / "source/notebooks").rglob("*.ipynb"))
    assert len(executed) > 20
    for notebook in executed:
        page = notebook.relative_to(built / "source")
        text = (built / "html" / page.with_suffix(".html")).read_text(encoding="utf-8")
        start = text.index("gravity-panel")
        panel = text[start : text.index("</details>", start)]
        rows = [
            [words(cell) for cell in re.findall(r"<td>.*?</td>", row, re.DOTALL)]
            for row in re.findall(r"<tr.*?</tr>", panel, re.DOTALL)
        ]
        panel = words(panel)
        # The page shows the values that it was executed with.
        known = execution.parameters(built / "source" / page)
        fields = ("inferred_type_name", "default", "help")
        assert [row for row in rows if row] == [
            [name, *(words(entry[field]) for field in fields)]
            for name, entry in known.items()
        ], page
        command = re.search(r"python -m gravity (execute .+?)\n\n", panel, re.DOTALL)
        given = _parser().parse_args(
            shlex.split(command[1].split("With papermill")[0].replace("\\\n", ""))
        )
        assert given.chapter == str(page)
        for name, value in given.p:
            kind = known[name]["inferred_type_name"]
            assert execution.parse(value, kind) == eval(known[name]["default"])
        assert f"papermill {page}" in panel
        assert re.search(r"It takes \d+ (s|min) on the CPU", panel), page


def test_folded_solutions_are_called_so(built):
    chapters = sorted((built / "html/notebooks/derivation").glob("*.html"))
    assert len(chapters) == 8
    for page in chapters:
        text = page.read_text("utf-8")
        assert 2 <= text.count(">Show the solution<") <= 4, page
        assert "Show code cell content" not in text, page


def test_panel_bounds_the_papers_runs_on_a_tpu(built):
    page = built / "html/notebooks/benchmark/cifar10_vgg16.html"
    # A number and its unit are kept on one line by a tag of their own.
    text = re.sub("<[^>]+>", "", page.read_text())
    (minutes,) = re.findall(r"three runs take\s+(\d+)\s+min\s+or more", text)
    # 390 steps of 128 images, 100 epochs; a step moves some 4 GB at 819 GB/s.
    assert int(minutes) > 3 * 390 * 100 * 4.0e9 / 819e9 / 60
    assert int(minutes) < 3 * 390 * 100 * 5.5e9 / 819e9 / 60


def test_list_of_executions_has_every_chapter(built):
    page = built / "html/book/executions.html"
    listed = [link for link in links(page).links if link.startswith("../notebooks/")]
    text = page.read_text(encoding="utf-8")
    for notebook in (built / "source/notebooks").rglob("*.ipynb"):
        name = notebook.relative_to(built / "source").with_suffix(".html")
        assert f"../{name}" in listed, name
    assert len(re.findall(r"<p>\d{4}-\d\d-\d\d \d\d:\d\d</p>", text)) == len(
        list((built / "source/notebooks").rglob("*.ipynb"))
    )
    assert "smoke" in text
    # A run that several pages show was trained once.
    shown = [
        run
        for path in (built / "source/notebooks").rglob("*.ipynb")
        for run in gate.shown_runs(nbformat.read(path, as_version=4))
    ]
    trained = {run.run_id: run.seconds for run in shown}
    assert len(trained) < len(shown)
    (last,) = re.findall(r"<tr[^>]*>(?:(?!<tr).)*Together.*?</tr>", text, re.DOTALL)
    cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td>.*?</td>", last)]
    assert cells[3:5] == [str(len(trained)), prose.duration(sum(trained.values()))]


def test_book_of_smoke_runs_does_not_pass_the_gate(built):
    with pytest.raises(gate.PublicationError) as refused:
        gate.check(built / "html")
    # The overview has a table of all runs.
    for page in ("mnist_vgg16", "overview"):
        assert f"notebooks/benchmark/{page}.html shows" in str(refused.value)


def test_logo_and_favicon_are_as_drawn_and_on_every_page(built):
    command = [sys.executable, "book/draw_logo.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for path in pages(built):
        text = path.read_text(encoding="utf-8")
        for name in ("favicon.svg", "logo.svg", "logo-dark.svg"):
            assert f"_static/{name}" in text, path
