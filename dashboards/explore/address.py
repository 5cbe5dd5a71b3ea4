"""The state of the page as the query of its address, so that a link opens the same view."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlencode

from geoetl.core.errors import InputError, NotFound
from geoetl.core.identifiers import check_id
from geoetl.core.spatial import BBox, Point

# 4 decimals are about 10 m: enough for a place on a map, and short.
DECIMALS = 4
# A value of an extra dimension is named by its dimension: sel.plev=85000.
SELECTION = "sel."


@dataclass(frozen=True)
class Address:
    """Everything that a link carries; empty parts are left out of it.

    Attributes:
        key: ``collection/item`` that is open.
        layers: Keys of everything on the map, from the top; only where it is more than the open item.
        variable: The variable or band that is shown.
        time: ISO 8601 text of the time step.
        selection: Values of the extra dimensions, as text.
        points: The places that are read.
        extent: What the map shows.
        words: What is searched for.
        since: Begin of the time that is searched.
        until: Its end.
        in_view: Whether only what the map shows is listed.
    """

    key: str = ""
    layers: tuple[str, ...] = ()
    variable: str = ""
    time: str = ""
    selection: tuple[tuple[str, str], ...] = ()
    points: tuple[Point, ...] = ()
    extent: BBox | None = None
    words: str = ""
    since: str = ""
    until: str = ""
    in_view: bool = False

    @classmethod
    def parse(cls, query: str) -> Self:
        """Read the query of an address, with or without its question mark; unknown names are passed over.

        Raises:
            InputError: An id, a place or an extent is not right.
            NotFound: It names an item without its collection.
        """
        pairs = parse_qsl(query.removeprefix("?"))
        one = dict(pairs)
        if bool(one.get("collection")) != bool(one.get("item")):
            raise NotFound(
                "The address names an item without its collection, or the other way round.",
                hint="Choose the item in the list.",
                field="item",
            )
        key = f"{one['collection']}/{one['item']}" if one.get("item") else ""
        return cls(
            key=_checked(key) if key else "",
            layers=tuple(_checked(name) for name in one.get("layers", "").split(",") if name),
            variable=one.get("variable", ""),
            time=one.get("time", ""),
            selection=tuple((n.removeprefix(SELECTION), v) for n, v in pairs if n.startswith(SELECTION)),
            points=tuple(Point.parse(value) for name, value in pairs if name == "point"),
            extent=BBox.parse(one["extent"]) if one.get("extent") else None,
            words=one.get("q", ""),
            since=one.get("from", ""),
            until=one.get("until", ""),
            in_view=one.get("in_view") == "1",
        )

    def query(self) -> str:
        """Return the query with its question mark; empty where there is nothing to say."""
        collection, _, item = self.key.partition("/")
        box = self.extent
        pairs = [
            ("q", self.words),
            ("from", self.since),
            ("until", self.until),
            ("in_view", "1" if self.in_view else ""),
            ("collection", collection),
            ("item", item),
            ("layers", ",".join(self.layers)),
            ("variable", self.variable),
            ("time", self.time),
            *((SELECTION + name, value) for name, value in self.selection),
            *(("point", _numbers(point.lon, point.lat)) for point in self.points),
            ("extent", _numbers(box.west, box.south, box.east, box.north) if box else ""),
        ]
        text = urlencode([(name, value) for name, value in pairs if value], safe=",/:")
        return f"?{text}" if text else ""


def _checked(key: str) -> str:
    collection, slash, item = key.partition("/")
    if not slash:
        raise InputError(f"'{key[:60]}' is not collection/item.", hint="Choose the item in the list.", field="layers")
    return f"{check_id(collection, 'collection')}/{check_id(item, 'item')}"


def _numbers(*values: float) -> str:
    return ",".join(f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".") for value in values)
