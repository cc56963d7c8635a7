"""`gravity.book.dark`: what a dark page shows of a figure drawn on white."""

import io
import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from gravity.book import dark, derivation_plots, style

SVG = "{http://www.w3.org/2000/svg}"
GROUND = (0x12,) * 3


def drawn(figure):
    """A figure as the SVG that a chapter's cell returns."""
    text = io.StringIO()
    figure.savefig(text, format="svg")
    plt.close(figure)
    return text.getvalue()


def named(svg, name):
    """All parts of one `gid`."""
    return [part for part in ET.fromstring(svg).iter() if part.get("id") == name]


def colors(svg):
    return set(re.findall(r"#[0-9a-f]{6}", svg))


@pytest.mark.parametrize(
    ("light", "expected"),
    [("#000000", "#e6e6e6"), ("#ffffff", "#121212"), ("#808080", "#7c7c7c")],
)
def test_greys_are_turned_over(light, expected):
    # The straight line from (0, 230) to (255, 18), by hand: 230 - 128 · 212/255 = 124.
    assert dark.color(light) == expected


def test_contrast_is_that_of_wcag():
    # The standard's extremes, and pairs that the authors of the standard publish.
    assert dark.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert dark.contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(
        4.48, abs=0.005
    )
    assert dark.contrast((255, 0, 0), (255, 255, 255)) == pytest.approx(4.0, abs=0.005)


@pytest.mark.parametrize("light", sorted({*style.COLORS, "#0000ff", "#400000"}))
def test_every_colour_is_seen_on_the_dark_ground_and_keeps_its_hue(light):
    parts = tuple(bytes.fromhex(dark.color(light)[1:]))
    assert dark.contrast(parts, GROUND) >= 4.5
    before = bytes.fromhex(light[1:])
    if max(before) - min(before) > 8:
        order = sorted(range(3), key=lambda place: before[place])
        assert parts[order[0]] <= parts[order[1]] <= parts[order[2]]
    if dark.contrast(tuple(before), GROUND) >= 4.5:
        assert dark.color(light) == light.lower(), "needs no change"


def test_text_is_light_and_the_figures_ground_is_gone():
    with mpl.rc_context():
        style.use()
        light = drawn(derivation_plots.inclined_plane(0.75))
    twin = dark.twin(light)
    (patch,) = named(twin, "patch_1")[:1]
    assert patch.find(f"{SVG}path").get("style") == "fill: none"
    assert ET.fromstring(twin).get("fill") == "#e6e6e6"
    assert "#000000" in colors(light)
    assert not colors(twin) & {"#000000", "#ffffff"}


def test_darker_stays_higher_and_the_white_dot_white():
    path = np.array([[-1.0, 0.2], [-0.5, 0.1]])
    light = drawn(derivation_plots.valley((1.0, 9.0), {"A": path}))
    twin = dark.twin(light)

    def levels(svg):
        (heights,) = named(svg, dark.HEIGHTS)
        fills = re.findall(r"fill: (#[0-9a-f]{6})", ET.tostring(heights, "unicode"))
        return [int(fill[1:3], 16) for fill in fills]

    before, after = levels(light), levels(twin)
    assert len(before) == len(after) > 5
    assert before == sorted(before, reverse=True)
    assert after == sorted(after, reverse=True)
    assert max(after) <= 56
    (dot,) = named(twin, dark.KEEP)
    assert "#ffffff" in ET.tostring(dot, "unicode")


@pytest.mark.parametrize("text", ["not a drawing", "<html></html>"])
def test_what_is_no_drawing_is_named(text):
    with pytest.raises(ValueError, match="Argument `svg` must be an SVG drawing"):
        dark.twin(text)
