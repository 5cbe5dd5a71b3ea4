"""Parameters of pipeline notebooks, checked before a run exists."""

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoetl.core.errors import InvalidParameter, NotFound
from geoetl.runs.pipeline import Parameter, load_pipeline, pipelines, pipelines_folder


def parameter(annotation: str, default: object = None) -> Parameter:
    return Parameter("size", annotation, default, "side in pixels", required=False)


@pytest.mark.parametrize(
    ("annotation", "given_value", "expected"),
    [
        ("int", "3", 3),
        ("float", "1e-3", 0.001),
        ("bool", "true", True),
        ("int | None", "none", None),
        ("list[str]", "a, b", ["a", "b"]),
        ("list[int]", "[1, 2]", [1, 2]),
        ("dict[str, list[str]]", '{"a": ["b"]}', {"a": ["b"]}),
        ("str", "3", "3"),
    ],
)
def test_text_is_read_as_the_parameters_type(annotation: str, given_value: str, expected: object) -> None:
    assert parameter(annotation).check(given_value) == expected


@pytest.mark.parametrize(
    ("annotation", "given_value"),
    [("int", "3.5"), ("int", "many"), ("bool", "perhaps"), ("float", "nan"), ("list[int]", "1,x"), ("str", 3)],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_meaning(annotation: str, given_value: object) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parameter(annotation).check(given_value)
    assert caught.value.field == "size"
    assert caught.value.hint == "size: side in pixels."


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidParameter, match="has no parameter 'sorce'") as caught:
        load_pipeline("ingest-raster").check({"sorce": "x.tif"})
    assert caught.value.hint == "Did you mean 'source'?"


@given(st.text(max_size=40))
def test_a_name_is_never_code(name: str) -> None:
    pipeline = load_pipeline("ingest-raster")
    if name not in pipeline.parameters:
        with pytest.raises(InvalidParameter):
            pipeline.check({"source": "x.tif", name: 1})


def test_a_missing_parameter_is_named_with_an_example() -> None:
    with pytest.raises(InvalidParameter, match="needs the parameter 'source'") as caught:
        load_pipeline("ingest-raster").check({})
    assert "geoetl run ingest-raster source=" in str(caught.value.hint)


def test_an_unknown_pipeline_offers_the_nearest() -> None:
    with pytest.raises(NotFound) as caught:
        load_pipeline("ingest-rasters")
    assert caught.value.hint == "Did you mean 'ingest-raster'?"


@pytest.mark.parametrize("name", pipelines())
def test_a_pipeline_notebook_keeps_its_rules(name: str) -> None:
    """Style, rule 14: logic lives in geoetl, every parameter has a meaning, one emit, no stored outputs."""
    cells = json.loads((pipelines_folder() / f"{name}.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    tree = ast.parse("\n".join("".join(cell["source"]) for cell in code))
    forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.While, ast.Try)
    assert not [node for node in ast.walk(tree) if isinstance(node, forbidden)]
    calls = [node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "attr")]
    assert calls.count("emit") == 1
    pipeline = load_pipeline(name)
    assert all(p.meaning for p in pipeline.parameters.values())
    first = "".join(cells[0]["source"])
    assert first.startswith("# ")
    assert all(word in first for word in ("**Reads**", "**Writes**", "**Takes**"))
