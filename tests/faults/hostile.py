"""Files and names that were made to do harm; all of them made here, by code."""

import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import h5py
import numpy as np
import rasterio
import shapely
import xarray as xr
from rasterio.transform import from_origin

PLACED = {"crs": "EPSG:4326", "transform": from_origin(0, 8, 1, 1)}

# -- names -------------------------------------------------------------------------------------------------------------

# Ways to write this machine, its network, or where a cloud hands out credentials.
INSIDE = (
    "127.0.0.1", "127.1", "0", "[::1]", "[::ffff:127.0.0.1]", "0x7f000001", "0x7f.1", "2130706433", "0177.0.0.1",
    "017700000001", "localhost", "LOCALHOST.", "a.localhost", "169.254.169.254", "[fe80::1]", "10.0.0.1", "192.168.1.1",
    "172.16.0.9", "metadata.google.internal", "printer.local", "intranet", "127。0。0。1", "①②⑦.0.0.1",
    "user:pw@127.0.0.1", "example.org@127.0.0.1", "[::]", "0.0.0.0", "224.0.0.1", "100.64.0.1",
)  # fmt: skip


def names(port: int, canary: Path) -> list[str]:
    """Return names that a library would take for an address, for a driver's own syntax, or for a file elsewhere.

    Args:
        port: Of a listener on this machine.
        canary: A file that nobody may read.
    """
    url = f"http://127.0.0.1:{port}/a.tif"
    vrt = vrt_of(str(canary))
    return [
        str(canary), f"file://{canary}", f"file://localhost{canary}", f"file://127.0.0.1:{port}{canary}",
        f"FILE://{canary}", f"../../../../../../../..{canary}", f"/vsicurl/{url}", f"/vsicurl?url={url}",
        f"/vsicurl_streaming/{url}", f"/VSICURL/{url}", f"//vsicurl/{url}", f"/vsizip//vsicurl/{url}",
        f"/vsizip/{{/vsicurl/{url}}}/a.tif", f"/vsitar/{canary}", f"/vsigzip/{canary}", f"/vsisubfile/0_10,{canary}",
        "/vsimem/a.tif", "/vsistdin/", "/vsis3/bucket/key", "/vsigs/bucket/key", "/vsiaz/bucket/key",
        f"/vsicrypt/key=a,file={canary}", f"/vsisparse/{canary}", f"/vsihdfs/127.0.0.1:{port}/a", url,
        f"https://127.0.0.1:{port}/a", f"HTTP://127.0.0.1:{port}/a", f"ftp://127.0.0.1:{port}/a", f"WMS:{url}",
        f"WMTS:{url}", f"WCS:{url}", f"WFS:{url}", f"OAPIF:{url}", f"OGCAPI:{url}", f"CSW:{url}", f"ES:{url}",
        f"PLMOSAIC:{url}", f"STACIT:{url}", f"STACTA:{url}", f"GTI:{canary}", f"GTI:{url}", f'ZARR:"{canary}"',
        f'ZARR:"/vsicurl/{url}"', f"NETCDF:{canary}:a", f'NETCDF:"{url}":a', f'HDF5:"{canary}"://a',
        f"GTIFF_DIR:1:{canary}",
        f"GTIFF_RAW:{canary}", f"DERIVED_SUBDATASET:AMPLITUDE:{canary}", f"vrt://{canary}", f"vrt:///vsicurl/{url}",
        f"GeoJSON:{canary}", f"GPKG:{canary}:a", f"CSV:{canary}", f"zip+file://{canary}!a.tif", f"zip+https://{url[7:]}",
        f"reference::{url}", f"simplecache::{url}", f"filecache::file://{canary}", "s3://bucket/key", "gs://bucket/key",
        "az://bucket/key", "memory://a", "data:,a", f"javascript:fetch('{url}')", f"PG:host=127.0.0.1 port={port}",
        f"MYSQL:a,host=127.0.0.1,port={port}", f"MSSQL:server=127.0.0.1,{port}", vrt, f" {vrt}", f"\n{vrt}",
        json.dumps({"driver": "WMS", "url": url}), "\\\\127.0.0.1\\share\\a.tif", "//127.0.0.1/share/a.tif",
        f"{canary}\0.tif", "~root/a.tif", "", "\n", "a\nb",
    ]  # fmt: skip


def vrt_of(target: str, side: int = 8) -> str:
    """Return a VRT that shows another raster, or raw bytes of any file."""
    return (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:4326</SRS>'
        "<GeoTransform>0, 1, 0, 8, 0, -1</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        f'<SourceFilename relativeToVRT="0">{target}</SourceFilename><ImageOffset>0</ImageOffset>'
        "<PixelOffset>1</PixelOffset><LineOffset>8</LineOffset></VRTRasterBand></VRTDataset>"
    )


def following(folder: Path, target: str) -> Iterator[Path]:
    """Write files that draw on `target`, a path or an address, in every way that GDAL knows; yield each."""
    simple = (
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{target}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    texts = {
        "raw.vrt": vrt_of(target),
        "raw.tif": vrt_of(target),
        "simple.tif": simple,
        "bom.tif": "\ufeff" + simple,
        "spaced.tif": " \n\t" + simple,
        "derived.tif": simple.replace(target, f"DERIVED_SUBDATASET:AMPLITUDE:{target}"),
        "gti.tif": f"<GDALTileIndexDataset><IndexDataset>{target}</IndexDataset></GDALTileIndexDataset>",
        "wms.tif": f"<GDAL_WMS><Service name='TMS'><ServerUrl>{target}</ServerUrl></Service></GDAL_WMS>",
        "wmts.tif": f"<GDAL_WMTS><GetCapabilitiesUrl>{target}</GetCapabilitiesUrl></GDAL_WMTS>",
        "wcs.tif": f"<WCS_GDAL><ServiceURL>{target}</ServiceURL></WCS_GDAL>",
        "ogr.geojson": f"<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>{target}</SrcDataSource>"
        "</OGRVRTLayer></OGRVRTDataSource>",
        "wfs.geojson": f"<OGRWFSDataSource><URL>{target}</URL></OGRWFSDataSource>",
        "pipeline.geojson": json.dumps(
            {"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {target} ! write streamed"}
        ),
        "pipeline.tif": json.dumps(
            {"type": "gdal_streamed_alg", "command_line": f"gdal raster pipeline ! read {target} ! write streamed"}
        ),
        "mosaic.tif": json.dumps({"type": "Feature", "stac_version": "1.0.0", "assets": {"a": {"href": target}}}),
        "osm.geojson": f"<osmChange><a href='{target}'/></osmChange>",
        "tile.mrf": f"<MRF_META><CachedSource><Source>{target}</Source></CachedSource></MRF_META>",
    }
    for name, text in texts.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        yield path
        packed = folder / f"{name}.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(name if name.endswith("json") else f"{name}.geojson", text)
        yield packed
    for number, (suffix, content) in enumerate(
        (
            (".ovr", simple), (".OVR", simple), (".Ovr", simple), (".msk", simple), (".MSK", simple),
            (".ovr", vrt_of(target)), (".msk", vrt_of(target)),
        )
    ):  # fmt: skip
        path = raster(folder / f"beside{number}.tif", side=64)
        path.with_name(path.name + suffix).write_text(content)
        yield path
    named = raster(folder / "named.tif", side=64)
    with rasterio.open(named, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=target)
    yield named
    aside = raster(folder / "aside.tif", side=64)
    aside.with_name("aside.tif.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{target}</MDI></Metadata></PAMDataset>'
    )
    yield aside
    nested = raster(folder / "nested.tif", side=64)
    inner = raster(folder / "nested.tif.ovr", side=32)
    with rasterio.open(inner, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=target)
    yield nested
    for name, sql in (
        ("view", f"CREATE VIEW sight AS SELECT fid, geom, ogr_geocode('{target}') AS a FROM points"),
        ("layer", f"CREATE VIEW sight AS SELECT fid, geom, ogr_datasource_load_layers('{target}') AS a FROM points"),
        ("virtual", f"CREATE VIRTUAL TABLE sight USING VirtualOGR('{target}')"),
    ):
        yield geopackage_with(folder / f"{name}.gpkg", sql)
    linked = folder / "linked.h5"
    with h5py.File(linked, "w") as file:
        file["a"] = h5py.ExternalLink(target, "/a")
    yield linked
    external = folder / "external.h5"
    with h5py.File(external, "w") as file:
        file.create_dataset("a", (64,), "u1", external=[(target, 0, 64)])
    yield external
    virtual = folder / "virtual.h5"
    with h5py.File(virtual, "w") as file:
        layout = h5py.VirtualLayout((8,), "u1")
        layout[:] = h5py.VirtualSource(target, "a", shape=(8,))
        file.create_virtual_dataset("a", layout)
    yield virtual


def geopackage_with(path: Path, sql: str) -> Path:
    """Write a GeoPackage with one more entry in its schema, and that entry named as a layer."""
    import sqlite3

    points().to_file(path, layer="points")
    database = sqlite3.connect(path)
    try:
        database.execute("PRAGMA writable_schema = ON")
        kind = "view" if sql.startswith("CREATE VIEW") else "table"
        root = None if kind == "view" else 0
        database.execute("INSERT INTO sqlite_master VALUES (?, 'sight', 'sight', ?, ?)", (kind, root, sql))
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "
            "VALUES ('sight', 'features', 'b', 4326)"
        )
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('sight', 'geom', 'POINT', 4326, 0, 0)")
        database.commit()
    finally:
        database.close()
    return path


# -- whole files, to be damaged ----------------------------------------------------------------------------------------


def raster(path: Path, side: int = 8, **profile: Any) -> Path:
    """Write a small GeoTIFF."""
    size = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8", **PLACED, **profile}
    with rasterio.open(path, "w", **size) as dataset:
        dataset.write((np.arange(side * side) % 251).astype("uint8").reshape(1, side, side))
    return path


def points(count: int = 40) -> gpd.GeoDataFrame:
    """Return points with a number and a name."""
    places = [shapely.Point(i % 20, i // 20) for i in range(count)]
    return gpd.GeoDataFrame(
        {"n": range(count), "name": [f"place {i}" for i in range(count)]}, geometry=places, crs=4326
    )


def cube() -> xr.Dataset:
    """Return a small cube with coordinates, attributes and texts."""
    values = np.arange(12 * 4 * 5, dtype="float32").reshape(12, 4, 5)
    return xr.Dataset(
        {"tas": (("time", "lat", "lon"), values, {"units": "K", "long_name": "Air temperature"})},
        coords={
            "time": ("time", np.arange(12.0), {"units": "days since 2000-01-01", "calendar": "noleap"}),
            "lat": np.linspace(-60, 60, 4),
            "lon": np.linspace(0, 288, 5),
        },
        attrs={"title": "A cube", "history": "made by a test"},
    )


def whole_files(folder: Path) -> dict[str, Path]:
    """Write one file of each format that is opened, and return them by kind of reader."""
    shapes = folder / "shapes"
    shapes.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        points().to_file(shapes / "p.shp")
    packed = folder / "p.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted(shapes.iterdir()):
            archive.write(part, part.name)
    points().to_file(folder / "p.gpkg")
    points().to_file(folder / "p.fgb")
    points().to_file(folder / "p.geojson")
    points(2000).to_parquet(folder / "p.parquet")
    encoding = {"tas": {"zlib": True, "chunksizes": (4, 2, 5)}}
    cube().to_netcdf(folder / "c.nc", engine="h5netcdf", encoding=encoding)
    cube().to_netcdf(folder / "c3.nc", engine="scipy", format="NETCDF3_64BIT")
    return {
        "GeoTIFF": raster(folder / "r.tif", side=64, compress="deflate", tiled=True, blockxsize=16, blockysize=16),
        "GeoTIFF, plain": raster(folder / "plain.tif", side=64),
        "PNG": raster(folder / "r.png", side=64, driver="PNG"),
        "JPEG 2000": raster(folder / "r.jp2", side=64, driver="JP2OpenJPEG"),
        "HDF5": folder / "c.nc",
        "NetCDF-3": folder / "c3.nc",
        "GeoParquet": folder / "p.parquet",
        "Shapefile": packed,
        "GeoPackage": folder / "p.gpkg",
        "FlatGeobuf": folder / "p.fgb",
        "GeoJSON": folder / "p.geojson",
    }


def flipped(content: bytes, random: np.random.Generator, bits: int = 1) -> bytes:
    """Return the content with some bits turned over."""
    damaged = bytearray(content)
    for place in random.integers(0, len(content) * 8, bits):
        damaged[place // 8] ^= 1 << (place % 8)
    return bytes(damaged)


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Return the content with damage of some kind: bits, extreme numbers, parts that are moved, missing or doubled."""
    damaged = bytearray(content)
    size = len(damaged)
    at = int(random.integers(0, size - 16))
    match int(random.integers(0, 7)):
        case 0:
            return flipped(content, random, int(random.integers(1, 16)))
        case 1:
            extremes = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF)
            value = extremes[int(random.integers(0, len(extremes)))]
            width = int(random.choice([1, 2, 4, 8]))
            damaged[at : at + width] = (value % (1 << (8 * width))).to_bytes(width, "little")
        case 2:
            width = int(random.integers(1, 64))
            damaged[at : at + width] = random.bytes(width)
        case 3:
            other = int(random.integers(0, size - 16))
            width = int(random.integers(1, 256))
            damaged[at : at + width] = content[other : other + width]
        case 4:
            del damaged[at : at + int(random.integers(1, 64))]
        case 5:
            damaged[at:at] = content[at : at + int(random.integers(1, 64))]
        case _:
            width = int(random.integers(1, 512))
            damaged[at : at + width] = bytes(len(damaged[at : at + width]))
    return bytes(damaged)


def crashing(path: Path) -> Path:
    """Write an HDF5 file whose reader crashes: one bit makes its texts a sequence of an unknown kind.

    Found by mutation: h5py 3.16 with HDF5 2.0 ends with a segmentation fault when the values are read.
    Source: HDF5 file format, IV.A.2.d, class 9 (variable-length): type 0 is a sequence, 1 a string, 3 reserved.
    """
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset("texts", data=np.array([b"a", b"bc"], dtype=h5py.string_dtype()))
    content = path.read_bytes()
    at = content.index(bytes([0x19, 0x01, 0x01, 0x00]))
    path.write_bytes(content[: at + 1] + b"\x03" + content[at + 2 :])
    return path


# -- bombs -------------------------------------------------------------------------------------------------------------


def tiff(path: Path, *, width: int, height: int, bands: int = 1, tile: int = 0) -> Path:
    """Write a TIFF of some hundred bytes that declares any size; it holds one strip or tile of nothing.

    Source: TIFF 6.0, sections 2, 8 and 15.
    """
    strip = zlib.compress(bytes(1000))
    entries = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: bands, 284: 1, 339: 1}
    entries |= {322: tile, 323: tile, 324: 8, 325: len(strip)} if tile else {273: 8, 278: height, 279: len(strip)}
    directory = struct.pack("<H", len(entries))
    for tag, value in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, 4 if value > 65_535 else 3, 1, value)
    content = struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + directory + struct.pack("<I", 0)
    path.write_bytes(content)
    return path


def sparse_tiff(path: Path, side: int = 566_000) -> Path:
    """Write a BigTIFF that declares 320 GB and holds nothing."""
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8", tiled=True, sparse_ok=True,
        bigtiff="yes", compress="deflate", blockxsize=4096, blockysize=4096, **PLACED,
    ):  # fmt: skip
        pass
    return path


def png(path: Path, width: int, height: int) -> Path:
    """Write a PNG of some kilobytes whose pixels, all of them, unpack to `width` x `height` zeros."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    rows = b"".join([packer.compress(bytes(width + 1)) for _ in range(min(height, 4000))]) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


# -- archives ----------------------------------------------------------------------------------------------------------

GEOJSON = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {"n": 1}, "geometry": {"type": "Point", "coordinates": [1, 2]}}],
    }
).encode()


def archive(path: Path, members: dict[str, bytes], **info: Any) -> Path:
    """Write a zip; `info` are attributes of its first member besides."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (name, content) in enumerate(members.items()):
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            if number == 0:
                for attribute, value in info.items():
                    setattr(member, attribute, value)
            packed.writestr(member, content)
    return path


def doubled(path: Path, first: str, second: str) -> Path:
    """Write a zip with two members, whose names may be the same."""
    with zipfile.ZipFile(path, "w") as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed.writestr(first, GEOJSON)
        packed.writestr(second, GEOJSON)
    return path


def forged(path: Path, said: int, holds: int) -> Path:
    """Write a zip whose member says another size, everywhere, than what it unpacks to."""
    archive(path, {"a.geojson": b" " * holds})
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", holds), struct.pack("<I", said)))
    return path


def crowded(path: Path, count: int) -> Path:
    """Write a zip directory of `count` members that all share one header (46 bytes each)."""
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    out = io.BytesIO()
    out.write(local)
    out.write(entry * count)
    length = len(entry) * count
    out.write(struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, len(local)))
    out.write(struct.pack("<4sIQI", b"PK\6\7", 0, len(local) + length, 1))
    out.write(struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    path.write_bytes(out.getvalue())
    return path


def overlapping(path: Path, count: int = 50) -> Path:
    """Write a zip whose members all share the bytes of one (after D. Fifield, "A better zip bomb", 2019)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    plain = bytes(1_000_000)
    body = packer.compress(plain) + packer.flush()
    check, out, entries = zlib.crc32(plain), io.BytesIO(), []
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, check, len(body), len(plain), 9, 0) + b"0.geojson"
    out.write(local + body)
    for number in range(count):
        name = f"{number}.geojson".encode()
        entries.append(
            struct.pack(
                "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, 0, check, len(body), len(plain), len(name), 0, 0, 0,
                0, 0, 0,
            ) + name
        )  # fmt: skip
    start = out.tell()
    out.write(b"".join(entries))
    length = out.tell() - start
    out.write(struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, length, start, 0))
    path.write_bytes(out.getvalue())
    return path


# -- references and documents ------------------------------------------------------------------------------------------


def references(path: Path, chunks: dict[str, Any], *, array: dict[str, Any] | None = None, **document: Any) -> Path:
    """Write kerchunk references of one array ``x`` with the given chunks."""
    described = {
        "shape": [8], "chunks": [8], "dtype": "<u1", "compressor": None, "filters": None, "fill_value": None,
        "order": "C", "zarr_format": 2, **(array or {}),
    }  # fmt: skip
    refs = {
        ".zgroup": '{"zarr_format": 2}',
        "x/.zarray": json.dumps(described),
        "x/.zattrs": '{"_ARRAY_DIMENSIONS": ["i"]}',
        **chunks,
    }
    path.write_text(json.dumps({"version": 1, "refs": refs, **document}))
    return path


def entities(target: str) -> dict[str, str]:
    """Return XML documents that read `target` when they are parsed, or that grow without end."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    kinds = {
        "doc.kml": "<kml xmlns='http://www.opengis.net/kml/2.2'><Placemark><name>{}</name></Placemark></kml>",
        "track.gpx": "<gpx version='1.1' creator='a'><wpt lat='1' lon='2'><name>{}</name></wpt></gpx>",
        "drawing.svg": "<svg xmlns='http://www.w3.org/2000/svg'><text>{}</text></svg>",
        "features.gml": "<gml:FeatureCollection xmlns:gml='http://www.opengis.net/gml'>{}</gml:FeatureCollection>",
        "style.sld": "<StyledLayerDescriptor version='1.0.0'>{}</StyledLayerDescriptor>",
    }
    found = {}
    for name, body in kinds.items():
        found[f"reads {name}"] = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "{target}">]>' + body.format(
            "&x;"
        )
        found[f"asks {name}"] = (
            f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY % p SYSTEM "{target}"> %p;]>' + body.format("a")
        )
        found[f"laughs {name}"] = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l0 "ha">{laughs}]>' + body.format("&l9;")
    return found
