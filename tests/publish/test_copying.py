"""What only the copier of objects promises: within a store nothing passes through this machine."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoetl.core.settings import PublishSettings
from geoetl.publish.copiers import COPIERS, installed_copiers
from geoetl.publish.copiers.objects import ObjectsCopier
from geoetl.testing.copiers import CopyRehearsal, rehearsal
from tests.s3 import S3Server

_TIFF = "image/tiff; application=geotiff"


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CopyRehearsal]:
    """Give two zones in one bucket."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    name = f"copying-{secrets.token_hex(6)}"
    (s3.folder / name).mkdir()
    with rehearsal(tmp_path, f"s3://{name}/internal", f"s3://{name}/public/data") as copy:
        yield copy


def test_what_is_of_the_right_type_is_copied_by_the_store_itself(bucket: CopyRehearsal, s3: S3Server) -> None:
    content = bytes(20 * 1024**2)
    large = bucket.make("large.tif", content, _TIFF)
    before = len(s3.requests)
    bucket.bring(ObjectsCopier(bucket.origins), [large])
    # An upload of that size would be several parts.
    assert [verb for verb, _, _ in s3.requests[before:]] == ["GET", "PUT"]
    assert bucket.arrived["large.tif"].sha256 == large.sha256
    assert bucket.media_type("large.tif") == _TIFF


def test_what_is_of_another_type_is_given_the_right_one(bucket: CopyRehearsal) -> None:
    other = bucket.make("other.tif", b"II*\0", "application/octet-stream")
    typed = bucket.transfer(other.source, "other.tif", b"II*\0", _TIFF)
    bucket.bring(ObjectsCopier(bucket.origins), [typed])
    assert bucket.media_type("other.tif") == _TIFF


def test_copiers_are_found_by_name() -> None:
    assert {"objects", "data_factory"} <= COPIERS.keys() <= installed_copiers().keys()


def test_the_copier_of_objects_needs_no_settings(bucket: CopyRehearsal) -> None:
    copier = COPIERS["objects"](bucket.origins, PublishSettings())
    bucket.bring(copier, [bucket.make("data.json", b"{}", "application/json")])
    assert bucket.told == [(1, 2)]
