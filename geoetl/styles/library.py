"""The styles of layers: kept with their versions, one of them the default, and given in every encoding.

Styles belong to the id of a layer, not to its item or collection.  When that is removed they are not answered any more;
when a layer of the same id is registered again, as after a new delivery, it has its styles back.  Until then `orphans`
names them, and `forget` removes them for good.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from geoetl.core.errors import Conflict, InvalidStyle, LimitExceeded, NotFound, did_you_mean
from geoetl.core.identifiers import canonical_json, check_id, digest, new_id, slug
from geoetl.styles.cascade import flatten
from geoetl.styles.encoders import ENCODERS
from geoetl.styles.layers import Layers, LayerSummary
from geoetl.styles.model import Style
from geoetl.styles.repository import LayerRows, StyleRepository, StyleRow, VersionRow

if TYPE_CHECKING:
    from geoetl.styles.encoders.protocol import Encoded
    from geoetl.styles.layer import StyledLayer
    from geoetl.styles.legend import Legend

#: The id of the style that a layer gets when it is made.
DEFAULT_ID = "default"
# The largest style of the official examples has 8 KiB; a classification of 1000 classes has 300.
MAX_STYLE_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024
MAX_STYLES = 200
# Rules times the intervals of scale in which they differ: most encodings say all rules again for each of these. So many
# take some seconds; a map that is drawn by hand has a tenth.
MAX_RULES_AT_SCALES = 10_000
MAX_NOTE = 1000
MAX_AUTHOR = 200
# Styles, encodings and legends that are kept, for all layers together; a style of 1000 classes takes some 3 MiB.
MAX_KEPT = 64
# So often the picture of a coverage is brought up to date while others change its default.
MAX_FOLLOWED = 5
#: What a style says of itself in its own document; further members of its metadata are kept beside it.
OWN_MEMBERS = ("title", "description", "keywords")
FURTHER_MEMBERS = ("pointOfContact", "license", "accessConstraints", "dates")
_TEXTS = ("title", "description", "pointOfContact", "license", "accessConstraints")

Document = Style | Mapping[str, Any] | str | bytes
Expected = str | Collection[str] | None
"""The `etag` of a style as the caller has seen it, or several; ``*`` for any, an empty text for none at all."""


class Outdated(Conflict):
    """A style is not the one any more that the caller has seen; nothing was changed."""

    code = "outdated"
    title = "The style was changed meanwhile"
    status = 412


class InvalidMetadata(InvalidStyle):
    """The metadata of a style are not right."""

    code = "invalid_metadata"
    title = "The metadata are not right"


@dataclass(frozen=True)
class StyleSummary:
    """A style in a list.

    Attributes:
        layer_id: Id of the layer.
        id: Id within the layer.
        title, description: As it says itself.
        is_default: Whether the layer is drawn with it unless another is asked for.
        version: Number of the version.
        author: Who made the version; None where nobody is known.
        created, updated: Unix seconds.
        etag: Changes with the style and its metadata.
    """

    layer_id: str
    id: str
    title: str | None
    description: str | None
    is_default: bool
    version: int
    author: str | None
    created: float
    updated: float
    etag: str


@dataclass(frozen=True)
class StoredStyle:
    """A style as it is kept.

    Attributes:
        summary: What a list tells of it.
        style: The style.
        further: Members of its metadata beyond what it says itself.
    """

    summary: StyleSummary
    style: Style
    further: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Id within the layer."""
        return self.summary.id

    @property
    def layer_id(self) -> str:
        """Id of the layer."""
        return self.summary.layer_id

    @property
    def version(self) -> int:
        """Number of the version."""
        return self.summary.version

    @property
    def is_default(self) -> bool:
        """Whether the layer is drawn with it unless another is asked for."""
        return self.summary.is_default

    @property
    def etag(self) -> str:
        """Changes with the style and its metadata."""
        return self.summary.etag

    def metadata(self) -> dict[str, Any]:
        """Return the members of its metadata that may be changed."""
        return {**_said(self.style), **self.further}


class StyleLibrary:
    """The styles of the layers of a catalogue.

    Args:
        repository: Where they are kept.
        layers: The layers.
        proposed: Makes a style for a layer from its data.
        shown: Called with a coverage and its new default style, None for none, after either changed.
    """

    def __init__(
        self,
        repository: StyleRepository,
        layers: Layers,
        proposed: Callable[["StyledLayer"], Style],
        shown: Callable[["StyledLayer", Style | None], None],
    ) -> None:
        self._repository = repository
        self._layers = layers
        self._proposed = proposed
        self._shown = shown
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], Any] = OrderedDict()
        self._making: dict[tuple[str, ...], threading.Lock] = {}

    # -- layers ------------------------------------------------------------------------------------------------------

    def layers(self) -> tuple[LayerSummary, ...]:
        """Return every layer that can have styles."""
        return tuple(self._layers.all())

    def layer(self, layer_id: str) -> "StyledLayer":
        """Return what there is to draw.

        Raises:
            NotFound: There is no such layer.
        """
        return self._layers.layer(layer_id)

    # -- reading -----------------------------------------------------------------------------------------------------

    def list(self, layer_id: str) -> tuple[StyleSummary, ...]:
        """Return the styles of a layer, the oldest first.

        Raises:
            NotFound: There is no such layer.
        """
        self._layers.check(layer_id)
        return tuple(_summary(row) for row in self._repository.rows([layer_id]))

    def lists(self, layer_ids: Sequence[str]) -> dict[str, tuple[StyleSummary, ...]]:
        """Return the styles of several layers, whether these exist or not."""
        found: dict[str, list[StyleSummary]] = {layer_id: [] for layer_id in layer_ids}
        for row in self._repository.rows(layer_ids):
            found[row.collection_id].append(_summary(row))
        return {layer_id: tuple(styles) for layer_id, styles in found.items()}

    def get(self, layer_id: str, style_id: str) -> StoredStyle:
        """Return a style.

        Raises:
            NotFound: There is no such layer or style.
        """
        self._layers.check(layer_id)
        found = self._repository.row(layer_id, check_id(style_id, "style"))
        if found is None:
            raise self._missing(layer_id, style_id)
        return self._read(*found)

    def default(self, layer_id: str) -> StoredStyle | None:
        """Return the style that a layer is drawn with; None where there is none.

        Raises:
            NotFound: There is no such layer.
        """
        chosen = next((one.id for one in self.list(layer_id) if one.is_default), None)
        found = self._repository.row(layer_id, chosen) if chosen is not None else None
        return None if found is None else self._read(*found)

    def versions(self, layer_id: str, style_id: str) -> tuple[VersionRow, ...]:
        """Return the versions of a style, the newest first.

        Raises:
            NotFound: There is no such layer or style.
        """
        self._layers.check(layer_id)
        found = self._repository.versions(layer_id, check_id(style_id, "style"))
        if not found:
            raise self._missing(layer_id, style_id)
        return tuple(found)

    def version(self, layer_id: str, style_id: str, number: int) -> Style:
        """Return a style as it was.

        Raises:
            NotFound: There is no such layer, style or version.
        """
        self.get(layer_id, style_id)
        document = self._repository.version(layer_id, style_id, number)
        if document is None:
            raise _no_version(style_id, number)
        return Style.of(document)

    def encode(self, layer_id: str, style_id: str, encoder: str) -> "Encoded":
        """Return a style in one of `ENCODERS`, with what is lost.

        Raises:
            NotFound: There is no such layer, style or encoder, or that encoder has no form for such a layer.
        """
        return self.encoded(self.get(layer_id, style_id), encoder)

    def encoded(self, stored: StoredStyle, encoder: str) -> "Encoded":
        """Return a style that was read in one of `ENCODERS`, see `encode`."""
        layer = self.layer(stored.layer_id)
        chosen = ENCODERS[encoder]
        if layer.kind not in chosen.kinds:
            raise NotFound(
                f"A {layer.kind} has no style as {chosen.title}.",
                hint=f"There is: {', '.join(name for name in ENCODERS if layer.kind in ENCODERS[name].kinds)}.",
                field="f",
            )
        return self._once(
            ("encoding", stored.etag, encoder, _fingerprint(layer)), lambda: chosen.encode(stored.style, layer)
        )

    def legend(self, stored: StoredStyle) -> "Legend":
        """Return what a style that was read means.

        Raises:
            NotFound: The layer is gone.
        """
        from geoetl.styles.coverage import coverage_symbol
        from geoetl.styles.legend import legend_of

        layer = self.layer(stored.layer_id)

        def made() -> "Legend":
            shown = coverage_symbol(stored.style, layer).properties if layer.kind == "coverage" else ()
            return legend_of(stored.style, layer, units=self._layers.units(layer, shown))

        return self._once(("legend", stored.etag, _fingerprint(layer)), made)

    # -- changing ----------------------------------------------------------------------------------------------------

    def put(
        self,
        layer_id: str,
        style_id: str,
        style: Document,
        *,
        author: str | None = None,
        note: str | None = None,
        expected: Expected = None,
        only_new: bool = False,
        dry_run: bool = False,
    ) -> StoredStyle:
        """Keep a style: a new one, or a new version of one; the first of a layer becomes its default.

        A style that is equal to the version that is there makes no new one.

        Args:
            layer_id: Id of the layer.
            style_id: Id within the layer.
            style: CartoSym-JSON, or the friendly dialect of it.
            author: Who made it.
            note: Why.
            expected: The `etag` that the style has to have now, or several; see `Expected`.
            only_new: Whether there may be none of that id yet.
            dry_run: Only check; what would be kept is returned.

        Raises:
            NotFound: There is no such layer.
            InvalidStyle: It is no style.
            InvalidParameter: The id is not right.
            Outdated: The style is not the expected one.
            Conflict: There is one of that id, and only a new one is wanted.
            LimitExceeded: It is too large, it has too many rules at too many scales, or the layer has too many styles.
        """
        check_id(style_id, "style")
        layer = self.layer(layer_id)
        given = checked_style(style)
        _check_work(given, layer)
        with self._repository.change(layer_id, keep=not dry_run) as rows:
            found = rows.row(style_id)
            if only_new and found is not None:
                raise Conflict(
                    f"'{layer_id}' has a style '{style_id}' already.",
                    hint="Give another id, or replace it with PUT.",
                    field="style",
                )
            _check_expected(found, expected, style_id)
            kept = _written(rows, style_id, given, found, author=author, note=note)
        if not dry_run:
            self._follow(layer, kept)
        return kept

    def restore(
        self,
        layer_id: str,
        style_id: str,
        number: int,
        *,
        author: str | None = None,
        expected: Expected = None,
        dry_run: bool = False,
    ) -> StoredStyle:
        """Make a new version of an old one.

        Raises:
            NotFound: There is no such layer, style or version.
            Outdated: The style is not the expected one.
        """
        layer = self.layer(layer_id)
        with self._repository.change(layer_id, keep=not dry_run) as rows:
            found = self._there(rows, style_id)
            _check_expected(found, expected, style_id)
            document = rows.version(style_id, number)
            if document is None:
                raise _no_version(style_id, number)
            kept = _written(rows, style_id, Style.of(document), found, author=author, note=f"Version {number} again")
        if not dry_run:
            self._follow(layer, kept)
        return kept

    def change_metadata(
        self,
        layer_id: str,
        style_id: str,
        change: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        *,
        author: str | None = None,
        expected: Expected = None,
    ) -> StoredStyle:
        """Replace the metadata of a style by what `change` makes of them, in one unit of work.

        What a style says of itself (`OWN_MEMBERS`) is part of its document, so that another one makes a new version.

        Raises:
            NotFound: There is no such layer or style.
            InvalidMetadata: A member is unknown or of another type.
            Outdated: The style is not the expected one.
        """
        layer = self.layer(layer_id)
        with self._repository.change(layer_id) as rows:
            found = self._there(rows, style_id)
            _check_expected(found, expected, style_id)
            present = _stored(*found)
            changed = _checked_metadata(change(present.metadata()))
            further = {name: value for name, value in changed.items() if name not in OWN_MEMBERS}
            if further != present.further:
                rows.change(style_id, metadata=further)
            kept = _written(
                rows,
                style_id,
                _saying(present.style, changed),
                self._there(rows, style_id),
                author=author,
                note="Metadata",
            )
        self._follow(layer, kept)
        return kept

    def delete(self, layer_id: str, style_id: str, *, expected: Expected = None, dry_run: bool = False) -> StyleSummary:
        """Remove a style with its versions, and return it; of a default the oldest other style takes its place.

        Raises:
            NotFound: There is no such layer or style.
            Outdated: The style is not the expected one.
        """
        layer = self.layer(layer_id)
        with self._repository.change(layer_id, keep=not dry_run) as rows:
            found = self._there(rows, style_id)
            _check_expected(found, expected, style_id)
            rows.remove(style_id)
            if found[0].is_default and (others := rows.rows()):
                rows.make_default(others[0].style_id)
        removed = _summary(found[0])
        if not dry_run and removed.is_default:
            self._show_default(layer)
        return removed

    def set_default(self, layer_id: str, style_id: str | None, *, dry_run: bool = False) -> StyleSummary | None:
        """Make a style the one that its layer is drawn with, or none.

        Raises:
            NotFound: There is no such layer or style.
        """
        layer = self.layer(layer_id)
        with self._repository.change(layer_id, keep=not dry_run) as rows:
            if style_id is not None:
                self._there(rows, style_id)
            rows.make_default(style_id)
            chosen = next((_summary(row) for row in rows.rows() if row.is_default), None)
        if not dry_run:
            self._show_default(layer)
        return chosen

    # -- styles from data --------------------------------------------------------------------------------------------

    def propose(self, layer_id: str) -> Style:
        """Make a style for a layer from its geometries and values; nothing is kept.

        Raises:
            NotFound: There is no such layer.
        """
        return self._proposed(self.layer(layer_id))

    def ensure_default(self, layer_id: str, *, author: str | None = None) -> StyleSummary | None:
        """Give a layer without styles the proposed one; a layer that has any keeps what it has.

        Returns:
            The style that was made; None where there were styles.

        Raises:
            NotFound: There is no such layer.
        """
        layer = self.layer(layer_id)
        if self._repository.rows([layer_id]):
            return None
        style = checked_style(self._proposed(layer))
        with self._repository.change(layer_id) as rows:
            if rows.rows():
                return None
            kept = _written(rows, DEFAULT_ID, style, None, author=author, note="Made from the data")
        self._follow(layer, kept)
        return kept.summary

    # -- layers that are gone ----------------------------------------------------------------------------------------

    def orphans(self) -> tuple[str, ...]:
        """Return the ids of layers that have styles and are not in the catalogue any more."""
        return tuple(one for one in self._repository.layer_ids() if not self._layers.exists(one))

    def forget(self, layer_id: str) -> int:
        """Remove all styles of a layer, whether it exists or not, and return how many there were."""
        with self._repository.change(layer_id) as rows:
            found = rows.rows()
            for row in found:
                rows.remove(row.style_id)
        if found and self._layers.exists(layer_id):
            self._show_default(self.layer(layer_id))
        return len(found)

    # -- within ------------------------------------------------------------------------------------------------------

    def _read(self, row: StyleRow, document: Mapping[str, Any]) -> StoredStyle:
        style = self._once(("style", _etag(row)), lambda: Style.of(document))
        return StoredStyle(_summary(row), style, row.metadata)

    def _once[T](self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        """Return what was made of a style before, or make it; what was longest unused is forgotten first.

        Whoever asks for the same while it is being made waits for it.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                known: T = self._kept[key]
                return known
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._kept:
                    made: T = self._kept[key]
                    return made
            try:
                made = make()
                with self._lock:
                    self._kept[key] = made
                    while len(self._kept) > MAX_KEPT:
                        self._kept.popitem(last=False)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return made

    def _there(self, rows: LayerRows, style_id: str) -> tuple[StyleRow, dict[str, Any]]:
        found = rows.row(check_id(style_id, "style"))
        if found is None:
            raise _missing(style_id, rows.layer_id, rows.rows())
        return found

    def _missing(self, layer_id: str, style_id: str) -> NotFound:
        return _missing(style_id, layer_id, self._repository.rows([layer_id]))

    def _follow(self, layer: "StyledLayer", kept: StoredStyle) -> None:
        if kept.is_default:
            self._show_default(layer)

    def _show_default(self, layer: "StyledLayer") -> None:
        """Let the pictures of a coverage follow its default, as it is in the end where others change it meanwhile."""
        if layer.kind != "coverage":
            return
        for _ in range(MAX_FOLLOWED):
            chosen = self.default(layer.id)
            self._shown(layer, None if chosen is None else chosen.style)
            after = self.default(layer.id)
            if (chosen and chosen.etag) == (after and after.etag):
                return


def checked_style(style: Document) -> Style:
    """Return what was given as a style.

    Raises:
        InvalidStyle: It is none.
        LimitExceeded: It is too large.
    """
    if isinstance(style, str | bytes) and len(style) > MAX_STYLE_BYTES:
        raise _too_large(len(style))
    given = style if isinstance(style, Style) else Style.of(style)
    size = len(canonical_json(given.document()).encode("utf-8", "surrogatepass"))
    if size > MAX_STYLE_BYTES:
        raise _too_large(size)
    return given


def _check_work(style: Style, layer: "StyledLayer") -> None:
    """Refuse a style that would take too long to encode, before anybody waits for it."""
    cascade = flatten(style, layer)
    rules, intervals = len(cascade.entries), len(cascade.breaks) + 1
    if rules * intervals > MAX_RULES_AT_SCALES:
        raise LimitExceeded(
            f"The style has {rules} rules, which differ in {intervals} intervals of scale; their product is limited to "
            f"{MAX_RULES_AT_SCALES:,}.",
            hint="Let rules begin and end at the same few scales.",
            field="/stylingRules",
        )


def id_of(document: Any, style: Style) -> str:
    """Return the id that a new style asks for: its name in the friendly dialect, else its title; else a new one."""
    name = document.get("name") if isinstance(document, Mapping) else None
    text = name if isinstance(name, str) and name else style.title
    return slug(text) if text else f"style-{new_id()}"


def _written(
    rows: LayerRows,
    style_id: str,
    style: Style,
    found: tuple[StyleRow, dict[str, Any]] | None,
    *,
    author: str | None,
    note: str | None,
) -> StoredStyle:
    """Write a new style or a new version of one, unless it is as it was; return what is there then."""
    document = style.document()
    author, note = author and author[:MAX_AUTHOR], note and note[:MAX_NOTE]
    said = {"title": style.title or None, "description": style.description or None, "author": author}
    if found is None:
        others = rows.rows()
        if len(others) >= MAX_STYLES:
            raise LimitExceeded(
                f"'{rows.layer_id}' has {len(others)} styles; the limit is {MAX_STYLES}.",
                hint="Delete one, or make a new version of one.",
                field="style",
            )
        rows.add(style_id, document, metadata={}, **said)
        rows.add_version(style_id, 1, document, author, note)
        if not others:
            rows.make_default(style_id)
    elif found[1] != document:
        number = found[0].version + 1
        rows.change(style_id, style_spec=document, version=number, **said)
        rows.add_version(style_id, number, document, author, note)
    row = rows.row(style_id)
    assert row is not None  # it was written in this unit of work
    return _stored(*row)


def _check_expected(found: tuple[StyleRow, dict[str, Any]] | None, expected: Expected, style_id: str) -> None:
    if expected is None:
        return
    wanted = {expected} if isinstance(expected, str) else set(expected)
    if wanted == {""} if found is None else wanted & {"*", _etag(found[0])}:
        return
    if found is None:
        state = "does not exist"
    else:
        state = "exists already" if wanted == {""} else "was changed by somebody else"
    raise Outdated(
        f"The style '{style_id}' {state}; nothing was written.",
        hint="Read it again, then repeat the change.",
        field="If-Match",
    )


def _stored(row: StyleRow, document: Mapping[str, Any]) -> StoredStyle:
    return StoredStyle(_summary(row), Style.of(document), row.metadata)


def _summary(row: StyleRow) -> StyleSummary:
    return StyleSummary(
        layer_id=row.collection_id,
        id=row.style_id,
        title=row.title,
        description=row.description,
        is_default=row.is_default,
        version=row.version,
        author=row.author,
        created=row.created,
        updated=row.updated,
        etag=_etag(row),
    )


def _fingerprint(layer: "StyledLayer") -> str:
    return digest([layer.kind, layer.dimensions, dict(layer.properties)])


def _etag(row: StyleRow) -> str:
    # With the moment that it was made: a style that was deleted and made again is another one.
    state = (row.collection_id, row.style_id, row.created, row.revision)
    return blake2b(repr(state).encode(), digest_size=12).hexdigest()


def _said(style: Style) -> dict[str, Any]:
    """Return the members of the metadata that a style says itself."""
    metadata = style.document().get("metadata") or {}
    return {name: metadata[name] for name in OWN_MEMBERS if name in metadata}


def _saying(style: Style, metadata: Mapping[str, Any]) -> Style:
    """Return a style that says these metadata of itself."""
    document = style.document()
    kept = {name: value for name, value in (document.get("metadata") or {}).items() if name not in OWN_MEMBERS}
    said = {**kept, **{name: metadata[name] for name in OWN_MEMBERS if name in metadata}}
    rest = {name: value for name, value in document.items() if name != "metadata"}
    return Style.of({"metadata": said, **rest} if said else rest)


def _checked_metadata(given: Mapping[str, Any]) -> Mapping[str, Any]:
    known = (*OWN_MEMBERS, *FURTHER_MEMBERS)
    for name, value in given.items():
        if name not in known:
            raise InvalidMetadata(
                f"The metadata have '{name[:60]}', which is not known here.",
                hint=did_you_mean(name, known),
                field=f"/{name[:60]}",
            )
        if name in _TEXTS and not isinstance(value, str):
            raise InvalidMetadata(f"'{name}' is not text.", hint="Give text, or leave it out.", field=f"/{name}")
    keywords, dates = given.get("keywords", []), given.get("dates", {})
    if not isinstance(keywords, list | tuple) or not all(isinstance(word, str) for word in keywords):
        raise InvalidMetadata("'keywords' is no list of texts.", hint='For example ["land", "use"].', field="/keywords")
    if not isinstance(dates, Mapping) or not all(isinstance(date, str) for date in dates.values()):
        raise InvalidMetadata(
            "'dates' does not give text for each name.",
            hint='For example {"publication": "2026-01-01T00:00:00Z"}.',
            field="/dates",
        )
    size = len(canonical_json(dict(given)).encode("utf-8", "surrogatepass"))
    if size > MAX_METADATA_BYTES:
        raise LimitExceeded(
            f"The metadata have {size:,} bytes; the limit is {MAX_METADATA_BYTES:,}.", hint="Say less.", field="body"
        )
    return given


def _missing(style_id: str, layer_id: str, rows: Sequence[StyleRow]) -> NotFound:
    names = [row.style_id for row in rows]
    return NotFound(
        f"'{layer_id}' has no style '{style_id}'.",
        hint=did_you_mean(style_id, names) or "It has none yet.",
        field="style",
    )


def _no_version(style_id: str, number: int) -> NotFound:
    return NotFound(
        f"The style '{style_id}' has no version {number}.", hint="Ask for its versions first.", field="version"
    )


def _too_large(size: int) -> LimitExceeded:
    return LimitExceeded(
        f"The style has {size:,} bytes; the limit is {MAX_STYLE_BYTES:,}.",
        hint="Use fewer rules, or simpler ones.",
        field="body",
    )
