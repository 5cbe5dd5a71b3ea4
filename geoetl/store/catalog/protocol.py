"""What a catalogue offers, whichever database is behind it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from geoetl.core.errors import InvalidParameter
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval
from geoetl.store.catalog.model import Collection, Item, page_html

MAX_LIMIT = 10_000
# More keys than this help nobody, and each costs a column in the sort.
MAX_SORT_FIELDS = 8
MAX_COLLECTIONS = 1_000
# As many as a page may hold.
MAX_IDS = MAX_LIMIT


def _check_text(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("half of a surrogate pair is no text")
    return text


Text = Annotated[str, AfterValidator(_check_text)]
"""Text that a database takes: without halves of surrogate pairs."""


class SortField(BaseModel):
    """One key of an order: ``id``, ``collection``, ``datetime`` or a property; what lacks it comes last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: Annotated[str, Field(min_length=1, max_length=200)]
    direction: Literal["asc", "desc"] = "asc"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``-datetime`` (descending), ``+id`` or ``id`` (ascending)."""
        return cls(field=text.lstrip("+-"), direction="desc" if text.startswith("-") else "asc")


class Search(BaseModel):
    """What is looked for; every part given must hold.

    Attributes:
        collections: Ids of collections; empty means all.
        ids: Ids of items; empty means all.
        bbox: Box that the item's geometry must touch; ``west,south,east,north`` as text or a list is read too.
        interval: Time that the item's time must touch; ISO 8601 text is read too.
        intersects: GeoJSON geometry (CRS84) that the item's geometry must touch.
        filter: CQL2, as JSON or as text.
        sortby: Order, for example ``-datetime,id``; the newest first where none is given.  What is equal in it is
            ordered by id and collection, in the direction of the last key.
        limit: Items on a page.
        token: ``next_token`` of the page before; the rest of the search must be the same.
        count: Whether to count what matches.  Counting reads every match: without it a filter over a million items
            answers as soon as one page is full.

    Raises:
        InvalidParameter, InvalidBBox, InvalidTime: A part is malformed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    collections: Annotated[tuple[Text, ...], Field(max_length=MAX_COLLECTIONS)] = ()
    ids: Annotated[tuple[Text, ...], Field(max_length=MAX_IDS)] = ()
    bbox: BBox | None = None
    interval: Interval | None = None
    intersects: dict[str, Any] | None = None
    filter: dict[str, Any] | bool | str | None = None
    sortby: Annotated[tuple[SortField, ...], Field(max_length=MAX_SORT_FIELDS)] = ()
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 100
    token: Annotated[str, Field(max_length=100_000)] | None = None
    count: bool = True

    @field_validator("bbox", mode="before")
    @classmethod
    def _read_bbox(cls, value: Any) -> Any:
        if isinstance(value, str):
            return BBox.parse(value)
        return BBox.from_list(value) if isinstance(value, list | tuple) else value

    @field_validator("interval", mode="before")
    @classmethod
    def _read_interval(cls, value: Any) -> Any:
        return Interval.parse(value) if isinstance(value, str) else value

    @field_validator("sortby", mode="before")
    @classmethod
    def _read_sortby(cls, value: Any) -> Any:
        keys = value.split(",") if isinstance(value, str) else value
        if isinstance(keys, list | tuple):
            return tuple(SortField.parse(key.strip()) if isinstance(key, str) else key for key in keys)
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, value: Any, handler: Any) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise _invalid(error.errors(include_url=False)[0]) from None


def _invalid(error: ErrorDetails) -> InvalidParameter:
    field = ".".join(str(part) for part in error["loc"])
    return InvalidParameter(f"The search has a wrong '{field}': {error['msg']}.", field=field)


@dataclass(frozen=True)
class ItemPage:
    """One page of a search.

    Attributes:
        items: The items, in the order asked for.
        next_token: Give it back as ``token`` for the next page; None on the last one.
        matched: How many items matched when the first page was made; None where counting was not asked for.
    """

    items: tuple[Item, ...]
    next_token: str | None
    matched: int | None

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def _repr_html_(self) -> str:
        return page_html(self.items, self.matched, more=self.next_token is not None)


class Catalog(Protocol):
    """The only way to write and read STAC; each call is one unit of work.

    What comes in may have portable or openable hrefs, what goes out has openable ones.

    Raises:
        ManagedData: From whatever changes something: a managed dataset keeps that collection (`managed`).
    """

    def upsert_collection(self, collection: Mapping[str, Any]) -> None:
        """Add a collection, or replace its document and keep its items.

        Raises:
            InvalidParameter: It is no STAC collection, or no strict JSON.
        """
        ...

    def add_collection(self, collection: Mapping[str, Any]) -> None:
        """Add a collection that is new.

        Raises:
            Conflict: There is one of that id.
            InvalidParameter: It is no STAC collection, or no strict JSON.
        """
        ...

    def change_collection(self, collection_id: str, change: Callable[[Collection], Mapping[str, Any]]) -> Collection:
        """Replace the document of a collection by what `change` makes of it, in one unit of work; its items stay.

        Whoever changes it at the same time comes before or after, not in between.

        Raises:
            NotFound: There is none of that id.
            InvalidParameter: The new document has another id, or is no STAC collection.
        """
        ...

    def collections(self) -> list[Collection]:
        """Return every collection, ordered by id."""
        ...

    def collection(self, collection_id: str) -> Collection:
        """Return one collection.

        Raises:
            NotFound: There is none of that id.
        """
        ...

    def delete_collection(self, collection_id: str) -> None:
        """Remove a collection with all its items.

        Raises:
            NotFound: There is none of that id.
        """
        ...

    def upsert_items(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Add items, or replace those whose collection and id exist already; all of them or none.

        Each is read back within the unit of work, the way a search finds it.

        Raises:
            InvalidParameter, InvalidBBox, InvalidTime: An item is not one that can be stored; the message says why.
            NotFound: A collection does not exist.
            VerificationFailed: An item that was written could not be found again; nothing is kept.
        """
        ...

    def add_items(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Add items that are new; all of them or none.

        Raises:
            Conflict: There is one of that collection and id, or one is given twice.
            InvalidParameter, InvalidBBox, InvalidTime, NotFound, VerificationFailed: See `upsert_items`.
        """
        ...

    def change_item(self, collection_id: str, item_id: str, change: Callable[[Item], Mapping[str, Any]]) -> Item:
        """Replace an item by what `change` makes of it, in one unit of work.

        Whoever changes it at the same time comes before or after, not in between.

        Raises:
            NotFound: There is no such item or collection.
            InvalidParameter, InvalidBBox, InvalidTime: What was made has other ids, or cannot be stored.
        """
        ...

    def item(self, collection_id: str, item_id: str) -> Item:
        """Return one item.

        Raises:
            NotFound: There is no such item or collection.
        """
        ...

    def delete_item(self, collection_id: str, item_id: str) -> None:
        """Remove one item.

        Raises:
            NotFound: There is no such item or collection.
        """
        ...

    def search(self, search: Search) -> ItemPage:
        """Return one page of the items that match.

        Raises:
            InvalidFilter: The filter is malformed or uses what is not supported.
            InvalidParameter: The geometry, the order or the token cannot be used.
        """
        ...

    def version(self) -> int:
        """Return a number that every change raises: the key of every cache over the catalogue."""
        ...


def walk(catalog: Catalog, search: Search) -> Iterator[Item]:
    """Return every item that matches, page after page of `search.limit` items."""
    while True:
        page = catalog.search(search)
        yield from page.items
        if page.next_token is None:
            return
        search = search.model_copy(update={"token": page.next_token, "count": False})
