"""How file names are read: the named grammars, and templates such as ``{variable_id}_{source_id}_{start}-{end}.nc``."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from geoetl.core.errors import InvalidParameter, NotCMIP6, did_you_mean
from geoetl.core.registry import Registry
from geoetl.virtual.cmip6 import MAX_NAME, Facets, check_times
from geoetl.virtual.spans import DIGITS

# Each file is a cube of its own: no grammar reads its name.
FILE = "file"
# Parts of a template that may stretch over the text that follows them are tried in every length; with more than these
# a hostile name would take long.
MAX_LOOSE = 3
_TIMES = ("start", "end", "time")
_MEMBER = "member_id"
# What a template may name.
FIELDS = (*(name for name in Facets.model_fields if name not in ("climatology", *_TIMES)), _MEMBER, *_TIMES)
_CHARACTERS = "A-Za-z0-9._+-"
# These hold the character that separates them from what follows: sea_ice_2015, v2.0.nc.
_STRETCH = {"variable_id": "_", "version": "."}
_TOKEN = re.compile(r"(\{[^{}]*\}|\*)")


@dataclass(frozen=True)
class Grammar:
    """How the files of one scheme are named.

    Attributes:
        title: For people.
        read: Facets of a path; it raises NotCMIP6 where the name has another form.
        versions_files: True where the name of each file has the version, so that the files of a cube may differ in it.
    """

    title: str
    read: Callable[[PurePosixPath], Facets]
    versions_files: bool = False


GRAMMARS = Registry(
    "naming",
    {
        "cmip6": Grammar("CMIP6", Facets.parse),
        "nex-gddp": Grammar("NEX-GDDP-CMIP6", Facets.parse_nex_gddp, versions_files=True),
    },
)


@dataclass(frozen=True)
class Template:
    """A file name with named fields, matched from end to end.

    ``*`` stands for anything within a name. A field holds letters, digits and ``. _ + -`` but not the character that
    follows it in the template; only ``{variable_id}`` may hold an underscore before an underscore. A field that is
    named twice has to be the same twice. A ``/`` separates folders, from the file upwards.

    Attributes:
        text: As it was given.
        pattern: What it matches.
    """

    text: str
    pattern: re.Pattern[str]

    @classmethod
    def compile(cls, text: str) -> "Template":
        """Turn a template into a pattern.

        Raises:
            InvalidParameter: It names an unknown field, or could be matched in more than one way.
        """
        tokens = [token for token in _TOKEN.split(text) if token]
        if "{" not in text or any(c in token for token in tokens if not _is_field(token) for c in "{}"):
            raise _wrong(text, "its braces do not pair, or it has no field", f"Fields are written {{{FIELDS[0]}}}.")
        parts: list[str] = []
        seen: set[str] = set()
        loose = 0
        for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
            name = token[1:-1] if _is_field(token) else None
            if name is not None and name not in FIELDS:
                raise _wrong(text, f"there is no field '{name}'", did_you_mean(name, FIELDS))
            if (name or token == "*") and (after == "*" or _is_field(after)):
                if not (token == "*" and after[1:-1] in _TIMES):
                    raise _wrong(text, f"nothing tells where {token} ends and {after} begins", "Put text between.")
            if name is None:
                parts.append("[^/]*?" if token == "*" else re.escape(token))
                loose += token == "*"
            elif name in seen:
                parts.append(f"(?P={name})")
            elif name in _TIMES:
                parts.append(f"(?P<{name}>[0-9]{{4}}(?:[0-9]{{2}}){{0,5}})")
            else:
                stretches = _STRETCH.get(name) == after[:1]
                loose += stretches
                parts.append(f"(?P<{name}>(?:{'' if stretches else _unless(after)}[{_CHARACTERS}])+?)")
            if name:
                seen.add(name)
        if loose > MAX_LOOSE:
            raise _wrong(text, f"it has {loose} parts of open length", f"Use at most {MAX_LOOSE} '*'.")
        if ("start" in seen) != ("end" in seen) or {"start", "time"} <= seen:
            raise _wrong(text, "{start} and {end} belong together", "For files of a single time, use {time}.")
        if _MEMBER in seen and "variant_label" in seen:
            raise _wrong(text, "{member_id} holds {variant_label}", "Use one of the two.")
        return cls(text, re.compile("".join(parts)))

    @property
    def folders(self) -> int:
        """How many folders above the file it matches."""
        return self.text.count("/")

    def read(self, path: PurePosixPath) -> Facets:
        """Read the facets from a path.

        Raises:
            NotCMIP6: It does not match, or its time does not exist.
        """
        tail = path.parts[-1 - self.folders :]
        fits = max(map(len, tail), default=0) <= MAX_NAME
        found = self.pattern.fullmatch("/".join(tail)) if fits else None
        if found is None:
            raise NotCMIP6(
                f"'{path.name[:MAX_NAME]}' does not follow the template {self.text}.",
                hint="Correct the template, or pass naming=file to take each file as a cube of its own.",
                field="naming",
            )
        values: dict[str, Any] = found.groupdict()
        if "time" in values:
            values["start"] = values["end"] = values.pop("time")
        if "start" in values:
            check_times(path.name, values["start"], values["end"], DIGITS)
        if member := values.pop(_MEMBER, None):
            sub, dash, label = member.partition("-")
            known = bool(dash and label and re.fullmatch(r"s[0-9]{4}", sub))
            values |= {"sub_experiment_id": sub, "variant_label": label} if known else {"variant_label": member}
        return Facets.model_validate(values)


def grammar(naming: str, grammars: Mapping[str, Grammar] = GRAMMARS) -> Grammar:
    """Return the grammar of that name, or the one that a template describes.

    Raises:
        InvalidParameter: There is none of that name, or the template is wrong.
    """
    if naming in grammars:
        return grammars[naming]
    if not any(sign in naming for sign in "{}*"):
        raise InvalidParameter(
            f"There is no naming '{naming}'.",
            hint=f"{did_you_mean(naming, [*grammars, FILE])} Or give a template: {{variable_id}}_{{start}}-{{end}}.nc",
            field="naming",
        )
    template = Template.compile(naming)
    return Grammar(naming, template.read, versions_files="version" in template.pattern.groupindex)


def _is_field(token: str) -> bool:
    return token.startswith("{") and token.endswith("}")


def _unless(after: str) -> str:
    return f"(?!{re.escape(after[0])})" if after else ""


def _wrong(text: str, what: str, hint: str) -> InvalidParameter:
    return InvalidParameter(f"The template '{text[:MAX_NAME]}' cannot be used: {what}.", hint=hint, field="naming")
