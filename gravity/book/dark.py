"""The dark twin of a figure: the same drawing, for a page with a dark ground.

A figure is drawn once, on white. The book shows it on a light page, and beside it this
module's version on a dark one. Whoever reads a chapter in Jupyter or Colab sees the
figure as it was drawn.
"""

import re
import xml.etree.ElementTree as ET

GROUND = 0x12
"""How bright the theme's dark ground is, from 0 to 255: white becomes this grey."""

TEXT = 0xE6
"""How bright text and axes are on it: black becomes this grey."""

CONTRAST = 4.5
"""What WCAG 2.2 asks of text beside its ground. Lines need 3 only, but are thin."""

KEEP = "keep"
"""Parts of a figure whose `gid` begins with this stay as they are."""

HEIGHTS = "heights"
"""Parts whose `gid` is this are not turned over, so that darker stays higher."""

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")


def twin(svg: str) -> str:
    """Return a figure as it looks best on a dark ground.

    The ground of the whole figure becomes transparent. Greys are turned over, black
    to light and white to dark. A colour stays itself, lightened where its contrast to
    the ground would be below 4.5.

    Args:
        svg: the drawing as matplotlib writes it, on a light ground.

    Returns:
        The other drawing, also SVG. Pictures in it stay as they are.

    Raises:
        ValueError: the text is no SVG.
    """
    for prefix, space in (("", _SVG), ("xlink", _XLINK)):
        ET.register_namespace(prefix, space)
    try:
        root = ET.fromstring(svg)
    except ET.ParseError as error:
        raise ValueError(f"Argument `svg` must be an SVG drawing: {error}") from None
    if root.tag != f"{{{_SVG}}}svg":
        raise ValueError(
            f"Argument `svg` must be an SVG drawing. Received: <{root.tag}>"
        )
    _turn(root, color)
    # What has no colour of its own is black, and so is all text.
    root.set("fill", _grey(TEXT))
    ground = root.find(f"*[@id='figure_1']/*[@id='patch_1']/{{{_SVG}}}path")
    if ground is not None:
        ground.set("style", "fill: none")
    return ET.tostring(root, encoding="unicode")


def color(light: str) -> str:
    """Return what a colour of the light figure becomes in the dark one.

    Args:
        light: the colour as `#rrggbb`.
    """
    parts = _parts(light)
    if max(parts) - min(parts) <= 8:
        return _grey(round(TEXT - sum(parts) / 3 * (TEXT - GROUND) / 255))
    ground = _parts(_grey(GROUND))
    white = 0.0
    while contrast(_mixed(parts, white), ground) < CONTRAST:
        white += 0.05
    return _hex(_mixed(parts, white))


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the contrast of two colours as WCAG 2.2 defines it, from 1 to 21."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _dimmed(light: str) -> str:
    # White becomes dark enough for lines in all colours to be seen on it.
    return _hex(tuple(max(0, round(56 - 0.35 * (255 - x))) for x in _parts(light)))


def _kept(light: str) -> str:
    return light


def _turn(element: ET.Element, change) -> None:  # type: ignore[no-untyped-def]
    name = element.get("id", "")
    if name.startswith(KEEP):
        change = _kept
        # The colours that nothing spells out are the light figure's here.
        element.set("fill", "#000000")
    elif name == HEIGHTS:
        change = _dimmed
    for attribute in ("fill", "stroke", "style"):
        value = element.get(attribute)
        if value:
            replaced = _COLOR.sub(lambda match: change(match[0]), value)
            element.set(attribute, replaced)
    for child in element:
        _turn(child, change)


def _parts(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text.removeprefix("#")))


def _hex(parts: tuple[int, ...]) -> str:
    return "#" + bytes(parts).hex()


def _grey(level: int) -> str:
    return _hex((level,) * 3)


def _mixed(parts: tuple[int, ...], white: float) -> tuple[int, ...]:
    return tuple(round(part + white * (255 - part)) for part in parts)


def _luminance(parts: tuple[int, ...]) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (level / 255 for level in parts)
    ]
    return sum(
        weight * part
        for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )
