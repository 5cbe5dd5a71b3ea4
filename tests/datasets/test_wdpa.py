"""Protected areas: archives in archives, old and new columns, both routes, and what is missing or stands twice."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from geoetl.core.errors import (
    ConfigurationError,
    FormatNotAllowed,
    GeoetlError,
    LimitExceeded,
    NotFound,
    UnreadableFile,
    VerificationFailed,
)
from geoetl.core.settings import LimitSettings
from geoetl.datasets.handlers.wdpa import Wdpa
from geoetl.datasets.handlers.wdpa.source import first_of_month, month_token
from geoetl.datasets.model import Definition, SourceType, VersionState
from geoetl.datasets.release import PreparedVector
from geoetl.datasets.upstream import CredentialRefused, RateLimited, SourceChanged
from geoetl.datasets.version import Changes, Profile, Version
from geoetl.styles.defaults import default_style, iucn_attribute
from geoetl.styles.layer import StyledLayer
from geoetl.testing.datasets import DownloadConformance, HandlerConformance, Rehearsal, read_prepared, rehearsal
from geoetl.testing.upstream import Asked, Fault, LocalUpstream, Reply

SECRETS = {"WDPA_AUTH_KEY": "key-5e1d0a", "WDPA_AUTH_TOKEN": "token-77ab/+ 9"}
CATEGORIES = ("Ia", "Ib", "II", "III", "IV", "V", "VI", "Not Reported", "Not Applicable", "Not Assigned")
SEPTEMBER = date(2026, 9, 14)


def corner(number: int) -> tuple[float, float]:
    """Return a place of its own, longitude and latitude, for each of 36,000 sites."""
    return number % 300 - 150, number // 300 % 120 - 60


def areas(numbers: range) -> list[shapely.Geometry]:
    """Return polygons that do not touch."""
    return [shapely.box(west, south, west + 0.5, south + 0.5) for west, south in map(corner, numbers)]


def places(numbers: range) -> list[shapely.Geometry]:
    """Return points as WDPA has them: each is the only one of several."""
    return [shapely.MultiPoint([corner(number)]) for number in numbers]


def new_columns(numbers: range, *, is_of_points: bool) -> dict[str, Any]:
    """Return attributes as files have them since 2025."""
    count = len(numbers)
    of_areas = {} if is_of_points else {"GIS_M_AREA": [0.0] * count, "GIS_AREA": [1.5] * count}
    return {
        "SITE_ID": list(numbers),
        "SITE_PID": [f"{number}_A" if number % 7 == 0 else str(number) for number in numbers],
        "SITE_TYPE": ["OECM" if number % 10 == 0 else "PA" for number in numbers],
        "NAME_ENG": [f"Réserve {number}" for number in numbers],
        "NAME": [f"محمية {number}" for number in numbers],
        "DESIG": ["Parc national"] * count,
        "DESIG_ENG": ["National Park"] * count,
        "IUCN_CAT": [CATEGORIES[number % len(CATEGORIES)] for number in numbers],
        "REALM": [("Terrestrial", "Coastal", "Marine")[number % 3] for number in numbers],
        "REP_AREA": [2.5] * count,
        **of_areas,
        "STATUS": ["Designated"] * count,
        "STATUS_YR": [0 if number % 5 == 0 else 1990 for number in numbers],
        "METADATAID": [1856] * count,
        "PRNT_ISO3": ["MOZ;ZAF" if number % 11 == 0 else "MOZ" for number in numbers],
        "ISO3": ["MOZ;ZAF" if number % 11 == 0 else "MOZ" for number in numbers],
        "SUPP_INFO": [""] * count,
    }


def old_columns(numbers: range, *, is_of_points: bool) -> dict[str, Any]:
    """Return the same attributes as files had them before 2025."""
    new = new_columns(numbers, is_of_points=is_of_points)
    words = {"Terrestrial": "0", "Coastal": "1", "Marine": "2"}
    return {
        "WDPAID": [float(number) for number in new.pop("SITE_ID")],
        "WDPA_PID": new.pop("SITE_PID"),
        "PA_DEF": ["1" if kind == "PA" else "0" for kind in new.pop("SITE_TYPE")],
        "ORIG_NAME": new.pop("NAME"),
        "NAME": new.pop("NAME_ENG"),
        "MARINE": [words[realm] for realm in new.pop("REALM")],
        "PARENT_ISO": new.pop("PRNT_ISO3"),
        **new,
    }


Columns = Callable[..., dict[str, Any]]


def layer(numbers: range, columns: Columns, *, is_of_points: bool) -> gpd.GeoDataFrame:
    shapes = places(numbers) if is_of_points else areas(numbers)
    return gpd.GeoDataFrame(columns(numbers, is_of_points=is_of_points), geometry=shapes, crs="EPSG:4326")


def shapefile(frame: gpd.GeoDataFrame, folder: Path, stem: str) -> dict[str, bytes]:
    """Return the files of a Shapefile, by their names."""
    folder.mkdir(exist_ok=True, parents=True)
    frame.to_file(folder / f"{stem}.shp", encoding="UTF-8")
    return {path.name: path.read_bytes() for path in sorted(folder.glob(f"{stem}.*"))}


def zipped(members: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 9, 1, 0, 0, 0)), content)
    return made.getvalue()


def release(
    folder: Path,
    columns: Columns = new_columns,
    *,
    per_part: int = 40,
    tag: str = "Sep2026",
    parts: tuple[int, ...] = (0, 1, 2),
    overlap: int = 0,
    without: str = "",
) -> bytes:
    """Return a release as Protected Planet packs it: three archives inside, each with areas and points."""
    members = {"Shapefile_splitting_README.txt": b"Why it is split.", f"WDPA_sources_{tag}.csv": b"METADATAID\n1856\n"}
    for part in parts:
        inner: dict[str, bytes] = {}
        for kind, base, count in (("polygons", 1, per_part), ("points", 100_001, per_part // 4)):
            numbers = range(base + part * count - (overlap if part else 0), base + (part + 1) * count)
            frame = layer(numbers, columns, is_of_points=kind == "points")
            if kind != without:
                inner |= shapefile(frame, folder / f"{part}-{kind}", f"WDPA_{tag}_Public_shp-{kind}")
        members[f"WDPA_{tag}_Public_shp_{part}.zip"] = zipped(inner)
    return zipped(members)


def definition(url: str, *, source_type: SourceType = SourceType.BULK_DOWNLOAD, **config: Any) -> Definition:
    return Definition(
        dataset_id="wdpa",
        name="Protected areas",
        handler="wdpa",
        source_type=source_type,
        source_url=url,
        source_config=config,
        credential_key="WDPA",
        target_table_name="curated_wdpa",
        license="other",
        attribution="UNEP-WCMC and IUCN",
    )


def prepared(update: Rehearsal, handler: Wdpa | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Return each feature by its key, by the suffix of its item."""
    handler = handler or Wdpa(lambda: SEPTEMBER)
    found = handler.check(update.task)
    made = list(handler.prepare(update.task, found, handler.fetch(update.task, found)))
    assert all(isinstance(one, PreparedVector) for one in made)
    return {
        one.suffix: {row["SITE_PID"]: row for row in read_prepared(update, one).to_pylist()}
        for one in made
        if isinstance(one, PreparedVector)
    }


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Definition]:
    """Give ``put(archive)``: a definition of a folder with a release in it."""

    def make(content: bytes, name: str = "WDPA_Sep2026_Public_shp.zip", **config: Any) -> Definition:
        folder = tmp_path / "given"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        return definition(str(folder), source_type=SourceType.MANUAL, **config)

    return make


class TestPublic(DownloadConformance):
    """The file of Protected Planet."""

    handler = Wdpa
    most_requests = 2
    month = month_token(datetime.now(UTC).date())
    data_paths = (f"/current/WDPA_{month}_Public_shp.zip",)

    def arrange(self, source: LocalUpstream, folder: Path) -> Definition:
        source.serve(self.data_paths[0], release(folder, tag=self.month))
        return definition(source.url("/current"))

    def change(self, source: LocalUpstream, folder: Path) -> None:
        source.serve(self.data_paths[0], release(folder, tag=self.month, per_part=44))


class TestIbat(DownloadConformance):
    """What IBAT leads to."""

    handler = Wdpa
    credentials = SECRETS
    data_paths = ("/bucket/wdpa_shp.zip",)

    def arrange(self, source: LocalUpstream, folder: Path) -> Definition:
        self._offer(source, "Sep 2026", release(folder))
        return definition(source.url("/api/v2/data-downloads"), route="ibat")

    def change(self, source: LocalUpstream, folder: Path) -> None:
        self._offer(source, "Oct 2026", release(folder, tag="Oct2026", per_part=44))

    def _offer(self, source: LocalUpstream, update_date: str, content: bytes) -> None:
        url = source.serve(self.data_paths[0], content)

        def answer(asked: Asked) -> Any:
            if (asked.query.get("auth_key"), asked.query.get("auth_token")) != tuple(SECRETS.values()):
                return Reply(401, {"error": "unauthorized"})
            return {"download_url": f"{url}?X-Amz-Signature=signed-0c44", "update_date": update_date}

        source.json("/api/v2/data-downloads", answer)


class TestPutThere(HandlerConformance):
    """A file that somebody fetched."""

    handler = Wdpa
    most_requests = 0

    def arrange(self, source: LocalUpstream, folder: Path) -> Definition:
        (folder / "WDPA_Sep2026_Public_shp.zip").write_bytes(release(folder.parent / "made", old_columns))
        return definition(str(folder), source_type=SourceType.MANUAL)

    def change(self, source: LocalUpstream, folder: Path) -> None:
        (folder / "WDPA_Sep2026_Public_shp.zip").write_bytes(release(folder.parent / "made", new_columns))


def test_the_old_and_the_new_columns_become_the_same_thousands_of_features(
    tmp_path: Path, put: Callable[..., Definition]
) -> None:
    found = []
    for columns in (old_columns, new_columns):
        where = tmp_path / columns.__name__
        where.mkdir()
        with rehearsal(put(release(where / "made", columns, per_part=1000)), where, roots=(tmp_path,)) as update:
            found.append(prepared(update))
    old, new = found
    assert {suffix: len(rows) for suffix, rows in new.items()} == {"_polygons": 3000, "_points": 750}
    assert old == new
    row = new["_polygons"]["35_A"]
    assert (row["SITE_ID"], row["SITE_TYPE"], row["REALM"], row["STATUS_YR"], row["SUPP_INFO"]) == (
        35, "PA", "Marine", None, None,
    )  # fmt: skip
    assert (row["NAME_ENG"], row["NAME"]) == ("Réserve 35", "محمية 35")
    assert new["_polygons"]["22"]["ISO3"] == new["_polygons"]["22"]["PRNT_ISO3"] == "MOZ;ZAF"
    assert {row["REALM"] for row in new["_polygons"].values()} == {"Terrestrial", "Coastal", "Marine"}
    assert "GIS_AREA" in row
    assert "GIS_AREA" not in next(iter(new["_points"].values()))


def test_points_stay_points_and_nothing_of_the_parts_is_left(tmp_path: Path, put: Callable[..., Definition]) -> None:
    with rehearsal(put(release(tmp_path / "made")), tmp_path) as update:
        handler = Wdpa()
        found = handler.check(update.task)
        made = list(handler.prepare(update.task, found, handler.fetch(update.task, found)))
        frames = [update.task.gate.read_vector(update.task.workspace / one.file).frame for one in made]  # type: ignore[union-attr]
        assert [set(frame.geom_type) for frame in frames] == [{"Polygon"}, {"MultiPoint"}]
        assert sorted(path.name for path in update.task.workspace.iterdir()) == ["points.parquet", "polygons.parquet"]
    assert [one.valid_at for one in made] == ["2026-09-01"] * 2  # type: ignore[union-attr]
    assert found.source_version == "Sep2026"


def test_what_stands_in_two_parts_is_taken_once(tmp_path: Path, put: Callable[..., Definition]) -> None:
    with rehearsal(put(release(tmp_path / "made", overlap=5)), tmp_path) as update:
        handler = Wdpa()
        found = handler.check(update.task)
        made = list(handler.prepare(update.task, found, handler.fetch(update.task, found)))
        assert [read_prepared(update, one).num_rows for one in made] == [120, 30]  # type: ignore[arg-type]
    told = [finding.message for one in made for finding in one.findings]  # type: ignore[union-attr]
    assert told == ["10 features stood in several parts of the release, and were taken once."] * 2


@pytest.mark.parametrize(
    ("packed", "kind", "message"),
    [
        ({"parts": (0, 1)}, VerificationFailed, r"no part 2 \(2 of 3"),
        ({"parts": (0, 2)}, VerificationFailed, "no part 1"),
        ({"without": "points"}, UnreadableFile, "no layer of points"),
        ({"without": "polygons"}, UnreadableFile, "no layer of polygons"),
    ],
)
def test_a_part_that_is_missing_is_an_error(
    tmp_path: Path, put: Callable[..., Definition], packed: dict[str, Any], kind: type[GeoetlError], message: str
) -> None:
    with rehearsal(put(release(tmp_path / "made", **packed)), tmp_path) as update:
        with pytest.raises(kind, match=message):
            prepared(update)
        assert not list(update.task.workspace.iterdir())


def test_parts_of_other_columns_do_not_mix(tmp_path: Path, put: Callable[..., Definition]) -> None:
    def changed(numbers: range, **options: Any) -> dict[str, Any]:
        made = new_columns(numbers, **options)
        return (
            made
            if 41 not in numbers
            else {("IUCN" if name == "IUCN_CAT" else name): value for name, value in made.items()}
        )

    with (
        rehearsal(put(release(tmp_path / "made", changed)), tmp_path) as update,
        pytest.raises(UnreadableFile, match="other columns than those of the parts before"),
    ):
        prepared(update)


def test_a_renamed_column_is_left_for_the_look_at_the_version(tmp_path: Path, put: Callable[..., Definition]) -> None:
    def changed(numbers: range, **options: Any) -> dict[str, Any]:
        made = new_columns(numbers, **options)
        return {("IUCN" if name == "IUCN_CAT" else name): value for name, value in made.items()}

    with rehearsal(put(release(tmp_path / "made", changed)), tmp_path) as update:
        row = prepared(update)["_polygons"]["1"]
    assert "IUCN_CAT" in Wdpa.required_columns
    assert ("IUCN_CAT" in row, row["IUCN"]) == (False, "Ib")


def test_a_file_without_the_ids_of_sites_is_refused(tmp_path: Path, put: Callable[..., Definition]) -> None:
    def changed(numbers: range, **options: Any) -> dict[str, Any]:
        made = new_columns(numbers, **options)
        return {("PID" if name == "SITE_PID" else name): value for name, value in made.items()}

    with (
        rehearsal(put(release(tmp_path / "made", changed)), tmp_path) as update,
        pytest.raises(UnreadableFile, match="no column SITE_PID"),
    ):
        prepared(update)


@pytest.mark.parametrize("columns", [old_columns, new_columns])
@pytest.mark.parametrize("suffix", [".geojson", ".gpkg"])
def test_one_file_with_areas_and_points_becomes_two(
    tmp_path: Path, put: Callable[..., Definition], columns: Columns, suffix: str
) -> None:
    parts = [layer(range(1, 30), columns, is_of_points=False), layer(range(100, 110), columns, is_of_points=True)]
    frame = pd.concat(parts)
    frame.columns = [name.lower() for name in frame.columns]
    frame.to_file(tmp_path / f"one{suffix}")
    definition = put((tmp_path / f"one{suffix}").read_bytes(), f"wdpa_sep_2026{suffix}")
    with rehearsal(definition, tmp_path) as update:
        found = prepared(update)
    assert {kind: len(rows) for kind, rows in found.items()} == {"_polygons": 29, "_points": 10}
    assert found["_points"]["100"]["REALM"] == "Coastal"


def test_an_archive_in_an_archive_in_an_archive_is_not_opened(tmp_path: Path, put: Callable[..., Definition]) -> None:
    deep = zipped({"deep.zip": zipped({"a.txt": b"a"})})
    outer = zipped({f"WDPA_Sep2026_Public_shp_{part}.zip": deep for part in range(3)})
    with rehearsal(put(outer), tmp_path) as update, pytest.raises(FormatNotAllowed, match="is an archive itself"):
        prepared(update)


def test_a_bomb_inside_is_found_by_the_bytes_that_come(tmp_path: Path, put: Callable[..., Definition]) -> None:
    bomb = zipped({"a-polygons.shp": b"\0" * 3_000_000, "a-points.shp": b"\0"})
    outer = zipped({f"WDPA_Sep2026_Public_shp_{part}.zip": bomb for part in range(3)})
    limits = LimitSettings(archive_gib=1 / 1024)
    with rehearsal(put(outer), tmp_path, limits=limits) as update, pytest.raises(LimitExceeded):
        prepared(update)
    assert not list(update.task.workspace.iterdir())


def test_a_geodatabase_is_refused_with_what_to_fetch_instead(tmp_path: Path, put: Callable[..., Definition]) -> None:
    content = zipped({"WDPA_Sep2026_Public.gdb/a00000001.gdbtable": b"x"})
    with (
        rehearsal(put(content, "WDPA_Sep2026_Public.zip"), tmp_path) as update,
        pytest.raises(FormatNotAllowed, match="file geodatabase"),
    ):
        prepared(update)


# -- which release -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [404, 403])
def test_the_month_before_is_taken_while_this_month_is_not_there(tmp_path: Path, missing: int) -> None:
    with LocalUpstream() as source:
        source.serve("/current/WDPA_Dec2025_Public_shp.zip", b"PK")
        source.misbehave("/current/WDPA_Jan2026_Public_shp.zip", Fault.STATUS, status=missing)
        with rehearsal(definition(source.url("/current")), tmp_path) as update:
            found = Wdpa(lambda: date(2026, 1, 31)).check(update.task)
            assert found.source_version == "Dec2025"
            assert source.count("GET", "/current/WDPA_Dec2025_Public_shp.zip") == 0
            source.serve("/current/WDPA_Jan2026_Public_shp.zip", b"PK")
            source.behave("/current/WDPA_Jan2026_Public_shp.zip")
            assert Wdpa(lambda: date(2026, 1, 31)).check(update.task).source_version == "Jan2026"
            with pytest.raises(NotFound, match=r"WDPA_Feb2026_Public_shp\.zip.*Mar2026"):
                Wdpa(lambda: date(2026, 3, 1)).check(update.task)


def test_the_month_before_is_no_news_where_this_month_is_served(tmp_path: Path) -> None:
    live = Version(
        dataset_id="wdpa", number=2, state=VersionState.LIVE, source_version="Sep2026", stamp="Sep2026 x", based_on=1,
        items=(), profile=Profile(), changes=Changes(), findings=(), memo={}, run_id=None, created_at=0,
    )  # fmt: skip
    with LocalUpstream() as source:
        source.serve("/current/WDPA_Aug2026_Public_shp.zip", b"PK")
        with rehearsal(definition(source.url("/current")), tmp_path, live=live) as update:
            found = Wdpa(lambda: SEPTEMBER).check(update.task)
            assert (found.source_version, found.is_news) == ("Aug2026", False)
            source.serve("/current/WDPA_Oct2026_Public_shp.zip", b"PK")
            assert Wdpa(lambda: date(2026, 10, 2)).check(update.task).is_news


@pytest.mark.parametrize(
    ("text", "day"),
    [("Sep2026", "2026-09-01"), ("May 2023", "2023-05-01"), ("September 2026", "2026-09-01"), ("v7", "")],
)
def test_months_are_read_as_they_are_written(text: str, day: str) -> None:
    assert first_of_month(text) == day


def test_of_several_files_the_one_that_is_simplest_to_read_is_taken(tmp_path: Path) -> None:
    with LocalUpstream() as source:
        urls = [source.url(f"/b/{name}?signature=s-1") for name in ("wdpa_gdb.zip", "wdpa_shp.zip", "wdpa.geojson")]
        source.json(
            "/api", lambda _asked: {"downloads": [{"download_url": url} for url in urls], "update_date": "Sep 2026"}
        )
        with rehearsal(definition(source.url("/api"), route="ibat"), tmp_path, credentials=SECRETS) as update:
            (download,) = Wdpa().check(update.task).downloads
            assert download.url.endswith("/b/wdpa.geojson")
            del urls[2]
            assert Wdpa().check(update.task).downloads[0].url.endswith("/b/wdpa_shp.zip")
            del urls[1]
            with pytest.raises(FormatNotAllowed, match="file geodatabase only"):
                Wdpa().check(update.task)


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (Reply(401, {}), CredentialRefused, "WDPA_AUTH_KEY"),
        (Reply(429, {}), RateLimited, "too often"),
        ({"update_date": "Sep 2026"}, UnreadableFile, "download_url and update_date"),
        ({"download_url": "https://example.org/a.zip?sig=s-1"}, UnreadableFile, "download_url and update_date"),
        (["a"], UnreadableFile, "download_url and update_date"),
    ],
)
def test_what_ibat_answers_otherwise_is_told(tmp_path: Path, reply: Any, kind: type[GeoetlError], message: str) -> None:
    with LocalUpstream() as source:
        source.json("/api", lambda _asked: reply)
        with rehearsal(definition(source.url("/api"), route="ibat"), tmp_path, credentials=SECRETS) as update:
            with pytest.raises(kind, match=message) as caught:
                Wdpa().check(update.task)
            assert not [value for value in (*SECRETS.values(), "s-1") if value in str(caught.value)]


def test_signatures_are_not_told_and_another_release_at_ibat_is_not_taken(tmp_path: Path) -> None:
    offered = ["Sep 2026"]
    with LocalUpstream() as source:
        url = source.serve("/b/wdpa_shp.zip", release(tmp_path / "made"))
        source.json("/api", lambda _asked: {"download_url": f"{url}?sig=signed-0c44", "update_date": offered[0]})
        with rehearsal(definition(source.url("/api"), route="ibat"), tmp_path, credentials=SECRETS) as update:
            found = Wdpa().check(update.task)
            assert "signed-0c44" not in found.model_dump_json()
            offered[0] = "Oct 2026"
            with pytest.raises(SourceChanged, match="Oct 2026"):
                Wdpa().fetch(update.task, found)
            offered[0] = "Sep 2026"
            source.misbehave("/b/wdpa_shp.zip", Fault.STATUS, status=403)
            with pytest.raises(GeoetlError) as caught:
                Wdpa().fetch(update.task, found)
            assert "signed-0c44" not in f"{caught.value}"
            source.behave("/b/wdpa_shp.zip")
            fetched = Wdpa().fetch(update.task, found)
            asked = source.count()
            assert Wdpa().fetch(update.task, found) == fetched
            assert source.count() == asked


def test_ibat_without_credentials_names_the_variables(tmp_path: Path) -> None:
    with (
        rehearsal(definition("http://127.0.0.1:9/api", route="ibat"), tmp_path) as update,
        pytest.raises(ConfigurationError, match="WDPA_AUTH_KEY"),
    ):
        Wdpa().check(update.task)
    nobody = definition("http://127.0.0.1:9/api", route="ibat").model_copy(update={"credential_key": None})
    with rehearsal(nobody, tmp_path) as update, pytest.raises(ConfigurationError, match="no credential_key"):
        Wdpa().check(update.task)


# -- how it is drawn ---------------------------------------------------------------------------------------------------


def test_the_usual_style_of_what_is_prepared_has_the_categories_of_iucn(
    tmp_path: Path, put: Callable[..., Definition]
) -> None:
    with rehearsal(put(release(tmp_path / "made", old_columns)), tmp_path) as update:
        row = prepared(update)["_polygons"]["1"]
    kinds = {name: "text" if isinstance(value, str) else "number" for name, value in row.items() if name != "geometry"}
    drawn = StyledLayer("curated:curated_wdpa_polygons", "vector", 2, kinds)  # type: ignore[arg-type]
    assert iucn_attribute(drawn) == "IUCN_CAT"
    style = json.dumps(default_style(drawn, lambda _name: np.array([]), title="Protected areas").document())
    assert all(json.dumps(category) in style for category in CATEGORIES[:7])
