"""What the tests stand on: a home of their own, and a clear word when the machine lacks something."""

import os
from pathlib import Path

import psycopg
import pytest

from tests.conftest import TEST_PREFIX, missing

ROOT = Path(__file__).resolve().parents[2]


def test_no_test_reaches_the_state_of_the_checkout() -> None:
    assert not Path(os.environ["GEOETL_HOME"]).is_relative_to(ROOT)


def test_a_home_is_new_and_the_only_setting(home: Path, tmp_path: Path) -> None:
    assert not home.exists()
    assert Path.cwd() == tmp_path == home.parent
    settings = {name: value for name, value in os.environ.items() if name.startswith("GEOETL_")}
    # How much is tested is no setting of the platform.
    settings = {name: value for name, value in settings.items() if not name.startswith(TEST_PREFIX)}
    assert settings == {"GEOETL_HOME": str(home)}


def test_what_is_missing_skips_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOETL_TEST_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="^Chromium is not installed; apt-get install chromium.$"):
        missing("Chromium", "apt-get install chromium")


def test_what_is_missing_fails_where_all_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOETL_TEST_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match="Chromium is not installed"):
        missing("Chromium", "apt-get install chromium")


def test_each_fresh_database_is_empty_and_has_postgis(fresh_postgres_url: str, postgres_url: str) -> None:
    assert fresh_postgres_url != postgres_url
    with psycopg.connect(fresh_postgres_url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT postgis_lib_version()").fetchone()
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == [("spatial_ref_sys",)]
