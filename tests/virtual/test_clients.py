"""The item of a cube, opened by the clients that people have."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pystac
import pytest
import xarray as xr

from geoetl.virtual import CubeRequest, CubeVirtualiser
from geoetl.virtual.write import CubeFormat
from tests.virtual.conftest import Slice
from tests.virtual.test_virtualise import CODER, build, mfdataset


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(virtualiser: CubeVirtualiser) -> Iterator[str]:
    """Serve the internal zone over HTTP, as the API does."""
    root = virtualiser.zone.root
    assert root is not None
    root.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def asset_of(virtualiser: CubeVirtualiser, tree: Path, base: str, **more: object) -> pystac.Asset:
    """Return the data asset of the cube's item, with the address that it has for a client."""
    cube = build(virtualiser, tree, **more)
    (item,) = virtualiser.items(CubeRequest(source=str(tree), collection="c"), [cube], None)
    name = "data" if cube.format is CubeFormat.ZARR else "references"
    asset = pystac.Item.from_dict(item).assets[name]
    asset.href = asset.href.replace("internal:/", base)
    return asset


def test_xpystac_opens_kerchunk_references(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, served: str
) -> None:
    paths = [write_slice("1850-01-01", 12), write_slice("1851-01-01", 12)]
    asset = asset_of(virtualiser, tree, served)
    with xr.open_dataset(asset, engine="stac", decode_times=CODER) as cube:
        np.testing.assert_array_equal(cube["tas"].to_numpy(), mfdataset(*paths)["tas"])
        assert float(cube["height"]) == 2.0


def test_xpystac_opens_a_converted_cube(virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice) -> None:
    path = write_slice("1850-01-01", 12)
    asset = asset_of(virtualiser, tree, str(virtualiser.zone.root), format="zarr")
    with xr.open_dataset(asset, engine="stac", decode_times=CODER) as cube:
        np.testing.assert_array_equal(cube["tas"].to_numpy(), mfdataset(path)["tas"])


@pytest.mark.parametrize("format", [CubeFormat.JSON, CubeFormat.PARQUET])
def test_xarray_opens_references_as_the_item_says(
    virtualiser: CubeVirtualiser, tree: Path, write_slice: Slice, format: CubeFormat
) -> None:
    path = write_slice("1850-01-01", 12)
    asset = asset_of(virtualiser, tree, str(virtualiser.zone.root), format=format)
    with xr.open_dataset(asset.href, decode_times=CODER, **asset.extra_fields["xarray:open_kwargs"]) as cube:
        xr.testing.assert_equal(cube["tas"].drop_vars("height"), mfdataset(path)["tas"].drop_vars("height"))
        assert float(cube["height"]) == 2.0
