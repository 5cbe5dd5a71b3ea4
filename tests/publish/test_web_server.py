"""The external zone behind nginx, with the configuration that comes along."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

type Serving = Callable[[Path], AbstractContextManager[str]]
DATA = bytes(range(256)) * 40
PLACE = "parks/lakes/v1"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("external")
    for name in (
        "data.tif",
        "lakes.parquet",
        "lakes.pmtiles",
        "lakes.json",
        "lakes.geojson",
        "cube.nc",
        "s.sld",
        "x.bin",
    ):
        path = folder / PLACE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(DATA)
    for name in ("catalog.json", "parks/collection.json", ".incoming/publish/r/data.tif", ".hidden", f"{PLACE}/.git/x"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (folder / PLACE / ".zmetadata").write_text("{}")
    secret = folder.parent / "secret.txt"
    secret.write_text("secret")
    (folder / PLACE / "link.txt").symlink_to(secret)
    return folder


@pytest.fixture(scope="module")
def client(root: Path, web_serving: Serving) -> Iterator[httpx.Client]:
    with web_serving(root) as address, httpx.Client(base_url=address, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("data.tif", "image/tiff; application=geotiff; profile=cloud-optimized"),
        ("lakes.parquet", "application/vnd.apache.parquet"),
        ("lakes.pmtiles", "application/vnd.pmtiles"),
        ("lakes.json", "application/json"),
        ("lakes.geojson", "application/geo+json"),
        ("cube.nc", "application/netcdf"),
        ("s.sld", "application/vnd.ogc.sld+xml"),
        ("x.bin", "application/octet-stream"),
    ],
)
def test_files_come_as_they_lie_with_their_media_type(client: httpx.Client, name: str, media_type: str) -> None:
    answer = client.get(f"/{PLACE}/{name}")
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, DATA, media_type)
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert "Content-Encoding" not in answer.headers


def test_a_part_of_a_file_is_that_part(client: httpx.Client) -> None:
    answer = client.get(f"/{PLACE}/data.tif", headers={"Range": "bytes=300-309"})
    assert (answer.status_code, answer.content) == (206, DATA[300:310])
    assert answer.headers["Content-Range"] == f"bytes 300-309/{len(DATA)}"
    assert client.get(f"/{PLACE}/data.tif", headers={"Range": f"bytes={len(DATA)}-"}).status_code == 416


def test_who_has_a_version_is_told_that_it_is_the_same(client: httpx.Client) -> None:
    tag = client.head(f"/{PLACE}/data.tif").headers["ETag"]
    assert not tag.startswith("W/")
    assert client.get(f"/{PLACE}/data.tif", headers={"If-None-Match": tag}).status_code == 304
    assert client.get(f"/{PLACE}/data.tif", headers={"If-Match": '"another"'}).status_code == 412


def test_copies_of_what_can_be_withdrawn_are_short_lived(client: httpx.Client) -> None:
    told = {path: client.get(path).headers["Cache-Control"] for path in ("/catalog.json", "/parks/collection.json")}
    assert set(told.values()) == {"no-cache"}
    assert client.get(f"/{PLACE}/lakes.json").headers["Cache-Control"] == "public, max-age=60, must-revalidate"
    # Else what is published in a moment would be missing for a minute.
    gone = client.get(f"/{PLACE}/not-there.json")
    assert (gone.status_code, gone.headers["Cache-Control"]) == (404, "no-cache")


def test_what_is_withdrawn_is_gone_with_the_next_request(client: httpx.Client, root: Path) -> None:
    folder = root / "parks" / "lakes" / "v2"
    folder.mkdir()
    (folder / "data.tif").write_bytes(DATA)
    assert client.get("/parks/lakes/v2/data.tif").status_code == 200
    folder.rename(root / ".incoming" / "leaving")
    assert client.get("/parks/lakes/v2/data.tif").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/.incoming/publish/r/data.tif",
        "/.incoming/",
        "/.incoming",
        "/.hidden",
        f"/{PLACE}/.git/x",
        f"/{PLACE}/",
        f"/{PLACE}",
        "/parks/%2e%2e/.incoming/publish/r/data.tif",
        "//.incoming/publish/r/data.tif",
        "/%2eincoming/publish/r/data.tif",
    ],
)
def test_what_is_being_collected_and_lists_of_folders_are_not_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_files_with_a_dot_before_their_name_are_served(client: httpx.Client) -> None:
    assert client.get(f"/{PLACE}/.zmetadata").status_code == 200


def test_a_link_that_leads_out_of_the_zone_is_not_followed(client: httpx.Client) -> None:
    answer = client.get(f"/{PLACE}/link.txt")
    assert answer.status_code in (403, 404)
    assert "secret" not in answer.text


def test_it_begins_with_the_catalogue(client: httpx.Client) -> None:
    assert client.get("/").json() == {}
    assert client.get("/").headers["Content-Type"] == "application/json"


def test_pages_of_other_origins_may_read_and_nobody_may_write(client: httpx.Client) -> None:
    asked = {"Origin": "https://map.example.org", "Access-Control-Request-Headers": "range"}
    before = client.options(f"/{PLACE}/data.tif", headers=asked)
    assert before.status_code == 204
    assert "Range" in before.headers["Access-Control-Allow-Headers"]
    answer = client.get(f"/{PLACE}/data.tif", headers={"Origin": "https://map.example.org", "Range": "bytes=0-0"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert {"Content-Range", "ETag"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    for method in ("PUT", "POST", "DELETE"):
        assert client.request(method, f"/{PLACE}/data.tif").status_code == 405
