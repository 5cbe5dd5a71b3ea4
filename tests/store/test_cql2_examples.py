"""The 229 official examples of CQL2: each is understood, and means the same on both back ends."""

import json
import random
from pathlib import Path
from typing import Any

import cql2 as reference
import pytest

from geoetl.core.errors import InvalidFilter
from geoetl.store.catalog import Search
from tests.stac import BACK_ENDS, AnyCatalog, a_collection, an_item, prepare

EXAMPLES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cql2_examples.json").read_text())["examples"]
FILTERS = [
    pytest.param(filter, id=f"{example['name']}-{kind}")
    for example in EXAMPLES
    for kind, filter in [("json", example["json"]), *((f"text{n}", text) for n, text in enumerate(example["text"]))]
]
# What a catalogue of STAC items cannot answer: functions of its own, geometries beside the item's, and shapes that are
# not valid.
REFUSED = {
    "clause6_01": "'avg' is not supported",
    "clause6_02b": "'avg' is not supported",
    "clause7_10": "'road' is no geometry",
    "clause7_18": "'Buffer' is not supported",
    "example07": "'footprint' is no geometry",
    "example08": "'footprint' is no geometry",
    "example23": "'location' is no geometry",
    "example46": "not valid: Ring Self-intersection",
    "example49": "not valid: Hole lies outside shell",
    "example68": "'Foo' is not supported",
    "example69": "'Bar' is not supported",
}
ITEMS = 400


@pytest.fixture(scope="module")
def catalogs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, AnyCatalog]:
    """Give both back ends with the same items, whose properties have the names and values of the examples."""
    items = an_item_for_every_example()
    made = {}
    for name, make in BACK_ENDS.items():
        made[name] = make(prepare(name, tmp_path_factory.mktemp(name), request))
        made[name].upsert_collection(a_collection())
        made[name].upsert_items(items)
    return made


def an_item_for_every_example() -> list[dict[str, Any]]:
    names: dict[str, set[str]] = {}
    for example in EXAMPLES:
        collect(example["json"], names)
    drawn = random.Random(7)
    values = {name: [json.loads(literal) for literal in sorted(literals)] for name, literals in sorted(names.items())}
    items = []
    for n in range(ITEMS):
        properties = {}
        for name, literals in values.items():
            kind = drawn.random()
            if kind < 0.75 and literals:
                properties[name] = drawn.choice(literals)
            elif kind < 0.85:
                properties[name] = drawn.choice([0, 5, -3.5, 1e6, "a", "zürich", "", True, None, ["a"], {"x": 1}])
        for name in ("datetime", "start_datetime", "end_datetime", "geometry", "id", "collection"):
            properties.pop(name, None)
        west, south = drawn.uniform(-180, 170), drawn.uniform(-90, 80)
        if n % 3 == 0:
            west, south = drawn.choice([(-77.0, 38.9), (43.5, -79.5), (-118.0, 33.8), (0.0, 40.0), (7.0, 50.5)])
        size = drawn.choice([0.01, 1, 10])
        time = f"{drawn.randint(1900, 2100):04}-{drawn.randint(1, 12):02}-{drawn.randint(1, 28):02}T12:00:00Z"
        items.append(
            an_item(f"i{n:03}", box=(west, south, west + size, south + size), time=time, properties=properties)
        )
    return items


def collect(node: Any, names: dict[str, set[str]]) -> None:
    """Note with each property the literals that an operator has beside it, and some near them."""
    if isinstance(node, list):
        for member in node:
            collect(member, names)
        return
    if not isinstance(node, dict):
        return
    arguments = node.get("args", [])
    for name in [name for argument in arguments for name in properties_in(argument)]:
        names.setdefault(name, set())
        for literal in literals_in(arguments):
            near = [literal, literal + 1, literal - 0.5] if type(literal) in (int, float) else [literal]
            names[name].update(map(json.dumps, near))
    for value in node.values():
        collect(value, names)


def properties_in(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for member in node for name in properties_in(member)]
    if isinstance(node, dict):
        found = [node["property"]] if "property" in node else []
        return found + [name for value in node.values() for name in properties_in(value)]
    return []


def literals_in(node: Any) -> list[Any]:
    if isinstance(node, list):
        whole = [node] if node and all(isinstance(member, str | int | float) for member in node) else []
        return whole + [literal for member in node for literal in literals_in(member)]
    if isinstance(node, dict):
        times = [node[key] for key in ("timestamp", "date") if key in node]
        return times + (literals_in(node["args"]) if "args" in node else [])
    return [node] if isinstance(node, str | int | float) else []


def found(catalog: AnyCatalog, filter: Any) -> list[str]:
    return [item["id"] for item in catalog.search(Search(filter=filter, limit=ITEMS))]


def test_all_of_the_standard_are_here() -> None:
    assert len(FILTERS) == 229


@pytest.mark.parametrize("filter", FILTERS)
def test_an_example_is_cql2(filter: Any) -> None:
    parse = reference.parse_text if isinstance(filter, str) else lambda tree: reference.parse_json(json.dumps(tree))
    parse(filter)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_an_example_means_the_same_on_both_back_ends_as_text_and_as_json(
    catalogs: dict[str, AnyCatalog], example: dict[str, Any]
) -> None:
    filters = [example["json"], *example["text"]]
    if example["name"] in REFUSED:
        for filter in filters:
            for catalog in catalogs.values():
                with pytest.raises(InvalidFilter, match=REFUSED[example["name"]]):
                    found(catalog, filter)
        return
    answers = [found(catalog, filter) for filter in filters for catalog in catalogs.values()]
    assert answers == [answers[0]] * len(answers)


def test_most_examples_match_some_items_and_not_all(catalogs: dict[str, AnyCatalog]) -> None:
    taken = [example for example in EXAMPLES if example["name"] not in REFUSED]
    counts = [len(found(catalogs["sqlite"], example["json"])) for example in taken]
    assert sum(0 < count < ITEMS for count in counts) > len(taken) / 2
