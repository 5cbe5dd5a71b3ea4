"""What an item needs to stand alone outside, handed in by those who know: `Packer` for cubes, `StyleSheets` for styles.

A virtual cube is references to files that lie inside; outside it takes the files along, and its references lead there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class PackedObject(Protocol):
    """An object that goes along.

    Attributes:
        source: Its address: ``internal://key``, or that of a file or object outside the zones.
        target: Where it goes, below the path of the release.
        bytes: Its size.
        sha256: Digest of its content.
        media_type: As it is served.
        role: What it is: references, source, metadata.
    """

    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def role(self) -> str: ...


class Packed(Protocol):
    """What an item takes along.

    Attributes:
        objects: What is copied besides, or in the place of, the objects of its assets.
        assets: Assets that take the place of those of the item, with addresses relative to it.
    """

    @property
    def objects(self) -> Sequence[PackedObject]: ...
    @property
    def assets(self) -> Mapping[str, Mapping[str, Any]]: ...


class Packer(Protocol):
    """Makes items whose data lead inside stand alone."""

    def pack(self, item: Mapping[str, Any], path: str, base: str) -> Packed:
        """Return what an item needs outside; nothing for one whose objects are all that there is to it.

        What has to be written for that lies in the internal zone, below ``publishing/{path}/``.

        Args:
            item: As the catalogue has it.
            path: Of the release: ``{collection}/{item}/v{version}``.
            base: Address of the external zone, without a slash at its end.

        Raises:
            NotFound, VerificationFailed: A file that it needs is gone, or has changed since.
            OutsideAllowedRoots: A file that it needs lies where nobody may read.
            ConfigurationError: It cannot be read at that address.
            Unavailable: A store cannot be reached.
        """
        ...


class StyleSheet(Protocol):
    """A style in one encoding.

    Attributes:
        style: Id of the style within its layer.
        encoding: Name of the encoding.
        title: Of it, with its encoding.
        extension: Of a file of it, without a dot: ``cs.json``, ``sld``.
        media_type: As it is served.
        document: What JSON can say, or a text.
    """

    @property
    def style(self) -> str: ...
    @property
    def encoding(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def extension(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def document(self) -> dict[str, Any] | str: ...


class StyleSheets(Protocol):
    """Gives the styles that an item is drawn with."""

    def sheets(self, item: Mapping[str, Any], tiles: str | None) -> Sequence[StyleSheet]:
        """Return every style of the layer of an item in every encoding that does without a server.

        Args:
            item: As the catalogue has it.
            tiles: Address of its vector tiles (PMTiles) as a client will find them; None where it has none.
        """
        ...
