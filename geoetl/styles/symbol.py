"""What is drawn of one feature, with every value known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geoetl.styles.values import PIXELS_PER_POINT, UNSET, Color

_BLACK, _WHITE = Color(0, 0, 0), Color(255, 255, 255)
_PATTERNS = tuple((name, f"fill.{name}") for name in ("pattern", "hatch", "dotpattern", "stipple"))


@dataclass(frozen=True)
class FillSymbol:
    """How an area is filled; patterns as CartoSym-JSON has them."""

    color: Color
    opacity: float
    patterns: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class LineSymbol:
    """A line: its width is in pixels."""

    color: Color
    width: float
    opacity: float


@dataclass(frozen=True)
class StrokeSymbol(LineSymbol):
    """How a line or an outline is drawn.

    Attributes:
        dashes: Lengths of dashes and gaps in pixels; empty for an unbroken line.
        cap: ``butt``, ``round`` or ``square``.
        join: ``miter``, ``round`` or ``bevel``.
        casing: A line under it, wider by its own width on each side.
        center_line: A line over it.
    """

    dashes: tuple[float, ...] = ()
    cap: str = "butt"
    join: str = "miter"
    casing: LineSymbol | None = None
    center_line: LineSymbol | None = None


@dataclass(frozen=True)
class FontSymbol:
    """How letters look: size and outline are in pixels."""

    face: str
    size: float
    bold: bool
    italic: bool
    underline: bool
    color: Color
    opacity: float
    outline: LineSymbol | None = None


@dataclass(frozen=True)
class GraphicSymbol:
    """A dot, an image or a text.

    Attributes:
        type: ``Dot``, ``Image`` or ``Text``.
        opacity: 0 to 1.
        position: Offset in pixels, to the right and down.
        color: Of a dot; the tint of an image.
        size: Of a dot: its diameter in pixels.
        outline: Of a dot.
        image: Where the image is, as CartoSym-JSON has it.
        text: The letters.
        font: How they look.
        alignment: Which side of the text is at its place, across and down.
    """

    type: str
    opacity: float
    position: tuple[float, float]
    color: Color | None = None
    size: float = 0.0
    outline: LineSymbol | None = None
    image: tuple[tuple[str, Any], ...] = ()
    text: str = ""
    font: FontSymbol | None = None
    alignment: tuple[str, str] = ("center", "middle")


@dataclass(frozen=True)
class Symbol:
    """What is drawn of a feature.

    Attributes:
        visible: Whether anything is.
        opacity: Of all of it, 0 to 1.
        z_order: What is drawn later has more.
        fill: Of areas; None where there is none.
        stroke: Of lines and outlines; None where there is none.
        markers: At points, or in the middle of what is larger.
        labels: As markers, where there is room.
    """

    visible: bool
    opacity: float
    z_order: float
    fill: FillSymbol | None = None
    stroke: StrokeSymbol | None = None
    markers: tuple[GraphicSymbol, ...] = ()
    labels: tuple[GraphicSymbol, ...] = ()


def symbol_of(values: Mapping[str, Any]) -> Symbol:
    """Return the symbol of values by path, as `geoetl.styles.cascade` has them; trees are worked out before."""
    given = _Given(values)
    return Symbol(
        visible=bool(given("visibility", True)),
        opacity=given("opacity", 1.0),
        z_order=given("zOrder", 1.0),
        fill=_fill(given),
        stroke=_stroke(given),
        markers=_graphics(given, "marker"),
        labels=_graphics(given, "label"),
    )


class _Given:
    """Values by path, where UNSET is as good as missing."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {path: value for path, value in values.items() if value is not UNSET}
        # Each path on a line of its own: what is below which is asked more often than there are paths.
        self._paths = "\n".join(["", *self.values])

    def __call__(self, path: str, otherwise: Any) -> Any:
        return self.values.get(path, otherwise)

    def has(self, prefix: str) -> bool:
        """Tell whether anything is given below a path."""
        return f"\n{prefix}." in self._paths


def _fill(given: _Given) -> FillSymbol | None:
    if not given.has("fill"):
        return None
    patterns = [(name, given.values[path]) for name, path in _PATTERNS if path in given.values]
    return FillSymbol(given("fill.color", _WHITE), given("fill.opacity", 1.0), tuple(patterns))


def _line(given: _Given, path: str, size: str = "width", color: Color = _BLACK) -> LineSymbol | None:
    if not given.has(path):
        return None
    return LineSymbol(given(f"{path}.color", color), given(f"{path}.{size}", 1.0), given(f"{path}.opacity", 1.0))


def _stroke(given: _Given) -> StrokeSymbol | None:
    if not given.has("stroke"):
        return None
    return StrokeSymbol(
        given("stroke.color", _BLACK),
        given("stroke.width", 1.0),
        given("stroke.opacity", 1.0),
        given("stroke.dashPattern", ()),
        given("stroke.cap", "butt"),
        given("stroke.join", "miter"),
        _line(given, "stroke.casing"),
        _line(given, "stroke.centerLine"),
    )


def _graphics(given: _Given, path: str) -> tuple[GraphicSymbol, ...]:
    if not given.has(path):
        return ()
    numbers = {int(key.split(".")[1]) for key in given.values if key.startswith(f"{path}.")}
    return tuple(
        _graphic(given, f"{path}.{number}") for number in sorted(numbers) if f"{path}.{number}.type" in given.values
    )


def _graphic(given: _Given, path: str) -> GraphicSymbol:
    kind = given(f"{path}.type", "Dot")
    opacity, position = given(f"{path}.opacity", 1.0), given(f"{path}.position", (0.0, 0.0))
    if kind == "Image":
        where = given(f"{path}.image", {})
        tint = given(f"{path}.tint", None)
        return GraphicSymbol(kind, opacity, position, color=tint, image=tuple(sorted(where.items())))
    if kind == "Text":
        return GraphicSymbol(
            kind,
            opacity,
            position,
            text=given(f"{path}.text", ""),
            font=_font(given, f"{path}.font"),
            alignment=given(f"{path}.alignment", ("center", "middle")),
        )
    size, color = given(f"{path}.size", 10.0), given(f"{path}.color", _WHITE)
    return GraphicSymbol(kind, opacity, position, color=color, size=size, outline=_line(given, f"{path}.outline"))


def _font(given: _Given, path: str) -> FontSymbol:
    return FontSymbol(
        given(f"{path}.face", "Arial"),
        given(f"{path}.size", 12 * PIXELS_PER_POINT),
        given(f"{path}.bold", False),
        given(f"{path}.italic", False),
        given(f"{path}.underline", False),
        given(f"{path}.color", _BLACK),
        given(f"{path}.opacity", 1.0),
        _line(given, f"{path}.outline", "size", _WHITE),
    )
