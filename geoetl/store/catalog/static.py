"""Export as a static STAC catalogue: a folder of JSON files that pystac, pystac-client and a plain web server read.

Layout and links follow STAC best practices, "Self-contained Catalogs": every link is relative and there are no self
links, so that the folder can be moved.  Hrefs of assets stay openable as the catalogue gives them.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoetl.core.errors import Conflict
from geoetl.store.catalog.item import STAC_VERSION
from geoetl.store.catalog.model import Collection
from geoetl.store.catalog.protocol import MAX_LIMIT, Catalog, Search, SortField, walk

# Links that say where a document lies; each place writes its own.
STRUCTURAL = frozenset({"self", "root", "parent", "child", "item", "items", "collection"})


def export_static(
    catalog: Catalog,
    folder: Path,
    *,
    collections: Sequence[str] | None = None,
    id: str = "geoetl",
    title: str = "geoetl catalogue",
    description: str = "Collections and items of a geoetl catalogue.",
) -> Path:
    """Write a catalogue, or some of its collections, to `folder`; an earlier export there is replaced as a whole.

    Returns its ``catalog.json``: what ``pystac.Catalog.from_file`` and ``pystac_client.Client.open`` take.

    All files are written beside `folder` and come into place by renaming, so that a reader finds the old catalogue or
    the new one.

    Args:
        catalog: What to export.
        folder: Where to; it must not exist, be empty, or hold an earlier export.
        collections: Ids of collections; None means all.
        id: Id of the written catalogue.
        title: Its title.
        description: Its description.

    Raises:
        NotFound: A collection does not exist.
        Conflict: `folder` holds something else.
    """
    folder = folder.absolute()
    _refuse_foreign(folder)
    chosen = catalog.collections() if collections is None else [catalog.collection(name) for name in collections]
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for collection in chosen:
            _write_collection(catalog, collection, temporary)
        children = [_link("child", f"./{c['id']}/collection.json", c.get("title")) for c in chosen]
        root = {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "id": id,
            "title": title,
            "description": description,
            "links": [_link("root", "./catalog.json", title), *children],
        }
        _write(temporary / "catalog.json", root)
        temporary.chmod(0o755)  # mkdtemp makes it private; a web server has another user
        _replace(folder, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder / "catalog.json"


def _write_collection(catalog: Catalog, collection: Collection, root: Path) -> None:
    name, title = collection["id"], collection.get("title")
    members = []
    # In the order of ids, so that two exports of the same catalogue are the same files.
    search = Search(collections=(name,), sortby=(SortField(field="id"),), limit=MAX_LIMIT // 10, count=False)
    for item in walk(catalog, search):
        place = f"{item['id']}/{item['id']}.json"
        links = [
            _link("root", "../../catalog.json"),
            _link("parent", "../collection.json", title),
            _link("collection", "../collection.json", title),
        ]
        _write(root / name / place, {**item, "links": [*links, *_own_links(item)]})
        members.append(_link("item", f"./{place}", item["properties"].get("title"), "application/geo+json"))
    links = [_link("root", "../catalog.json"), _link("parent", "../catalog.json")]
    _write(root / name / "collection.json", {**collection, "links": [*links, *_own_links(collection), *members]})


def _own_links(document: Mapping[str, Any]) -> list[Any]:
    return [link for link in document.get("links", []) if link.get("rel") not in STRUCTURAL]


def _link(rel: str, href: str, title: str | None = None, media_type: str = "application/json") -> dict[str, str]:
    link = {"rel": rel, "href": href, "type": media_type}
    return {**link, "title": title} if title else link


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, allow_nan=False, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        known = json.loads((folder / "catalog.json").read_text(encoding="utf-8")).get("type") == "Catalog"
    except (OSError, ValueError, AttributeError):
        known = False
    if not known:
        raise Conflict(
            f"'{folder.name}' holds something other than an exported catalogue.",
            hint="Give a folder that is new or empty.",
            field="folder",
        )


def _replace(folder: Path, temporary: Path) -> None:
    if not folder.exists():
        temporary.rename(folder)
        return
    # A folder with content cannot be renamed over: the old one steps aside, and back should the new one fail.
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        folder.rename(aside / "old")
        try:
            temporary.rename(folder)
        except OSError:
            (aside / "old").rename(folder)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
