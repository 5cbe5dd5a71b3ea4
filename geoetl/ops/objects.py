"""Objects that nothing needs: found by comparing what was written, what lies there, and what is needed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa

from geoetl.core.errors import GeoetlError, InvalidParameter
from geoetl.ops.alone import Moment
from geoetl.ops.listing import Listed, objects_in
from geoetl.ops.model import Action, Fate, Leftover, Part
from geoetl.ops.needs import Needed
from geoetl.store.artifacts import ArtifactRepository, artifacts
from geoetl.store.contents import as_ours
from geoetl.store.database import Database
from geoetl.store.zones import Zone, Zones, check_key

STORED, WRITING = "stored", "writing"


@dataclass(frozen=True)
class Written:
    """A row of the table ``artifacts``.

    Attributes:
        state: ``writing`` or ``stored``.
        bytes: Its size; None as long as it is written.
        owner: What it was written for.
        written_at: Unix time of the latest write.
    """

    state: str
    bytes: int | None
    owner: str
    written_at: float


@dataclass(frozen=True)
class Stock:
    """What is known of a zone.

    Attributes:
        zone: Which zone.
        written: What was written, by key.
        sizes: What lies at a key of `written`: the bytes of an object, or of all in a folder.
        newest: Unix time at which any of it was written last.
        unknown: Objects that are not, and lie in no folder that is.
    """

    zone: Zone
    written: Mapping[str, Written]
    sizes: Mapping[str, int]
    newest: Mapping[str, float]
    unknown: tuple[Listed, ...]

    @property
    def count(self) -> int:
        """How many things were looked at."""
        return len(self.written) + len(self.unknown)


def stock(database: Database, zone: Zone) -> Stock:
    """Look through a zone.

    Raises:
        Unavailable: Database or zone cannot be reached.
    """
    # First what lies there: what is written meanwhile is then known, and not taken for a stranger.
    lying = list(objects_in(zone))
    query = sa.select(artifacts).where(artifacts.c.zone == zone.name)
    with database.read() as connection:
        written = {
            row.key: Written(row.state, row.bytes, row.owner, row.written_at) for row in connection.execute(query)
        }
    sizes, newest, unknown = dict[str, int](), dict[str, float](), list[Listed]()
    for one in lying:
        key = _known(one.key, written)
        if key is None:
            unknown.append(one)
        else:
            sizes[key] = sizes.get(key, 0) + one.bytes
            newest[key] = max(newest.get(key, 0.0), one.modified)
    return Stock(zone, written, sizes, newest, tuple(unknown))


def unneeded(stock: Stock, needed: Needed, before: float, *, unknown: bool) -> Iterator[Leftover]:
    """Yield what nothing needs and was written before a time.

    Args:
        stock: Of the zone.
        needed: By anybody.
        before: Unix time.
        unknown: Whether what geoetl has no record of is removed as well.
    """
    for key, row in stock.written.items():
        address = f"{stock.zone.name}://{key}"
        if row.state == STORED and row.written_at < before and needed.by(address) is None:
            yield Leftover(
                part=Part.OBJECTS,
                name=address,
                bytes=stock.sizes.get(key, 0),
                since=row.written_at,
                reason=f"nothing needs it any more; it was written for {row.owner}",
                mark=_mark(row),
            )
    for one in stock.unknown:
        address = f"{stock.zone.name}://{one.key}"
        if one.modified < before and needed.by(address) is None:
            yield Leftover(
                part=Part.OBJECTS,
                name=address,
                bytes=one.bytes,
                since=one.modified,
                reason="nothing needs it, and geoetl has no record of having written it",
                is_fixed=unknown and _may_be_removed(one.key),
            )


def unfinished(stock: Stock, needed: Needed, before: float) -> Iterator[Leftover]:
    """Yield what was begun to be written before a time, and never was.

    What is needed nevertheless is an object that was to be replaced: it is whole, as it was before.
    """
    for key, row in stock.written.items():
        address = f"{stock.zone.name}://{key}"
        if row.state == WRITING and row.written_at < before and needed.by(address) is None:
            yield Leftover(
                part=Part.WRITES,
                name=address,
                bytes=stock.sizes.get(key, 0),
                since=row.written_at,
                reason=f"it was begun to be written for {row.owner}, and its writer is gone",
                mark=_mark(row),
            )


def remove_object(zones: Zones, moment: Moment, leftover: Leftover) -> Action:
    """Remove an object, unless it is needed or was written by now."""
    name, _, key = leftover.name.partition("://")
    who = moment.needed.by(leftover.name)
    if who is not None:
        return acted(leftover, Fate.KEPT, f"{who} needs it by now")
    of_it = sa.and_(artifacts.c.zone == name, artifacts.c.key.in_([key, *_above(key)]))
    rows = {row.key: row for row in moment.connection.execute(sa.select(artifacts).where(of_it))}
    zone = zones.named(name)
    if leftover.mark:
        row = rows.get(key)
        if row is None:
            return acted(leftover, Fate.KEPT, "another clean-up has removed it")
        if _mark(Written(row.state, row.bytes, row.owner, row.written_at)) != leftover.mark:
            return acted(leftover, Fate.KEPT, "it was written anew")
    elif rows:
        return acted(leftover, Fate.KEPT, "it was written anew")
    elif is_newer(zone, key, leftover.since):
        return acted(leftover, Fate.KEPT, "it has changed, or is gone")
    try:
        with as_ours(key):
            replace(zone, artifacts=ArtifactRepository(moment.database)).delete(key)
    except GeoetlError as error:
        if error.retryable and error.__cause__ is not None:
            raise  # the database is away, and this transaction with it
        return acted(leftover, Fate.FAILED, error.detail)
    return acted(leftover, Fate.FIXED)


def acted(leftover: Leftover, fate: Fate, detail: str | None = None) -> Action:
    """Return what became of something that was found."""
    told = leftover.model_dump(include={"part", "name", "bytes", "reason"})
    return Action(**told, fate=fate, detail=detail)


def is_newer(zone: Zone, key: str, since: float) -> bool:
    """Tell whether an object was written after a time, or is not there."""
    if zone.root is not None:
        path = zone.root / key
        return not path.is_file() or path.stat().st_mtime > since
    import obstore

    try:
        return bool(obstore.head(zone.store, key)["last_modified"].timestamp() > since)
    except FileNotFoundError:
        return True


def _mark(row: Written) -> str:
    return f"{row.state} {row.written_at!r}"


def _known(key: str, written: Mapping[str, Written]) -> str | None:
    """Return the key that an object was written with: its own, or that of the folder that it is in."""
    return next((one for one in (key, *_above(key)) if one in written), None)


def _above(key: str) -> Iterator[str]:
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


def _may_be_removed(key: str) -> bool:
    try:
        check_key(key)
    except InvalidParameter:
        return False
    return True
