"""Our data in intake: drivers for its YAML catalogues, and intake-stac over our catalogue.

The drivers are registered under the entry-point group ``intake.drivers`` and used in ``catalogs/*.yaml``.  intake-stac
0.4 (unmaintained since 2022) needs two things to open our items: ``pkg_resources``, which setuptools 82 dropped, and a
driver for each media type that it does not know.  Both are given here, and only here.
"""

import importlib.metadata
import importlib.util
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intake.source.base import DataSource, Schema

from geoetl.core.errors import InvalidParameter

if TYPE_CHECKING:
    from intake_stac import StacCatalog

    from geoetl.platform import Platform


class _Opened(DataSource):  # type: ignore[misc]
    """What our drivers share: the data are opened by the platform, lazily where their kind allows it."""

    version = "1"
    partition_access = False
    container = "xarray"

    def _open(self) -> Any:
        raise NotImplementedError

    def _get_schema(self) -> Schema:
        return Schema(datashape=None, dtype=None, shape=None, npartitions=1, extra_metadata={})

    def read(self) -> Any:
        """Return the data."""
        return self._open()

    def to_dask(self) -> Any:
        """Return the data in dask chunks, where they are arrays."""
        opened = self._open()
        return opened.chunk() if hasattr(opened, "chunk") else opened


class ItemSource(_Opened):
    """An item of our catalogue: ``args: {collection: demo-rasters, item: landsat_rgb}``."""

    name = "geoetl_item"

    def __init__(
        self, collection: str, item: str, asset: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(metadata=metadata)
        self._collection, self._item, self._asset = collection, item, asset

    def _open(self) -> Any:
        import geoetl

        return geoetl.connect().open(self._collection, self._item, self._asset)


class SampleSource(_Opened):
    """A sample that ships inside an installed package: ``args: {sample: air_temperature_small.nc}``."""

    name = "geoetl_sample"

    def __init__(self, sample: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(metadata=metadata)
        self._sample = sample

    def _open(self) -> Any:
        import geoetl

        return _open_path(geoetl.connect(), f"samples:{self._sample}")


class FileSource(_Opened):
    """A local raster, NetCDF or vector file by path, as an asset of a static STAC item names it."""

    name = "geoetl_file"

    def __init__(
        self, urlpath: str, storage_options: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        # intake hands storage_options to every driver with a urlpath.
        super().__init__(storage_options=storage_options, metadata=metadata)
        self._path = urlpath

    def _open(self) -> Any:
        import geoetl

        return _open_path(geoetl.connect(), self._path)


class ReferencesSource(_Opened):
    """Kerchunk references, with the keywords that a STAC asset gives in ``xarray:open_kwargs``."""

    name = "geoetl_references"

    def __init__(
        self,
        urlpath: str,
        engine: str = "kerchunk",
        chunks: dict[str, int] | None = None,
        storage_options: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(storage_options=storage_options, metadata=metadata)
        if engine != "kerchunk":
            raise InvalidParameter(f"References are opened with the engine kerchunk, not {engine}.", field="engine")
        self._path, self._chunks = urlpath, chunks

    def _open(self) -> Any:
        import geoetl

        gate = geoetl.connect().gate
        return gate.open_references(gate.resolve(self._path), chunks=self._chunks)


def _open_path(platform: "Platform", source: str) -> Any:
    import rioxarray

    from geoetl.store.gate import RASTER_DRIVERS, Format, file_format

    path = platform.gate.resolve(source)
    found = file_format(path)
    if found in (Format.HDF5, Format.NETCDF3):
        return platform.gate.open_netcdf(path)
    if found in RASTER_DRIVERS:
        with platform.gate.open_raster(path) as dataset:
            return rioxarray.open_rasterio(dataset).load()  # type: ignore[union-attr]
    return platform.gate.read_vector(path).frame


# The media types of our assets that intake-stac does not know, or opens as plain text.
_DRIVERS = {
    "application/json": ReferencesSource.name,
    "application/vnd.apache.parquet": FileSource.name,
}


def open_stac_catalog(path: Path) -> "StacCatalog":
    """Open a static STAC catalogue (see ``geoetl catalog export``) with intake-stac.

    Args:
        path: Its ``catalog.json``.
    """
    _provide_pkg_resources()
    import intake_stac
    from intake_stac import catalog

    catalog.drivers.update(_DRIVERS)
    return intake_stac.StacCatalog.from_url(str(path))


def _provide_pkg_resources() -> None:
    """Give intake-stac the two names that it imports from ``pkg_resources``, where that is gone."""
    if "pkg_resources" in sys.modules or importlib.util.find_spec("pkg_resources"):
        return
    module = types.ModuleType("pkg_resources")
    module.DistributionNotFound = importlib.metadata.PackageNotFoundError  # type: ignore[attr-defined]
    module.get_distribution = lambda name: types.SimpleNamespace(  # type: ignore[attr-defined]
        version=importlib.metadata.version(name)
    )
    sys.modules["pkg_resources"] = module
