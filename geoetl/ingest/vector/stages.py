"""The stages of `ingest-vector`."""

import errno
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from geoetl.core import content
from geoetl.core.errors import Conflict, NotFound, Unavailable, UnreadableFile
from geoetl.core.findings import Finding, Severity
from geoetl.core.identifiers import file_digest
from geoetl.core.temporal import parse_instant
from geoetl.ingest.thumbnail import draw
from geoetl.ingest.vector import append
from geoetl.ingest.vector.columns import KML_COLUMNS, renamed, says_something, type_name
from geoetl.ingest.vector.item import described
from geoetl.ingest.vector.mvt import Attributes
from geoetl.ingest.vector.repair import Repair, Tally
from geoetl.ingest.vector.request import Mode, VectorRequest
from geoetl.ingest.vector.result import CheckedVector, Column, VectorFiles, ZoomLevel
from geoetl.ingest.vector.tiles import Outline, Pyramid, ranks, shown_at
from geoetl.ingest.vector.times import Times
from geoetl.ingest.vector.write import Spill, promoted, promotions, type_names, write_geoparquet
from geoetl.store.gate import Format, Gate, VectorSource
from geoetl.store.zones import StoredObject, Zone

if TYPE_CHECKING:
    from geoetl.store.catalog.protocol import Catalog

# Features in the thumbnail: its picture has 256 pixels a side.
_DRAWN = 20_000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class VectorIngest:
    """The stages of `ingest-vector`.

    Args:
        gate: Opens the source.
        zone: The internal zone.
        scratch: Folder for files on their way.
        catalog: Has the item that features are added to; without it there is none.
    """

    gate: Gate
    zone: Zone
    scratch: Path
    catalog: "Catalog | None" = None

    def validate(self, request: VectorRequest) -> CheckedVector:
        """Check that the source holds features that can be ingested, and say what has to be repaired.

        Raises:
            NotFound, OutsideAllowedRoots, UnreadableFile, FormatNotAllowed, LimitExceeded, InvalidParameter,
            EmptyDataset: See `Gate`.
            MissingCRS: Neither the file nor the request gives one.
            Conflict: Features are to be added to an item that has none.
        """
        path = self._path(request)
        if request.valid_at:
            parse_instant(request.valid_at)
        present = self._present(request)
        with self.gate.open_vector(path, request.question) as source:
            repair = Repair(source, request, path.name)
            times = Times(request.temporal_property, repair.schema) if request.temporal_property else None
            seen = _Seen(repair, source)
            for batch in repair.batches():
                seen.add(batch.attributes, batch.shapes, batch.rows)
                if times is not None:
                    times.add(batch.attributes, batch.rows)
            columns = seen.columns()
            findings = [*source.findings, *repair.findings(), *seen.findings(), *renamed(columns)]
            if times is not None:
                times.interval()
                findings += times.findings()
            if present is not None:
                there = append.present_schema(self.gate, self.zone.local_path(present.key))
                findings += append.common_schema(there, _kept(repair.schema, columns))[1]
            return CheckedVector(
                name=path.name,
                sha256=file_digest(path),
                bytes=path.stat().st_size,
                layer=source.layer,
                crs=source.crs.to_string(),
                rows_read=repair.rows_read,
                rows=seen.count,
                geometry_types=seen.types,
                bbox=seen.bbox,
                columns=columns,
                repaired=repair.invalid,
                present=present,
                findings=tuple(findings),
            )

    def to_files(self, request: VectorRequest, checked: CheckedVector) -> VectorFiles:
        """Write GeoParquet 1.1 (Hilbert-sorted, bbox covering), PMTiles and a thumbnail, into the internal zone.

        Raises:
            UnreadableFile: The source changed since it was validated.
            Conflict: So did the features that others are added to.
            Unavailable: The disk is full.
        """
        path = self._path(request)
        if file_digest(path) != checked.sha256:
            raise UnreadableFile(f"'{path.name}' changed after it was validated.", hint="Run it again.", field="source")
        if self._present(request) != checked.present:
            raise Conflict(
                f"The features of '{request.item_id}' were changed by another run.", hint="Run it again.", field="item"
            )
        owner = f"{request.collection}/{request.item_id}"
        with _disk_full(), self._folder() as folder:
            data, tiles, picture = (folder / name for name in ("data.parquet", "tiles.pmtiles", "thumbnail.png"))
            findings: list[Finding] = []
            with self._filled(request, checked, path, folder / "spill.arrow", findings) as (spill, schema, times):
                layout = spill.layout()
                pyramid = Pyramid(layout.outline)
                drawing = _Drawing(layout.outline)

                def each(shapes: NDArray[Any], first: int) -> None:
                    pyramid.add(shapes, first)
                    drawing.add(shapes, first)

                write_geoparquet(spill, layout, data, schema, each)
            draw(drawing.shapes, layout.bbox, picture)
            zooms = pyramid.write(
                tiles, Attributes(_columns(data, schema.names)), layer=request.item_id, about=_about(request, schema)
            )
            findings += _thinned(zooms, len(layout.order))
            stem = f"vectors/{request.collection}/{request.item_id}/{request.item_id}-{file_digest(data)[:8]}"
            return VectorFiles(
                data=self.zone.put(data, f"{stem}.parquet", owner=owner),
                pmtiles=self.zone.put(tiles, f"{stem}.pmtiles", owner=owner),
                thumbnail=self.zone.put(picture, f"{stem}.png", owner=owner),
                rows=len(layout.order),
                geometry_types=layout.types,
                bbox=layout.bbox,
                columns=_described(schema, checked.columns),
                interval=times.interval() if times else None,
                max_zoom=pyramid.max_zoom,
                zooms=tuple(zooms),
                findings=tuple(findings),
            )

    def item(
        self, request: VectorRequest, checked: CheckedVector, files: VectorFiles, notebook: str | None
    ) -> dict[str, Any]:
        """Describe the features as a STAC item with table fields; one that they are added to keeps its title."""
        present = (
            self.catalog.item(request.collection, request.item_id)["properties"]
            if checked.present is not None and self.catalog is not None
            else {}
        )
        return described(request, checked, files, notebook, present)

    @contextmanager
    def _filled(
        self, request: VectorRequest, checked: CheckedVector, path: Path, target: Path, findings: list[Finding]
    ) -> Iterator[tuple[Spill, pa.Schema, Times | None]]:
        """Give all features of the result in a spill, their attributes, and their times."""
        with self.gate.open_vector(path, request.question) as source:
            repair = Repair(source, request, path.name)
            schema = _kept(repair.schema, checked.columns)
            there = self.zone.local_path(checked.present.key) if checked.present else None
            if there is not None:
                schema, _ = append.common_schema(append.present_schema(self.gate, there), schema)
            times = Times(request.temporal_property, schema) if request.temporal_property else None
            known: NDArray[np.uint64] | None = None
            with Spill(target, schema) as spill:
                if there is not None:
                    parts = []
                    for attributes, shapes in append.present_batches(self.gate, there):
                        fitted = append.fitted(attributes, schema)
                        parts.append(_digests(fitted, shapes))
                        spill.add(fitted, shapes)
                        if times is not None:
                            times.add(fitted, np.arange(len(shapes)))
                    known = np.unique(np.concatenate(parts))
                twice = Tally()
                for batch in repair.batches():
                    fitted, shapes, rows = append.fitted(batch.attributes, schema), batch.shapes, batch.rows
                    if known is not None:
                        new = ~np.isin(_digests(fitted, shapes), known)
                        twice.add(rows[~new])
                        fitted, shapes, rows = fitted.filter(pa.array(new)), shapes[new], rows[new]
                    if len(rows):
                        spill.add(fitted, shapes)
                        if times is not None:
                            times.add(fitted, rows)
                if twice.count:
                    findings.append(twice.finding("already_there", "{} features are there already, and were left out."))
                yield spill, schema, times

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            yield Path(folder)

    def _path(self, request: VectorRequest) -> Path:
        path = self.gate.resolve(request.source)
        if path.is_dir():
            raise UnreadableFile(
                f"'{path.name}' is a folder, not a vector file.", hint="Give one file.", field="source"
            )
        return path

    def _present(self, request: VectorRequest) -> StoredObject | None:
        """Return the data that features are added to."""
        if request.mode is not Mode.APPEND or self.catalog is None:
            return None
        try:
            return append.data_of(self.catalog.item(request.collection, request.item_id), self.zone)
        except NotFound:
            return None


class _Seen:
    """What all features of a source together are like."""

    def __init__(self, repair: Repair, source: VectorSource) -> None:
        self._repair = repair
        self._is_kml = source.format is Format.KML
        self._silent = set(KML_COLUMNS) if self._is_kml else set()
        self._types: dict[int, int] = {}
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)
        self._digests: list[NDArray[np.uint64]] = []
        self._rows: list[NDArray[np.int64]] = []

    def add(self, attributes: pa.RecordBatch, shapes: NDArray[Any], rows: NDArray[np.int64]) -> None:
        kinds, counts = np.unique(shapely.get_type_id(shapes), return_counts=True)
        for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
            self._types[kind] = self._types.get(kind, 0) + count
        bounds = shapely.bounds(shapes)
        self._low = np.minimum(self._low, bounds[:, :2].min(axis=0))
        self._high = np.maximum(self._high, bounds[:, 2:].max(axis=0))
        self._digests.append(content.digests(attributes, shapely.to_wkb(shapes)))
        self._rows.append(rows)
        for source, name in zip(self._repair.attribute_names, self._repair.names, strict=True):
            if source in self._silent and says_something(source, attributes.column(name)):
                self._silent.discard(source)

    @property
    def count(self) -> int:
        return sum(len(rows) for rows in self._rows)

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        return float(self._low[0]), float(self._low[1]), float(self._high[0]), float(self._high[1])

    @property
    def types(self) -> tuple[str, ...]:
        return type_names(self._types)

    def columns(self) -> tuple[Column, ...]:
        return tuple(
            Column(name=name, type=type_name(self._repair.schema.field(name).type), source_name=_other(source, name))
            for source, name in zip(self._repair.attribute_names, self._repair.names, strict=True)
            if source not in self._silent
        )

    def findings(self) -> Iterator[Finding]:
        promoting = sum(self._types[kind] for kind in promotions(self._types))
        if promoting:
            yield Finding(
                severity=Severity.INFO,
                code="promoted",
                message=f"{promoting} single geometries became the only part of a multiple one, as others here are.",
            )
        if silent := sorted(self._silent & set(self._repair.attribute_names)):
            yield Finding(
                severity=Severity.INFO,
                code="empty_columns",
                message=f"{len(silent)} columns of KML say nothing here and were left out: {', '.join(silent)}.",
            )
        found = content.repeated(np.concatenate(self._digests))
        if len(found):
            tally = Tally()
            tally.add(np.concatenate(self._rows)[found])
            yield tally.finding("duplicate_features", "{} features are the same as an earlier one in all they hold.")


class _Drawing:
    """Picks the features of the thumbnail: the large ones, and of others those that fill its cells."""

    def __init__(self, outline: Outline) -> None:
        ranked = ranks(outline)
        spans = outline.bounds[:, 2:].max(axis=0) - outline.bounds[:, :2].min(axis=0)
        zoom = int(np.clip(np.ceil(np.log2(360 * 4 / max(float(spans.max()), 1e-6))), 0, 20))
        shown = np.flatnonzero(shown_at(outline, ranked, zoom))
        self._chosen = np.sort(shown[np.argsort(ranked[shown])[:_DRAWN]])
        self._parts: list[NDArray[Any]] = []

    def add(self, shapes: NDArray[Any], first: int) -> None:
        low, high = np.searchsorted(self._chosen, [first, first + len(shapes)])
        self._parts.append(shapes[self._chosen[low:high] - first])

    @property
    def shapes(self) -> NDArray[Any]:
        return np.concatenate(self._parts)


def _other(source: str, name: str) -> str | None:
    return source if source != name else None


def _kept(schema: pa.Schema, columns: tuple[Column, ...]) -> pa.Schema:
    names = {column.name for column in columns}
    return pa.schema([field for field in schema if field.name in names])


def _described(schema: pa.Schema, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    sources = {column.name: column.source_name for column in columns}
    return tuple(
        Column(name=field.name, type=type_name(field.type), source_name=sources.get(field.name)) for field in schema
    )


def _columns(data: Path, names: list[str]) -> Iterator[tuple[str, pa.ChunkedArray]]:
    with pq.ParquetFile(data) as file:
        for name in names:
            yield name, file.read([name]).column(name)


def _digests(attributes: pa.RecordBatch, shapes: NDArray[Any]) -> NDArray[np.uint64]:
    """Return digests that are the same for a geometry and for one that has it as its only part."""
    return content.digests(attributes, shapely.to_wkb(promoted(shapes, frozenset({0, 1, 3}))))


def _about(request: VectorRequest, schema: pa.Schema) -> Mapping[str, Any]:
    """Return what the archive of tiles says about itself (PMTiles 3, section 5; TileJSON 3.0, vector_layers)."""
    fields = {}
    for field in schema:
        is_number = (
            pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
        )
        fields[field.name] = "Number" if is_number else "Boolean" if pa.types.is_boolean(field.type) else "String"
    return {
        "name": request.item_title,
        "description": request.description,
        "attribution": request.attribution,
        "type": "overlay",
        "vector_layers": [{"id": request.item_id, "fields": fields}],
    }


def _thinned(zooms: list[ZoomLevel], count: int) -> list[Finding]:
    deepest = zooms[-1]
    if deepest.features == count:
        return []
    return [
        Finding(
            severity=Severity.WARNING,
            code="tiles_thinned",
            message=f"{count - deepest.features} of {count} features are in no map tile: too many lie in one place, "
            f"or they are too thin to be seen at zoom {deepest.zoom}. The GeoParquet has all of them.",
        )
    ]


@contextmanager
def _disk_full() -> Iterator[None]:
    """Tell of a full disk as such; whatever else goes wrong there is passed on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL and "No space left" not in str(error):
            raise
        raise Unavailable(
            "The disk for files on their way is full.",
            hint="Free some space below GEOETL_HOME, then run it again: finished stages are not repeated.",
        ) from error
