"""The parts of the page Datasets: how it is told, how versions are compared, what a map gets of what differs."""

import json
import time
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from dashboards.datasets import markup
from dashboards.datasets.address import Address
from dashboards.datasets.comparison import column_changes, number_lines
from dashboards.datasets.differing import MAX_POINTS, differing
from dashboards.datasets.standing import Plan
from geoetl.core.errors import InputError
from geoetl.datasets.model import ManagedDataset, UpdateStatus, UpdateType, VersionState
from geoetl.datasets.outcome import Checked, UpdateRecord
from geoetl.datasets.version import Changes, ItemProfile, Profile, Version
from geoetl.store.zones import StoredObject

ATTACK = "<img src=x onerror=alert(1)>"


def stored(size: int = 1000) -> StoredObject:
    return StoredObject(zone="internal", key="vectors/a.parquet", sha256="0" * 64, bytes=size)


def item(name: str = "lands", **values: Any) -> ItemProfile:
    given = {
        "rows": 10,
        "rows_read": 10,
        "bbox": (0.0, 0.0, 1.0, 1.0),
        "columns": {"name": "string", "pop": "int32"},
        "geometry_types": ("Polygon",),
        "index": stored(),
        "data": stored(),
        "key": "name",
    }
    return ItemProfile(item=name, **{**given, **values})


def changed(*rows: tuple[str, str, Any]) -> gpd.GeoDataFrame:
    """Return features as updates tell them: change, key, geometry."""
    values = {"change": [row[0] for row in rows], "item": "lands", "key": [row[1] for row in rows], "columns": ""}
    return gpd.GeoDataFrame(values, geometry=[row[2] for row in rows], crs=4326)


def dataset(**values: Any) -> ManagedDataset:
    given = {
        "dataset_id": "lands",
        "name": "Lands",
        "handler": "admin0",
        "source_type": "manual",
        "source_url": "/srv/secret/folder/drop",
        "target_table_name": "curated_lands",
        "license": "CC0-1.0",
        "attribution": "Nobody",
    }
    return ManagedDataset(**{**given, **values})


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_numbers_stand_beside_each_other_with_what_changed() -> None:
    old = Profile(items=(item(rows=1000, rows_read=1000),))
    new = Profile(
        items=(item(rows=900, rows_read=1000, invalid=100, bbox=(0.0, 0.0, 1.5, 1.0), data=stored(2_000_000)),)
    )
    lines = {line.label: (line.old, line.new, line.change) for line in number_lines(old, new)}
    assert lines == {
        "Rows": ("1,000", "900", "-100 (-10.0%)"),
        "Valid geometries": ("100.00%", "90.00%", ""),
        "Geometry types": ("Polygon", "Polygon", ""),
        "West edge": ("0.0000°", "0.0000°", ""),
        "South edge": ("0.0000°", "0.0000°", ""),
        "East edge": ("1.0000°", "1.5000°", "+0.5°"),
        "North edge": ("1.0000°", "1.0000°", ""),
        "Size of the data": ("1.0 kB", "2.0 MB", "+199900.0%"),
    }
    assert [line.label for line in number_lines(old, new) if line.differs][:2] == ["Rows", "Valid geometries"]


def test_rasters_have_neither_geometries_nor_keys() -> None:
    tile = item(index=None, key=None, rows=1, rows_read=1, geometry_types=())
    labels = [line.label for line in number_lines(None, Profile(items=(tile, item("b", index=None, rows=1))))]
    assert labels[:2] == ["Rows", "Items"] and "Valid geometries" not in labels


def test_columns_are_gone_retyped_new_or_wider() -> None:
    old = Profile(items=(item(columns={"a": "int32", "b": "int32", "c": "int32", "d": "string"}),))
    new = Profile(items=(item(columns={"b": "string", "c": "int64", "d": "string", "e": "double"}), item("other")))
    found = [(one.name, one.what) for one in column_changes(old, new)]
    assert found == [("a", "gone"), ("b", "retyped"), ("e", "new"), ("c", "wider")]
    assert column_changes(None, new) == ()


# -- what differs ------------------------------------------------------------------------------------------------------


def test_what_is_gone_comes_first_and_small_things_are_marked() -> None:
    found = differing(
        changed(
            ("added", "tiny", shapely.box(9, 9, 9.01, 9.01)),
            ("updated", "large", shapely.box(0, 0, 10, 10)),
            ("deleted", "point", shapely.Point(5, 5)),
            ("added", "nowhere", None),
            ("added", "empty", shapely.Polygon()),
        )
    )
    assert [one.key for one in found.features] == ["point", "large", "tiny", "nowhere", "empty"]
    assert found.bbox == (0, 0, 10, 10)
    assert found.features[3].bbox is None and found.shape(3) is None and found.shape(4) is None
    tiny = found.shapes["added"]["features"][0]
    assert [part["type"] for part in tiny["geometry"]["geometries"]] == ["Polygon", "Point"]
    assert found.shapes["updated"]["features"][0]["geometry"]["type"] == "Polygon"
    assert json.dumps(found.shapes)


def test_features_without_a_place_or_none_at_all_are_no_error() -> None:
    assert differing(None).bbox is None and differing(None).of("") == ()
    found = differing(changed(("deleted", "a", None)))
    assert (found.bbox, len(found.features)) == (None, 1)


def test_a_map_gets_no_more_points_than_it_can_bear() -> None:
    angles = np.linspace(0, 2 * np.pi, 20_000)
    rough = 1 + 0.2 * np.random.default_rng(1).random((40, len(angles)))
    rings = [
        shapely.polygons(np.stack([3 * number + one * np.cos(angles), one * np.sin(angles)], axis=1))
        for number, one in enumerate(rough)
    ]
    found = differing(changed(*(("updated", str(number), ring) for number, ring in enumerate(rings))))
    drawn = found.shapes["updated"]["features"]
    points = sum(str(feature["geometry"]["coordinates"]).count("[") for feature in drawn)
    assert len(drawn) == 40 and 40 * 4 < points < MAX_POINTS * 1.1


# -- how it is told ----------------------------------------------------------------------------------------------------


def test_a_folder_is_told_by_its_name_and_an_address_of_no_web_page_is_no_link() -> None:
    told = markup.about_html(dataset(), None, linked=True)
    assert "/srv/secret" not in told and "<dd>drop</dd>" in told
    web = markup.about_html(
        dataset(source_url="https://example.org/a.zip", terms_url="https://example.org/terms"), None, linked=True
    )
    assert 'href="https://example.org/terms"' in web and 'href="https://example.org/a.zip"' in web
    assert "<a" not in markup.about_html(dataset(source_url="javascript:alert(1)"), None, linked=True)


def test_texts_of_others_are_escaped() -> None:
    record = UpdateRecord(
        dataset_id="lands",
        job_id="0123",
        update_type=UpdateType.MANUAL,
        source_version=ATTACK,
        status=UpdateStatus.FAILED,
        started_at=0.0,
        error_message=f"{ATTACK} in /srv/secret/folder/a.zip",
    )
    checked = Checked(dataset_id="lands", needs_update=True, reason=ATTACK, plan=(ATTACK,))
    for told in (
        markup.about_html(
            dataset(description=ATTACK, attribution=ATTACK, citation=ATTACK, name=ATTACK), None, linked=True
        ),
        markup.history_html([record], linked=True),
        markup.update_html(record, None, workers=0, linked=True),
        markup.plan_html(Plan(checked, time.time()), time.time()),
        markup.columns_html(column_changes(Profile(items=(item(),)), Profile(items=(item(columns={ATTACK: ATTACK}),)))),
    ):
        assert "<img" not in told and "&lt;img" in told and "/srv/secret" not in told


def test_data_are_linked_where_they_are_seen_and_drawn() -> None:
    def live(properties: dict[str, Any], count: int = 1) -> Version:
        items = tuple(
            {"collection": "curated", "id": f"curated_lands_{n}", "properties": properties} for n in range(count)
        )
        return Version(
            dataset_id="lands",
            number=1,
            state=VersionState.LIVE,
            source_version="1",
            stamp="1",
            based_on=None,
            items=items,
            profile=Profile(),
            changes=Changes(),
            findings=(),
            memo={},
            run_id=None,
            created_at=0.0,
        )

    vector = markup.about_html(dataset(), live({"table:columns": []}), linked=True)
    assert 'href="explore?collection=curated&amp;item=curated_lands_0"' in vector
    assert 'href="style?layer=curated:curated_lands_0"' in vector
    rasters = markup.about_html(dataset(), live({}, 20), linked=True)
    assert 'href="style?layer=curated"' in rasters and "and 8 more" in rasters
    assert "<a" not in markup.about_html(dataset(), live({}), linked=False)


# -- links -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?dataset=admin0", "?dataset=admin0&version=12"])
def test_an_address_is_read_as_it_was_written(query: str) -> None:
    assert Address.parse(query).query() == query


def test_an_address_of_a_version_alone_leads_to_the_list() -> None:
    assert Address.parse("?version=3&other=1") == Address()
    for wrong in ("?dataset=A%20B", "?dataset=a&version=-1", "?dataset=a&version=99999999999"):
        with pytest.raises(InputError):
            Address.parse(wrong)
