"""What `docs/managed-datasets.md` tells works: its declaration is one, and its handler passes the suite."""

import re
from pathlib import Path
from typing import Any

import yaml

from geoetl.datasets.declared import read_definition
from geoetl.datasets.model import Definition, SanityLimits

PAGE = Path(__file__).resolve().parents[2] / "docs" / "managed-datasets.md"


def blocks(language: str) -> list[str]:
    """Return the examples in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def documented() -> Any:
    """Return the suite for the handler of the page, as the page writes both."""
    names: dict[str, Any] = {"__name__": __name__}
    exec("\n".join(blocks("python")), names)
    return names["TestParks"]


TestDocumented = documented()


def test_the_declaration_is_one_and_says_everything_that_can_be_said(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    (tmp_path / "parks.yaml").write_text(text)
    read = read_definition(tmp_path / "parks.yaml")
    assert read.model_fields_set == set(Definition.model_fields)
    assert read.sanity.model_fields_set == set(SanityLimits.model_fields)


def test_what_is_marked_as_a_default_is_the_default() -> None:
    defaults: dict[str, Any] = SanityLimits().model_dump(mode="json")
    defaults |= {name: field.default for name, field in Definition.model_fields.items() if not field.is_required()}
    (text,) = blocks("yaml")
    marked = re.findall(r"^ *(\w+): (\S.*?) +# default(?:;|$)", text, re.MULTILINE)
    assert len(marked) == 9
    for name, said in marked:
        assert yaml.safe_load(said) == defaults[name], name
