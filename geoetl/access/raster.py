"""Rasters by the ids of their items: the value at a point, and a picture for the map."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from geoetl.access.bands import (
    BandInfo,
    band_info,
    chosen_bands,
    class_labels,
    default_bands,
    is_continuous,
    refuse_complex,
)
from geoetl.access.colormap import Legend, Palette, colormap_name, item_colormap, legend
from geoetl.access.frame import GEOGRAPHIC, WEB_MERCATOR, check_crs, check_size, map_frame, outside, projected_frame
from geoetl.access.items import AssetKind, FoundAsset, Items, Lookup
from geoetl.access.picture import Picture, encode_colours, encode_composite, encode_mapped, media_type_of
from geoetl.access.pool import HandlePool
from geoetl.access.rescale import Rescale, chosen_ranges, item_ranges
from geoetl.access.result import PointField, Result, Source, ValueRange, finite_or_none, place_text
from geoetl.access.warp import RasterHandle, warped
from geoetl.core.errors import InvalidParameter, UnreadableFile
from geoetl.core.html import facts, heading
from geoetl.core.spatial import Point

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from geoetl.store.gate import Gate
    from geoetl.store.zones import Zones

# Idle open rasters; each holds one file descriptor and GDAL's header structures.
MAX_IDLE_RASTERS = 32


class PointValues(Result):
    """The values of a raster at a place.

    Attributes:
        location: The place that was asked for.
        cell: Centre of the pixel that was read.
        bands: The bands, alpha bands left out.
        values: One value per band, scale and offset applied; None where there is no data.
        method: How the values were taken.
        source: Where they came from.
    """

    location: PointField
    cell: PointField
    bands: tuple[BandInfo, ...]
    values: tuple[float | None, ...]
    method: str
    source: Source

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row per band: band, value, units, lon, lat."""
        import pandas as pd

        return pd.DataFrame(
            {
                "band": [band.name for band in self.bands],
                "value": pd.array(self.values, dtype="Float64"),
                "units": [band.units for band in self.bands],
                "lon": self.location.lon,
                "lat": self.location.lat,
            }
        )

    def _repr_html_(self) -> str:
        readings = [
            (band.name, "no data" if value is None else f"{value:.6g} {band.units or ''}".strip())
            for band, value in zip(self.bands, self.values, strict=True)
        ]
        return heading(str(self.source), place_text(self.location)) + facts([*readings, ("method", self.method)])


class RasterAccess:
    """Answers questions about rasters in the catalogue.

    Args:
        catalog: Where items are looked up.
        gate: Opens the files.
        zones: The object zones.
    """

    def __init__(self, catalog: Lookup, gate: "Gate", zones: "Zones | None" = None) -> None:
        self._gate = gate
        self._items = Items(catalog, gate, zones)
        self._pool: HandlePool[RasterHandle] = HandlePool(MAX_IDLE_RASTERS)

    def point(self, collection: str, item: str, location: Point, *, asset: str | None = None) -> PointValues:
        """Return the values of the pixel that holds `location`.

        Raises:
            NotFound: There is no such item or asset, or the point lies outside the raster.
            MissingCRS: The raster does not say where it lies.
        """
        found = self._items.find(collection, item, asset, (AssetKind.GEOTIFF,))
        with self._pool.borrow(found.key, lambda: RasterHandle(self._gate, found.path)) as handle:
            pixel = handle.grid.pixel(location)
            if pixel is None:
                raise outside(location, handle.grid.extent.bbox, str(found.source))
            refuse_complex(handle.dataset, handle.bands)
            window = ((pixel.row, pixel.row + 1), (pixel.column, pixel.column + 1))
            indexes = list(handle.bands)
            with _readable(found):
                raw = handle.dataset.read(indexes, window=window).ravel()
                valid = handle.dataset.read_masks(indexes, window=window).ravel() if handle.has_masks else None
            values = [
                _physical(handle.dataset, band, number) if valid is None or valid[i] else None
                for i, (band, number) in enumerate(zip(indexes, raw, strict=True))
            ]
            return PointValues(
                location=location,
                cell=handle.grid.centre(pixel),
                bands=tuple(band_info(handle.dataset, found.asset, band) for band in indexes),
                values=tuple(values),
                method="nearest pixel",
                source=found.source,
            )

    def preview(
        self,
        collection: str,
        item: str,
        *,
        asset: str | None = None,
        bands: Sequence[int | str] | None = None,
        max_size: int = 512,
        rescale: Rescale = None,
        colormap: str | None = None,
        crs: str = WEB_MERCATOR,
        format: str = "png",
    ) -> Picture:
        """Return a picture of the whole raster, ready to be laid on a map.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            asset: Key of the asset; the item's data asset where it is left out.
            bands: One band (drawn through a colour map) or three (red, green, blue), by number from 1 or by name;
                left out, the colours of the file, its colour table, or its first band.
            max_size: Pixels of the longer side.
            rescale: Values at the ends of the colours, ``[low, high]`` for all bands or one such pair per band;
                ``"auto"`` takes the 2nd to 98th percentile of the picture; left out, the item's own, else ``"auto"``.
                They are values with scale and offset applied.
            colormap: Name of a colour map for one band, ``_r`` reversed; left out, the item's own, else viridis.
            crs: Projection of the picture, as an authority code.
            format: png, jpeg or webp.

        Raises:
            NotFound: There is no such item or asset.
            InvalidParameter: A band, colour map, range, projection or format is not right.
            LimitExceeded: The picture would have more pixels than the limit; nothing was read.
            MissingCRS: The raster does not say where it lies.
        """
        media_type = media_type_of(format)
        check_size(max_size, self._gate.limits.picture_pixels)
        wanted_crs = check_crs(crs)
        wanted_colormap = None if colormap is None else colormap_name(colormap)
        found = self._items.find(collection, item, asset, (AssetKind.GEOTIFF,))
        with self._pool.borrow(found.key, lambda: RasterHandle(self._gate, found.path)) as handle:
            defaults = default_bands(handle.rgb, handle.bands, found.render)
            chosen = defaults if bands is None else chosen_bands(handle.dataset, found.asset, handle.bands, bands)
            refuse_complex(handle.dataset, chosen)
            palette = (
                Palette.from_mapping(handle.dataset.colormap(chosen[0]))
                if len(chosen) == 1 and chosen[0] in handle.palettes and wanted_colormap is None
                else None
            )
            if len(chosen) == 3 and wanted_colormap is not None:
                raise InvalidParameter(
                    "A colour map draws one band, and three are shown.", hint="Give bands=[1].", field="colormap"
                )
            grid = handle.grid
            frame = (
                map_frame(grid.extent, wanted_crs, max_size)
                if wanted_crs in (WEB_MERCATOR, GEOGRAPHIC)
                else projected_frame(grid, wanted_crs, max_size)
            )
            averaged = palette is None and is_continuous(handle.dataset, found.asset, chosen)
            with _readable(found):
                layers = warped(handle, chosen, frame, averaged)
                alpha = np.where(np.isfinite(layers).any(axis=0), 255, 0)
                if handle.alpha is not None and len(chosen) == 3:
                    alpha = np.nan_to_num(warped(handle, (handle.alpha,), frame, averaged)[0])
            infos = [band_info(handle.dataset, found.asset, band) for band in chosen]
        units = infos[0].units if len({info.units for info in infos}) == 1 else None
        limits: tuple[ValueRange, ...] = ()
        map_name: str | None = None
        explained: Legend | None = None
        if palette is not None:
            content, explained = _draw_classes(
                layers[0], palette, class_labels(found.asset, chosen[0]), units, media_type
            )
        else:
            own = _own_ranges(defaults, found.render)
            limits = chosen_ranges(rescale, list(layers), [own.get(band) for band in chosen])
            if len(chosen) == 3:
                content = encode_composite(layers, limits, alpha, media_type)
            else:
                map_name = wanted_colormap or item_colormap(found.render)
                content = encode_mapped(layers[0], limits[0], map_name, media_type)
                explained = legend(map_name, limits[0], units)
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
            variable=", ".join(info.name for info in infos),
            units=units,
            method="nearest of averaged pixels" if averaged else "nearest pixel",
            time=None,
            sel={},
            source=found.source,
        )


@contextmanager
def _readable(found: FoundAsset) -> Iterator[None]:
    from rasterio.errors import RasterioIOError

    try:
        yield
    except RasterioIOError:
        raise UnreadableFile(
            f"The pixels of {found.source} (asset '{found.name}') cannot be read: the file is damaged.",
            hint="Ingest it again from its source.",
        ) from None


def _physical(dataset: "DatasetReader", band: int, number: Any) -> float | None:
    """Return a stored number with the band's scale and offset applied."""
    scale, offset = dataset.scales[band - 1], dataset.offsets[band - 1]
    return finite_or_none(number if scale == 1 and offset == 0 else float(number) * scale + offset)


def _own_ranges(defaults: Sequence[int], render: Mapping[str, Any]) -> dict[int, ValueRange]:
    """Return the ranges that the item names, by the bands that it shows."""
    ranges = item_ranges(render)
    if len(ranges) == 1:
        ranges *= len(defaults)
    return dict(zip(defaults, ranges, strict=True)) if len(ranges) == len(defaults) else {}


def _draw_classes(
    values: "NDArray[np.float32]", palette: Palette, labels: Mapping[int, str], units: str | None, media_type: str
) -> tuple[bytes, Legend]:
    known = np.isfinite(values) & (values >= 0) & (values < len(palette.colours))
    classes = np.where(known, values, 0).astype(int)
    colours = palette.colours[classes]
    alpha = np.where(known, colours[..., 3], 0)
    present = [int(value) for value in np.unique(classes[known])]
    return encode_colours(colours[..., :3], alpha, media_type), palette.legend(present, labels, units)
