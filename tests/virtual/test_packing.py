"""Virtual cubes that stand alone: their sources go along, and their references lead to where these will lie."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import xarray as xr

import geoetl
from geoetl.core.errors import ConfigurationError, GeoetlError, VerificationFailed
from geoetl.core.identifiers import file_digest
from geoetl.platform import Platform
from geoetl.store.sources import SourceFile
from geoetl.store.zones import Zones
from geoetl.virtual.icechunk import read_manifest
from geoetl.virtual.packing import CubePacker, PackedCube, source_names
from geoetl.virtual.write import CubeFormat
from tests.publish.outside import CUBES, cube, hidden, months, serving

FORMATS = [CubeFormat.JSON, CubeFormat.PARQUET, CubeFormat.ICECHUNK]
CODER = xr.coders.CFDatetimeCoder(use_cftime=True)


@pytest.fixture
def platform(home: Path) -> Iterator[Platform]:
    """Give a platform whose sources may lie beside its home."""
    made = geoetl.connect(home, allowed_roots=(str(home.parent / "archive"),))
    yield made
    made.database.dispose()


@pytest.fixture
def archive(home: Path) -> Path:
    """Give the folder of the sources, outside of the zones."""
    return home.parent / "archive"


def pack(platform: Platform, item: dict[str, Any], base: str) -> PackedCube:
    packer = CubePacker(platform.gate, platform.zones, platform.settings.home / "scratch")
    return packer.pack(item, f"{CUBES}/{item['id']}/v1", base)


def bring(platform: Platform, item: dict[str, Any], packed: PackedCube, root: Path) -> Path:
    """Copy what was packed to where it belongs; return the folder of the release."""
    folder = root / CUBES / str(item["id"]) / "v1"
    for one in packed.objects:
        source = Path(platform.zones.openable(one.source))
        assert (file_digest(source), source.stat().st_size) == (one.sha256, one.bytes)
        (folder / one.target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / one.target)
    return folder


def opened(address: str, asset: Any, format: CubeFormat) -> xr.Dataset:
    """Open a cube as strangers do: with xarray and fsspec, or icechunk."""
    if format is CubeFormat.ICECHUNK:
        web = address.startswith("http")
        storage = icechunk.http_storage(address) if web else icechunk.local_filesystem_storage(address)
        config = icechunk.Repository.fetch_config(storage)
        assert config is not None
        access = icechunk.Credentials.HttpAccess() if web else icechunk.Credentials.LocalFileSystemAccess()
        leave = icechunk.containers_credentials(dict.fromkeys(config.virtual_chunk_containers or {}, access))
        repository = icechunk.Repository.open(storage, authorize_virtual_chunk_access=leave)
        store = repository.readonly_session("main").store
        return xr.open_dataset(store, engine="zarr", consolidated=False, decode_times=CODER)  # type: ignore[arg-type]
    return xr.open_dataset(address, decode_times=CODER, **asset["xarray:open_kwargs"])


def expected(archive: Path) -> xr.Dataset:
    return xr.open_mfdataset(sorted(archive.glob("*.nc")), engine="netcdf4", decode_times=CODER).load()


@pytest.mark.parametrize("format", FORMATS)
def test_a_cube_is_read_from_a_web_server_when_nothing_of_the_inside_is_there(
    platform: Platform, archive: Path, tmp_path: Path, format: CubeFormat
) -> None:
    item = cube(platform, archive, format)
    wanted = expected(archive)
    root = tmp_path / "web"
    with serving(root) as base:
        packed = pack(platform, item, base)
        bring(platform, item, packed, root)
        asset = packed.assets["references"]
        address = f"{base}/{CUBES}/{item['id']}/v1/{asset['href'].removeprefix('./')}"
        with hidden(platform, archive), opened(address, asset, format) as found:
            for name in ("tas", "time", "lat", "lon", "height"):
                np.testing.assert_array_equal(found[name].to_numpy(), wanted[name].to_numpy(), err_msg=name)
            assert found["tas"].attrs["units"] == "K"


@pytest.mark.parametrize("format", FORMATS)
def test_without_a_public_address_a_cube_is_read_where_the_external_zone_lies(
    platform: Platform, archive: Path, format: CubeFormat
) -> None:
    item = cube(platform, archive, format)
    wanted = expected(archive)
    external = platform.zones.external
    packed = pack(platform, item, external.url)
    assert external.root is not None
    folder = bring(platform, item, packed, external.root)
    asset = packed.assets["references"]
    with hidden(platform, archive), opened(str(folder / asset["href"]), asset, format) as found:
        np.testing.assert_array_equal(found["tas"].to_numpy(), wanted["tas"].to_numpy())


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_that_is_packed_tells_where_things_lie_inside(
    platform: Platform, archive: Path, format: CubeFormat
) -> None:
    item = cube(platform, archive, format)
    packed = pack(platform, item, "https://data.example.org/files")
    for one in packed.objects:
        content = Path(platform.zones.openable(one.source)).read_bytes()
        if one.role != "source":
            assert str(archive.parent).encode() not in content
            assert b"internal:" not in content
    assert str(archive.parent) not in json.dumps(packed.assets)
    assert [one.target for one in packed.objects if one.role == "source"] == [
        f"sources/{path.name}" for path in sorted(archive.glob("*.nc"))
    ]


def test_the_list_of_sources_names_them_beside_the_item(platform: Platform, archive: Path) -> None:
    item = cube(platform, archive)
    packed = pack(platform, item, "https://data.example.org")
    (listed,) = [one for one in packed.objects if one.role == "metadata"]
    assert packed.assets["sources"]["file:checksum"] == f"1220{listed.sha256}"
    files = json.loads(Path(platform.zones.openable(listed.source)).read_bytes())["files"]
    for told, path in zip(files, sorted(archive.glob("*.nc")), strict=True):
        assert told["href"] == f"./sources/{path.name}"
        assert (told["bytes"], told["digest"]) == (path.stat().st_size, f"sha256:{file_digest(path)}")
        assert {"address", "modified_ns", "etag"}.isdisjoint(told)


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_cube_is_packed_into_the_same_objects(platform: Platform, archive: Path, format: CubeFormat) -> None:
    item = cube(platform, archive, format)
    first, second = (pack(platform, item, "https://data.example.org") for _ in range(2))
    assert first == second
    other = pack(platform, item, "https://other.example.org")
    changed = {one.target.partition("/")[0] for one in set(first.objects) ^ set(other.objects)}
    assert changed == {first.assets["references"]["href"].removeprefix("./")}
    # What the first manifest names is still there.
    assert pack(platform, item, "https://data.example.org") == first


def test_a_cube_of_icechunk_is_read_back_with_the_places_of_its_chunks(platform: Platform, archive: Path) -> None:
    item = cube(platform, archive, CubeFormat.ICECHUNK)
    manifest = read_manifest(Path(item["assets"]["references"]["href"]))
    references = manifest.arrays["tas"].references
    assert references is not None
    assert references.files.ravel().tolist() == [0] * 12 + [1] * 12
    assert (references.sizes > 0).all()
    assert (references.offsets > 0).all()


def test_values_of_the_other_byte_order_keep_it_in_icechunk(platform: Platform, archive: Path) -> None:
    path = months(archive / "tas_Amon_Toy_historical_r1i1p1f1_gn_200101-200112.nc", 2001)
    with xr.open_dataset(path, decode_times=False) as data:
        data.load()
    data.to_netcdf(path, engine="h5netcdf", encoding={"tas": {"dtype": ">f4", "chunksizes": (1, 3, 4)}})
    item = cube_of_one(platform, archive, CubeFormat.ICECHUNK)
    packed = pack(platform, item, platform.zones.external.url)
    root = platform.zones.external.root
    assert root is not None
    folder = bring(platform, item, packed, root)
    asset = packed.assets["references"]
    with opened(str(folder / asset["href"]), asset, CubeFormat.ICECHUNK) as found:
        np.testing.assert_array_equal(found["tas"].to_numpy(), data["tas"].to_numpy())


def cube_of_one(platform: Platform, folder: Path, format: CubeFormat) -> dict[str, Any]:
    from geoetl.virtual import CubeRequest

    request = CubeRequest(source=str(folder), collection=CUBES, format=format)
    (files,) = platform.virtual.inventory(request).cubes
    made = platform.virtual.builder(request)(files)
    assert made.refused is None, made.refused
    (item,) = platform.virtual.items(request, list(made.cubes), None)
    return {**item, "assets": {k: {**a, "href": platform.zones.openable(a["href"])} for k, a in item["assets"].items()}}


def test_a_converted_cube_tells_the_names_of_its_sources_and_not_where_they_lie(
    platform: Platform, archive: Path
) -> None:
    months(archive / "tas_Amon_Toy_historical_r1i1p1f1_gn_200101-200112.nc", 2001)
    item = cube_of_one(platform, archive, CubeFormat.ZARR)
    packed = pack(platform, item, "https://data.example.org")
    (listed,) = packed.objects
    assert set(packed.assets) == {"sources"}
    text = Path(platform.zones.openable(listed.source)).read_text()
    assert str(archive) not in text
    assert json.loads(text)["files"][0]["name"] == "tas_Amon_Toy_historical_r1i1p1f1_gn_200101-200112.nc"


def test_an_item_that_is_no_cube_takes_nothing_along(platform: Platform) -> None:
    item = {"id": "a", "collection": "c", "assets": {"data": {"href": "internal://a.tif", "type": "image/tiff"}}}
    assert pack(platform, item, "https://data.example.org") == PackedCube()


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_source_that_changed_since_is_refused(platform: Platform, archive: Path, format: CubeFormat) -> None:
    item = cube(platform, archive, format)
    path = min(archive.glob("*.nc"))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(VerificationFailed, match=path.name) as refused:
        pack(platform, item, "https://data.example.org")
    assert str(archive) not in str(refused.value)


def test_a_source_that_is_gone_is_refused(platform: Platform, archive: Path) -> None:
    item = cube(platform, archive)
    min(archive.glob("*.nc")).unlink()
    with pytest.raises(GeoetlError) as refused:
        pack(platform, item, "https://data.example.org")
    assert refused.value.code in ("not_found", "verification_failed")


@pytest.mark.parametrize("format", FORMATS)
def test_references_that_were_changed_inside_are_refused(platform: Platform, archive: Path, format: CubeFormat) -> None:
    item = cube(platform, archive, format)
    path = Path(item["assets"]["references"]["href"])
    file = path if path.is_file() else next(one for one in sorted(path.rglob("*")) if one.is_file())
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(VerificationFailed, match="not as it was written"):
        pack(platform, item, "https://data.example.org")


def test_a_cube_whose_references_lie_elsewhere_is_refused(platform: Platform, archive: Path) -> None:
    item = cube(platform, archive)
    item["assets"]["references"]["href"] = str(archive / "references.json")
    with pytest.raises(VerificationFailed, match="nothing is published from"):
        pack(platform, item, "https://data.example.org")


def test_an_icechunk_repository_for_an_object_store_asks_for_a_public_address(
    platform: Platform, archive: Path
) -> None:
    item = cube(platform, archive, CubeFormat.ICECHUNK)
    with pytest.raises(ConfigurationError) as refused:
        pack(platform, item, "s3://bucket/external")
    assert refused.value.field == "GEOETL_PUBLISH__BASE_URL"


@pytest.mark.parametrize(
    ("addresses", "names"),
    [
        (["/a/x.nc", "/b/x.nc", "/c/X.NC"], ["x.nc", "x-2.nc", "X-3.NC"]),
        (["/a/x.nc", "/b/x-2.nc", "/c/x.nc"], ["x.nc", "x-2.nc", "x-3.nc"]),
        (["/a/x-2.nc", "/b/x.nc", "/c/x.nc"], ["x-2.nc", "x.nc", "x-3.nc"]),
        (["/a/with space & #.nc", "s3://b/k/../e?.nc"], ["with-space.nc", "e.nc"]),
        (["/a/con.nc", "/a/.hidden", "/a/none"], ["id-con.nc", "hidden", "none"]),
    ],
)
def test_sources_have_names_of_their_own(addresses: list[str], names: list[str]) -> None:
    sources = [SourceFile(address=address, bytes=1, modified_ns=1) for address in addresses]
    assert source_names(sources) == names


def test_names_in_other_letters_stay_apart_and_keep_their_suffix() -> None:
    sources = [SourceFile(address=f"/a/{name}.nc", bytes=1, modified_ns=1) for name in ("温度", "湿度", "é" * 300)]
    names = source_names(sources)
    assert len(set(names)) == 3
    assert all(name.endswith(".nc") and len(name) < 200 and name.isascii() for name in names)


def test_a_source_that_lies_in_the_internal_zone_is_told_by_its_key(platform: Platform, archive: Path) -> None:
    root = platform.zones.internal.root
    assert root is not None
    item = cube(platform, root / "netcdf")
    assert isinstance(platform.zones, Zones)
    packed = pack(platform, item, "https://data.example.org")
    sources = [one.source for one in packed.objects if one.role == "source"]
    assert len(sources) == 2
    assert all(source.startswith("internal://netcdf/") for source in sources)
