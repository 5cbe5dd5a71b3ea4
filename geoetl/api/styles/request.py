"""What a client says about styles in addresses and headers, and what it means."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import Path, Query, Request

from geoetl.api.problems import NotAcceptable, UnsupportedMediaType, wrong_media_type
from geoetl.core.errors import InputError
from geoetl.styles.encoders import ENCODERS

JSON = "application/json"
CARTOSYM = "cartosym"
# As the draft and its examples name encodings in addresses.
ALIASES: Mapping[str, str] = {"json": CARTOSYM, "mapbox": "maplibre", "sld11": "sld"}
#: How an encoding is named in links.
NAMES: Mapping[str, str] = {"maplibre": "mapbox"}
# What a client that wants JSON, or just anything, is given; a browser shows JSON as well.
_ANY = (JSON, "application/*", "*/*", "text/html")
_TAG = re.compile(r'(?:W/)?"([^"]*)"')

LayerId = Annotated[
    str, Path(description="STAC collection of rasters or cubes, or STAC collection and vector item joined by a colon")
]
StyleId = Annotated[str, Path(description="Id of the style within its layer")]
Encoding = Annotated[
    str | None,
    Query(
        alias="f",
        description=f"{', '.join(NAMES.get(name, name) for name in ENCODERS)}; left out, by the header Accept",
        examples=["mapbox"],
    ),
]
LegendForm = Annotated[Literal["json", "svg", "png"], Query(alias="f", description="Form", examples=["svg"])]
DryRun = Annotated[bool, Query(alias="dry-run", description="Only check, and keep nothing", examples=[True])]


class InvalidEncoding(InputError):
    """A style is not offered in the encoding that the address names."""

    code = "invalid_encoding"
    title = "The encoding is not right"


def offered(kind: str) -> list[str]:
    """Return the names of the encodings of a kind of layer, as links have them."""
    return [NAMES.get(name, name) for name in ENCODERS if kind in ENCODERS[name].kinds]


def encoder_of(asked: str, kind: str) -> str:
    """Return the encoder that the parameter `f` means.

    Raises:
        InvalidEncoding: There is none of that name for this kind of layer.
    """
    name = ALIASES.get(asked, asked)
    if name not in ENCODERS or kind not in ENCODERS[name].kinds:
        raise InvalidEncoding(f"f is '{asked[:40]}'.", hint=f"Use {' or '.join(offered(kind))}.", field="f")
    return name


def negotiated(request: Request, asked: str | None, kind: str) -> tuple[str, str]:
    """Return the encoder and the media type of the answer: by `f`, else by the header ``Accept`` (RFC 9110, 12.5.1).

    Raises:
        InvalidEncoding: The parameter names no encoding of this kind of layer.
        NotAcceptable: Nothing that the header names is offered.
    """
    if asked is not None:
        name = encoder_of(asked, kind)
        return name, ENCODERS[name].media_type
    header = request.headers.get("accept", "") or "*/*"
    wanted = sorted(map(_preference, header.split(",")), key=lambda one: -one[2])
    for media_type, parameters, weight in wanted:
        if weight <= 0:
            continue
        if media_type in _ANY and not parameters:
            return CARTOSYM, JSON if media_type == JSON else ENCODERS[CARTOSYM].media_type
        for name in ENCODERS:
            own, own_parameters, _ = _preference(ENCODERS[name].media_type)
            if kind in ENCODERS[name].kinds and media_type == own and parameters.items() <= own_parameters.items():
                return name, ENCODERS[name].media_type
    raise NotAcceptable(
        f"Styles do not come as '{header[:80]}'.",
        hint=f"They come as {', '.join(ENCODERS[ALIASES.get(name, name)].media_type for name in offered(kind))}.",
        field="Accept",
    )


def check_media_type(request: Request, taken: Sequence[str]) -> None:
    """Check that a body is of a type that is taken.

    Raises:
        UnsupportedMediaType: It is not.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in taken:
        told = wrong_media_type(request.scope)
        raise UnsupportedMediaType(
            told.detail, hint=f"Send it with the header Content-Type: {' or '.join(taken)}.", field="Content-Type"
        )


def expected_of(if_match: str | None, if_none_match: str | None = None) -> str | list[str] | None:
    """Return what the preconditions of a change say about the style that is there, as `StyleLibrary` takes it.

    The tag of an encoded style is that of the style, a dot, and that of its form; the first part is what counts.
    """
    if if_none_match is not None and if_none_match.strip() == "*":
        return ""
    if if_match is None:
        return None
    return "*" if if_match.strip() == "*" else [tag.partition(".")[0] for tag in _TAG.findall(if_match)]


def is_strict(prefer: str | None) -> bool:
    """Tell whether a client prefers that what is doubtful is refused (RFC 7240, section 4.4)."""
    preferences = [part.strip().lower() for part in re.split("[,;]", prefer or "")]
    return "handling=strict" in preferences


def _preference(part: str) -> tuple[str, dict[str, str], float]:
    """Return a media range, its parameters and its weight."""
    media_type, *pieces = (piece.strip().lower() for piece in part.split(";"))
    parameters = {name.strip(): value.strip().strip('"') for name, _, value in (one.partition("=") for one in pieces)}
    weight = parameters.pop("q", "1")
    parameters.pop("", None)
    try:
        return media_type, parameters, float(weight)
    except ValueError:
        return media_type, parameters, 0.0
