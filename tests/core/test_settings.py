"""Settings: sources, errors, and the way into a child process."""

from pathlib import Path
from typing import Any

import pytest

from geoetl.core.errors import ConfigurationError
from geoetl.core.settings import as_environment, load_settings, meaning, settings_values, variable_name


def test_the_environment_wins_over_defaults_and_arguments_over_both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOETL_LIMITS__RASTER_SOURCE_GIB", "2.5")
    assert load_settings().limits.raster_source_gib == 2.5
    assert load_settings().home == home
    assert load_settings(home=home / "other").home == home / "other"


def test_a_wrong_value_names_its_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOETL_DASK__WORKERS", "many")
    with pytest.raises(ConfigurationError, match="GEOETL_DASK__WORKERS"):
        load_settings()


def test_a_child_process_gets_the_same_settings(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEOETL_ALLOWED_ROOTS", f'["{tmp_path}"]')
    monkeypatch.setenv("GEOETL_DATABASE__URL", "postgresql+psycopg://u:secret@localhost/x")
    settings = load_settings(dask={"address": "local"})
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_the_parts_of_a_part_come_from_the_environment_and_go_to_a_child_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOETL_PUBLISH__DATA_FACTORY__FACTORY_NAME", "copies")
    settings = load_settings(publish={"base_url": "https://data.example.org/public/"})
    assert settings.publish.data_factory.factory_name == "copies"
    assert settings.publish.base_url == "https://data.example.org/public"
    assert as_environment(settings)["GEOETL_PUBLISH__DATA_FACTORY__FACTORY_NAME"] == "copies"
    with pytest.raises(ConfigurationError, match="GEOETL_PUBLISH__BASE_URL.*no address"):
        load_settings(publish={"base_url": "data.example.org"})


NOTIFY: dict[str, Any] = {
    "webhooks": ["https://chat.example.org/hook/hunter2"],
    "webhook_secret": "whsec_aHVudGVyMiBodW50ZXIyIGh1bnRlcjI=",
    "smtp_host": "mail.example.org",
    "sender": "geoetl@example.org",
    "reviewers": ["ben@example.org"],
    "submitters": {"anna": "anna@example.org"},
}


def test_who_is_told_goes_to_a_child_too_and_what_is_secret_is_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(publish={"notify": NOTIFY})
    assert settings.publish.notify.is_set and not load_settings().publish.notify.is_set
    assert "hunter2" not in repr(settings) and "aHVudGVy" not in repr(settings)
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
    assert load_settings().publish.notify.webhooks[0].get_secret_value() == NOTIFY["webhooks"][0]


@pytest.mark.parametrize(
    ("further", "says"),
    [
        ({"webhooks": ["ftp://chat.example.org/hunter2"]}, "number 1 is no address"),
        ({"webhooks": ["https://hunter2:hunter2@chat.example.org"]}, "number 1 is no address"),
        ({"webhooks": ["https://chat.example.org:99999/hunter2"]}, "number 1 is no address"),
        ({"webhook_secret": None}, "need a webhook_secret"),
        ({"webhook_secret": "hunter2"}, "24 letters"),
        ({"sender": None}, "needs a sender"),
        ({"sender": "geoetl@example.org\r\nBcc: all@example.org"}, "no address such as"),
        ({"reviewers": ["ben"]}, "'ben' is no address such as"),
        ({"submitters": {"anna": "a@b, c@d"}}, "no address such as"),
        ({"smtp_user": "geoetl"}, "needs a smtp_password"),
        ({"smtp_user": "geoetl", "smtp_password": "hunter2", "smtp_security": "none"}, "no password is sent"),
    ],
)
def test_who_is_told_has_to_be_right(home: Path, further: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        load_settings(publish={"notify": {**NOTIFY, **further}})
    assert "hunter2" not in str(refused.value)


def test_a_password_is_not_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOETL_DATABASE__URL", "postgresql+psycopg://u:hunter2@localhost/x")
    monkeypatch.setenv("GEOETL_SECURITY__OIDC_CLIENT_SECRET", "hunter2")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ANONYMOUS", "operator", "strangers may be viewers"),
        ("ANONYMOUS", "nobody", "viewer"),
        ("PUBLIC_URL", "geo.example.org", "no address"),
        ("PUBLIC_URL", "ftp://geo.example.org", "no address"),
        ("HOSTS", '["https://geo.example.org"]', "no host name"),
        ("HOSTS", '["*"]', "no host name"),
        ("TRUSTED_PROXIES", '["10.0.0.1/8"]', "host bits"),
        ("TRUSTED_PROXIES", '["everyone"]', "everyone"),
        ("OIDC_ISSUER", "https://id.example.org", "oidc_client_id"),
        ("OIDC_ROLES", '{"staff": "admin"}', "viewer"),
        ("SESSION_HOURS", "0", "greater than 0"),
    ],
)
def test_a_setting_of_security_that_would_not_do_what_it_says_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"GEOETL_SECURITY__{name}", value)
    with pytest.raises(ConfigurationError, match="GEOETL_SECURITY") as refused:
        load_settings()
    assert says in refused.value.detail


def test_every_setting_has_a_meaning(home: Path) -> None:
    names = [name for name, _ in settings_values(load_settings())]
    assert all(meaning(name) for name in names)
    assert variable_name("database.url") == "GEOETL_DATABASE__URL"


@pytest.mark.parametrize(("name", "value"), [("ALLOWED_ROOTS", "/tmp"), ("LIMITS", "abc"), ("DATABASE", "x")])
def test_a_value_that_is_no_json_is_told_with_its_form(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"GEOETL_{name}", value)
    with pytest.raises(ConfigurationError, match=f"GEOETL_{name} is not valid JSON"):
        load_settings()


def test_an_unknown_setting_is_not_passed_over() -> None:
    with pytest.raises(ConfigurationError, match="no setting 'databse'.*\n.*Did you mean 'database'"):
        load_settings(databse={"url": "sqlite:///x.db"})
