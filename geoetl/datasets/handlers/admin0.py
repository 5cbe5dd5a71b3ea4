"""The countries of Natural Earth (Admin-0), every release from that of 2018 on in the same columns.

All names of columns are in lower case. Natural Earth has -99 for the ISO codes of France, Norway and others: `iso_a3`,
`iso_a2` and `iso_n3` are resolved, and what Natural Earth has in their place is in `ne_iso_a3`, `ne_iso_a2` and
`ne_iso_n3`. Countries are told apart by `adm0_a3`: unique and kept from release to release, where `iso_a3` names the
Coral Sea Islands and Australia alike, and `ne_id` is not in releases before 4.1.

Source: https://www.naturalearthdata.com/downloads/10m-cultural-vectors/10m-admin-0-countries/
"""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from pydantic import Field

from geoetl.core.errors import UnreadableFile
from geoetl.core.request import Request
from geoetl.datasets.fetching import (
    fetch,
    file_put_there,
    is_put_there,
    release_put_there,
    stamp_text,
    suffix_of,
    take,
)
from geoetl.datasets.protocol import Task
from geoetl.datasets.release import Download, Fetched, Prepared, PreparedVector, Release
from geoetl.datasets.upstream import Stamp
from geoetl.store.gate import Gate, VectorQuestion

if TYPE_CHECKING:
    import pyarrow as pa

KEY = "adm0_a3"
# Names of the same in releases before 5.
_FORMER = {"gdp_md_est": "gdp_md", "fips_10_": "fips_10"}
# Where a code is looked for, in this order, and its form; -99, -099 and texts like "CN-TW" do not have it.
_CODES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "iso_a3": (("iso_a3", "iso_a3_eh", KEY), r"^[A-Z][A-Z0-9]{2}$"),
    "iso_a2": (("iso_a2", "iso_a2_eh", "wb_a2"), r"^[A-Z]{2}$"),
    "iso_n3": (("iso_n3", "iso_n3_eh", "un_a3"), r"^[0-9]{3}$"),
}
# Two of ISO 3166-1 that releases before 5 have nowhere, and what ISO 3166 leaves to its users, as the European Union
# and others use it for Kosovo.
_LACKING: Mapping[str, Mapping[str, str]] = {
    "iso_a2": {"FRA": "FR", "NOR": "NO", "KOS": "XK"},
    "iso_n3": {"FRA": "250", "NOR": "578"},
}
# Fixed-width text is filled up with these.
_PADDING = " \0\t\r\n"
_SUFFIXES = (".zip", ".gpkg", ".geojson", ".json", ".fgb")
# Files are looked for by their own name, then by any.
_PATTERNS = (*(f"*admin_0_countries*{suffix}" for suffix in _SUFFIXES), *(f"*{suffix}" for suffix in _SUFFIXES))
_VERSION = re.compile(r"\d+(\.\d+)+")
_MOST_VERSION_BYTES = 1024


class Admin0Config(Request):
    """What the handler is told.

    Attributes:
        layer: Which layer or dataset, where the file has several.
    """

    layer: str | None = Field(None, max_length=200)


@final
class Admin0:
    """Countries of the world with their names in many languages and their codes."""

    config: ClassVar[type[Request]] = Admin0Config
    credentials: ClassVar[tuple[str, ...]] = ()
    required_columns: ClassVar[tuple[str, ...]] = (KEY, "name", *_CODES)

    def check(self, task: Task) -> Release:
        """Look at the headers of the archive; its version stands inside."""
        if is_put_there(task):
            path = file_put_there(task, _PATTERNS)
            return release_put_there(task, path, f"countries{suffix_of(path.name)}", _version(task.gate, path))
        url = task.definition.source_url
        said = task.upstream.head(url)
        download = Download(name=f"countries{suffix_of(url)}", url=url, bytes=said.bytes, etag=said.etag)
        return Release(source_version=_day(said), stamp=stamp_text(said), downloads=(download,))

    def fetch(self, task: Task, release: Release) -> Fetched:
        """Fetch the archive, and look into it for its version."""
        if is_put_there(task):
            file = take(task, release, file_put_there(task, _PATTERNS))
        else:
            file = fetch(task, release.downloads[0])
        version = _version(task.gate, task.folder / file.name)
        return Fetched(files=(file,), bytes=file.bytes, memo={"source_version": version} if version else {})

    def prepare(self, task: Task, release: Release, fetched: Fetched) -> Iterator[Prepared]:
        """Bring the countries into the columns that every release has."""
        from geoetl.datasets.features import FeatureWriter

        config = Admin0Config(**task.definition.source_config)
        target = task.workspace / "countries.parquet"
        path = task.folder / fetched.files[0].name
        with task.gate.open_vector(path, VectorQuestion(layer=config.layer)) as source:
            columns = _Columns(source.schema, source.geometry)
            with FeatureWriter(target, columns.schema, source.crs) as writer:
                for batch in source.batches:
                    writer.write(columns.of(batch), batch.column(source.geometry))
        version = fetched.memo.get("source_version", release.source_version)
        yield PreparedVector(
            file=target.name,
            title=task.definition.name,
            description=task.definition.description or f"Countries of the world, Natural Earth {version}.",
            key=KEY,
            keywords=("countries", "boundaries", "admin-0", "Natural Earth"),
        )


def _day(said: Stamp) -> str:
    """Return the day of a file, for want of the version that stands inside."""
    try:
        return parsedate_to_datetime(said.last_modified or "").date().isoformat()
    except ValueError:
        return (said.etag or "unknown").removeprefix("W/").strip('"')[:40] or "unknown"


def _version(gate: Gate, path: Path) -> str:
    """Return what stands in the file of the version ("5.1.1"); empty where there is none."""
    if suffix_of(path.name) != ".zip":
        return ""
    named = [name for name in gate.archive_members(path) if name.upper().endswith("VERSION.TXT")]
    if len(named) != 1:
        return ""
    with tempfile.TemporaryDirectory(prefix="geoetl-") as folder:
        target = Path(folder) / "VERSION.txt"
        gate.unpack_member(path, named[0], target, most=_MOST_VERSION_BYTES)
        found = _VERSION.search(target.read_bytes().decode("ascii", "replace"))
    return found[0] if found else ""


class _Columns:
    """The columns of every release, made of those of one.

    Args:
        source: Columns of the file.
        geometry: Which of them is none of them.

    Raises:
        UnreadableFile: There is nothing to tell countries apart by.
    """

    def __init__(self, source: "pa.Schema", geometry: str) -> None:
        import pyarrow as pa

        self._position: dict[str, int] = {}
        for position, field in enumerate(source):
            name = field.name.lower()
            if field.name != geometry:
                self._position.setdefault(_FORMER.get(name, name), position)
        if KEY not in self._position:
            raise UnreadableFile(
                f"The file has no column {KEY.upper()}, by which countries are told apart.",
                hint="See whether it is Natural Earth's layer admin_0_countries, and whether that was changed.",
                field="source_url",
            )
        front = [name for name in (KEY, "name") if name in self._position]
        others = [name for name in self._position if name not in (*front, *_CODES)]
        fields = [pa.field(name, pa.string()) for name in (*front, *_CODES)]
        fields += [source.field(self._position[name]).with_name(name) for name in others]
        fields += [pa.field(f"ne_{name}", pa.string()) for name in _CODES if name in self._position]
        self.schema = pa.schema(fields)

    def of(self, batch: "pa.RecordBatch") -> "pa.RecordBatch":
        """Return the columns of some countries."""
        import pyarrow as pa

        made: dict[str, pa.Array] = {name: _trimmed(batch.column(at)) for name, at in self._position.items()}
        made |= {f"ne_{name}": made[name].cast(pa.string()) for name in _CODES if name in made}
        made |= {name: _code(name, made, *_CODES[name]) for name in _CODES}
        return pa.RecordBatch.from_arrays(
            [made[field.name].cast(field.type) for field in self.schema], schema=self.schema
        )


def _trimmed(column: "pa.Array") -> "pa.Array":
    """Return text without what fills it up; null for none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    text = pc.utf8_trim(column, characters=_PADDING)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text)


def _code(name: str, columns: Mapping[str, "pa.Array"], asked: Sequence[str], form: str) -> "pa.Array":
    """Return the code of each country: the first that has its form, in the columns that are asked in turn."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.scalar(None, pa.string())
    found = []
    for column in asked:
        if column in columns:
            text = columns[column].cast(pa.string())
            # Numbers lose their zeros where a file has them as such.
            text = pc.utf8_lpad(text, 3, "0") if name == "iso_n3" else pc.utf8_upper(text)
            found.append(pc.if_else(pc.match_substring_regex(text, form), text, nothing))
    lacking = _LACKING.get(name, {})
    found.append(pa.array([lacking.get(str(key)) for key in columns[KEY].to_pylist()], pa.string()))
    return pc.coalesce(*found)
