"""The parts of the page Review that need no page: rows compared, checks, standing, links, words."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

from dashboards.review import rows as rows_module
from dashboards.review.address import Address
from dashboards.review.checks import addresses, checks
from dashboards.review.comparison import number_lines, size_text
from dashboards.review.contents import everything
from dashboards.review.rows import RowChanges, row_changes
from dashboards.review.standing import Group, deeds, release_row, utc
from dashboards.review.trail import trail_html
from geoetl.core.errors import InputError, LimitExceeded, UnreadableFile
from geoetl.core.findings import Severity
from geoetl.core.principal import Principal, Role, Via
from geoetl.core.settings import LimitSettings
from geoetl.publish.model import UNDO_S, Action, Clearance, Manifest, Release, State
from geoetl.publish.repository import ReleaseRepository
from geoetl.store.gate import Gate
from tests.migrated import sqlite_database
from tests.publish.releasing import APPROVER, AUTHOR, NOW, Clock, a_manifest, a_step, brought
from tests.reviewed import field_rows


@pytest.fixture
def compare(tmp_path: Path) -> Any:
    """Give ``compare(old, new)``, which writes rows as GeoParquet and compares them."""
    gate = Gate((tmp_path,), LimitSettings())

    def compared(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> RowChanges:
        paths = (tmp_path / "old.parquet", tmp_path / "new.parquet")
        for path, rows in zip(paths, (old, new), strict=True):
            gpd.GeoDataFrame(rows, crs=4326).to_parquet(path, write_covering_bbox=True, schema_version="1.1.0")
        return row_changes(gate, *paths, "fields")

    return compared


def counts(found: RowChanges) -> tuple[int, int, int]:
    return found.added, found.updated, found.deleted


# -- rows --------------------------------------------------------------------------------------------------------------


def test_rows_are_told_apart_by_a_key(compare: Any) -> None:
    new = [*field_rows(8, f03="Renamed")[1:], *field_rows(10)[8:]]
    found = compare(field_rows(8), new[::-1])
    assert (found.key, counts(found)) == ("code", (2, 1, 1))
    told = {(one.change, one.key, one.columns) for one in found.differing.features}
    assert told == {("deleted", "f00", ""), ("updated", "f03", "name"), ("added", "f08", ""), ("added", "f09", "")}
    assert [len(found.differing.shapes[kind]["features"]) for kind in ("deleted", "updated", "added")] == [1, 1, 2]


def test_without_a_key_rows_are_matched_by_geometry_then_by_attributes(compare: Any) -> None:
    def keyless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"crop": row["crop"], "size": row["crop"] * 1.5, "geometry": row["geometry"]} for row in rows]

    old = keyless(field_rows(6))
    moved = [{**row} for row in old]
    moved[1]["size"] = 99.5
    moved[2]["geometry"] = shapely.box(20, 20, 21, 21)
    found = compare(old, moved[:-1])
    assert (found.key, counts(found)) == ("", (0, 2, 1))
    assert sorted(one.columns for one in found.differing.features if one.change == "updated") == ["geometry", "size"]


def test_equal_rows_that_stand_several_times_are_counted(compare: Any) -> None:
    one = [{"crop": 1, "geometry": shapely.Point(5, 45)}]
    assert counts(compare(one * 3, one * 5)) == (2, 0, 0)
    assert counts(compare(one * 5, one * 3)) == (0, 0, 2)


def test_the_same_rows_in_another_order_do_not_differ(compare: Any) -> None:
    found = compare(field_rows(8), field_rows(8)[::-1])
    assert (counts(found), found.total, found.differing.features) == ((0, 0, 0), 0, ())


def test_a_new_column_differs_where_it_is_filled(compare: Any) -> None:
    new = [{**row, "owner": "Ada" if row["code"] == "f02" else None} for row in field_rows(4)]
    found = compare(field_rows(4), new)
    assert counts(found) == (0, 1, 0)
    assert found.differing.features[0].columns == "owner"


def test_a_column_that_finds_few_rows_again_is_no_key(compare: Any) -> None:
    def numbered(first: int) -> list[dict[str, Any]]:
        return [{"number": first + n, "name": f"F{n}", "geometry": shapely.Point(n, 45)} for n in range(8)]

    assert compare(numbered(0), numbered(100)).key == "name"


def test_too_many_rows_are_not_compared_one_by_one(compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MAX_ROWS", 5)
    with pytest.raises(LimitExceeded, match="There are 6 rows; up to 5 are compared"):
        compare(field_rows(6), field_rows(4))


def test_no_more_rows_than_a_person_looks_through_are_listed(compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MAX_LISTED", 3)
    found = compare(field_rows(10), field_rows(2))
    assert (found.deleted, len(found.differing.features)) == (8, 3)


def test_a_table_without_a_geometry_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    shapes = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs=4326).rename_geometry("shape")
    shapes.to_parquet(path)
    with pytest.raises(UnreadableFile, match="no column 'geometry'"):
        row_changes(Gate((tmp_path,), LimitSettings()), path, path, "x")


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "told"),
    [(None, ""), (0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (2.5e9, "2.5 GB")],
)
def test_sizes_are_told_by_decimal_units(count: float | None, told: str) -> None:
    assert size_text(count) == told


def a_described(**properties: Any) -> Manifest:
    item = {"type": "Feature", "bbox": [5, 45, 9, 48], "properties": properties, "assets": {}, "links": []}
    return a_manifest(documents={"flood.json": item}, version=2)


def test_numbers_stand_beside_those_that_are_public() -> None:
    old = a_described(**{"table:row_count": 40, "datetime": "2026-01-02T03:04:05Z"})
    new = a_described(**{"table:row_count": 30, "datetime": "2026-01-02T03:04:05Z"})
    lines = {line.label: line for line in number_lines(old, new)}
    assert (lines["Rows"].old, lines["Rows"].new, lines["Rows"].change) == ("40", "30", "-10 (-25.0%)")
    assert lines["Time, UTC"].new == "2026-01-02 03:04:05" and not lines["Time, UTC"].differs
    assert lines["Files"].new == "2"
    assert {line.label for line in number_lines(None, new) if line.old} == set()


def test_documents_count_among_the_files_with_the_digest_that_they_are_served_with() -> None:
    files = everything(a_described())
    assert [one.target for one in files] == ["rasters/flood.tif", "flood.json"]
    assert files[1].media_type == "application/geo+json" and files[1].bytes > 50


def test_the_history_tells_of_files_that_a_withdrawal_left(tmp_path: Path) -> None:
    releases = ReleaseRepository(sqlite_database(tmp_path / "geoetl.db"), Clock())
    for item, leaves in (("flood", True), ("fire", False)):
        published = brought(releases, State.PUBLISHED, item)
        releases.move(APPROVER, a_step(published, Action.WITHDRAW, leaves_objects=leaves))
        told = trail_html(releases.audit.page(release_id=published.id), str)
        assert "withdrew it" in told
        assert ("and left its files where they are" in told) is leaves


# -- standing ----------------------------------------------------------------------------------------------------------


def a_release(state: State = State.PENDING_REVIEW, manifest: Manifest | None = None, **values: Any) -> Release:
    made = manifest or a_described(title="A flood")
    return Release(
        **{
            "id": "r1",
            "asset_id": "a",
            "collection": "hazards",
            "item": "flood",
            "state": state,
            "revision": 2,
            "version": None,
            "clearance": Clearance.PUBLIC,
            "manifest": made,
            "manifest_digest": made.digest,
            "submitted_by": AUTHOR.id,
            "submitted_at": NOW - 60,
            "approval": None,
            "publish_after": None,
            "withdraw_after": None,
            "run_id": None,
            "published_at": None,
            "last_error": None,
            "reason": None,
            "created_at": NOW - 100,
            "updated_at": NOW - 50,
            **values,
        }
    )


def asked(release: Release, who: Principal = APPROVER, *, read_only: bool = False) -> dict[Action, str]:
    return {deed.action: deed.barred for deed in deeds(release, who, read_only=read_only, now=NOW)}


def test_an_approver_who_did_not_submit_may_decide() -> None:
    waiting = {Action.APPROVE: "", Action.REQUEST_CHANGES: "", Action.REJECT: ""}
    assert asked(a_release()) == waiting
    assert asked(a_release(State.APPROVED)) == {Action.REVOKE: ""}
    assert asked(a_release(State.COPY_FAILED)) == {Action.REVOKE: ""}
    assert asked(a_release(State.PUBLISHED)) == {Action.WITHDRAW: ""}
    assert asked(a_release(State.COPYING)) == asked(a_release(State.REJECTED)) == asked(a_release(State.DRAFT)) == {}


def test_who_may_not_is_told_why() -> None:
    own = Principal(AUTHOR.id.upper(), "Anna under another name", Role.APPROVER, Via.TOKEN)
    assert set(asked(a_release(), own).values()) == {"You submitted it: somebody else decides on it."}
    assert all("takes the role approver" in barred for barred in asked(a_release(), AUTHOR).values())
    assert all("only reads" in barred for barred in asked(a_release(), read_only=True).values())


def test_a_withdrawal_can_be_undone_for_a_while() -> None:
    assert asked(a_release(State.WITHDRAWN, version=1)) == {Action.RESTORE: ""}
    assert asked(a_release(State.WITHDRAWN, version=1, updated_at=NOW - UNDO_S)) == {}
    assert asked(a_release(State.WITHDRAWN)) == {}


def test_a_row_tells_what_whose_how_much_and_since_when() -> None:
    row = release_row(a_release(), "Anna")
    assert (row["title"], row["place"], row["who"]) == ("A flood", "hazards / flood", "Anna")
    assert row["facts"].startswith("v2 · 2 files · ") and row["since"] == NOW - 60
    rejected = release_row(a_release(State.REJECTED, reason="No licence."), "Anna")
    assert (rejected["word"], rejected["note"], rejected["since"]) == ("Rejected", "No licence.", NOW - 50)


def test_every_state_is_in_one_group() -> None:
    assert sorted(state for group in Group for state in group.states) == sorted(State)


def test_times_beyond_all_calendars_are_told_as_such() -> None:
    assert utc(0) == "1970-01-01 00:00 UTC"
    assert utc(1e300) == "in a time beyond all calendars"


# -- checks ------------------------------------------------------------------------------------------------------------


def wrong(release: Release, *, next_version: int = 2, present: dict[str, Any] | None = None) -> dict[str, Severity]:
    found = checks(release, next_version=next_version, present={"assets": {}} if present is None else present)
    return {check.name: check.severity for check in found if not check.is_right}


def a_sound(**values: Any) -> Manifest:
    made = a_described()
    assets = {"data": {"href": "./rasters/flood.tif"}}
    item = {**made.documents["flood.json"], "assets": assets, "links": [{"rel": "root", "href": "../../catalog.json"}]}
    sound = {"license": "CC-BY-4.0", "attribution": "The survey", "documents": {"flood.json": item}}
    return made.model_copy(update={**sound, **values})


def test_a_sound_release_passes_every_check() -> None:
    assert wrong(a_release(manifest=a_sound())) == {}


def test_a_missing_licence_and_attribution_are_noticed() -> None:
    bare = a_sound(license="other", attribution="")
    assert wrong(a_release(manifest=bare)) == {"Licence": Severity.WARNING, "Attribution": Severity.WARNING}


def test_a_version_that_is_taken_meanwhile_is_noticed() -> None:
    assert wrong(a_release(manifest=a_sound()), next_version=3) == {"Version": Severity.ERROR}


@pytest.mark.parametrize(
    "href", ["internal://rasters/flood.tif", "file:///data/flood.tif", "/data/flood.tif", "./other.tif", "s3://b/k"]
)
def test_an_address_that_leads_inside_or_nowhere_is_noticed(href: str) -> None:
    item = {**a_sound().documents["flood.json"], "assets": {"data": {"href": href}}}
    assert wrong(a_release(manifest=a_sound(documents={"flood.json": item}))) == {"Addresses": Severity.ERROR}


def test_addresses_are_found_at_any_depth() -> None:
    document = {
        "links": [{"href": "a"}],
        "assets": {"x": {"href": "b", "alternate": {"y": {"href": "c"}}}},
        "href": "d",
    }
    assert dict(addresses(document)) == {"links[0]": "a", "assets.x": "b", "assets.x.alternate.y": "c", "href": "d"}


def test_an_item_that_is_gone_or_has_other_data_is_noticed() -> None:
    release = a_release(manifest=a_sound(objects=(a_sound().objects[0].model_copy(update={"target": "data.tif"}),)))
    other = {"assets": {"data": {"file:checksum": "1220" + "f" * 64}}}
    assert wrong(release, present=other)["Catalogue"] is Severity.WARNING
    found = checks(release, next_version=2, present=None)
    assert next(check for check in found if check.name == "Catalogue").severity is Severity.WARNING


# -- links -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "address"),
    [
        ("", Address()),
        ("?release=06h2", Address("06h2")),
        ("?release=06h2&tab=files", Address("06h2", "files")),
        ("?show=published&release=06h2&tab=history", Address("06h2", "history", Group.PUBLISHED)),
        ("?show=under-way", Address(show=Group.UNDER_WAY)),
    ],
)
def test_a_link_carries_the_state(query: str, address: Address) -> None:
    assert Address.parse(query) == address
    assert address.query() == query


@pytest.mark.parametrize("query", ["?release=../etc", "?release=<b>", "?release=x&tab=filez", "?show=nothing"])
def test_a_link_that_is_not_right_is_refused_with_a_hint(query: str) -> None:
    with pytest.raises(InputError) as refused:
        Address.parse(query)
    assert refused.value.hint and refused.value.field in ("release", "tab", "show")
