"""What styles are made of: colours, lengths, scales, and the stops of colour maps.

Lengths become pixels of 0.28 mm, the pixel of OGC standards (OGC 18-067r4 section 8, OGC 17-083r4 section 6.2); lengths
on the ground stay lengths until a scale is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import log2
from typing import Any, Final, Self

PIXEL_MM = 0.28
# A point of a font is a 72nd of an inch.
PIXELS_PER_POINT = 25.4 / 72 / PIXEL_MM
_PIXELS: Mapping[str, float] = {
    "px": 1.0,
    "mm": 1 / PIXEL_MM,
    "cm": 10 / PIXEL_MM,
    "in": 25.4 / PIXEL_MM,
    "pt": PIXELS_PER_POINT,
}
_METRES: Mapping[str, float] = {"m": 1.0, "ft": 0.3048}
# Units of a length in CartoSym-JSON; em (of the font) and pc (percent of an image) have no size of their own.
UNITS = ("px", "mm", "cm", "in", "pt", "em", "pc", "m", "ft")
# Scale denominator of zoom 0 with tiles of 256 pixels; source: OGC 17-083r4 annex D.1, WebMercatorQuad.
ZOOM_0_DENOMINATOR = 559082264.028717

# As the official schema spells them, "fuschia" too; the values are those of CSS Color Level 4.
_NAMED = """
black 000000; dimGray 696969; dimGrey 696969; gray 808080; grey 808080; darkGray a9a9a9; darkGrey a9a9a9; silver
c0c0c0; lightGray d3d3d3; lightGrey d3d3d3; gainsboro dcdcdc; whiteSmoke f5f5f5; white ffffff; rosyBrown bc8f8f;
indianRed cd5c5c; brown a52a2a; fireBrick b22222; lightCoral f08080; maroon 800000; darkRed 8b0000; red ff0000;
snow fffafa; mistyRose ffe4e1; salmon fa8072; tomato ff6347; darkSalmon e9967a; coral ff7f50; orangeRed ff4500;
lightSalmon ffa07a; sienna a0522d; seaShell fff5ee; chocolate d2691e; saddleBrown 8b4513; sandyBrown f4a460;
peachPuff ffdab9; peru cd853f; linen faf0e6; bisque ffe4c4; darkOrange ff8c00; burlyWood deb887; tan d2b48c;
antiqueWhite faebd7; navajoWhite ffdead; blanchedAlmond ffebcd; papayaWhip ffefd5; moccasin ffe4b5; orange ffa500;
wheat f5deb3; oldLace fdf5e6; floralWhite fffaf0; darkGoldenrod b8860b; goldenrod daa520; cornsilk fff8dc; gold
ffd700; khaki f0e68c; lemonChiffon fffacd; paleGoldenrod eee8aa; darkKhaki bdb76b; beige f5f5dc;
lightGoldenRodYellow fafad2; olive 808000; yellow ffff00; lightYellow ffffe0; ivory fffff0; oliveDrab 6b8e23;
yellowGreen 9acd32; darkOliveGreen 556b2f; greenYellow adff2f; chartreuse 7fff00; lawnGreen 7cfc00; darkSeaGreen
8fbc8f; forestGreen 228b22; limeGreen 32cd32; lightGreen 90ee90; paleGreen 98fb98; darkGreen 006400; green 008000;
lime 00ff00; honeyDew f0fff0; seaGreen 2e8b57; mediumSeaGreen 3cb371; springGreen 00ff7f; mintCream f5fffa;
mediumSpringGreen 00fa9a; mediumAquaMarine 66cdaa; aquamarine 7fffd4; turquoise 40e0d0; lightSeaGreen 20b2aa;
mediumTurquoise 48d1cc; darkSlateGray 2f4f4f; darkSlateGrey 2f4f4f; paleTurquoise afeeee; teal 008080; darkCyan
008b8b; aqua 00ffff; cyan 00ffff; lightCyan e0ffff; azure f0ffff; darkTurquoise 00ced1; cadetBlue 5f9ea0;
powderBlue b0e0e6; lightBlue add8e6; deepSkyBlue 00bfff; skyBlue 87ceeb; lightSkyBlue 87cefa; steelBlue 4682b4;
aliceBlue f0f8ff; dodgerBlue 1e90ff; slateGray 708090; slateGrey 708090; lightSlateGray 778899; lightSlateGrey
778899; lightSteelBlue b0c4de; cornflowerBlue 6495ed; royalBlue 4169e1; midnightBlue 191970; lavender e6e6fa; navy
000080; darkBlue 00008b; mediumBlue 0000cd; blue 0000ff; ghostWhite f8f8ff; slateBlue 6a5acd; darkSlateBlue
483d8b; mediumSlateBlue 7b68ee; mediumPurple 9370db; blueViolet 8a2be2; indigo 4b0082; darkOrchid 9932cc;
darkViolet 9400d3; mediumOrchid ba55d3; thistle d8bfd8; plum dda0dd; violet ee82ee; purple 800080; darkMagenta
8b008b; magenta ff00ff; fuschia ff00ff; orchid da70d6; mediumVioletRed c71585; deepPink ff1493; hotPink ff69b4;
lavenderBlush fff0f5; paleVioletRed db7093; crimson dc143c; pink ffc0cb; lightPink ffb6c1
"""
COLOR_NAMES: Mapping[str, int] = {
    name: int(digits, 16) for name, digits in (pair.split() for pair in _NAMED.split(";"))
}


class Unset(Enum):
    """The one value of a property that has none."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Color:
    """A colour of sRGB.

    Attributes:
        r: Red, 0 to 255.
        g: Green, 0 to 255.
        b: Blue, 0 to 255.
    """

    r: int
    g: int
    b: int

    @classmethod
    def of_parts(cls, r: float, g: float, b: float) -> Self:
        """Return the colour of three numbers, each brought to the nearest that there is."""
        return cls(*[round(part) if 0 <= part <= 255 else 255 * (part > 0) for part in (r, g, b)])

    @classmethod
    def named(cls, name: str) -> Self | None:
        """Return the colour of a name as CartoSym-JSON spells it; None where there is none."""
        number = COLOR_NAMES.get(name)
        return None if number is None else cls(number >> 16, number >> 8 & 255, number & 255)

    @property
    def hex(self) -> str:
        """The colour as ``#1a9850``."""
        return f"#{bytes(self.parts).hex()}"

    def css(self, opacity: float = 1.0) -> str:
        """Return the colour for CSS: ``#1a9850``, or ``rgba(26,152,80,0.5)`` where it is not opaque."""
        return self.hex if opacity >= 1 else f"rgba({self.r},{self.g},{self.b},{max(opacity, 0):g})"

    @property
    def parts(self) -> tuple[int, int, int]:
        """Red, green and blue."""
        return self.r, self.g, self.b


@dataclass(frozen=True, slots=True)
class DataColor:
    """A colour whose parts are read from each feature: numbers, or CQL2 trees that give numbers of 0 to 255."""

    r: Any
    g: Any
    b: Any


@dataclass(frozen=True, slots=True)
class GroundLength:
    """A length on the ground, whose size in pixels depends on the scale.

    Attributes:
        metres: The length, or a CQL2 tree that gives it for each feature.
    """

    metres: Any

    def pixels(self, denominator: float) -> Any:
        """Return the length in pixels at a scale; a tree where it is read from each feature."""
        factor = 1000 / (PIXEL_MM * denominator)
        return scaled(self.metres, factor)


@dataclass(frozen=True, slots=True)
class ColorStop:
    """The colour of a value of a coverage.

    Attributes:
        value: The value, in the unit of the coverage.
        color: Its colour.
        name: What the legend says; empty where nothing is said.
    """

    value: float
    color: Color
    name: str = ""


@dataclass(frozen=True, slots=True)
class OpacityStop:
    """The opacity, 0 to 1, of a value of a coverage."""

    value: float
    opacity: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class HillShading:
    """How the relief of a coverage is shaded.

    Attributes:
        factor: How strong it is; 1 leaves heights as they are.
        azimuth: Where the sun stands, degrees clockwise from north.
        elevation: How high it stands, degrees above the ground.
        color_map: Colours of the shade, 0 (dark) to 1 (lit).
        opacity_map: Opacities of the shade.
    """

    factor: float = 1.0
    azimuth: float = 315.0
    elevation: float = 45.0
    color_map: tuple[ColorStop, ...] = ()
    opacity_map: tuple[OpacityStop, ...] = ()


def scaled(value: Any, factor: float) -> Any:
    """Return a number times a factor; of a CQL2 tree the tree that multiplies."""
    if isinstance(value, int | float):
        return float(value * factor)
    return value if factor == 1 else {"op": "*", "args": [value, factor]}


def length_of(value: Any, unit: str) -> Any:
    """Return a length in pixels, or on the ground; None where the unit has no size of its own (em, pc)."""
    if unit in _PIXELS:
        return scaled(value, _PIXELS[unit])
    if unit in _METRES:
        return GroundLength(scaled(value, _METRES[unit]))
    return None


def denominator_of(zoom: float, tile_size: int = 512) -> float:
    """Return the scale denominator at the equator of a zoom of WebMercatorQuad (OGC 17-083r4 annex D.1)."""
    return ZOOM_0_DENOMINATOR * 256 / tile_size / 2**zoom


def zoom_of(denominator: float, tile_size: int = 512) -> float:
    """Return the zoom of WebMercatorQuad that has a scale denominator at the equator; see `denominator_of`."""
    return log2(ZOOM_0_DENOMINATOR * 256 / tile_size / denominator)
