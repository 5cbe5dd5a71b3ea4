"""What becomes public beside what is: objects, what is said, columns; from manifests alone."""

from typing import Any

from geoetl.publish.comparison import (
    MAX_LETTERS,
    Difference,
    box_of,
    object_changes,
    row_count,
    schema_changes,
    statistics,
    value_changes,
)
from geoetl.publish.model import Manifest, ManifestObject


def an_object(target: str, mark: str = "a") -> ManifestObject:
    source = f"internal://x/{target}"
    return ManifestObject(source=source, target=target, bytes=4, sha256=mark * 64, media_type="image/tiff", role="data")


def a_manifest(properties: dict[str, Any] | None = None, **values: Any) -> Manifest:
    item = {"type": "Feature", "bbox": [5.0, 45.0, 9.0, 48.0], "properties": properties or {}, "assets": {}}
    item |= values.pop("item_values", {})
    return Manifest(collection="c", item="i", objects=(), documents={"i.json": item}, **values)


def test_objects_are_told_by_what_differs_first() -> None:
    old = (an_object("b.tif"), an_object("gone.tif"), an_object("same.tif"))
    new = (an_object("b.tif", "b"), an_object("same.tif"), an_object("new.tif"))
    assert [(one.target, one.what) for one in object_changes(old, new)] == [
        ("gone.tif", Difference.REMOVED),
        ("b.tif", Difference.CHANGED),
        ("new.tif", Difference.ADDED),
        ("same.tif", Difference.SAME),
    ]


def test_without_a_release_before_all_objects_are_new_and_nothing_is_said_otherwise() -> None:
    new = a_manifest({"title": "T", "table:columns": [{"name": "a", "type": "int64"}]})
    assert [one.what for one in object_changes((), (an_object("a.tif"),))] == [Difference.ADDED]
    assert value_changes(None, new) == ()
    assert schema_changes(None, new) == ()


def test_what_is_said_otherwise_is_named_by_its_place() -> None:
    old = a_manifest({"title": "Old", "keywords": ["a"], "gone": 1, "nested": {"x": 1, "y": 2}})
    new = a_manifest({"title": "New", "keywords": ["a", "b"], "came": {"z": [{}]}, "nested": {"x": 1, "y": 3}})
    assert {one.name: (one.what, one.old, one.new) for one in value_changes(old, new)} == {
        "properties.title": (Difference.CHANGED, "Old", "New"),
        "properties.keywords": (Difference.CHANGED, "a", "a, b"),
        "properties.gone": (Difference.REMOVED, "1", ""),
        "properties.nested.y": (Difference.CHANGED, "2", "3"),
        "properties.came.z": (Difference.ADDED, "", "[{}]"),
    }


def test_what_every_version_says_otherwise_is_left_out() -> None:
    old = a_manifest({"updated": "2026-01-01T00:00:00Z", "geoetl:release": 1, "table:row_count": 1})
    new = a_manifest({"updated": "2026-02-01T00:00:00Z", "geoetl:release": 2, "table:row_count": 2})
    assert value_changes(old, new) == ()


def test_collections_styles_and_licences_are_compared_too() -> None:
    old = a_manifest({"license": "CC0-1.0"}, collection_document={"title": "A", "extent": {"x": 1}})
    new = a_manifest({"license": "other"}, collection_document={"title": "B", "extent": {"x": 2}})
    new = new.model_copy(update={"documents": {**new.documents, "styles/a.cs.json": {"rules": []}}})
    assert [(one.name, one.what) for one in value_changes(old, new)] == [
        ("properties.license", Difference.CHANGED),
        ("collection.title", Difference.CHANGED),
        ("styles/a.cs.json", Difference.ADDED),
    ]


def test_long_values_are_shown_by_their_beginning() -> None:
    (change,) = value_changes(a_manifest({"title": "short"}), a_manifest({"title": "x" * 5000}))
    assert len(change.new) == MAX_LETTERS + 1


def test_columns_variables_and_bands_that_differ_are_told_the_gone_ones_first() -> None:
    def columns(**types: str) -> list[dict[str, str]]:
        return [{"name": name, "type": kind} for name, kind in types.items()]

    old = a_manifest({"table:columns": columns(a="int64", b="string", c="int64")})
    new = a_manifest({"table:columns": columns(a="int64", c="double", d="string")})
    assert [(one.name, one.what, one.old, one.new) for one in schema_changes(old, new)] == [
        ("b", Difference.REMOVED, "string", ""),
        ("c", Difference.CHANGED, "int64", "double"),
        ("d", Difference.ADDED, "", "string"),
    ]
    cube = {"cube:variables": {"tas": {"dimensions": ["time", "lat"], "unit": "K"}}}
    bands = {"data": {"href": "./d.tif", "bands": [{"name": "height", "data_type": "float32", "unit": "m"}]}}
    found = schema_changes(a_manifest(cube), a_manifest(item_values={"assets": bands}))
    assert [(one.name, one.old or one.new) for one in found] == [("tas", "K (time, lat)"), ("height", "float32 m")]


def test_extent_rows_and_values_are_read_from_the_item() -> None:
    bands = {"data": {"bands": [{"name": "height", "statistics": {"minimum": 1, "maximum": 9.5, "text": "x"}}]}}
    told = a_manifest({"table:row_count": 7}, item_values={"assets": bands})
    box = box_of(told)
    assert box is not None and box.as_list() == [5.0, 45.0, 9.0, 48.0]
    assert row_count(told) == 7
    assert statistics(told) == {"height": {"minimum": 1, "maximum": 9.5}}


def test_a_manifest_without_an_item_has_nothing_to_compare() -> None:
    bare = Manifest(collection="c", item="i", objects=(an_object("a.tif"),))
    assert (box_of(bare), row_count(bare), statistics(bare)) == (None, None, {})
    assert value_changes(bare, bare) == () and schema_changes(bare, bare) == ()
