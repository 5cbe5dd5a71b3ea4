"""What every encoder is and gives: a style in the words of one client, and what was lost on the way."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from geoetl.styles.cascade import Loss
from geoetl.styles.layer import LayerKind, StyledLayer
from geoetl.styles.model import Style


@dataclass(frozen=True)
class Encoded:
    """A style in one encoding.

    Attributes:
        name: The encoding.
        media_type: Of its content.
        extension: Of a file of it, without a dot.
        document: What JSON can say, or a text.
        losses: What the encoding cannot say.
    """

    name: str
    media_type: str
    extension: str
    document: Any
    losses: tuple[Loss, ...] = ()

    @property
    def content(self) -> bytes:
        """The body, in UTF-8."""
        if isinstance(self.document, str):
            return self.document.encode()
        return json.dumps(self.document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class Encoder(Protocol):
    """Writes styles for one kind of client; pure: no I/O, the same answer for the same style and layer."""

    @property
    def name(self) -> str:
        """The name in ``f=`` and in the registry."""
        ...

    @property
    def title(self) -> str:
        """The name for people."""
        ...

    @property
    def media_type(self) -> str:
        """The media type of what it writes."""
        ...

    @property
    def specification(self) -> str:
        """Where the encoding is described (URL)."""
        ...

    @property
    def extension(self) -> str:
        """The ending of a file of it, without a dot."""
        ...

    @property
    def kinds(self) -> Sequence[LayerKind]:
        """The kinds of layers that it can say something about."""
        ...

    def encode(self, style: Style, layer: StyledLayer) -> Encoded:
        """Return the style in this encoding, for one layer."""
        ...
