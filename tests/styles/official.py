"""The official schema of CartoSym-JSON as a judge."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft201909Validator
from jsonschema.validators import extend

CARTOSYM = Path(__file__).resolve().parents[3] / "shared" / "data" / "cartosym"
EXAMPLES = ("1-core", "2-vector-polygon", "3-vector-line", "8-coverage-hillshading")


def example(name: str) -> dict[str, Any]:
    """Return an official example."""
    made: dict[str, Any] = json.loads((CARTOSYM / "examples" / f"{name}.cs.json").read_text("utf-8"))
    return made


def is_valid(document: Any, definition: str = "style") -> bool:
    """Tell whether a document is what the official schema defines.

    The schema has choices in choices, of which each looks at all that is below: what one found is kept for the others.
    """
    schema = json.loads((CARTOSYM / "CartoSym-JSON.schema.json").read_text("utf-8"))
    known: dict[tuple[str, int], list[Any]] = {}

    def reference(validator: Any, ref: str, instance: Any, subschema: Any) -> Iterator[Any]:
        key = (ref, id(instance))
        if key not in known:
            known[key] = list(Draft201909Validator.VALIDATORS["$ref"](validator, ref, instance, subschema))
        yield from known[key]

    whole = {"$schema": schema["$schema"], "$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    valid: bool = extend(Draft201909Validator, {"$ref": reference})(whole).is_valid(document)
    return valid
