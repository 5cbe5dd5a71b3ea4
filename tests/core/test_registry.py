"""A registry is frozen, and helps with wrong names."""

import pytest

from geoetl.core.errors import NotFound
from geoetl.core.registry import Registry


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="There is no colour 'gren'") as caught:
        Registry("colour", {"green": 1, "red": 2})["gren"]
    assert caught.value.hint == "Did you mean 'green'?"


def test_a_registry_is_a_mapping_that_does_not_follow_its_source() -> None:
    source = {"a": 1}
    registry = Registry("letter", source)
    source["b"] = 2
    assert dict(registry) == {"a": 1}
    assert "b" not in registry
