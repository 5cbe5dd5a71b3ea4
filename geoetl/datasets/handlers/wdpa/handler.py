"""The handler of protected areas."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Literal, Self, final

from geoetl.core.errors import EmptyDataset, UnreadableFile
from geoetl.core.findings import Finding, Severity
from geoetl.core.request import Request
from geoetl.datasets.handlers.wdpa.archive import layers_of
from geoetl.datasets.handlers.wdpa.columns import KEY, Columns
from geoetl.datasets.handlers.wdpa.source import CREDENTIALS, WdpaConfig, first_of_month, get, look
from geoetl.datasets.protocol import Task
from geoetl.datasets.release import Fetched, Prepared, PreparedVector, Release
from geoetl.store.gate import VectorQuestion, VectorSource

if TYPE_CHECKING:
    import pyarrow as pa
    from pyproj import CRS

    from geoetl.datasets.features import FeatureWriter

type Kind = Literal["polygons", "points"]
KINDS: tuple[Kind, ...] = ("polygons", "points")
# WKB: POINT and MULTIPOINT.
_OF_POINTS = (1, 4)
_KEYWORDS = ("protected areas", "conservation", "WDPA", "IUCN")


def _today() -> date:
    return datetime.now(UTC).date()


@final
class Wdpa:
    """Protected areas of the world: an item of areas, and one of sites that only a point is known of.

    Args:
        today: The day, UTC: releases are called by their month.
    """

    config: ClassVar[type[Request]] = WdpaConfig
    credentials: ClassVar[tuple[str, ...]] = CREDENTIALS
    required_columns: ClassVar[tuple[str, ...]] = (
        "SITE_ID", KEY, "NAME", "DESIG_ENG", "IUCN_CAT", "REALM", "STATUS", "STATUS_YR", "ISO3",
    )  # fmt: skip

    def __init__(self, today: Callable[[], date] = _today) -> None:
        self._today = today

    def check(self, task: Task) -> Release:
        """Look for the release of this month, or of the month before; one or two questions."""
        return look(task, WdpaConfig(**task.definition.source_config), self._today())

    def fetch(self, task: Task, release: Release) -> Fetched:
        """Fetch the file of the release."""
        file = get(task, WdpaConfig(**task.definition.source_config), release)
        return Fetched(files=(file,), bytes=file.bytes)

    def prepare(self, task: Task, release: Release, fetched: Fetched) -> Iterator[Prepared]:
        """Bring all parts of the release into two files, one of areas and one of points."""
        config = WdpaConfig(**task.definition.source_config)
        path = task.folder / fetched.files[0].name
        with _Sorted(task.workspace) as features:
            for layer in layers_of(task.gate, path, task.workspace, config.parts):
                task.tell(f"{layer.part}: {layer.name or 'its features'}")
                with task.gate.open_vector(layer.path, VectorQuestion(layer=layer.name)) as source:
                    features.add(source, layer.part)
        for kind in KINDS:
            if features.count(kind):
                yield PreparedVector(
                    suffix=f"_{kind}",
                    file=f"{kind}.parquet",
                    title=f"{task.definition.name} ({'areas' if kind == 'polygons' else 'points'})",
                    description=_described(task, kind),
                    key=KEY,
                    valid_at=first_of_month(release.source_version),
                    keywords=_KEYWORDS,
                    findings=features.findings(kind),
                    # Without one, `geoetl.styles` knows IUCN_CAT, and has a colour for each of its categories.
                    style=None,
                )


def _described(task: Task, kind: Kind) -> str:
    what = "Sites whose boundary is known." if kind == "polygons" else "Sites of which only a point is known."
    return f"{task.definition.description} {what}".strip()


class _Sorted:
    """Features of all layers on their way into one file of areas and one of points; a file may hold both.

    Args:
        folder: Where the files are written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._writers: dict[Kind, FeatureWriter] = {}
        self._columns: dict[Kind, pa.Schema] = {}
        self._crs: CRS | None = None
        self._seen: dict[Kind, set[bytes]] = {kind: set() for kind in KINDS}
        self._repeated: dict[Kind, int] = dict.fromkeys(KINDS, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is None and not self._writers:
            raise EmptyDataset("The release has no features.", hint="Check what the source delivers.", field="source")

    def count(self, kind: Kind) -> int:
        """Return how many features there are of a kind."""
        return self._writers[kind].rows if kind in self._writers else 0

    def findings(self, kind: Kind) -> tuple[Finding, ...]:
        """Return what was noticed of those of a kind."""
        count = self._repeated[kind]
        if not count:
            return ()
        message = f"{count:,} features stood in several parts of the release, and were taken once."
        return (Finding(severity=Severity.WARNING, code="rows_repeated", message=message),)

    def add(self, source: VectorSource, part: str) -> None:
        """Take the features of a layer.

        Raises:
            UnreadableFile: Its columns are others than those of the layers before.
        """
        import pyarrow as pa

        self._crs = self._crs or source.crs
        if source.crs != self._crs:
            raise UnreadableFile(
                f"'{part}' is in {source.crs.name}, and the parts before are in {self._crs.name}.",
                hint="Fetch the release again.",
                field="source_url",
            )
        columns = {
            kind: Columns(source.schema, source.geometry, source.layer, is_of_points=kind == "points") for kind in KINDS
        }
        for batch in source.batches:
            shapes = batch.column(source.geometry)
            of_points = _are_points(shapes, otherwise="point" in source.layer.lower())
            for kind in KINDS:
                chosen = pa.array([one is (kind == "points") for one in of_points], pa.bool_())
                self._write(kind, columns[kind], batch.filter(chosen), shapes.filter(chosen), source, part)

    def _write(
        self,
        kind: Kind,
        columns: Columns,
        batch: "pa.RecordBatch",
        shapes: "pa.Array",
        source: VectorSource,
        part: str,
    ) -> None:
        if not batch.num_rows:
            return
        if columns.schema != self._columns.setdefault(kind, columns.schema):
            raise UnreadableFile(
                f"The {kind} of '{part}' have other columns than those of the parts before.",
                hint="Fetch the release again; a part of another month may have got between.",
                field="source_url",
            )
        attributes = columns.of(batch)
        new = self._news(kind, attributes.column(KEY), shapes)
        self._writer(kind, columns, source).write(attributes.filter(new), shapes.filter(new))

    def _news(self, kind: Kind, keys: "pa.Array", shapes: "pa.Array") -> "pa.Array":
        """Tell which features are not there yet, by key and shape; another shape of a key is for a person to judge."""
        import pyarrow as pa

        seen, news = self._seen[kind], []
        for key, shape in zip(keys.to_pylist(), shapes, strict=True):
            own = hashlib.blake2b(f"{key}\0".encode(), digest_size=16)
            own.update(shape.as_py() or b"")
            news.append(own.digest() not in seen)
            seen.add(own.digest())
        self._repeated[kind] += news.count(False)
        return pa.array(news, pa.bool_())

    def _writer(self, kind: Kind, columns: Columns, source: VectorSource) -> "FeatureWriter":
        from geoetl.datasets.features import FeatureWriter

        if kind not in self._writers:
            made = FeatureWriter(self._folder / f"{kind}.parquet", columns.schema, source.crs)
            self._writers[kind] = self._stack.enter_context(made)
        return self._writers[kind]


def _are_points(shapes: "pa.Array", *, otherwise: bool) -> list[bool]:
    """Tell of each shape, by its type in WKB, whether it is of points; `otherwise` where there is none."""
    found = []
    for shape in shapes:
        head = (shape.as_py() or b"")[:5]
        number = int.from_bytes(head[1:], "little" if head[:1] == b"\1" else "big")
        # Thousands and the bits above 16 say that there is a height or a measure.
        found.append((number & 0xFFFF) % 1000 in _OF_POINTS if head else otherwise)
    return found
