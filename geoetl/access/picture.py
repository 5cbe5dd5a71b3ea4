"""Pictures: numbers turned into PNG, JPEG or WebP that says where it lies and what its colours mean."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.colormap import Legend, Palette, item_colormap, legend, lookup_table
from geoetl.access.colouring import Colouring, opacity_of
from geoetl.access.rescale import Rescale, chosen_ranges, to_bytes
from geoetl.access.result import BBoxField, Result, Source, ValueRange, extent_text
from geoetl.core.errors import InvalidParameter, NotFound
from geoetl.core.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from geoetl.access.frame import Frame
    from geoetl.access.layer import Layer

# A palette PNG has 256 entries: the last one is the transparent one.
_TOP_INDEX = 254
_TRANSPARENT_INDEX = 255
# Level 1 is 2 to 4 times faster than zlib's default and within a few percent in size on maps.
_PNG_LEVEL = 1
# zlib's Z_RLE: after PNG's filters there is little but runs to find in colours; a sixth smaller, and quicker.
_PNG_RUNS = 3
_LOSSY_QUALITY = 90

MEDIA_TYPES: Registry[str] = Registry(
    "picture format", {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
)


class Picture(Result):
    """A picture of data and how to place and read it.

    Attributes:
        content: The encoded picture; nodata and NaN are transparent (white in JPEG, which has no transparency).
        media_type: ``image/png``, ``image/jpeg`` or ``image/webp``.
        bbox: Edges in degrees. West > east means that the picture runs over the antimeridian: from `west` eastwards
            over 180 to `east`. In ``EPSG:3857`` and ``EPSG:4326`` these are the picture's edges exactly; in any other
            projection they are what the data cover.
        crs: Projection of the rows and columns, as an authority code.
        bounds: Left, bottom, right and top in units of `crs`; right runs on beyond the antimeridian.
        width: Columns.
        height: Rows.
        rescale: For each band the values at the ends of the colours; empty where the file's colour table was used.
        colormap: Name of the colour map; None for colour composites, colour tables and the colours of a style.
        legend: What the colours mean; None for colour composites.
        variable: What is shown: a variable, or the names of the bands.
        units: Units of the values.
        method: How cells became pixels.
        time: ISO 8601 text of the time step in its own calendar, where there is one.
        sel: The values of the extra dimensions that were taken.
        source: Where it came from.
        calendar: CF calendar of the time.
    """

    content: bytes
    media_type: str
    bbox: BBoxField
    crs: str
    bounds: tuple[float, float, float, float]
    width: int
    height: int
    rescale: tuple[ValueRange, ...]
    colormap: str | None
    legend: Legend | None
    variable: str
    units: str | None
    method: str
    time: str | None
    sel: dict[str, str | float | int]
    source: Source
    calendar: str | None = None

    def data_url(self) -> str:
        """Return the picture as a ``data:`` URL for HTML."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"

    def _repr_html_(self) -> str:
        caption = " · ".join(part for part in (self.variable, self.time, str(self.source)) if part)
        legend = self.legend._repr_html_() if self.legend else ""
        return (
            f"<figure style='margin:0'><img src='{self.data_url()}' alt='{html.escape(caption, quote=True)}' "
            f"style='max-width:100%;image-rendering:pixelated'>"
            f"<figcaption>{html.escape(caption)}<br><small>{html.escape(extent_text(self.bbox))}</small></figcaption>"
            f"{legend}</figure>"
        )


def check_drawn(layer: "Layer", colormap: str | None) -> None:
    """Refuse what no picture shows, before anything is read.

    Raises:
        InvalidParameter: There are neither one nor three bands, or a colour map is to draw three.
    """
    if len(layer.bands) not in (1, 3):
        raise InvalidParameter(
            f"There are {len(layer.bands)} bands; a picture shows 1 (through a colour map) or 3 (red, green, blue).",
            hint="Name one band or three, or ask for format=tif or npy.",
            field="bands",
        )
    if len(layer.bands) == 3 and colormap is not None:
        raise InvalidParameter(
            "A colour map draws one band, and three are shown.", hint="Give bands=[1].", field="colormap"
        )


def paint(
    layer: "Layer",
    frame: "Frame",
    values: "NDArray[Any]",
    media_type: str,
    *,
    rescale: Rescale = None,
    colormap: str | Colouring | None = None,
) -> Picture:
    """Draw one band through a colour map, the item's own colours or those of its classes, or three as red, green, blue.

    Args:
        layer: What is drawn.
        frame: The picture's grid.
        values: The layer's values on it: array (band, row, column), NaN = no data.
        media_type: As `media_type_of` returned it.
        rescale: Values at the ends of the colours; ``"auto"`` takes the 2nd to 98th percentile of the picture; left
            out, the item's own, else ``"auto"``.
        colormap: Name of a colour map, which was checked, or colours; left out, the item's own, else viridis.

    Raises:
        InvalidParameter: There are neither one nor three bands, a colour map is to draw three, or `rescale` is not
            right.
    """
    colouring = own_colours(layer, colormap)
    map_name = colormap if isinstance(colormap, str) else None
    check_drawn(layer, map_name)
    limits: tuple[ValueRange, ...] = ()
    explained: Legend | None = None
    if colouring is not None:
        if rescale is not None:
            colouring = colouring.stretched(chosen_ranges(rescale, list(values), layer.own_ranges)[0])
        limits = () if colouring.limits is None else (colouring.limits,)
        rgba = colouring.colours(values[0])
        content = encode_colours(rgba[..., :3], rgba[..., 3], media_type)
        explained = colouring.legend(layer.units)
    elif layer.palette is not None and map_name is None:
        content, explained = _draw_classes(values[0], layer.palette, layer.labels, layer.units, media_type)
    else:
        limits = chosen_ranges(rescale, list(values), layer.own_ranges)
        if len(layer.bands) == 3:
            opacity = layer.opacity(frame)
            # Where no band has data there is nothing, whatever an alpha band says.
            shown = np.isfinite(values).any(axis=0)
            alpha = np.where(shown, 255 if opacity is None else opacity, 0) * opacity_of(layer.render)
            content = encode_composite(values, limits, np.rint(alpha), media_type)
        else:
            map_name = map_name or item_colormap(layer.render)
            content = encode_mapped(values[0], limits[0], map_name, media_type)
            explained = legend(map_name, limits[0], layer.units)
    return Picture(
        content=content,
        media_type=media_type,
        bbox=frame.bbox,
        crs=frame.crs,
        bounds=(frame.left, frame.bottom, frame.right, frame.top),
        width=frame.width,
        height=frame.height,
        rescale=limits,
        colormap=map_name,
        legend=explained,
        variable=layer.variable,
        units=layer.units,
        method=layer.method_on(frame),
        time=layer.time,
        sel=layer.sel,
        source=layer.source,
        calendar=layer.calendar,
    )


def own_colours(layer: "Layer", colormap: str | Colouring | None) -> Colouring | None:
    """Return the colours that a layer of one band is drawn with; None where they are those of a colour map's name."""
    if len(layer.bands) != 1 or isinstance(colormap, str):
        return None
    return layer.colouring if colormap is None else colormap


def _draw_classes(
    values: "NDArray[Any]", palette: Palette, labels: Mapping[int, str], units: str | None, media_type: str
) -> tuple[bytes, Legend]:
    known = np.isfinite(values) & (values >= 0) & (values < len(palette.colours))
    classes = np.where(known, values, 0).astype(int)
    colours = palette.colours[classes]
    alpha = np.where(known, colours[..., 3], 0)
    present = [int(value) for value in np.unique(classes[known])]
    return encode_colours(colours[..., :3], alpha, media_type), palette.legend(present, labels, units)


def media_type_of(format: str) -> str:
    """Return the media type of a picture format.

    Raises:
        InvalidParameter: It is not one of png, jpeg and webp.
    """
    try:
        return MEDIA_TYPES["jpeg" if format.lower() == "jpg" else format.lower()]
    except NotFound as error:
        raise InvalidParameter(error.detail, hint=error.hint, field="format") from None


def encode_mapped(values: "NDArray[Any]", limits: ValueRange, colormap: str, media_type: str) -> bytes:
    """Encode one band through a colour map; array (height, width), not finite = transparent."""
    table = lookup_table(colormap)[np.linspace(0, 255, _TOP_INDEX + 1).round().astype(int)]
    indices = to_bytes(values, limits, _TOP_INDEX)
    return _encode_indices(indices, np.isfinite(values), table, media_type)


def _encode_indices(
    indices: "NDArray[np.uint8]", valid: "NDArray[np.bool_]", table: "NDArray[np.uint8]", media_type: str
) -> bytes:
    from PIL import Image

    if media_type != "image/png":
        return encode_colours(table[np.minimum(indices, len(table) - 1)], np.where(valid, 255, 0), media_type)
    # A palette PNG is a quarter of the bytes of RGBA and takes a fifth of the time.
    picture = Image.fromarray(np.where(valid, indices, np.uint8(_TRANSPARENT_INDEX)))
    picture.putpalette(np.vstack([table, np.zeros((256 - len(table), 3), np.uint8)]).tobytes())
    return _save(picture, media_type, transparency=_TRANSPARENT_INDEX)


def encode_colours(colours: "NDArray[np.uint8]", alpha: "NDArray[Any]", media_type: str) -> bytes:
    """Encode colours, array (height, width, 3), with `alpha`, array (height, width), 0 transparent to 255."""
    from PIL import Image

    if media_type == "image/jpeg":
        weight = alpha[..., np.newaxis].astype(np.float32) / 255
        on_white = np.rint(colours * weight + 255 * (1 - weight)).astype(np.uint8)
        return _save(Image.fromarray(on_white), media_type)
    # Without anything to see through, the alpha band would only be packed and sent.
    opaque = bool((alpha == 255).all())
    picture = Image.fromarray(colours if opaque else np.dstack([colours, alpha.astype(np.uint8)]))
    options = {"compress_type": _PNG_RUNS} if media_type == "image/png" else {}
    return _save(picture, media_type, **options)


def encode_composite(
    bands: "NDArray[Any]", limits: Sequence[ValueRange], alpha: "NDArray[Any]", media_type: str
) -> bytes:
    """Encode three bands, array (3, height, width), as red, green and blue."""
    colours = np.dstack([to_bytes(band, ends, 255) for band, ends in zip(bands, limits, strict=True)])
    return encode_colours(colours, alpha, media_type)


def _save(picture: "Image", media_type: str, **options: Any) -> bytes:
    if media_type == "image/png":
        options["compress_level"] = _PNG_LEVEL
    else:
        options["quality"] = _LOSSY_QUALITY
    buffer = io.BytesIO()
    picture.save(buffer, media_type.removeprefix("image/").upper(), **options)
    return buffer.getvalue()
