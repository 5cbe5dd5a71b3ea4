"""What is deployed in Azure: known to Microsoft's client, of one piece with itself and the copier, without secrets."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from azure.mgmt.datafactory import models

from geoetl.core.settings import PublishSettings
from geoetl.publish.copiers.data_factory_list import row_of
from geoetl.publish.copiers.protocol import Transfer
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.database import Database
from geoetl.store.origins import Origin
from geoetl.store.staging import Staging
from geoetl.store.zones import Zone
from geoetl.testing.data_factory_runs import PARAMETERS

FOLDER = Path(__file__).parents[2] / "deploy" / "azure" / "data-factory"
FILES = sorted(FOLDER.rglob("*.json"))
SECRETS = re.compile(r"connectionstring|key|sas|password|secret|token|credential", re.IGNORECASE)


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_bytes())


PIPELINE = read("pipelines/geoetl-publish.json")
LOOKUP, FOR_EACH = PIPELINE["activities"]
(COPY,) = FOR_EACH["typeProperties"]["activities"]


def within(value: Any) -> list[Any]:
    """Return a value and all within it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(found for one in inner for found in within(one))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_has_a_place_for_a_secret(path: Path) -> None:
    names = {name for one in within(json.loads(path.read_bytes())) if isinstance(one, dict) for name in one}
    assert not [name for name in names if SECRETS.search(name)]


def test_microsofts_client_knows_every_kind_that_is_named() -> None:
    for path in FILES:
        properties = {"properties": json.loads(path.read_bytes())}
        if path.parent.name == "linked-services":
            assert isinstance(models.LinkedServiceResource(properties).properties, models.AzureBlobStorageLinkedService)
        elif path.parent.name == "datasets":
            made = models.DatasetResource(properties).properties
            assert isinstance(made, (models.BinaryDataset, models.JsonDataset))
            assert isinstance(made.type_properties.location, models.AzureBlobStorageLocation)
    lookup, for_each, copy = models.LookupActivity(LOOKUP), models.ForEachActivity(FOR_EACH), models.CopyActivity(COPY)
    assert for_each.type_properties.batch_count == 50
    assert isinstance(lookup.type_properties.source, models.JsonSource)
    assert isinstance(copy.type_properties.source, models.BinarySource)
    assert isinstance(copy.type_properties.sink, models.BinarySink)
    assert isinstance(copy.type_properties.sink.store_settings, models.AzureBlobStorageWriteSettings)


def test_what_is_referred_to_is_there() -> None:
    datasets = {path.stem: json.loads(path.read_bytes()) for path in FILES if path.parent.name == "datasets"}
    linked = {path.stem for path in FILES if path.parent.name == "linked-services"}
    assert {one["linkedServiceName"]["referenceName"] for one in datasets.values()} == linked
    used = [one for one in within(PIPELINE) if isinstance(one, dict) and one.get("type") == "DatasetReference"]
    assert {one["referenceName"] for one in used} == datasets.keys()
    for one in used:
        assert one["parameters"].keys() == datasets[one["referenceName"]]["parameters"].keys()
    # Microsoft: no dashes in the names of linked services and datasets.
    assert not [name for name in (*datasets, *linked) if "-" in name]


def test_only_the_internal_account_is_read_and_only_the_external_one_written() -> None:
    services = {name: read(f"datasets/{name}.json")["linkedServiceName"]["referenceName"] for name in (
        "geoetl_list", "geoetl_source", "geoetl_target",
    )}  # fmt: skip
    assert services == {
        "geoetl_list": "geoetl_internal", "geoetl_source": "geoetl_internal", "geoetl_target": "geoetl_external",
    }  # fmt: skip
    assert COPY["outputs"][0]["referenceName"] == "geoetl_target"


def test_the_pipeline_asks_for_what_a_list_has(tmp_path: Path) -> None:
    zone = Zone("external", tmp_path.as_uri(), ArtifactRepository(Database("sqlite://")), tmp_path)
    transfer = Transfer("internal://a", "data.tif", 1, "0" * 64, "image/tiff")
    row = json.loads(row_of(Origin("/a", path=tmp_path / "a"), transfer, Staging(zone, "publish/r")).json)
    assert set(re.findall(r"item\(\)\.(\w+)", json.dumps(COPY))) == row.keys()


def test_the_pipeline_takes_what_a_run_is_given() -> None:
    assert PIPELINE["parameters"].keys() == PARAMETERS
    asked = set(re.findall(r"pipeline\(\)\.parameters\.(\w+)", json.dumps(PIPELINE)))
    assert asked == PARAMETERS - {"staging"}  # by which a run is found again
    assert PublishSettings().data_factory.pipeline == "geoetl-publish"


def test_errors_can_name_what_was_not_copied() -> None:
    assert COPY["userProperties"] == [{"name": "target", "value": "@{item().target}"}]
    assert COPY["typeProperties"]["preserve"] == ["Attributes"]
    assert LOOKUP["typeProperties"]["firstRowOnly"] is False


def test_the_readme_deploys_every_file() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FILES:
        assert path.stem in text
