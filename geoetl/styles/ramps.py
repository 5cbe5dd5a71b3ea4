"""Colours for classes that everybody can tell apart, and checks of colours that somebody chose.

Sources of the formulas: relative luminance and contrast, WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio;
colour vision deficiency, Machado, Oliveira and Fernandes 2009, "A Physiologically-based Model for Simulation of Color
Vision Deficiency", severity 1.0, https://doi.org/10.1109/TVCG.2009.113; difference of colours, CIEDE2000 as in Sharma,
Wu and Dalal 2005, https://doi.org/10.1002/col.20070.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Literal

from geoetl.core.errors import InvalidParameter
from geoetl.core.findings import Finding, Severity
from geoetl.core.registry import Registry
from geoetl.styles.values import Color

Kind = Literal["sequential", "diverging", "qualitative"]
Vision = Literal["normal", "protanopia", "deuteranopia"]

WHITE = Color(255, 255, 255)
# Of thin lines, small markers and the edges of areas against what they lie on (WCAG 2.2, 1.4.11), and of text (1.4.3).
MIN_GRAPHIC_CONTRAST = 3.0
MIN_TEXT_CONTRAST = 4.5
# Colours nearer than this (CIEDE2000) are taken for the same when they do not lie side by side; 1 is the least that
# can be seen where they do.
MIN_DIFFERENCE = 5.0
# The ends of a ramp that runs into white or black are left out: they vanish on the map.
_KEPT = (0.08, 0.97)
_SHADES = 256


@dataclass(frozen=True)
class Ramp:
    """A sequence of colours.

    Attributes:
        name: What it is called.
        kind: ``sequential`` (from low to high), ``diverging`` (from a middle both ways) or ``qualitative`` (no order).
        source: Its name in cmap's catalogue.
        skip: Colours of a qualitative one that are kept for other things, such as black.
    """

    name: str
    kind: Kind
    source: str
    skip: tuple[str, ...] = ()

    def all_colours(self, least_contrast: float = 0.0) -> tuple[Color, ...]:
        """Return every colour from low to high that has at least that contrast with white."""
        found = _stops(self) if self.kind == "qualitative" else _along(self)
        return tuple(colour for colour in found if contrast(colour, WHITE) >= least_contrast)

    def colours(self, count: int, *, reverse: bool = False, least_contrast: float = 0.0) -> tuple[Color, ...]:
        """Return `count` colours from low to high.

        Args:
            count: How many.
            reverse: Whether from high to low.
            least_contrast: With white, of each; 3 for lines and markers without an outline (WCAG 2.2).

        Raises:
            InvalidParameter: There are not so many that can be told apart.
        """
        most = self.all_colours(least_contrast)
        if not 1 <= count <= len(most):
            raise InvalidParameter(
                f"'{self.name}' has {len(most)} colours{' that are dark enough' if least_contrast else ''}, "
                f"and {count} are wanted.",
                hint="Make fewer classes, or choose a sequential ramp.",
                field="ramp",
            )
        if self.kind == "qualitative":
            found = most[:count]
        else:
            last = len(most) - 1
            places = [last / 2] if count == 1 else [last * number / (count - 1) for number in range(count)]
            found = tuple(most[round(place)] for place in places)
        return found[::-1] if reverse else found


RAMPS: Registry[Ramp] = Registry(
    "colour ramp",
    {
        ramp.name: ramp
        for ramp in (
            Ramp("batlow", "sequential", "crameri:batlow"),
            Ramp("viridis", "sequential", "bids:viridis"),
            Ramp("cividis", "sequential", "cividis:cividis"),
            Ramp("YlGnBu", "sequential", "colorbrewer:YlGnBu"),
            Ramp("YlOrBr", "sequential", "colorbrewer:YlOrBr"),
            Ramp("Blues", "sequential", "colorbrewer:Blues"),
            Ramp("vik", "diverging", "crameri:vik"),
            Ramp("PuOr", "diverging", "colorbrewer:PuOr"),
            Ramp("RdBu", "diverging", "colorbrewer:RdBu"),
            Ramp("BrBG", "diverging", "colorbrewer:BrBG"),
            Ramp("sunset", "diverging", "tol:sunset"),
            # Black is the colour of outlines and texts.
            Ramp("okabe-ito", "qualitative", "okabeito:okabeito", skip=("#000000",)),
            # Grey is the colour of what is in no class.
            Ramp("bright", "qualitative", "tol:bright", skip=("#bbbbbb",)),
            Ramp("muted", "qualitative", "tol:muted"),
        )
    },
)
DEFAULT_RAMPS: Mapping[Kind, str] = {"sequential": "viridis", "diverging": "vik", "qualitative": "muted"}


def ramp_names(kind: Kind | None = None) -> tuple[str, ...]:
    """Return the names of the ramps, of one kind or of all."""
    return tuple(name for name, ramp in RAMPS.items() if kind in (None, ramp.kind))


@lru_cache(maxsize=64)
def _stops(ramp: Ramp) -> tuple[Color, ...]:
    import cmap

    stops = [stop.color.rgba8 for stop in cmap.Colormap(ramp.source).color_stops]
    colours = (Color(colour.r, colour.g, colour.b) for colour in stops)
    return tuple(colour for colour in colours if colour.hex not in ramp.skip)


@lru_cache(maxsize=64)
def _along(ramp: Ramp) -> tuple[Color, ...]:
    import cmap

    colormap = cmap.Colormap(ramp.source)
    low, high = _KEPT
    found = (colormap(low + (high - low) * number / (_SHADES - 1)).rgba8 for number in range(_SHADES))
    return tuple(Color(colour.r, colour.g, colour.b) for colour in found)


# -- seeing ----------------------------------------------------------------------------------------------------------


def luminance(colour: Color) -> float:
    """Return the relative luminance, 0 (black) to 1 (white) (WCAG 2.2)."""
    red, green, blue = (_linear(part) for part in colour.parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: Color, b: Color) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    lighter, darker = sorted((luminance(a), luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


# Rows give linear red, green and blue (Machado, Oliveira and Fernandes 2009, table 1, severity 1.0).
_SEEN: Mapping[Vision, tuple[tuple[float, float, float], ...]] = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}
VISIONS: tuple[Vision, ...] = ("normal", *_SEEN)


def seen_with(colour: Color, vision: Vision) -> Color:
    """Return how a colour looks to a person without red (protanopia) or green (deuteranopia) cones."""
    if vision == "normal":
        return colour
    linear = [_linear(part) for part in colour.parts]
    mixed = (sum(weight * part for weight, part in zip(row, linear, strict=True)) for row in _SEEN[vision])
    return Color(*(_from_linear(part) for part in mixed))


def over(colour: Color, opacity: float, background: Color = WHITE) -> Color:
    """Return the colour that is seen where one that can be seen through lies on another."""
    pairs = zip(colour.parts, background.parts, strict=True)
    return Color(*(round(opacity * top + (1 - opacity) * below) for top, below in pairs))


def difference(a: Color, b: Color) -> float:
    """Return how different two colours look: CIEDE2000, about 1 for the least difference that is seen side by side."""
    return _ciede2000(_lab(a), _lab(b))


def _linear(part: int) -> float:
    value = part / 255
    return value / 12.92 if value <= 0.04045 else math.pow((value + 0.055) / 1.055, 2.4)


def _from_linear(value: float) -> int:
    clipped = min(max(value, 0.0), 1.0)
    gamma = 12.92 * clipped if clipped <= 0.0031308 else 1.055 * math.pow(clipped, 1 / 2.4) - 0.055
    return round(gamma * 255)


@lru_cache(maxsize=1024)
def _lab(colour: Color) -> tuple[float, float, float]:
    """Return L*, a*, b* of an sRGB colour under D65 (IEC 61966-2-1, CIE 15)."""
    red, green, blue = (_linear(part) for part in colour.parts)
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    fx, fy, fz = (math.cbrt(t) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def _ciede2000(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean_c7 = ((math.hypot(a1, b1) + math.hypot(a2, b2)) / 2) ** 7
    g = (1 - math.sqrt(mean_c7 / (mean_c7 + 25**7))) / 2
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = math.degrees(math.atan2(b1, a1)) % 360, math.degrees(math.atan2(b2, a2)) % 360
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    mean_h = h1 + h2 if c1 * c2 == 0 else (h1 + turn / 2) % 360
    delta_l, delta_c = l2 - l1, c2 - c1
    delta_h = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * math.cos(math.radians(mean_h - 30))
        + 0.24 * math.cos(math.radians(2 * mean_h))
        + 0.32 * math.cos(math.radians(3 * mean_h + 6))
        - 0.20 * math.cos(math.radians(4 * mean_h - 63))
    )
    sl = 1 + 0.015 * (mean_l - 50) ** 2 / math.sqrt(20 + (mean_l - 50) ** 2)
    sc, sh = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = (
        -2
        * math.sqrt(mean_c**7 / (mean_c**7 + 25**7))
        * math.sin(math.radians(60 * math.exp(-(((mean_h - 275) / 25) ** 2))))
    )
    c, h = delta_c / sc, delta_h / sh
    return math.sqrt((delta_l / sl) ** 2 + c**2 + h**2 + rotation * c * h)


# -- checking --------------------------------------------------------------------------------------------------------


def check_colours(
    colours: Mapping[str, Color], *, background: Color = WHITE, is_ordered: bool = True
) -> tuple[Finding, ...]:
    """Return which classes cannot be told apart, from each other or from what they lie on.

    Args:
        colours: As they are seen, by the names of their classes, in the order of the legend.
        background: What they lie on.
        is_ordered: Whether only neighbours need to differ, as in a ramp from low to high; else all do.
    """
    pairs = pairwise(colours) if is_ordered else combinations(colours, 2)
    findings = [finding for a, b in pairs if (finding := _alike(a, colours[a], b, colours[b]))]
    for name, colour in colours.items():
        if difference(colour, background) < MIN_DIFFERENCE:
            findings.append(
                Finding(
                    severity=Severity.WARNING,
                    code="colour_like_background",
                    message=f"'{name}' ({colour.hex}) cannot be told from what it lies on ({background.hex}).",
                    subject=name,
                    got=f"a difference of {difference(colour, background):.1f}",
                    expected=f"at least {MIN_DIFFERENCE:g} (CIEDE2000)",
                    remedy="Choose a darker or stronger colour.",
                )
            )
    return tuple(findings)


def check_contrast(
    name: str, colour: Color, *, background: Color = WHITE, least: float = MIN_GRAPHIC_CONTRAST
) -> tuple[Finding, ...]:
    """Return a finding where a line, a marker or a text has too little contrast with what it lies on."""
    ratio = contrast(colour, background)
    if ratio >= least:
        return ()
    return (
        Finding(
            severity=Severity.WARNING,
            code="low_contrast",
            message=f"'{name}' ({colour.hex}) has a contrast of {ratio:.1f} to 1 with {background.hex}.",
            subject=name,
            got=f"{ratio:.2f}",
            expected=f"at least {least:g} (WCAG 2.2)",
            remedy="Choose a darker colour, or a casing around it.",
        ),
    )


def _alike(a: str, first: Color, b: str, second: Color) -> Finding | None:
    for vision in VISIONS:
        seen = difference(seen_with(first, vision), seen_with(second, vision))
        if seen < MIN_DIFFERENCE:
            who = "" if vision == "normal" else f" with {vision}"
            return Finding(
                severity=Severity.WARNING,
                code="colours_alike" if vision == "normal" else f"colours_alike_{vision}",
                message=f"'{a}' ({first.hex}) and '{b}' ({second.hex}) cannot be told apart{who}.",
                subject=f"{a}, {b}",
                got=f"a difference of {seen:.1f}",
                expected=f"at least {MIN_DIFFERENCE:g} (CIEDE2000)",
                remedy="Make fewer classes, or choose colours that differ more in lightness.",
            )
    return None
