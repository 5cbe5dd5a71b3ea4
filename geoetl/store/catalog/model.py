"""What the catalogue hands out: plain STAC dictionaries that show themselves in a notebook."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import GeoetlError
from geoetl.core.html import facts, heading, table
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    import pystac

# A thumbnail beyond this would make the notebook file heavy.
MAX_INLINE_BYTES = 512 * 1024
# Rows shown of a page; the rest is one call away.
MAX_ROWS_SHOWN = 20
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
# Properties that the summary shows, in this order, before any others are counted.
_TOLD = ("datetime", "start_datetime", "end_datetime", "proj:code", "proj:shape", "table:row_count", "gsd", "license")


class Item(dict[str, Any]):
    """A STAC item: a dictionary with openable hrefs."""

    def __repr__(self) -> str:
        # Short, and without this machine's folders; `dict(item)` and `json.dumps(item)` show all.
        return f"<Item {self.get('collection')}/{self.get('id')}>"

    def to_pystac(self) -> "pystac.Item":
        """Return the item as a pystac object; changing it does not change this dictionary."""
        import pystac

        return pystac.Item.from_dict(dict(self))

    def _repr_html_(self) -> str:
        properties = _mapping(self.get("properties"))
        assets = _mapping(self.get("assets"))
        told = [(name, properties.get(name)) for name in _TOLD]
        told += [
            (name, _names(properties[name])) for name in ("cube:dimensions", "cube:variables") if name in properties
        ]
        rows = [(name, *_asset_cells(asset)) for name, asset in assets.items()]
        return "".join(
            (
                heading(
                    str(properties.get("title") or self.get("id", "")), f"STAC item · {self.get('collection', '')}"
                ),
                _side_by_side(_thumbnail(assets), _locator([self.get("bbox")])),
                facts(
                    [
                        ("id", self.get("id")),
                        ("place", _place(self.get("bbox"))),
                        *told,
                        ("more properties", len(properties) - sum(value is not None for _, value in told) or None),
                    ]
                ),
                table(("asset", "roles", "type", "href"), rows) if rows else "",
            )
        )


class Collection(dict[str, Any]):
    """A STAC collection: a dictionary with openable hrefs."""

    def __repr__(self) -> str:
        return f"<Collection {self.get('id')}>"

    def to_pystac(self) -> "pystac.Collection":
        """Return the collection as a pystac object; changing it does not change this dictionary."""
        import pystac

        return pystac.Collection.from_dict(dict(self))

    def _repr_html_(self) -> str:
        extent = _mapping(self.get("extent"))
        boxes = _sequence(_mapping(extent.get("spatial")).get("bbox"))
        assets = _mapping(self.get("assets"))
        rows = [(name, *_asset_cells(asset)) for name, asset in assets.items()]
        return "".join(
            (
                heading(str(self.get("title") or self.get("id", "")), "STAC collection"),
                f"<p>{escape(str(self.get('description', '')))}</p>",
                _side_by_side(_thumbnail(assets), _locator(boxes)),
                facts(
                    [
                        ("id", self.get("id")),
                        ("place", _place(boxes[0]) if boxes else None),
                        ("time", _time(_mapping(extent.get("temporal")).get("interval"))),
                        ("license", self.get("license")),
                        ("keywords", ", ".join(map(str, _sequence(self.get("keywords"))))),
                    ]
                ),
                table(("asset", "roles", "type", "href"), rows) if rows else "",
            )
        )


class Showable:
    """What every back end shows of itself in a notebook, from its collections alone."""

    def collections(self) -> list[Collection]:
        """Return every collection."""
        raise NotImplementedError

    def collection(self, collection_id: str) -> Collection:
        """Return one collection."""
        raise NotImplementedError

    def __getitem__(self, collection_id: str) -> Collection:
        return self.collection(collection_id)

    def __iter__(self) -> Iterator[Collection]:
        return iter(self.collections())

    def _ipython_key_completions_(self) -> list[str]:
        return [str(collection["id"]) for collection in self.collections()]

    def _repr_html_(self) -> str:
        collections = self.collections()
        rows = []
        for one in collections:
            extent = _mapping(one.get("extent"))
            boxes = _sequence(_mapping(extent.get("spatial")).get("bbox"))
            time = _time(_mapping(extent.get("temporal")).get("interval"))
            rows.append((one["id"], one.get("title", ""), _place(boxes[0]) if boxes else "", time))
        title = heading("Catalogue", f"{len(rows)} collection{'' if len(rows) == 1 else 's'}")
        return title + (table(("id", "title", "place", "time"), rows) if rows else facts([("next", "geoetl demo")]))


def page_html(items: Sequence[Item], matched: int | None, more: bool) -> str:
    """Return one page of search results as HTML."""
    counted = f"{len(items)} of {matched}" if matched is not None else str(len(items))
    rows = [
        (
            item.get("id", ""),
            item.get("collection", ""),
            _item_time(item),
            _place(item.get("bbox")),
            _names(item["assets"]),
        )
        for item in items[:MAX_ROWS_SHOWN]
    ]
    rest = len(items) - len(rows)
    notes = [f"and {rest} more on this page"] if rest else []
    notes += ["more pages: search again with token=page.next_token"] if more else []
    tail = f'<div style="opacity:.65">{escape("; ".join(notes))}</div>' if notes else ""
    return (
        heading("Items", counted)
        + _locator([item.get("bbox") for item in items])
        + table(("id", "collection", "time", "place", "assets"), rows)
        + tail
    )


def _asset_cells(asset: Any) -> tuple[str, str, str]:
    asset = _mapping(asset)
    roles = ", ".join(map(str, _sequence(asset.get("roles"))))
    href = str(asset.get("href", ""))
    # A notebook is shown to others: of a local file its name says enough, the folder is this machine's business.
    return roles, str(asset.get("type", "")), Path(href).name if href.startswith("/") else href


def _item_time(item: Mapping[str, Any]) -> str:
    properties = _mapping(item.get("properties"))
    start, end = properties.get("start_datetime"), properties.get("end_datetime")
    return f"{start} to {end}" if start and end else str(properties.get("datetime") or "")


def _time(intervals: Any) -> str:
    first = _sequence(intervals)[:1]
    ends = _sequence(first[0]) if first else []
    return " to ".join("open" if end is None else str(end) for end in ends)


def _place(bbox: Any) -> str:
    box = _box(bbox)
    return ", ".join(f"{number:.6g}" for number in box.as_list()) if box else ""


def _box(bbox: Any) -> BBox | None:
    try:
        return BBox.from_list(_sequence(bbox))
    except (GeoetlError, TypeError, ValueError):
        return None  # the document came from elsewhere; a page must not fail to show because of it


def _locator(bboxes: Sequence[Any]) -> str:
    """Return a small world in plate carrée with the boxes on it, as SVG."""
    parts = [part for bbox in bboxes[:200] if (box := _box(bbox)) for part in box.parts()]
    if not parts:
        return ""
    rectangles = "".join(
        f'<rect x="{p.west + 180:.3f}" y="{90 - p.north:.3f}" width="{max(p.width_deg, 2):.3f}" '
        f'height="{max(p.height_deg, 2):.3f}" fill="#e8590c" fill-opacity=".35" stroke="#e8590c" stroke-width="1"/>'
        for p in parts
    )
    lines = "".join(f"M{x} 0V180" for x in range(60, 360, 60)) + "".join(f"M0 {y}H360" for y in range(30, 180, 30))
    return (
        '<svg viewBox="-1 -1 362 182" width="240" height="121" role="img" aria-label="place on the world" '
        'style="display:block;margin:4px 0">'
        '<rect width="360" height="180" fill="none" stroke="currentColor" stroke-opacity=".5"/>'
        f'<path d="{lines}" stroke="currentColor" stroke-opacity=".15" fill="none"/>{rectangles}</svg>'
    )


def _thumbnail(assets: Mapping[str, Any]) -> str:
    """Return the thumbnail as an inline image where it is a small local PNG or JPEG."""
    for asset in assets.values():
        asset = _mapping(asset)
        if "thumbnail" not in _sequence(asset.get("roles")):
            continue
        path = Path(str(asset.get("href", "")).removeprefix("file://"))
        if not path.is_absolute() or not path.is_file() or path.stat().st_size > MAX_INLINE_BYTES:
            continue
        content = path.read_bytes()
        for magic, media_type in _MAGIC.items():
            if content.startswith(magic):
                data = base64.b64encode(content).decode()
                return f'<img src="data:{media_type};base64,{data}" alt="thumbnail" style="max-height:160px"/>'
    return ""


def _side_by_side(*pieces: str) -> str:
    shown = "".join(f"<div>{piece}</div>" for piece in pieces if piece)
    return f'<div style="display:flex;gap:16px;align-items:center">{shown}</div>' if shown else ""


def _names(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, Mapping | list) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
