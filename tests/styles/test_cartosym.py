"""The canonical encoding loses nothing, and others read it."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pycartosym.models.styles import Style as Other

from geoetl.styles.encoders import ENCODERS
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.testing.styles import coverage_styles
from tests.styles.official import EXAMPLES, example, is_valid

LAYER = StyledLayer("col:parks", "vector", 2)


@pytest.mark.parametrize("name", EXAMPLES)
def test_official_examples_are_encoded_as_they_are(name: str) -> None:
    encoded = ENCODERS["cartosym"].encode(Style.of(example(name)), LAYER)
    assert json.loads(encoded.content) == example(name)
    assert encoded.losses == ()
    assert encoded.media_type == "application/vnd.ogc.cartosym+json"
    assert is_valid(encoded.document)


@pytest.mark.parametrize("name", EXAMPLES)
def test_official_examples_that_went_through_us_are_read_by_another_implementation(name: str) -> None:
    encoded = ENCODERS["cartosym"].encode(Style.of(example(name)), LAYER)
    assert Other.model_validate_json(encoded.content).metadata.title == example(name)["metadata"]["title"]


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=coverage_styles())
def test_styles_of_coverages_are_read_by_another_implementation(document: dict[str, Any]) -> None:
    encoded = ENCODERS["cartosym"].encode(Style.of(document), LAYER)
    assert len(Other.model_validate_json(encoded.content).styling_rules) == 1


def test_texts_that_break_what_is_glued_together_stay_texts() -> None:
    text = "</script>');alert(1)// \u2028 \" \\"
    document = {"stylingRules": [{"name": text, "selector": {"op": "=", "args": [{"property": text}, text]}}]}
    assert json.loads(ENCODERS["cartosym"].encode(Style.of(document), LAYER).content) == document
