"""What may be asked about features, as text in an address, and the question that it means."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Path, Query
from starlette.requests import Request

from geoetl.access.features import DEFAULT_LIMIT, MAX_FEATURES, FeatureDescription, ProjectedBox
from geoetl.api.features.crs import CRS84_URI, ReferenceSystems, box_of, is_swapped, with_swapped_axes
from geoetl.api.features.documents import FORMATS
from geoetl.api.problems import NotAcceptable
from geoetl.core.errors import InputError, InvalidFilter, NotFound, did_you_mean
from geoetl.core.identifiers import check_id
from geoetl.core.spatial import BBox
from geoetl.core.temporal import Interval
from geoetl.store.catalog import cql2

# Most features on a page of GeoJSON, and in a file.
MAX_LIMIT = 10_000
_LANGUAGES = ("cql2-text", "cql2-json")
_ALIASES: Mapping[str, str] = {"json": "geojson", "geoparquet": "parquet"}
_MEDIA_TYPES: Mapping[str, str] = {
    "application/geo+json": "geojson",
    "application/json": "geojson",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/*": "geojson",
    "text/*": "csv",
    "*/*": "geojson",
    # A browser that follows a link shows JSON as well.
    "text/html": "geojson",
}

CollectionId = Annotated[str, Path(description="STAC collection and STAC item, joined by a colon")]
FeatureId = Annotated[str, Path(description="Id of the feature")]
Bbox = Annotated[
    str | None,
    Query(
        description="Box that features touch: west,south,east,north in degrees, west > east crosses 180°; "
        "or in `bbox-crs`, in the order of its axes",
        examples=["-130,20,-60,50"],
    ),
]
BboxCrs = Annotated[str | None, Query(alias="bbox-crs", description="URI of its CRS", examples=[CRS84_URI])]
Datetime = Annotated[
    str | None,
    Query(
        description="Instant or interval that the time of features touches; those without a time match any",
        examples=["1900-01-01T00:00:00Z/.."],
    ),
]
Filter = Annotated[str | None, Query(description="CQL2, as text or JSON", examples=["geometry IS NOT NULL"])]
FilterLang = Annotated[
    str | None, Query(alias="filter-lang", description="cql2-text or cql2-json", examples=["cql2-text"])
]
FilterCrs = Annotated[
    str | None, Query(alias="filter-crs", description="URI of the CRS of its geometries", examples=[CRS84_URI])
]
Sortby = Annotated[str | None, Query(description="Properties to order by, `-` before one for descending")]
Properties = Annotated[str | None, Query(description="Properties to give, separated by commas; left out, all")]
SkipGeometry = Annotated[bool, Query(alias="skipGeometry", description="Give no geometries", examples=[False])]
Limit = Annotated[
    int | None,
    Query(
        ge=1,
        description=f"Most features, {DEFAULT_LIMIT} where it is left out; more than {MAX_LIMIT} means {MAX_LIMIT}. "
        f"In CSV and GeoParquet all, up to {MAX_FEATURES}",
        examples=[10],
    ),
]
Offset = Annotated[int | None, Query(ge=0, description="Features to leave out", examples=[0])]
Token = Annotated[str | None, Query(max_length=100, description="Of another page, from its link")]
Crs = Annotated[str | None, Query(description="URI of the CRS of the answer", examples=[CRS84_URI])]
Format = Annotated[
    str | None,
    Query(alias="f", description="geojson, csv or parquet; left out, by the header Accept", examples=["geojson"]),
]
Estimated = Annotated[bool, Query(description="Answer what it would cost instead", examples=[False])]

# The parameters of a page of features; every other one has to be a property.
ITEMS = frozenset(
    {
        "bbox",
        "bbox-crs",
        "datetime",
        "filter",
        "filter-lang",
        "filter-crs",
        "sortby",
        "properties",
        "skipGeometry",
        "limit",
        "offset",
        "token",
        "crs",
        "f",
        "estimate",
    }
)


class InvalidQuestion(InputError):
    """A parameter of a question about features is not right; the specification asks for status 400."""

    code = "invalid_question"
    title = "The question is not right"


@dataclass(frozen=True)
class Asked:
    """A question about features as `FeatureAccess.query` takes it.

    Attributes:
        bbox: Box that they touch.
        datetime: Interval that their time touches.
        tree: Filter in CQL2 JSON, its geometries x before y.
        filter_crs: Their reference system.
        where: Values of attributes.
        sortby: Keys of the order.
        columns: Attributes to give; None for all.
        skip_geometry: Whether to give no geometries.
        crs: Reference system of the answer.
    """

    bbox: BBox | ProjectedBox | None
    datetime: Interval | None
    tree: Any
    filter_crs: str
    where: Mapping[str, Any]
    sortby: tuple[str, ...]
    columns: tuple[str, ...] | None
    skip_geometry: bool
    crs: str

    def selecting(self) -> dict[str, Any]:
        """Return the arguments that say which features are meant, and in which order."""
        return {
            "bbox": self.bbox,
            "datetime": self.datetime,
            "filter": self.tree,
            "filter_crs": self.filter_crs,
            "where": self.where,
            "sortby": self.sortby,
        }


def names_of(collection_id: str) -> tuple[str, str]:
    """Return the ids of the STAC collection and the STAC item.

    Raises:
        NotFound: It is no id of a collection of features.
    """
    collection, colon, item = collection_id.partition(":")
    if not colon:
        raise NotFound(
            f"There is no collection of features '{collection_id[:80]}'.",
            hint="Its id is that of the STAC collection and of the item, joined by a colon: demo-vectors:countries",
            field="collectionId",
        )
    return check_id(collection, "collection"), check_id(item, "item")


def check_known(request: Request, known: Iterable[str], properties: Iterable[str] = ()) -> None:
    """Refuse parameters that are not known, and those that come twice.

    Raises:
        InvalidQuestion: See above.

    Source: OGC API - Features, part 1, requirement /req/core/query-param-unknown.
    """
    names = [*known, *properties]
    for name, count in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in names:
            raise InvalidQuestion(
                f"There is no parameter or property '{name[:60]}'.", hint=did_you_mean(name, names), field=name[:60]
            )
        if count > 1:
            raise InvalidQuestion(f"The parameter '{name}' is there {count} times.", hint="Give it once.", field=name)


def asked_of(
    request: Request,
    about: FeatureDescription,
    *,
    bbox: str | None,
    bbox_crs: str | None,
    datetime: str | None,
    filter: str | None,
    filter_lang: str | None,
    filter_crs: str | None,
    sortby: str | None,
    properties: str | None,
    skip_geometry: bool,
    crs: str | None,
) -> Asked:
    """Return the question that the parameters of an address mean.

    Raises:
        InputError: One of them is not known or not right.
    """
    names = [one.name for one in about.properties]
    check_known(request, ITEMS, names)
    systems = ReferenceSystems(about.crs)
    own_filter_crs = systems.named(filter_crs, "filter-crs")
    return Asked(
        bbox=box_of(bbox, systems.named(bbox_crs, "bbox-crs")),
        datetime=None if datetime is None else Interval.parse(datetime.upper()),
        tree=_tree(filter, filter_lang, swapped=is_swapped(own_filter_crs)),
        filter_crs=own_filter_crs,
        where={name: value for name, value in request.query_params.items() if name not in ITEMS and name in names},
        sortby=_list(sortby),
        columns=None if properties is None else _list(properties),
        skip_geometry=skip_geometry,
        crs=systems.named(crs, "crs"),
    )


def _tree(text: str | None, language: str | None, *, swapped: bool) -> Any:
    if language is not None and language not in _LANGUAGES:
        raise InvalidQuestion(
            f"filter-lang is '{language[:40]}'.", hint=f"Use {' or '.join(_LANGUAGES)}.", field="filter-lang"
        )
    if text is None:
        return None
    if language is not None and text.lstrip().startswith("{") != (language == "cql2-json"):
        raise InvalidFilter(
            f"The filter is not {language}.", hint="Correct filter-lang, or leave it out.", field="filter"
        )
    tree = cql2.parse(text)
    return with_swapped_axes(tree) if swapped else tree


def _list(text: str | None) -> tuple[str, ...]:
    # A plus sign in an address is a blank.
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def format_of(request: Request, asked: str | None, offered: Sequence[str] = tuple(FORMATS)) -> str:
    """Return the form of the answer: by `f`, else by the header ``Accept``.

    Raises:
        InvalidQuestion: There is no such form.
        NotAcceptable: Nothing that the header names is offered.
    """
    if asked is not None:
        name = _ALIASES.get(asked, asked)
        if name not in offered:
            raise InvalidQuestion(f"f is '{asked[:40]}'.", hint=f"Use {' or '.join(offered)}.", field="f")
        return name
    header = request.headers.get("accept", "") or "*/*"
    wanted = sorted(map(_preference, header.split(",")), key=lambda one: -one[1])
    for media_type, weight in wanted:
        if weight > 0 and _MEDIA_TYPES.get(media_type) in offered:
            return _MEDIA_TYPES[media_type]
    raise NotAcceptable(
        f"Features do not come as '{header[:80]}'.",
        hint=f"They come as {', '.join(FORMATS[name] for name in offered)}.",
        field="Accept",
    )


def _preference(part: str) -> tuple[str, float]:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weights = [one[2:] for one in parameters if one.startswith("q=")]
    try:
        return media_type, float(weights[0]) if weights else 1.0
    except ValueError:
        return media_type, 0.0
