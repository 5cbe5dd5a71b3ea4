"""The way out to code: what the page shows, as a program that gives the same."""

import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from dashboards.explore.layer import AUTO_RANGE, Layer
from dashboards.explore.listing import Kind
from geoetl.core.spatial import Point

# What fits into the panel without scrolling sideways.
LINE = 60


def snippets(layer: Layer, points: Sequence[Point], server: str) -> Mapping[str, str]:
    """Return programs by name (geoetl, xarray or geopandas, pystac, curl) that open what the layer shows.

    Args:
        layer: The open item with its choice.
        points: The places that are read.
        server: Address of this server, without a slash at its end.
    """
    reader = {Kind.VECTOR: "geopandas"}.get(layer.kind, "xarray")
    return {
        "geoetl": _geoetl(layer, points),
        reader: _reader(layer, points),
        "pystac": _pystac(layer),
        "curl": _curl(layer, points, server),
    }


def _ids(layer: Layer) -> list[str]:
    return [f"collection = {layer.collection!r}", f"item = {layer.id!r}"]


def _call(result: str, function: str, *arguments: str, then: str = "") -> list[str]:
    """Return a call on one line where it fits, else with one argument on each."""
    inside = ", ".join(("collection, item", *arguments))
    line = f"{result} = {function}({inside}){then}"
    if len(line) <= LINE:
        return [line]
    return [f"{result} = {function}(", "    collection,", "    item,", *(f"    {a}," for a in arguments), f"){then}"]


def _geoetl(layer: Layer, points: Sequence[Point]) -> str:
    choice = layer.choice
    lines = ["import geoetl", *(["from geoetl.core.spatial import Point"] if points else []), ""]
    lines += ["platform = geoetl.connect()", *_ids(layer), *_call("data", "platform.open")]
    place = [_point(point) for point in points[:1]]
    shown = {"colormap": choice.colormap_name, "rescale": "auto" if choice.stretch == AUTO_RANGE else None}
    if layer.kind is Kind.RASTER:
        bands = [choice.variable] if choice.variable else None
        lines += _call("picture", "platform.raster.preview", *_options(bands=bands, **shown))
        if place:
            lines += _call("values", "platform.raster.point", *place, then=".to_dataframe()")
    elif layer.kind is Kind.CUBE:
        what = {"variable": layer.variable, "sel": dict(choice.selection) or None}
        step = choice.time_index if layer.times else None
        lines += _call("picture", "platform.cube.preview", *_options(**what, time_index=step, **shown))
        if place:
            lines += _call("series", "platform.cube.series", *place, *_options(**what), then=".to_dataframe()")
    elif layer.kind is Kind.VECTOR and place:
        lines += _call("here", "platform.features.at", *place, "tolerance_deg=0.01")
    return "\n".join(lines)


def _reader(layer: Layer, points: Sequence[Point]) -> str:
    item = ["", *_ids(layer), "stac_item = geoetl.connect().catalog.item(collection, item)"]
    if layer.kind is Kind.RASTER:
        lines = ["import geoetl", "import rioxarray"]
        lines += ["from pyproj import Transformer"] if points else []
        lines += [*item, 'data = rioxarray.open_rasterio(stac_item["assets"]["data"]["href"])']
        if layer.choice.variable in layer.bands:
            lines.append(f"data = data.sel(band={layer.bands.index(layer.choice.variable) + 1})")
        for point in points[:1]:
            lines += [
                "# the place in the raster's own projection",
                'to_raster = Transformer.from_crs("OGC:CRS84", data.rio.crs, always_xy=True)',
                f"x, y = to_raster.transform({point.lon:.6g}, {point.lat:.6g})",
                'values = data.sel(x=x, y=y, method="nearest").values',
            ]
        return "\n".join(lines)
    if layer.kind is Kind.CUBE:
        key = layer.contents.source.asset if layer.contents else "references"
        return "\n".join(
            [
                "import geoetl",
                "import xarray as xr",
                *item,
                f'asset = stac_item["assets"][{key!r}]',
                "cube = xr.open_dataset(",
                '    asset["href"], **asset.get("xarray:open_kwargs", {})',
                ")",
                *_step(layer),
            ]
        )
    lines = ["import geoetl", *(["import geopandas as gpd"] if layer.kind is Kind.VECTOR else [])]
    lines += [*(["import shapely"] if points and layer.kind is Kind.VECTOR else []), *item]
    if layer.kind is Kind.VECTOR:
        lines.append('features = gpd.read_parquet(stac_item["assets"]["data"]["href"])')
        lines += [f"here = features[features.intersects(shapely.{_point(point)})]" for point in points[:1]]
    return "\n".join(lines)


def _step(layer: Layer) -> list[str]:
    """Return the lines that take the shown variable, step and levels out of the cube."""
    if not layer.variable:
        return []
    lines = [f"step = cube[{layer.variable!r}]"]
    if layer.times:
        lines.append(f"step = step.isel({_time_dimension(layer)}={layer.choice.time_index - 1})")
    for name, value in layer.choice.selection.items():
        nearest = "" if isinstance(value, str) else ', method="nearest"'
        lines.append(f"step = step.sel({name}={value!r}{nearest})")
    return lines


def _time_dimension(layer: Layer) -> str:
    dimensions: Mapping[str, Mapping[str, object]] = layer.item["properties"].get("cube:dimensions", {})
    return next((name for name, about in dimensions.items() if about.get("type") == "temporal"), "time")


def _pystac(layer: Layer) -> str:
    return "\n".join(
        [
            "import geoetl",
            "import pystac",
            "",
            "catalog = geoetl.connect().catalog",
            *_ids(layer),
            "stac_item = pystac.Item.from_dict(catalog.item(collection, item))",
            "hrefs = {key: asset.href for key, asset in stac_item.assets.items()}",
        ]
    )


def _curl(layer: Layer, points: Sequence[Point], server: str) -> str:
    where = f"{quote(layer.collection)}/{quote(layer.id)}"
    choice = layer.choice
    lines = []
    if layer.kind in (Kind.RASTER, Kind.CUBE):
        asked: list[tuple[str, str]] = []
        if layer.kind is Kind.CUBE:
            asked += [("variable", layer.variable or ""), ("time_index", str(choice.time_index))]
            asked += [("sel", f"{name}={value}") for name, value in choice.selection.items()]
        elif choice.variable in layer.bands:
            asked.append(("time_index", str(layer.bands.index(choice.variable) + 1)))
        drawn = [*asked, ("colormap", choice.colormap_name or "")]
        lines += ["# the picture", _get(f"{server}/api/raster/preview/{where}", drawn, f"{layer.id}.png"), ""]
        for point in points[:1]:
            place = ("location", f"{point.lon:.6g},{point.lat:.6g}")
            lines += ["# the value at the place", _get(f"{server}/api/raster/point/{where}", [place, *asked]), ""]
    lines.append("# the files")
    lines += [
        f"curl -sSOJ {shlex.quote(f'{server}/assets/{where}/{quote(name)}')}"
        for name, asset in layer.item["assets"].items()
        if "thumbnail" not in asset.get("roles", ())
    ]
    return "\n".join(lines)


def _get(address: str, pairs: Sequence[tuple[str, str]], file: str | None = None) -> str:
    target = f" -o {shlex.quote(file)}" if file else ""
    query = "".join(f" \\\n  --data-urlencode {shlex.quote(f'{name}={value}')}" for name, value in pairs if value)
    return f"curl -sSG{target} {shlex.quote(address)}{query}"


def _point(point: Point) -> str:
    return f"Point({point.lon:.6g}, {point.lat:.6g})"


def _options(**values: object) -> list[str]:
    return [f"{name}={value!r}" for name, value in values.items() if value is not None]
