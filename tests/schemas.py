"""Offline validation of STAC items: the core with pystac's own schemas, extensions where their schemas lie at hand."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pystac
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

# Beside the checkout, on machines that have it; the core is always validated.
SCHEMAS = Path(__file__).resolve().parents[2] / "shared" / "data" / "stac" / "schemas"

# Schemas of others that these refer to (PROJJSON, GeoJSON) are not at hand; all of them describe objects.
_REGISTRY: Registry[Any] = Registry(retrieve=lambda uri: Resource({"type": "object"}, DRAFT7))


def schema_errors(item: dict[str, Any]) -> list[str]:
    """Return what is wrong with an item by the schemas of the core and of its extensions; the raw JSON is checked."""
    core_only = json.loads(json.dumps({**item, "stac_extensions": []}))
    pystac.Item.from_dict(core_only).validate()
    errors = []
    for uri in item["stac_extensions"]:
        name = uri.split("/")[3]
        schema = _extension(name)
        if schema is not None:
            validator = jsonschema.Draft7Validator(schema, registry=_REGISTRY)
            errors += [f"{name}: {error.message}" for error in validator.iter_errors(json.loads(json.dumps(item)))]
    return errors


@cache
def _extension(name: str) -> dict[str, Any] | None:
    path = SCHEMAS / f"{name}.schema.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None
