"""A style in the form of each target, with what is lost on the way."""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboards.style.draft import text_of
from geoetl.styles.encoders import ENCODERS

if TYPE_CHECKING:
    from geoetl.styles.layer import StyledLayer
    from geoetl.styles.model import Style

# The form in which the style itself is written; it is shown where it can be edited.
OWN = "cartosym"
# What the map is drawn with.
DRAWN = "maplibre"


@dataclass(frozen=True)
class Loss:
    """What a target cannot say.

    Attributes:
        pointer: JSON pointer of the part of the style.
        reason: Why it is lost.
    """

    pointer: str
    reason: str


@dataclass(frozen=True)
class Output:
    """A style in the form of one target.

    Attributes:
        name: Name of the encoder.
        title: Its title.
        text: What is copied and downloaded.
        filename: Name of a download.
        media_type: Media type of a download.
        document: As JSON, None where it is none.
        losses: What is lost.
        specification: Address of the document that says what it means.
    """

    name: str
    title: str
    text: str
    filename: str
    media_type: str
    document: Any
    losses: tuple[Loss, ...]
    specification: str

    @property
    def label(self) -> str:
        """The first word of its title, for a tab: CartoSym, MapLibre, SLD."""
        return re.split(r"[ -]", self.title)[0]

    @property
    def is_json(self) -> bool:
        """Whether it is JSON."""
        return self.document is not None


def outputs_of(style: "Style", layer: "StyledLayer", name: str) -> tuple[Output, ...]:
    """Return a style in every form that its layer has; `name` is what downloads are called."""
    return tuple(_encoded(encoder, style, layer, name) for encoder in ENCODERS.values() if layer.kind in encoder.kinds)


def _encoded(encoder: Any, style: "Style", layer: "StyledLayer", name: str) -> Output:
    encoded = encoder.encode(style, layer)
    document = None if isinstance(encoded.document, str) else encoded.document
    if document is None:
        text = str(encoded.document)
    elif encoder.name == OWN:
        text = text_of(document)
    else:
        text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    return Output(
        name=encoder.name,
        title=encoder.title,
        text=text,
        filename=f"{name}.{encoder.extension.lstrip('.')}",
        media_type=encoded.media_type,
        document=document,
        losses=tuple(Loss(loss.pointer, loss.reason) for loss in encoded.losses),
        specification=encoder.specification,
    )
