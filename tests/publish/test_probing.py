"""What was published is opened as strangers do, by a process that has no way inside."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import geoetl
from geoetl.core.findings import Finding, Severity
from geoetl.platform import Platform
from geoetl.publish.assembling import Assembler
from geoetl.publish.looking import allowed_folders, lock_in
from geoetl.publish.model import Manifest
from geoetl.publish.probing import Probe
from geoetl.styles.sheets import Sheets
from geoetl.virtual.packing import CubePacker
from geoetl.virtual.write import CubeFormat
from tests.publish.outside import CUBES, RASTERS, VECTORS, cube, hidden, lay_out, raster, serving, vector

ITEMS = {RASTERS: "hill", VECTORS: "shires"}
_CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Give a platform with an item of each kind."""
    folder = tmp_path_factory.mktemp("probing")
    made = geoetl.connect(folder / "home")
    raster(made, folder / "home/files")
    vector(made, folder / "home/files")
    for format in (CubeFormat.JSON, CubeFormat.PARQUET, CubeFormat.ICECHUNK):
        item = cube(made, folder / "home/archive", format)
        made.catalog.upsert_items([{**item, "id": format.value}])
    yield made
    made.database.dispose()


def assembled(platform: Platform, collection: str, item: str, base: str) -> Manifest:
    home, zones = platform.settings.home, platform.zones
    scratch = home / "scratch"
    packer = CubePacker(platform.gate, zones, scratch)
    inside = (str(home),)
    assembler = Assembler(platform.catalog, zones, packer, Sheets(platform.styles), inside, base, scratch)
    return assembler.assemble(collection, item, 1)


def probe(platform: Platform, base: str) -> Probe:
    return Probe(platform.zones.external, base, (str(platform.settings.home),))


def everything(platform: Platform) -> list[tuple[str, str]]:
    return [*ITEMS.items(), *((CUBES, one) for one in ("json", "parquet", "icechunk"))]


def told(found: tuple[Finding, ...]) -> list[tuple[str, str, str | None]]:
    return [(one.severity.value, one.code, one.subject) for one in found]


def test_all_of_it_opens_through_the_web_and_through_the_zone(platform: Platform) -> None:
    root = platform.zones.external.root
    assert root is not None
    with serving(root) as web:
        for base in (web, platform.zones.external.url):
            # Without an address of the web, rasters and tables are files like all others.
            chosen = everything(platform) if base == web else [(CUBES, "parquet"), (CUBES, "icechunk")]
            manifests = [assembled(platform, *one, base) for one in chosen]
            for manifest in manifests:
                lay_out(platform, manifest)
            with hidden(platform, platform.settings.home / "archive"):
                found = {manifest.item: told(probe(platform, base).look(manifest)) for manifest in manifests}
            assert found == {manifest.item: [] for manifest in manifests}


def test_what_strangers_cannot_open_is_found(platform: Platform) -> None:
    root = platform.zones.external.root
    assert root is not None
    with serving(root) as web:
        broken = {}
        for collection, item, target in (
            (RASTERS, "hill", "data.tif"),
            (VECTORS, "shires", "visual.pmtiles"),
            (CUBES, "parquet", "references.parquet"),
        ):
            manifest = assembled(platform, collection, item, web)
            folder = lay_out(platform, manifest)
            path = folder / target
            if path.is_dir():
                for file in path.rglob("*"):
                    if file.is_file():
                        file.write_bytes(b"damaged")
            else:
                path.write_bytes(b"damaged")
            broken[item] = told(probe(platform, web).look(manifest))
            assert str(platform.settings.home) not in str(broken)
            assert broken[item] == [("error", "not_readable", target)]


def test_a_cube_that_leads_inside_is_found_although_it_can_be_opened_there(platform: Platform) -> None:
    root = platform.zones.external.root
    assert root is not None
    manifest = assembled(platform, CUBES, "json", platform.zones.external.url)
    folder = lay_out(platform, manifest)
    inside = platform.catalog.item(CUBES, "json")["assets"]["references"]["href"]
    (folder / "references.json").write_bytes(Path(inside).read_bytes())
    (found,) = probe(platform, platform.zones.external.url).look(manifest)
    assert (found.severity, found.subject) == (Severity.ERROR, "references.json")
    assert "leads to another place" in found.message


def test_where_the_public_address_does_not_answer_the_zone_is_looked_at(platform: Platform) -> None:
    base = "http://127.0.0.1:9"
    for collection, item in ((RASTERS, "hill"), (CUBES, "json")):
        manifest = assembled(platform, collection, item, base)
        lay_out(platform, manifest)
        expected = [("warning", "not_followed", "references.json")] if item == "json" else []
        assert told(probe(platform, base).look(manifest)) == expected


def test_a_document_that_leads_inside_is_found(platform: Platform) -> None:
    base = platform.zones.external.url
    manifest = assembled(platform, RASTERS, "hill", base)
    lay_out(platform, manifest)
    document = json.loads(json.dumps(manifest.documents["hill.json"]))
    document["properties"]["note"] = "internal://rasters/a.tif"
    odd = manifest.model_copy(update={"documents": {"hill.json": document}})
    assert told(probe(platform, base).look(odd)) == [("error", "leads_inside", "hill.json")]


def test_an_item_that_is_not_there_is_found(platform: Platform) -> None:
    base = platform.zones.external.url
    manifest = assembled(platform, RASTERS, "hill", base).model_copy(update={"version": 9})
    assert ("error", "not_readable", "hill.json") in told(probe(platform, base).look(manifest))


_TRY = """
import json, sys, pyarrow.fs
from geoetl.publish.looking import allowed_folders, lock_in, refuse_inside
outside, inside, bind = sys.argv[1], sys.argv[2], sys.argv[3] == "yes"
allowed = allowed_folders(outside)
bound = lock_in(allowed) if bind else False
refuse_inside([inside], allowed)
def python(path):
    with open(path, "rb") as file:
        return file.read(1)
def library(path):
    return pyarrow.fs.LocalFileSystem().open_input_file(path).read(1)
def can(read, path):
    try:
        return bool(read(path))
    except OSError:
        return False
print(json.dumps([bound, [[can(python, p), can(library, p)] for p in sys.argv[4:]]]))
"""


@pytest.mark.parametrize("bind", ["yes", "no"])
def test_nothing_inside_can_be_opened(platform: Platform, bind: str) -> None:
    """Python's own opening is refused by the hook, that of libraries by the kernel where it has Landlock."""
    home, root = platform.settings.home, platform.zones.external.root
    assert root is not None
    root.mkdir(parents=True, exist_ok=True)
    (root / "public.txt").write_text("public")
    (root / "way").unlink(missing_ok=True)
    (root / "way").symlink_to(home / "geoetl.db")
    paths = [str(root / "public.txt"), str(home / "geoetl.db"), str(root / "way"), f"{root}/../geoetl.db"]
    command = [sys.executable, "-c", _TRY, str(root), str(home), bind, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_CHECKOUT)
    bound, tried = json.loads(done.stdout)
    assert tried[0] == [True, True]
    for by_python, by_library in tried[1:]:
        assert not by_python
        assert by_library is not bound
    (root / "way").unlink()
    assert lock_in.__doc__
    assert str(root) in allowed_folders(str(root))
