"""Natural Earth's countries: the real archive, releases of both eras, and every encoding that they came in."""

import io
import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

import geoetl
from geoetl.core.errors import EmptyDataset, InvalidParameter, NotFound, UnreadableFile
from geoetl.datasets.handlers import HANDLERS, installed_handlers
from geoetl.datasets.handlers.admin0 import Admin0
from geoetl.datasets.model import Definition, SourceType
from geoetl.datasets.release import PreparedVector
from geoetl.testing.datasets import DownloadConformance, HandlerConformance, Rehearsal, read_prepared, rehearsal
from geoetl.testing.upstream import LocalUpstream
from tests.datasets.released import Upkeep

SAMPLE = "samples:ne_10m_admin_0_countries.zip"


def definition(url: str, *, manual: bool = False, **further: Any) -> Definition:
    return Definition(
        dataset_id="admin0",
        name="Countries",
        handler="admin0",
        source_type=SourceType.MANUAL if manual else SourceType.BULK_DOWNLOAD,
        source_url=url,
        target_table_name="curated_admin0",
        license="CC0-1.0",
        attribution="Made with Natural Earth",
        **further,
    )


def countries(rows: list[dict[str, Any]]) -> gpd.GeoDataFrame:
    shapes = [shapely.box(number, 0, number + 0.9, 1) for number in range(len(rows))]
    return gpd.GeoDataFrame(rows, geometry=shapes, crs="EPSG:4326")


ROWS: list[dict[str, Any]] = [
    {"ADM0_A3": "CIV", "NAME": "Côte d'Ivoire", "ISO_A3": "CIV", "ISO_A3_EH": "CIV", "ISO_A2": "CI", "ISO_N3": "384"},
    {"ADM0_A3": "FRA", "NAME": "France", "ISO_A3": "-99", "ISO_A3_EH": "-99", "ISO_A2": "-99", "ISO_N3": "-99"},
    {"ADM0_A3": "NOR", "NAME": "Norway", "ISO_A3": "-99", "ISO_A3_EH": "NOR", "ISO_A2": "-99", "ISO_N3": "-99"},
    {"ADM0_A3": "KOS", "NAME": "Kosovo", "ISO_A3": "-99", "ISO_A3_EH": "-99", "ISO_A2": "-99", "ISO_N3": "-99"},
    {"ADM0_A3": "SOL", "NAME": "Somaliland", "ISO_A3": None, "ISO_A3_EH": None, "ISO_A2": None, "ISO_N3": "-099"},
]


def packed(
    folder: Path, rows: list[dict[str, Any]], version: str = "5.1.1", encoding: str = "UTF-8", cpg: bool = True
) -> bytes:
    """Return an archive as Natural Earth packs it."""
    folder.mkdir(exist_ok=True)
    stem = "ne_10m_admin_0_countries"
    countries(rows).to_file(folder / f"{stem}.shp", encoding=encoding)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted(folder.glob(f"{stem}.*")):
            content = part.read_bytes()
            if part.suffix == ".dbf" and not cpg:
                content = content[:29] + b"\0" + content[30:]
            if cpg or part.suffix != ".cpg":
                archive.writestr(part.name, content)
        archive.writestr(f"{stem}.README.html", "<html></html>" * 400)
        archive.writestr(f"{stem}.VERSION.txt", f"{version}\r\n")
    return made.getvalue()


def prepared(update: Rehearsal) -> tuple[PreparedVector, dict[str, dict[str, Any]]]:
    """Return what the handler makes, and each country by its key."""
    handler = Admin0()
    release = handler.check(update.task)
    (one,) = handler.prepare(update.task, release, handler.fetch(update.task, release))
    assert isinstance(one, PreparedVector)
    return one, {row[one.key]: row for row in read_prepared(update, one).to_pylist()}


class TestDownloaded(DownloadConformance):
    """Natural Earth over HTTP."""

    handler = Admin0
    data_paths = ("/ne_10m_admin_0_countries.zip",)

    def arrange(self, source: LocalUpstream, folder: Path) -> Definition:
        return definition(source.serve(self.data_paths[0], self._release(folder, 300, "5.1.1")))

    def change(self, source: LocalUpstream, folder: Path) -> None:
        source.serve(self.data_paths[0], self._release(folder, 301, "5.1.2"))

    def _release(self, folder: Path, count: int, version: str) -> bytes:
        rows = [{"ADM0_A3": f"A{number:02X}", "NAME": f"Land {number}"} for number in range(count)]
        return packed(folder, rows, version)


class TestPutThere(HandlerConformance):
    """Natural Earth out of a folder."""

    handler = Admin0
    most_requests = 0

    def arrange(self, source: LocalUpstream, folder: Path) -> Definition:
        (folder / "ne_10m_admin_0_countries.zip").write_bytes(packed(folder.parent / "one", ROWS))
        (folder / "notes.txt").write_text("of somebody")
        return definition(str(folder), manual=True)

    def change(self, source: LocalUpstream, folder: Path) -> None:
        (folder / "ne_10m_admin_0_countries.zip").write_bytes(packed(folder.parent / "two", ROWS[:-1], "5.1.2"))


def test_the_real_archive_becomes_250_countries_with_right_names_and_codes(tmp_path: Path) -> None:
    with rehearsal(definition(SAMPLE, manual=True), tmp_path) as update:
        assert Admin0().check(update.task).source_version == "5.1.1"
        one, found = prepared(update)
        with update.task.gate.open_vector(update.task.workspace / one.file) as source:
            assert source.crs.to_epsg() == 4326
    assert len(found) == 250
    assert {key: found[key]["iso_a3"] for key in ("FRA", "NOR", "KOS", "ALD", "CUW")} == {
        "FRA": "FRA", "NOR": "NOR", "KOS": "KOS", "ALD": "ALA", "CUW": "CUW",
    }  # fmt: skip
    assert [found[key]["iso_a2"] for key in ("FRA", "NOR", "KOS", "TWN", "SCR")] == ["FR", "NO", "XK", "TW", None]
    assert [found[key]["iso_n3"] for key in ("FRA", "NOR", "KOS", "BRA", "AFG")] == ["250", "578", None, "076", "004"]
    assert [found[key]["name"] for key in ("CIV", "CUW", "ALD")] == ["Côte d'Ivoire", "Curaçao", "Åland"]
    assert found["CHN"]["name_zh"] == "中华人民共和国"
    assert (found["FRA"]["ne_iso_a3"], found["FRA"]["ne_iso_a2"], found["TWN"]["ne_iso_a2"]) == ("-99", "-99", "CN-TW")
    assert all(row["iso_a3"] for row in found.values())


def test_a_country_of_the_release_of_2018_has_the_same_codes(tmp_path: Path) -> None:
    rows = [{**row, "GDP_MD_EST": 1.0, "FIPS_10_": "X", "WIKIPEDIA": "-99", "ISO_A3_EH": "-99"} for row in ROWS]
    (tmp_path / "ne_110m_admin_0_countries.geojson").write_text(countries(rows).to_json())
    with rehearsal(definition(str(tmp_path), manual=True), tmp_path) as update:
        _, found = prepared(update)
    codes = {key: (row["iso_a3"], row["iso_a2"], row["iso_n3"]) for key, row in found.items()}
    assert codes == {
        "CIV": ("CIV", "CI", "384"),
        "FRA": ("FRA", "FR", "250"),
        "NOR": ("NOR", "NO", "578"),
        "KOS": ("KOS", "XK", None),
        "SOL": ("SOL", None, None),
    }
    assert {"gdp_md", "fips_10", "wikipedia"} <= set(found["FRA"])


@pytest.mark.parametrize(
    ("encoding", "cpg"), [("UTF-8", True), ("UTF-8", False), ("CP1252", False), ("CP1252", True), ("ISO-8859-1", True)]
)
def test_names_are_right_in_every_encoding_that_they_come_in(tmp_path: Path, encoding: str, cpg: bool) -> None:
    rows = [*ROWS, {**ROWS[0], "ADM0_A3": "ALD", "NAME": "Åland"}, {**ROWS[0], "ADM0_A3": "CUW", "NAME": "Curaçao"}]
    (tmp_path / "ne_10m_admin_0_countries.zip").write_bytes(packed(tmp_path / "made", rows, encoding=encoding, cpg=cpg))
    with rehearsal(definition(str(tmp_path), manual=True), tmp_path) as update:
        _, found = prepared(update)
    assert [found[key]["name"] for key in ("CIV", "ALD", "CUW")] == ["Côte d'Ivoire", "Åland", "Curaçao"]


def test_names_of_columns_may_be_in_lower_case(tmp_path: Path) -> None:
    rows = [{name.lower(): value for name, value in row.items()} for row in ROWS]
    (tmp_path / "ne_10m_admin_0_countries.geojson").write_text(countries(rows).to_json())
    with rehearsal(definition(str(tmp_path), manual=True), tmp_path) as update:
        _, found = prepared(update)
    assert found["NOR"]["iso_a3"] == "NOR"


def test_codes_that_are_numbers_and_padded_names_are_brought_into_form(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"ADM0_A3": "AFG\0", "NAME": "Afghanistan  ", "ISO_A3": "afg", "ISO_N3": 4},
        {"ADM0_A3": "BRA", "NAME": " ", "ISO_A3": "BRA", "ISO_N3": 76},
    ]
    (tmp_path / "ne_10m_admin_0_countries.geojson").write_text(countries(rows).to_json())
    with rehearsal(definition(str(tmp_path), manual=True), tmp_path) as update:
        _, found = prepared(update)
    assert [(row["name"], row["iso_a3"], row["iso_n3"]) for row in found.values()] == [
        ("Afghanistan", "AFG", "004"),
        (None, "BRA", "076"),
    ]


def test_the_version_inside_is_told_with_what_was_fetched(tmp_path: Path) -> None:
    with LocalUpstream() as source:
        url = source.serve(
            "/ne.zip", packed(tmp_path / "made", ROWS, "5.2.0"), last_modified="Tue, 01 Sep 2026 00:00:00 GMT"
        )
        with rehearsal(definition(url), tmp_path) as update:
            release = Admin0().check(update.task)
            assert release.source_version == "2026-09-01"
            assert (source.count("HEAD"), source.count()) == (1, 1)
            assert Admin0().fetch(update.task, release).memo == {"source_version": "5.2.0"}


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        ([{"NAME": "France"}], UnreadableFile, "no column ADM0_A3"),
        ([], EmptyDataset, "no features"),
    ],
)
def test_a_file_that_is_not_of_countries_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], kind: type[Exception], message: str
) -> None:
    frame = countries(rows) if rows else countries(ROWS).iloc[:0]
    frame.to_file(tmp_path / "ne_10m_admin_0_countries.gpkg")
    with rehearsal(definition(str(tmp_path), manual=True), tmp_path) as update:
        with pytest.raises(kind, match=message):
            prepared(update)
        assert not list(update.task.workspace.iterdir())


def test_a_folder_without_the_file_or_with_two_is_told(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    with rehearsal(definition(str(given), manual=True), tmp_path) as update:
        with pytest.raises(NotFound, match="has no file like"):
            Admin0().check(update.task)
        for scale in ("10m", "50m"):
            (given / f"ne_{scale}_admin_0_countries.zip").write_bytes(packed(tmp_path / scale, ROWS))
        with pytest.raises(InvalidParameter, match="has 2 files like"):
            Admin0().check(update.task)


def test_ours_are_registered_and_those_of_a_package_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "parks-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: parks\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[geoetl.dataset_handlers]\nparks = parks_of_a_package:Parks\n")
    (tmp_path / "parks_of_a_package.py").write_text("class Parks:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = installed_handlers()
    assert found["admin0"] is HANDLERS["admin0"] is Admin0
    assert found["parks"].__name__ == "Parks"
    assert set(found) >= {*HANDLERS, "parks"}


def test_boundaries_that_questions_name_come_from_the_managed_countries(tmp_path: Path) -> None:
    (tmp_path / "ne_10m_admin_0_countries.zip").write_bytes(packed(tmp_path / "made", ROWS))
    (tmp_path / "managed").mkdir()
    platform = geoetl.connect(tmp_path / "home", allowed_roots=(tmp_path,), managed=tmp_path / "managed")
    Upkeep.begin(platform, tmp_path, target_table_name="curated_admin0").update()
    asked = ("FRA", "FR", "250", "no", "XK", "KOS", "côte d'ivoire")
    assert [platform.boundaries.find("country", name).name for name in asked] == [
        "France", "France", "France", "Norway", "Kosovo", "Kosovo", "Côte d'Ivoire",
    ]  # fmt: skip
    source = platform.boundaries.find("country", "FRA").source
    assert source is not None
    assert source.item == "curated_admin0"
    platform.database.dispose()
