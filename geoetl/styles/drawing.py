"""Small drawings of lines, areas, markers and words, told once and written as SVG or PNG.

Every text is escaped in SVG.  PNG is written with Pillow, whose own font needs no file; where a text has characters
that it lacks, a font of the system that has them is taken, else their nearest in ASCII.
"""

import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import cos, pi, sin
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import InvalidParameter
from geoetl.styles.values import Color

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

BLACK, WHITE = Color(34, 34, 34), Color(255, 255, 255)
FONT_SIZE = 12.0
MAX_SCALE = 8.0
# Pixels of one picture; a legend of a thousand classes at the largest scale is below it.
MAX_PIXELS = 60_000_000
# Shapes are drawn so many times as large, and made smaller, so that their edges are smooth.
_SMOOTH = 3
_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
# Fonts with many scripts, as systems call them; tried in this order.
_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf", "LiberationSans-Regular.ttf")
_ASCII: Mapping[str, str] = {
    "–": "-", "—": "-", "−": "-", "≥": ">=", "≤": "<=", "×": "x", "…": "...", "’": "'", "‘": "'", "“": '"', "”": '"',
    "ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "æ": "ae", "Æ": "AE", "œ": "oe", "µ": "u",
    "μ": "u",
}  # fmt: skip
# A character that no font has.
_NONE = "\uffff"


@dataclass(frozen=True)
class Pen:
    """How an edge or a line is drawn.

    Attributes:
        colour: Its colour.
        width: Pixels.
        opacity: 0 to 1.
        dashes: Pixels drawn and left out in turn; empty for a solid line.
    """

    colour: Color
    width: float = 1.0
    opacity: float = 1.0
    dashes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Ink:
    """How an area is filled."""

    colour: Color
    opacity: float = 1.0


@dataclass(frozen=True)
class Box:
    """A rectangle; `x` and `y` are its left and top, in pixels."""

    x: float
    y: float
    width: float
    height: float
    fill: Ink | None = None
    edge: Pen | None = None


@dataclass(frozen=True)
class Line:
    """A line from point to point."""

    points: tuple[tuple[float, float], ...]
    pen: Pen


@dataclass(frozen=True)
class Disc:
    """A circle."""

    x: float
    y: float
    radius: float
    fill: Ink | None = None
    edge: Pen | None = None


@dataclass(frozen=True)
class Band:
    """A rectangle of colours that run from left to right: place (0 to 1), colour and opacity of each stop."""

    x: float
    y: float
    width: float
    height: float
    stops: tuple[tuple[float, Color, float], ...]


@dataclass(frozen=True)
class Words:
    """A line of text; `y` is the middle of its height, `anchor` says which part of it is at `x`."""

    x: float
    y: float
    text: str
    size: float = FONT_SIZE
    bold: bool = False
    anchor: str = "start"
    colour: Color = BLACK


type Shape = Box | Line | Disc | Band | Words


@dataclass(frozen=True)
class Drawing:
    """Shapes on a white ground, the first lowest.

    Attributes:
        width: Pixels.
        height: Pixels.
        shapes: What is drawn.
        title: What a screen reader says.
    """

    width: int
    height: int
    shapes: tuple[Shape, ...]
    title: str

    def svg(self) -> str:
        """Return it as SVG 1.1."""
        body = "".join(_svg(shape, number) for number, shape in enumerate(self.shapes))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{_text(self.title)}" '
            f'font-family="{escape(_FAMILY)}"><rect width="100%" height="100%" fill="#ffffff"/>{body}</svg>'
        )

    def png(self, scale: float = 1.0) -> bytes:
        """Return it as PNG, `scale` times as large.

        Raises:
            InvalidParameter: The scale is not between 0.5 and 8, or the picture would be too large.
        """
        from PIL import Image, ImageDraw

        if not 0.5 <= scale <= MAX_SCALE or self.width * self.height * scale**2 > MAX_PIXELS:
            raise InvalidParameter(
                f"scale is {scale:g}, for {self.width} by {self.height} pixels; expected 0.5 to {MAX_SCALE:g}.",
                hint="Give a smaller scale.",
                field="scale",
            )
        size = (round(self.width * scale), round(self.height * scale))
        picture = Image.new("RGB", size, WHITE.parts)
        for shape in self.shapes:
            if not isinstance(shape, Words):
                _paint(picture, shape, scale)
        draw = ImageDraw.Draw(picture)
        words = [shape for shape in self.shapes if isinstance(shape, Words)]
        font = _font_for("".join(one.text for one in words))
        for one in words:
            font.write(draw, one, scale)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def width_of(text: str, size: float = FONT_SIZE) -> float:
    """Return about how wide a line of text is, in pixels."""
    return _font_for(text).width(text, size) * 1.06


# -- SVG ---------------------------------------------------------------------------------------------------------------


def _svg(shape: Shape, number: int) -> str:
    match shape:
        case Box():
            place = f'x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}"'
            return f"<rect {place} {_filled(shape.fill)}{_edged(shape.edge)}/>"
        case Disc():
            place = f'cx="{shape.x:g}" cy="{shape.y:g}" r="{shape.radius:g}"'
            return f"<circle {place} {_filled(shape.fill)}{_edged(shape.edge)}/>"
        case Line():
            points = " ".join(f"{x:g},{y:g}" for x, y in shape.points)
            return f'<polyline points="{points}" fill="none"{_edged(shape.pen)}/>'
        case Band():
            # Several legends may stand on one page: the name is told by what it holds.
            name = f"ramp-{number}-{abs(hash(shape)):x}"
            stops = "".join(
                f'<stop offset="{place:g}" stop-color="{colour.hex}" stop-opacity="{opacity:g}"/>'
                for place, colour, opacity in shape.stops
            )
            return (
                f'<defs><linearGradient id="{name}">{stops}</linearGradient></defs>'
                f'<rect x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}" '
                f'fill="url(#{name})"/>'
            )
        case Words():
            weight = ' font-weight="600"' if shape.bold else ""
            anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
            return (
                f'<text x="{shape.x:g}" y="{shape.y + shape.size * 0.35:g}" font-size="{shape.size:g}"{weight}{anchor} '
                f'fill="{shape.colour.hex}">{_text(shape.text)}</text>'
            )


def _text(text: str) -> str:
    """Return text for XML: escaped, without the control characters that XML has no form for."""
    kept = "".join(one if one in "\t\n" or (one >= " " and not "\ud800" <= one <= "\udfff") else " " for one in text)
    return escape(kept.replace("\ufffe", " ").replace("\uffff", " "), quote=True)


def _filled(ink: Ink | None) -> str:
    if ink is None:
        return 'fill="none"'
    opacity = f' fill-opacity="{ink.opacity:g}"' if ink.opacity < 1 else ""
    return f'fill="{ink.colour.hex}"{opacity}'


def _edged(pen: Pen | None) -> str:
    if pen is None:
        return ""
    opacity = f' stroke-opacity="{pen.opacity:g}"' if pen.opacity < 1 else ""
    dashes = f' stroke-dasharray="{" ".join(f"{one:g}" for one in pen.dashes)}"' if pen.dashes else ""
    return f' stroke="{pen.colour.hex}" stroke-width="{pen.width:g}"{opacity}{dashes}'


# -- PNG ---------------------------------------------------------------------------------------------------------------


def _paint(picture: "Image", shape: Box | Line | Disc | Band, scale: float) -> None:
    """Draw one shape on a layer of its own, larger, and lay it on the picture."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = _extent(shape)
    corner = (max(0, int(left * scale) - 1), max(0, int(top * scale) - 1))
    size = (
        min(picture.width, int(right * scale) + 2) - corner[0],
        min(picture.height, int(bottom * scale) + 2) - corner[1],
    )
    if size[0] <= 0 or size[1] <= 0:
        return
    if isinstance(shape, Band):
        _paint_band(picture, shape, scale)
        return
    factor = scale * _SMOOTH

    def at(x: float, y: float) -> tuple[float, float]:
        return (x * scale - corner[0]) * _SMOOTH, (y * scale - corner[1]) * _SMOOTH

    for part, colour, opacity in _layers(shape):
        mask = Image.new("L", (size[0] * _SMOOTH, size[1] * _SMOOTH), 0)
        draw = ImageDraw.Draw(mask)
        _mark(draw, part, at, factor)
        level = mask.resize(size, Image.Resampling.BOX).point(lambda value, share=opacity: round(value * share))
        picture.paste(Image.new("RGB", size, colour.parts), corner, level)


def _layers(shape: Box | Line | Disc) -> Iterable[tuple[Any, Color, float]]:
    """Return the parts of a shape that have one colour each: what is filled, then what is drawn with a pen."""
    if not isinstance(shape, Line) and shape.fill is not None:
        filled = Box(shape.x, shape.y, shape.width, shape.height) if isinstance(shape, Box) else shape
        yield filled, shape.fill.colour, shape.fill.opacity
    pen = shape.pen if isinstance(shape, Line) else shape.edge
    if pen is not None and pen.width > 0:
        for line in _dashed(_outline(shape), pen.dashes):
            yield Line(line, pen), pen.colour, pen.opacity


def _mark(draw: "ImageDraw", part: Any, at: Any, factor: float) -> None:
    match part:
        case Box():
            draw.rectangle([at(part.x, part.y), at(part.x + part.width, part.y + part.height)], fill=255)
        case Disc():
            low, high = (at(part.x + sign * part.radius, part.y + sign * part.radius) for sign in (-1, 1))
            draw.ellipse([low, high], fill=255)
        case Line():
            width = max(1, round(part.pen.width * factor))
            draw.line([at(x, y) for x, y in part.points], fill=255, width=width, joint="curve")


def _outline(shape: Box | Line | Disc) -> tuple[tuple[float, float], ...]:
    match shape:
        case Line():
            return shape.points
        case Box():
            x, y, right, bottom = shape.x, shape.y, shape.x + shape.width, shape.y + shape.height
            return (x, y), (right, y), (right, bottom), (x, bottom), (x, y)
        case Disc():
            turns = [2 * pi * step / 48 for step in range(49)]
            return tuple((shape.x + shape.radius * cos(turn), shape.y + shape.radius * sin(turn)) for turn in turns)


def _dashed(
    points: Sequence[tuple[float, float]], dashes: Sequence[float]
) -> Iterable[tuple[tuple[float, float], ...]]:
    """Return the parts of a line that its dashes draw."""
    if not dashes or sum(dashes) <= 0:
        yield tuple(points)
        return
    pattern = list(dashes) * (2 if len(dashes) % 2 else 1)
    number, left = 0, pattern[0]
    for (x0, y0), (x1, y1) in pairwise(points):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        done = 0.0
        while done < length:
            step = min(left, length - done)
            if number % 2 == 0 and step > 0:
                yield tuple((x0 + (x1 - x0) * at / length, y0 + (y1 - y0) * at / length) for at in (done, done + step))
            done, left = done + step, left - step
            if left <= 0:
                number = (number + 1) % len(pattern)
                left = max(pattern[number], 0.01)


def _paint_band(picture: "Image", band: Band, scale: float) -> None:
    import numpy as np
    from PIL import Image

    width, height = max(1, round(band.width * scale)), max(1, round(band.height * scale))
    places = (np.arange(width) + 0.5) / width
    known = [place for place, *_ in band.stops]
    rgba = np.array([(*colour.parts, 255 * opacity) for _, colour, opacity in band.stops])
    row = np.rint(np.stack([np.interp(places, known, part) for part in rgba.T], axis=-1)).astype(np.uint8)
    layer = Image.fromarray(np.repeat(row[np.newaxis], height, axis=0))
    picture.paste(layer.convert("RGB"), (round(band.x * scale), round(band.y * scale)), layer)


def _extent(shape: Box | Line | Disc | Band) -> tuple[float, float, float, float]:
    match shape:
        case Box():
            edge = shape.edge.width / 2 if shape.edge else 0
            return shape.x - edge, shape.y - edge, shape.x + shape.width + edge, shape.y + shape.height + edge
        case Band():
            return shape.x, shape.y, shape.x + shape.width, shape.y + shape.height
        case Disc():
            reach = shape.radius + (shape.edge.width / 2 if shape.edge else 0)
            return shape.x - reach, shape.y - reach, shape.x + reach, shape.y + reach
        case Line():
            xs, ys = zip(*shape.points, strict=True)
            reach = shape.pen.width
            return min(xs) - reach, min(ys) - reach, max(xs) + reach, max(ys) + reach


# -- fonts -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Font:
    """A font by the name of its file; without one, Pillow's own."""

    file: str | None

    def of(self, size: float) -> Any:
        from PIL import ImageFont

        return ImageFont.truetype(self.file, size) if self.file else ImageFont.load_default(size)

    def width(self, text: str, size: float) -> float:
        return float(self.of(size).getlength(self.shown(text)))

    def write(self, draw: "ImageDraw", words: Words, scale: float) -> None:
        anchor = {"start": "l", "middle": "m", "end": "r"}[words.anchor] + "m"
        # Bold is drawn with a pen as wide as its stems are wider.
        stroke = 0.25 * scale if words.bold else 0
        draw.text(
            (words.x * scale, words.y * scale),
            self.shown(words.text),
            fill=words.colour.parts,
            font=self.of(words.size * scale),
            anchor=anchor,
            stroke_width=stroke,
            stroke_fill=words.colour.parts,
        )

    def shown(self, text: str) -> str:
        """Return a text in characters that the font has."""
        line = " ".join(text.split())
        lacking = self.lacking(line)
        return "".join(_nearest(one, self) if one in lacking else one for one in line)

    def lacking(self, text: str) -> set[str]:
        """Return the characters of a text that the font has no picture of."""
        font = self.of(FONT_SIZE)
        nothing = bytes(font.getmask(_NONE))
        return {one for one in set(text) if not one.isascii() and bytes(font.getmask(one)) == nothing}


def _nearest(character: str, font: _Font) -> str:
    if character in _ASCII:
        return _ASCII[character]
    plain = "".join(one for one in unicodedata.normalize("NFKD", character) if not unicodedata.combining(one))
    return plain if plain and plain != character and not font.lacking(plain) else "?"


def _font_for(text: str) -> _Font:
    """Return Pillow's own font, or the first of the system that has more of the characters of a text."""
    own = _Font(None)
    best, fewest = own, len(own.lacking(text))
    for file in _FONTS if fewest else ():
        font = _Font(file)
        try:
            lacking = len(font.lacking(text))
        except OSError:
            continue
        if lacking < fewest:
            best, fewest = font, lacking
    return best
