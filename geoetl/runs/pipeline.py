"""Pipelines are notebooks: finds them, reads their parameters, and checks values before a run exists.

A parameter is an annotated literal in the cell tagged ``parameters``; the comment behind it is its meaning.
"""

import ast
import json
import keyword
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from geoetl.core.errors import ConfigurationError, InvalidParameter, NotFound, did_you_mean
from geoetl.core.identifiers import digest
from geoetl.core.principal import Forbidden, Principal, Role

_PACKAGE = Path(__file__).resolve().parents[1]
_TYPES: Mapping[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
# Longest text value of a parameter; a path or a filter is far below it.
MAX_VALUE_LENGTH = 64_000
#: The parameter of a pipeline that has to know who asks; filled in where somebody is known to ask.
ASKED_BY = "asked_by"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a pipeline.

    Attributes:
        name: As in the notebook.
        annotation: Its type as written: ``str``, ``int | None``, ``list[str]``.
        default: Its default; ``required`` when it has none to work with.
        meaning: The comment behind it, with the unit.
        required: True when the default is the empty text of a parameter that has to be given.
    """

    name: str
    annotation: str
    default: Any
    meaning: str
    required: bool

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        strict = ConfigDict(coerce_numbers_to_str=False, allow_inf_nan=False)
        return TypeAdapter(_type_of(ast.parse(self.annotation, mode="eval").body), config=strict)

    def json_schema(self) -> dict[str, Any]:
        """Return what values it takes, as JSON Schema."""
        schema = self._adapter.json_schema()
        own = {"title": self.name.replace("_", " "), "description": self.meaning}
        return {**schema, **own} if self.required else {**schema, **own, "default": self.default}

    def check(self, value: Any) -> Any:
        """Return `value` in the parameter's type; text is read as the type where that is unambiguous.

        Raises:
            InvalidParameter: It does not fit.
        """
        if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
            raise InvalidParameter(
                f"The parameter '{self.name}' has {len(value):,} characters; the limit is {MAX_VALUE_LENGTH:,}.",
                field=self.name,
            )
        candidate = value
        if isinstance(value, str) and self.annotation.startswith(("list", "dict")):
            try:
                candidate = json.loads(value)
            except ValueError:
                candidate = [part.strip() for part in value.split(",")] if self.annotation.startswith("list") else value
        elif isinstance(value, str) and value.lower() in ("none", "null", "") and "None" in self.annotation:
            candidate = None
        try:
            return self._adapter.validate_python(candidate)
        except ValidationError:
            shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}…"
            raise InvalidParameter(
                f"The parameter '{self.name}' takes {self.annotation}, not {shown}.",
                hint=f"{self.name}: {self.meaning}." if self.meaning else None,
                field=self.name,
            ) from None


@dataclass(frozen=True)
class Pipeline:
    """A pipeline notebook.

    Attributes:
        name: File name without its suffix.
        path: The notebook.
        title: Its first heading.
        summary: The paragraph below it.
        parameters: By name, in the notebook's order.
        digest: sha256 of the notebook's code, so that a changed pipeline is not taken for the old one.
        subject: The parameter that names what it works on ("subject" in the notebook's metadata); None for collection
            and source.
        asks_outside: Whether what it makes depends on more than its parameters and source ("asks_outside" there), so
            that a run that was completed before answers nothing.
        writes_collection: Whether it writes into the collection that is among its parameters, which nobody may where a
            managed dataset keeps it ("writes_collection" there).
        role: What role somebody needs who asks for it from elsewhere ("role" there); by default an editor's.
    """

    name: str
    path: Path
    title: str
    summary: str
    parameters: Mapping[str, Parameter]
    digest: str
    subject: str | None = None
    asks_outside: bool = False
    writes_collection: bool = True
    role: Role = Role.EDITOR

    def json_schema(self) -> dict[str, Any]:
        """Return what parameters it takes, as JSON Schema; forms are made from it."""
        return {
            "type": "object",
            "title": self.title,
            "properties": {name: parameter.json_schema() for name, parameter in self.parameters.items()},
            "required": [name for name, parameter in self.parameters.items() if parameter.required],
            "additionalProperties": False,
        }

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every parameter with its value, in its type.

        Raises:
            InvalidParameter: A name is unknown, a required one is missing, or a value does not fit.
        """
        for name in given:
            if name not in self.parameters:
                raise InvalidParameter(
                    f"The pipeline '{self.name}' has no parameter '{name[:60]}'.",
                    hint=did_you_mean(name, self.parameters),
                    field=name[:60],
                )
        missing = [p.name for p in self.parameters.values() if p.required and given.get(p.name, "") == ""]
        if missing:
            needed = self.parameters[missing[0]]
            raise InvalidParameter(
                f"The pipeline '{self.name}' needs the parameter '{needed.name}'.",
                hint=f"{needed.name}: {needed.meaning}. For example: geoetl run {self.name} {needed.name}=…",
                field=needed.name,
            )
        return {
            name: parameter.check(given[name]) if name in given else parameter.default
            for name, parameter in self.parameters.items()
        }


def asked_by(pipeline: Pipeline, given: Mapping[str, Any], who: Principal) -> dict[str, Any]:
    """Return the parameters with which somebody asks for a pipeline; who they are is not theirs to say.

    Raises:
        Forbidden: Their role does not let them.
    """
    if not who.may(pipeline.role):
        raise Forbidden(
            f"To run '{pipeline.name}' you have to be {pipeline.role}; you are {who.role}.",
            hint=f"Ask somebody who is {pipeline.role}.",
        )
    if ASKED_BY not in pipeline.parameters:
        return dict(given)
    return {**given, ASKED_BY: {"id": who.id, "name": who.name, "role": str(who.role), "via": str(who.via)}}


def pipelines_folder() -> Path:
    """Return where the pipeline notebooks lie: inside an installed package, or beside the package in a checkout.

    Raises:
        ConfigurationError: Neither is there.
    """
    for folder in (_PACKAGE / "_pipelines", _PACKAGE.parent / "notebooks" / "pipelines"):
        if folder.is_dir():
            return folder
    raise ConfigurationError("The pipeline notebooks are missing from this installation.", hint="Install geoetl again.")


def pipelines() -> list[str]:
    """Return the names of all pipelines."""
    return sorted(path.stem for path in pipelines_folder().glob("*.ipynb"))


def load_pipeline(name: str) -> Pipeline:
    """Read a pipeline notebook.

    Raises:
        NotFound: There is none of that name.
        ConfigurationError: Its parameters cell breaks the rules of a pipeline.
    """
    known = pipelines()
    if name not in known:
        raise NotFound(f"There is no pipeline '{name[:60]}'.", hint=did_you_mean(name, known), field="pipeline")
    path = pipelines_folder() / f"{name}.ipynb"
    notebook = json.loads(path.read_text("utf-8"))
    cells, own = notebook["cells"], notebook.get("metadata", {}).get("geoetl", {})
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    tagged = [c for c in cells if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise ConfigurationError(f"The pipeline '{name}' needs exactly one cell tagged 'parameters'.")
    text = "".join(next(("".join(c["source"]) for c in cells if c["cell_type"] == "markdown"), ""))
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    return Pipeline(
        name=name,
        path=path,
        title=paragraphs[0].lstrip("# ") if paragraphs else name,
        summary=paragraphs[1] if len(paragraphs) > 1 else "",
        parameters=_parameters("".join(tagged[0]["source"]), name),
        digest=digest(code),
        subject=own.get("subject"),
        asks_outside=bool(own.get("asks_outside", False)),
        writes_collection=bool(own.get("writes_collection", True)),
        role=Role(own.get("role", Role.EDITOR)),
    )


def _parameters(source: str, pipeline: str) -> dict[str, Parameter]:
    lines = source.splitlines()
    found: dict[str, Parameter] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            raise ConfigurationError(
                f"Line {node.lineno} of the parameters cell of '{pipeline}' is not 'name: type = literal'."
            )
        name = node.target.id
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
            raise ConfigurationError(f"'{name}' in the pipeline '{pipeline}' is not a valid parameter name.")
        _, _, meaning = lines[node.lineno - 1].partition("  # ")
        default = ast.literal_eval(node.value)
        found[name] = Parameter(
            name=name,
            annotation=ast.unparse(node.annotation),
            default=default,
            meaning=meaning.strip().rstrip("."),
            required=default == "" and "required" in meaning,
        )
    return found


def _type_of(node: ast.expr) -> Any:
    """Build a type from its syntax; only plain built-in types are understood, nothing is evaluated."""
    match node:
        case ast.Name(id=name) if name in _TYPES:
            return _TYPES[name]
        case ast.Constant(value=None):
            return types.NoneType
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type_of(left) | _type_of(right)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return list[_type_of(inner)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
            return dict[_type_of(key), _type_of(value)]  # type: ignore[misc]
        case _:
            raise ConfigurationError(f"'{ast.unparse(node)}' is not a type that a parameter may have.")
