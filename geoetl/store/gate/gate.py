"""The front of the gate: one object that opens what lies in the allowed roots and is of an allowed format."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.settings import LimitSettings
from geoetl.store.gate import archive, cubes, hrefs, netcdf, parquet, raster, references, table, vector
from geoetl.store.gate.formats import Format, file_format
from geoetl.store.gate.places import Places
from geoetl.store.gate.prober import Kind, Prober
from geoetl.store.gate.vector import VectorQuestion, VectorRead, VectorSource
from geoetl.store.remote import RemoteReader, RemoteRoot, SourcePath, Stamp

if TYPE_CHECKING:
    import geopandas as gpd
    import h5py
    import pyarrow.parquet as pq
    import xarray as xr
    from rasterio.io import DatasetReader

    from geoetl.store.gate.tile_archive import TileArchive


@dataclass(frozen=True)
class Gate:
    """Opens what lies in the allowed roots and is of an allowed format.

    Args:
        roots: Folders that sources may lie in.
        limits: What is refused before it is read.
        remote: Places in object stores whose files virtual cubes may be made of.
        private: What may not be read although it lies in the roots: files, and folders of which this holds for their
            own files but not for those of their subfolders.
        prober: Opens files of unknown origin first; None for a process that may end with them.
        trusted: Folders whose files geoetl wrote itself; they are opened at once.
    """

    roots: tuple[Path, ...]
    limits: LimitSettings
    remote: tuple[RemoteRoot, ...] = ()
    private: tuple[Path, ...] = ()
    prober: Prober | None = field(default=None, repr=False)
    trusted: tuple[Path, ...] = ()

    @cached_property
    def places(self) -> Places:
        """Where files may lie."""
        return Places(self.roots, self.remote, self.private)

    def guarded(self, trusted: Iterable[Path] = ()) -> "Gate":
        """Return a gate that has each file opened in a child process first, for a server that has to live.

        Args:
            trusted: Folders whose files geoetl wrote itself.
        """
        return replace(self, prober=Prober(), trusted=tuple(folder.resolve() for folder in trusted))

    def _prove(self, path: SourcePath | RemoteReader, kind: Kind) -> None:
        if self.prober is None or not isinstance(path, Path):
            return
        if not any(path.is_relative_to(folder) for folder in self.trusted):
            self.prober.check(path, kind, self.roots, self.limits)

    def _prove_vector(self, path: Path, opened: Path) -> None:
        if self.prober is None or any(path.is_relative_to(folder) for folder in self.trusted):
            return
        kind: Kind = "geoparquet" if file_format(path) is Format.PARQUET else "vector"
        # What was unpacked from an archive lies outside of the roots, and so does what was made anew or named plainly.
        self.prober.check(opened, kind, (*self.roots, path.parent, opened.parent), self.limits)

    def check_href(self, href: str, *, field: str = "href") -> None:
        """Check the address of an asset or link before it gets into the catalogue; nothing is asked or opened.

        Raises:
            OutsideAllowedRoots: It leads to a file outside of the allowed roots, to a host of this machine or its
                network, or is a name that a library would interpret.
        """
        hrefs.check_href(href, self.places, field)

    def check_item(self, item: Mapping[str, Any]) -> None:
        """Check every address of a STAC item or collection, and the targets of references on this machine.

        Raises:
            OutsideAllowedRoots: See `check_href`; ``field`` names the place in the document.
            UnreadableFile, FormatNotAllowed, NotFound, LimitExceeded: The references are not right.
        """
        hrefs.check_item(item, self.places, self.limits)

    def check_references(self, path: Path) -> None:
        """Check where kerchunk references lead: each target is allowed, and each piece lies within its file.

        Raises:
            OutsideAllowedRoots, NotFound, UnreadableFile, FormatNotAllowed, LimitExceeded: See `open_references`.
        """
        references.check_references(path, self.places, self.limits)

    def resolve(self, source: str, *, field: str = "source") -> Path:
        """Return the local path of a source: ``samples:NAME``, ``file://…`` or a path inside the allowed roots.

        Raises:
            OutsideAllowedRoots: It is another kind of address or leads elsewhere (symbolic links are followed first).
            NotFound: There is no such file or folder.
        """
        return self.places.resolve(source, field=field)

    def locate(self, source: str, *, field: str = "source") -> SourcePath:
        """Return where a source of virtual cubes lies: as `resolve`, or what is at a URL below a remote root.

        Raises:
            OutsideAllowedRoots: It lies below no root.
            NotFound: There is nothing.
            ConfigurationError, Unavailable: Its object store cannot be asked.
        """
        return self.places.locate(source, field=field)

    def locate_all(self, sources: Sequence[str], *, field: str = "source") -> list[SourcePath]:
        """Return where several sources lie; object stores are asked side by side.

        Raises:
            OutsideAllowedRoots, NotFound, ConfigurationError, Unavailable: See `locate`.
        """
        return self.places.locate_all(sources, field=field)

    def stamps(self, addresses: Sequence[str]) -> list[Stamp | None]:
        """Return what files at these addresses are like now; None for one that is gone.

        Raises:
            OutsideAllowedRoots: A URL lies below no root.
            ConfigurationError, Unavailable: An object store cannot be asked.
        """
        return self.places.stamps(addresses)

    def allows(self, path: Path) -> bool:
        """Tell whether a resolved path lies in an allowed root."""
        return self.places.allows(path)

    def open_raster(self, path: Path, *, with_overviews: bool = True) -> "AbstractContextManager[DatasetReader]":
        """Open a raster by the driver of its own format.

        Args:
            path: As `resolve` returned it.
            with_overviews: Whether reduced reads may use the file's overviews. A file of unknown origin may hold ones
                that do not match its pixels, or name another file for them.

        Raises:
            UnreadableFile: Empty, truncated, or not a raster.
            OutsideAllowedRoots: The file draws on another one that lies elsewhere.
            FormatNotAllowed: A format that is not opened (VRT, XML, archives…).
            LimitExceeded: More pixels than ``limits.raster_pixels``, by the header.
        """
        self._prove(path, "raster")
        return raster.open_raster(path, self.places, self.limits, with_overviews=with_overviews)

    def open_vector(
        self,
        path: Path,
        question: VectorQuestion = VectorQuestion(),  # noqa: B008  frozen
    ) -> "AbstractContextManager[VectorSource]":
        """Open one layer to read its features in batches: GeoJSON (also newline-delimited), GeoPackage, FlatGeobuf,
        Shapefile, KML and CSV, all of them also zipped, and GeoParquet.

        Args:
            path: As `resolve` returned it.
            question: What the file leaves open: layer, CRS, columns of the place.

        Raises:
            UnreadableFile: Empty, truncated, or not vector data.
            FormatNotAllowed: A format that is not opened.
            MissingCRS: The file does not say its CRS.
            InvalidParameter: There are several layers, or none of that name; the CRS is another one; the columns of
                the place are not to be told.
            LimitExceeded: More features than ``limits.vector_features``, or an archive that unpacks too large.
        """
        return vector.open_vector(path, self.places, self.limits, question, prove=self._prove_vector)

    def archive_members(self, path: Path, *, with_archives: bool = False) -> dict[str, int]:
        """Return the names of the files in a zip archive, with the bytes that each says to have.

        Args:
            path: As `resolve` returned it, or a file that geoetl fetched.
            with_archives: Whether members may be archives themselves.

        Raises:
            UnreadableFile: It is damaged.
            FormatNotAllowed: A member has a name that leads out, is a link, comes twice, or is an archive.
            LimitExceeded: It has too many members, or unpacks too large.
        """
        members = archive.members_of(path, self.limits, with_archives=with_archives)
        return {info.filename: info.file_size for info in members if not info.is_dir()}

    def unpack_member(
        self, path: Path, name: str, target: Path, *, with_archives: bool = False, most: int | None = None
    ) -> int:
        """Write one member of a zip archive to the new file `target`, and return its size in bytes.

        Args:
            path: As `resolve` returned it, or a file that geoetl fetched.
            name: Of the member, as `archive_members` returned it.
            target: The file; there must be none.
            with_archives: Whether members may be archives themselves; the one that is written is opened like any other
                file, and may hold none again.
            most: It may have so many bytes; by default as many as an archive may unpack to.

        Raises:
            NotFound: There is no such member.
            UnreadableFile, FormatNotAllowed, LimitExceeded: See `archive_members`; nothing is left of the file.
        """
        return archive.unpack_member(path, name, target, self.limits, with_archives=with_archives, most=most)

    def read_vector(self, path: Path, *, layer: str | None = None, crs: str | None = None) -> VectorRead:
        """Read all features of one layer at once, as `open_vector` does.

        Args:
            path: As `resolve` returned it.
            layer: Which layer, where there are several.
            crs: The CRS of a file that does not say it; a file that does must agree.

        Raises:
            EmptyDataset: There is no feature.
            GeoetlError: See `open_vector`.
        """
        question = VectorQuestion(layer, crs)
        return vector.read_vector(path, self.places, self.limits, question, prove=self._prove_vector)

    def look_at_vector(self, path: Path, *, features: int) -> None:
        """Read the first features of the first layer of a file that is no archive, as `read_vector` does.

        Raises:
            GeoetlError: See `read_vector`.
        """
        vector.look_at_vector(path, self.places, self.limits, features)

    def read_geoparquet(
        self, path: Path, *, bbox: tuple[float, float, float, float] | None = None, columns: list[str] | None = None
    ) -> "gpd.GeoDataFrame":
        """Read a GeoParquet file, only the rows that touch `bbox` (in the file's CRS; west < east) and only `columns`.

        Raises:
            UnreadableFile: It is not GeoParquet.
        """
        self._prove(path, "geoparquet")
        return parquet.read_geoparquet(path, bbox=bbox, columns=columns)

    def open_geoparquet(self, path: Path) -> "AbstractContextManager[pq.ParquetFile]":
        """Open a GeoParquet file to read some columns of some row groups.

        Raises:
            UnreadableFile, FormatNotAllowed, LimitExceeded: See `open_parquet`.
        """
        self._prove(path, "geoparquet")
        return table.open_parquet(path)

    def open_parquet(self, path: Path) -> "AbstractContextManager[pq.ParquetFile]":
        """Open a Parquet file to read its rows.

        Raises:
            UnreadableFile: It is damaged.
            FormatNotAllowed: It is of another format.
            LimitExceeded: A row group is too large to be unpacked.
        """
        return table.open_parquet(path)

    def open_tiles(self, path: Path) -> "TileArchive":
        """Open a PMTiles archive of vector tiles; whoever opens it closes it, or lets go of it.

        Raises:
            FormatNotAllowed: It is no PMTiles archive of version 3, or has other tiles.
            UnreadableFile: Truncated or damaged.
        """
        from geoetl.store.gate.tile_archive import TileArchive

        return TileArchive(path)

    def open_netcdf(self, path: Path, **options: Any) -> "xr.Dataset":
        """Open a NetCDF file lazily, by the engine of its container; `options` go to ``xarray.open_dataset``.

        Raises:
            UnreadableFile: Empty, truncated, or not NetCDF.
            FormatNotAllowed: It is of another format.
        """
        self._prove(path, "netcdf")
        return netcdf.open_netcdf(path, self.limits, **options)

    def open_hdf5(self, path: SourcePath | RemoteReader) -> "AbstractContextManager[h5py.File]":
        """Open the container of a NetCDF-4 file, for its chunk index and attributes.

        Args:
            path: As `locate` returned it; or the reader of an object, which keeps what was read of it.

        Raises:
            UnreadableFile: Empty, truncated, or not HDF5.
            FormatNotAllowed: It is of another format.
            VerificationFailed, NotFound, ConfigurationError, Unavailable: See `RemoteFile.read`; also later, while the
                file is read.
        """
        self._prove(path, "hdf5")
        return netcdf.open_hdf5(path, self.limits)

    def open_references(self, path: Path, **options: Any) -> "xr.Dataset":
        """Open kerchunk references as a lazy cube: a JSON file, or a folder of Parquet files.

        Every target is checked against the allowed roots first, in object stores too. A source that is gone or too
        short when it is read is an `UnreadableFile` that names the chunk. `options` go to ``xarray.open_zarr``.

        Raises:
            UnreadableFile: They are no kerchunk references, or a part of them is missing.
            OutsideAllowedRoots: A reference leads out of the allowed roots or to another kind of address.
            NotFound: A source file is gone.
            FormatNotAllowed: They use templates, or a codec that runs code.
        """
        self._prove(path, "references")
        return references.open_references(path, self.places, self.limits, **options)

    def open_icechunk(self, path: Path, *, snapshot: str | None = None, **options: Any) -> "xr.Dataset":
        """Open an Icechunk repository of this machine as a lazy cube; nothing is written to it.

        Of the places that its virtual chunks lie in only those in the allowed roots are opened up. A source that was
        changed, cut or removed since is an error when it is read. `options` go to ``xarray.open_zarr``.

        Args:
            path: Its folder.
            snapshot: Id of the snapshot; the newest of the branch ``main`` where it is left out.

        Raises:
            UnreadableFile: It is no Icechunk repository, or damaged.
            OutsideAllowedRoots: Virtual chunks lie outside of the allowed roots, or in an object store.
            NotFound: There is no such snapshot, or a source file is gone.
        """
        self._prove(path, "icechunk")
        return cubes.open_icechunk(path, self.places, self.limits, snapshot=snapshot, **options)

    def open_zarr(self, path: Path, **options: Any) -> "xr.Dataset":
        """Open a Zarr store (version 3, a folder) as a lazy cube; `options` go to ``xarray.open_zarr``.

        Raises:
            UnreadableFile: It is no Zarr store, or damaged.
            OutsideAllowedRoots: A link in it leads elsewhere.
        """
        self._prove(path, "zarr")
        return cubes.open_zarr(path, self.places, self.limits, **options)
