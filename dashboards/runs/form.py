"""The parameters of a pipeline as a form: what is asked, what was filled in, what is not right with it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from geoetl.core.errors import GeoetlError, InvalidParameter
from geoetl.core.html import human_bytes
from geoetl.core.identifiers import check_id
from geoetl.runs.pipeline import ASKED_BY, Parameter, Pipeline

if TYPE_CHECKING:
    from geoetl.platform import Platform

# Of the parameters that need not be given, so many are in sight at once.
IN_SIGHT = 4
# A folder with more files than this is not counted to the end.
MAX_COUNTED = 1000
_ACRONYMS = frozenset({"crs", "wkt", "bbox", "url", "id"})
# Beside a field nobody has to be told of which pipeline it is.
_NOT_STARTED = re.compile(r"^The pipeline '[^']*' was not started\. ")


class FieldKind(StrEnum):
    """How a parameter is filled in."""

    TEXT = "text"
    SWITCH = "switch"


@dataclass(frozen=True)
class Field:
    """One parameter as a field of the form.

    Attributes:
        name: As in the notebook.
        label: As people read it.
        meaning: What it is, with its unit.
        kind: How it is filled in.
        required: Whether it has to be.
        first: Whether it is in sight at once.
        default: What stands in it before anything is filled in: a text, or whether the switch is on.
    """

    name: str
    label: str
    meaning: str
    kind: FieldKind
    required: bool
    first: bool
    default: str | bool


@dataclass(frozen=True)
class Form:
    """A run that is being prepared.

    Attributes:
        pipeline: What is to run.
        fields: In the notebook's order.
        given: What was filled in, by name.
        wrong: What is not right, as a sentence with the next step, by name; under the empty name what is of no field.
        ready: What was found out about a run that could begin; empty before that.
    """

    pipeline: Pipeline
    fields: tuple[Field, ...]
    given: Mapping[str, str | bool] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)
    ready: str = ""

    @classmethod
    def of(cls, pipeline: Pipeline, given: Mapping[str, Any] | None = None) -> Self:
        """Return the form of a pipeline, filled in with values of its parameters; unknown names are left out."""
        # Who asks is known without being asked for.
        asked = [one for one in pipeline.parameters.values() if one.name != ASKED_BY]
        fields = tuple(_field(one, place) for place, one in enumerate(asked))
        known = {one.name: one for one in fields}
        filled = {name: _shown(known[name].kind, value) for name, value in (given or {}).items() if name in known}
        return cls(pipeline, fields, {name: value for name, value in filled.items() if value != known[name].default})

    def value(self, name: str) -> str | bool:
        """Return what stands in a field."""
        return self.given.get(name, next(one.default for one in self.fields if one.name == name))

    def filled(self, name: str, value: str | bool) -> Self:
        """Return the form with another value in a field; what is wrong with it is looked at anew."""
        default = next(one.default for one in self.fields if one.name == name)
        others = {key: kept for key, kept in self.given.items() if key != name}
        given = others if value == default else {**others, name: value}
        wrong = {key: said for key, said in self.wrong.items() if key not in (name, "")}
        return replace(self, given=given, wrong=wrong, ready="")

    def parameters(self) -> dict[str, Any]:
        """Return what to run the pipeline with; fields that were left as they were keep their defaults."""
        return {name: value for name, value in self.given.items() if value != "" or self._takes_empty(name)}

    def checked(self, platform: "Platform", *, all_of_it: bool) -> Self:
        """Return the form with what is not right beside its fields, after a look at whether it could begin.

        Args:
            platform: Where sources are looked for.
            all_of_it: Whether fields that nobody has touched are told of, too.
        """
        given = self.parameters()
        wrong = {}
        for name, value in given.items():
            try:
                self.pipeline.parameters[name].check(value)
                if name == "collection":
                    check_id(str(value), name)
            except InvalidParameter as error:
                wrong[name] = _sentence(error)
        given = {name: value for name, value in given.items() if name not in wrong}
        # One thing is told at a time: what is wrong is left out, and what is left looked at again.
        while True:
            try:
                _, values = platform.preflight(self.pipeline.name, given)
                break
            except GeoetlError as error:
                told = error.field if error.field in self.pipeline.parameters else ""
                if told in self.given or all_of_it:
                    wrong.setdefault(told or "", _sentence(error))
                if told not in given or self.pipeline.parameters[told].required:
                    return replace(self, wrong=wrong, ready="")
                del given[told]
        return replace(self, wrong=wrong, ready="" if wrong else _ready(platform, values))

    def _takes_empty(self, name: str) -> bool:
        return self.pipeline.parameters[name].annotation == "str"


def _field(parameter: Parameter, place: int) -> Field:
    kind = FieldKind.SWITCH if parameter.annotation == "bool" else FieldKind.TEXT
    words = [word.upper() if word in _ACRONYMS else word for word in parameter.name.split("_")]
    label = " ".join(words)
    return Field(
        name=parameter.name,
        label=f"{label[:1].upper()}{label[1:]}",
        meaning=parameter.meaning.removesuffix("(required)").strip(),
        kind=kind,
        required=parameter.required,
        first=parameter.required or place < IN_SIGHT,
        default=_shown(kind, parameter.default),
    )


def _shown(kind: FieldKind, value: Any) -> str | bool:
    """Return a value as it stands in a field."""
    if kind is FieldKind.SWITCH:
        return value is True or str(value).lower() in ("true", "1", "yes")
    if isinstance(value, str):
        return value
    return "" if value in (None, [], {}) else json.dumps(value, ensure_ascii=False)


def _sentence(error: GeoetlError) -> str:
    # How to say it on the command line is of no use here.
    hint = error.hint if error.hint and "geoetl run " not in error.hint else ""
    detail = _NOT_STARTED.sub("", error.detail)
    return f"{detail} {hint}".strip()


def _ready(platform: "Platform", values: Mapping[str, Any]) -> str:
    source = values.get("source")
    if not isinstance(source, str):
        return "It can begin."
    found = platform.gate.locate(source)
    name = found.name
    if not isinstance(found, Path):
        size = f", {human_bytes(found.size)}" if found.is_file() else ""
    elif found.is_file():
        size = f", {human_bytes(found.stat().st_size)}"
    else:
        count = sum(1 for _, path in zip(range(MAX_COUNTED + 1), found.rglob("*.*"), strict=False))
        size = f", a folder with {f'more than {MAX_COUNTED:,}' if count > MAX_COUNTED else count} files"
    return f"It can begin. Found: {name}{size}."
