"""The state of the page and what a person can do with it; nothing in here draws."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import param

from dashboards.shared.model import Start, at_once
from dashboards.shared.problem import Problem
from dashboards.shared.turns import Turn, Turns
from dashboards.style import draft, form
from dashboards.style.address import Address
from dashboards.style.classes import (
    Question,
    Trial,
    first_question,
    methods_of,
    question_of,
    ramps_of,
    try_out,
    try_out_coverage,
    with_classes,
)
from dashboards.style.condition import Condition, Row, tree_of_rows, tree_of_text
from dashboards.style.form import Unfinished
from dashboards.style.history import History
from dashboards.style.outputs import Output, outputs_of
from dashboards.style.subject import Subject, column, subject_of, values_of, window
from geoetl.core.errors import GeoetlError, InputError, InvalidStyle
from geoetl.core.findings import Severity
from geoetl.core.identifiers import slug
from geoetl.core.principal import Forbidden, Role
from geoetl.core.spatial import Point
from geoetl.styles.coverage import CoverageSymbol, coverage_symbol
from geoetl.styles.legend import Legend, legend_of
from geoetl.styles.library import Outdated, StoredStyle
from geoetl.styles.model import Style
from geoetl.styles.values import denominator_of

if TYPE_CHECKING:
    from geoetl.access.extract import RasterWindow
    from geoetl.core.principal import Principal
    from geoetl.platform import Platform

EMPTY: draft.Document = {"stylingRules": []}
NEW_RULE: Mapping[str, Any] = {"name": "New rule", "symbolizer": {}}


@dataclass(frozen=True)
class Text:
    """The style as text.

    Attributes:
        text: The text.
        serial: Raised whenever it was written by something else than the editor, which then has to show it.
        problem: What is wrong with it; the style is then what it was before. Empty where nothing is.
        pointer: JSON pointer of what is wrong.
        offset: Number of the character instead, where it is no JSON.
    """

    text: str = ""
    serial: int = 0
    problem: str = ""
    pointer: str = ""
    offset: int | None = None


@dataclass(frozen=True)
class Compared:
    """Another version, beside what is edited.

    Attributes:
        title: What it is called.
        version: Its number; 0 for what is saved under another id.
        document: The style.
        outputs: The style in every form.
    """

    title: str
    version: int
    document: draft.Document
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class Picked:
    """A feature that was clicked.

    Attributes:
        properties: Its attributes.
        place: Where it was clicked.
    """

    properties: Mapping[str, Any]
    place: Point


class StyleModel(param.Parameterized):
    """Which layer is styled, the style as it is edited, what comes of it, what is kept.

    The parameters are changed by the commands alone; their values are frozen.  A command returns at once: what takes
    long is handed to `start`.

    Args:
        platform: Everything that is asked.
        principal: Who edits.
        start: Does what takes long; left out, the command itself does.
    """

    layers = param.ClassSelector(class_=tuple, default=None, allow_None=True, doc="Layers that can be styled.")
    subject = param.ClassSelector(class_=Subject, default=None, allow_None=True, doc="The layer that is styled.")
    styles = param.ClassSelector(class_=tuple, default=(), doc="Its styles that are kept.")
    stored = param.ClassSelector(class_=StoredStyle, default=None, allow_None=True, doc="The style that is open.")
    versions = param.ClassSelector(class_=tuple, default=(), doc="Versions of the open style, the newest first.")

    history = param.ClassSelector(class_=History, default=History(EMPTY), doc="The style as it is edited.")
    selected = param.String(default="", doc="Key of the rule that is edited.")
    as_text = param.Boolean(default=False, doc="Whether its condition is written as text.")
    unfinished = param.ClassSelector(class_=Unfinished, default=None, allow_None=True, doc="What is not right yet.")
    values = param.Dict(default={}, doc="Values that occur, by attribute.")
    text = param.ClassSelector(class_=Text, default=Text(), doc="The style as text.")
    outputs = param.ClassSelector(class_=tuple, default=(), doc="The style in the form of every target.")
    window = param.Parameter(default=None, doc="Values of the coverage that is drawn.")

    question = param.ClassSelector(class_=Question, default=None, allow_None=True, doc="How it is to be divided.")
    trial = param.ClassSelector(class_=Trial, default=None, allow_None=True, doc="The classes that come of it.")
    trial_problem = param.String(default="", doc="Why there are none.")

    compared = param.ClassSelector(class_=Compared, default=None, allow_None=True, doc="The version beside it.")
    picked = param.ClassSelector(class_=Picked, default=None, allow_None=True, doc="The feature that was clicked.")
    centre = param.ClassSelector(class_=Point, default=None, allow_None=True, doc="Where the map stands.")
    zoom = param.Number(default=0.0, doc="How close it is (tiles of 512 pixels).")
    target = param.Parameter(default=None, doc="Where the map is asked to go: a BBox, or a Point with the zoom.")
    busy = param.String(default="", doc="What is being done; empty when nothing is.")
    said = param.String(default="", doc="What was done last, such as saving.")
    problem = param.ClassSelector(class_=Problem, default=None, allow_None=True, doc="What went wrong last.")

    def __init__(self, platform: "Platform", principal: "Principal", start: Start = at_once, **params: Any) -> None:
        self.platform = platform
        self.principal = principal
        self._start = start
        self._under_way: list[str] = []
        self._changing = threading.RLock()
        self._opening, self._trying, self._looking = Turns(), Turns(), Turns()
        self._saved: draft.Document = EMPTY
        self._read: tuple[str, ...] = ()
        # What was edited and not saved when another layer or style was opened.
        self._drafts: dict[tuple[str, str], History] = {}
        super().__init__(**params)  # type: ignore[no-untyped-call]  # param 2.4 leaves it unannotated

    # ---- what it is ------------------------------------------------------------------------------------------------

    @property
    def may_edit(self) -> bool:
        """Whether what is edited may be kept."""
        return self.principal.may(Role.EDITOR) and not self.platform.database.read_only

    @property
    def document(self) -> draft.Document:
        """The style as it is edited."""
        return self.history.present

    @property
    def is_changed(self) -> bool:
        """Whether it is another one than what is kept."""
        return self.document != self._saved

    @property
    def title(self) -> str:
        """Title of the style."""
        return str(self.document.get("metadata", {}).get("title") or "")

    @property
    def denominator(self) -> float:
        """Scale denominator of the map at the equator."""
        return denominator_of(self.zoom)

    def legend(self) -> Legend | None:
        """Return the legend at the scale of the map."""
        if self.subject is None:
            return None
        at = self.denominator if self.centre else None
        return legend_of(Style.of(self.document), self.subject.layer, denominator=at, units=self.subject.units)

    def output(self, name: str) -> Output | None:
        """Return the style in the form of a target; None where its layer has none."""
        return next((output for output in self.outputs if output.name == name), None)

    # ---- opening ---------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Look up which layers there are."""
        with self._doing("looking for layers"):
            self._set(layers=tuple(self.platform.styles.layers()))

    def open(self, layer_id: str, style_id: str = "", *, go: bool = True) -> None:
        """Open a layer with a style, its default where none is named; the map goes there.

        Args:
            layer_id: Id of the layer.
            style_id: Id of the style; left out, the default, or where there is none a proposal that is not kept.
            go: Whether the map moves to it.
        """
        turn = self._opening.ask()
        self._start(lambda: self._open(layer_id, style_id, turn, go=go))

    def _open(self, layer_id: str, style_id: str, turn: Turn, *, go: bool, wanted: Address | None = None) -> None:
        with self._doing("opening the layer"), turn.work() as is_wanted:
            if not is_wanted:
                return
            self._set(problem=None)
            fresh = self.subject is None or self.subject.id != layer_id
            subject = subject_of(self.platform, layer_id) if fresh or self.subject is None else self.subject
            library = self.platform.styles
            stored = library.get(layer_id, style_id) if style_id else library.default(layer_id)
            if stored is None:
                found = library.list(layer_id)
                stored = library.get(layer_id, found[-1].id) if found else None
            style = stored.style if stored else library.propose(layer_id)
            if not turn.may_show():
                return
            self._put_aside()
            if fresh:
                self._set(values={}, trial=None, trial_problem="", window=None, picked=None)
                self._set(question=first_question(subject.layer))
            self._begin(subject, style.document(), stored)
            if fresh and go:
                self._set(target=subject.bbox)
            self._follow(wanted)
            if subject.is_coverage:
                self._read_window()

    def _put_aside(self) -> None:
        """Remember what was not saved, for when it is opened again."""
        if self.subject is not None and self.history.past and self.is_changed:
            self._drafts[self.subject.id, self.stored.id if self.stored else ""] = self.history

    def _begin(self, subject: Subject, document: draft.Document, stored: StoredStyle | None) -> None:
        """Take a style that is kept, or a proposal, as what is edited; what was edited before goes on."""
        self._saved = document if stored else EMPTY
        aside = self._drafts.pop((subject.id, stored.id if stored else ""), None)
        history = aside or History(document)
        self._set(
            subject=subject,
            stored=stored,
            history=history,
            selected="0" if history.present["stylingRules"] else "",
            as_text=False,
            compared=None,
            said="These are your changes from before. Undo takes them back." if aside else "",
            unfinished=None,
        )
        self._list()
        self._show()

    def _list(self) -> None:
        """Look up what is kept of the layer."""
        assert self.subject is not None
        library, layer_id = self.platform.styles, self.subject.id
        versions = library.versions(layer_id, self.stored.id) if self.stored else ()
        self._set(styles=tuple(library.list(layer_id)), versions=tuple(versions))

    def _follow(self, wanted: Address | None) -> None:
        if wanted is None:
            return
        if wanted.rule and draft.rule_at(self.document, wanted.rule) is not None:
            self._set(selected=wanted.rule)
        if wanted.centre:
            self._set(centre=wanted.centre, zoom=wanted.zoom, target=wanted.centre)
        if wanted.version and any(version.number == wanted.version for version in self.versions):
            self._compare(wanted.version)

    def close(self) -> None:
        """Go back to the list of layers; what was not saved is there when the layer is opened again."""
        self._opening.ask()
        self._put_aside()
        self._set(subject=None, stored=None, compared=None, picked=None, problem=None, outputs=(), window=None)
        self.load()

    # ---- what comes of it ------------------------------------------------------------------------------------------

    def _show(self, *, typed: str | None = None) -> None:
        """Work out everything that depends on the style; `typed` is the text where a person wrote it."""
        assert self.subject is not None
        style = Style.of(self.document)
        serial = self.text.serial if typed is not None else self.text.serial + 1
        self._set(
            text=Text(draft.text_of(self.document) if typed is None else typed, serial),
            outputs=outputs_of(style, self.subject.layer, self._filename()),
        )

    def _filename(self) -> str:
        name = self.stored.id if self.stored else "style"
        return f"{slug(self.subject.id.replace(':', '-'))}-{name}" if self.subject else name

    def _change(self, document: draft.Document, *, select: str | None = None, moving: str = "", ends: str = "") -> None:
        """Take a changed style as what is edited; one that is none is told, and nothing changes."""
        if self.subject is None:
            return
        Style.of(document)
        history = self.history.then(document, moving=moving, ends=ends)
        self._set(history=history, unfinished=None, said="", **({} if select is None else {"selected": select}))
        self._show()
        self._keep_channels()

    @contextmanager
    def _field(self, key: str, field: str, given: Any, rows: Sequence[Row] = (), join: str = "and") -> Iterator[None]:
        """Tell what is wrong beside the field that it was put into."""
        try:
            yield
        except GeoetlError as error:
            told = f"{error.detail} {error.hint or ''}".strip()
            shown = "" if given is None else str(given)
            self._set(unfinished=Unfinished(key, field, shown, told, tuple(rows), join))

    # ---- rules -----------------------------------------------------------------------------------------------------

    def select(self, key: str) -> None:
        """Edit another rule."""
        self._set(selected=key, as_text=False, unfinished=None)

    def add(self, within: str = "") -> None:
        """Add a rule behind all others, or within one."""
        document, key = draft.added(self.document, NEW_RULE, within=within)
        self._change(document, select=key)

    def remove(self, key: str) -> None:
        """Delete a rule and those within it."""
        document, next_key = draft.removed(self.document, key)
        self._change(document, select=next_key)

    def copy(self, key: str) -> None:
        """Duplicate a rule."""
        document, copied = draft.copied(self.document, key)
        self._change(document, select=copied)

    def move(self, key: str, by: int) -> None:
        """Apply a rule earlier (negative) or later."""
        document, moved = draft.moved(self.document, key, by)
        self._change(document, select=moved)

    def set_visible(self, key: str, visible: bool) -> None:
        """Show or hide what a rule draws."""
        own = draft.effective(self.document, key, own=False).get("visibility", True) is not False
        self._change(draft.with_value(self.document, key, "visibility", None if visible and own else visible))

    def rename(self, key: str, name: str) -> None:
        """Give a rule a name."""
        rule = dict(draft.rule_at(self.document, key) or {})
        rest = {part: value for part, value in rule.items() if part != "name"}
        self._change(draft.with_rule(self.document, key, {**({"name": name} if name else {}), **rest}))

    def set_value(self, key: str, path: str, given: Any, *, live: bool = False) -> None:
        """Set a property of a rule to what a person chose or wrote; None takes it away.

        Args:
            key: The rule.
            path: The property, see `form.fields_of`.
            given: What was chosen or written.
            live: Whether a person still drags; the steps of a drag are undone together.
        """
        if self.subject is None:
            return
        field = next((field for field in form.fields_of(self.subject.layer) if field.path == path), None)
        if field is None:
            raise InputError(f"A rule of this layer has no field '{path[:60]}'.", field="path")
        with self._field(key, path, given):
            document = draft.with_value(self.document, key, path, form.meant(field, given))
            drag = f"{key} {path}"
            self._change(document, **({"moving": drag} if live else {"ends": drag}))

    def set_rows(self, key: str, join: str, rows: Sequence[Row]) -> None:
        """Set the condition of a rule by rows."""
        if self.subject is None:
            return
        with self._field(key, "condition", "", rows, join):
            rest = tree_of_rows(join, rows, self.subject.layer.properties)
            condition = Condition.of((draft.rule_at(self.document, key) or {}).get("selector"))
            self._change(form.with_condition(self.document, key, form.with_rest(condition, rest)))
        self._look_up([row.attribute for row in rows])

    def set_condition(self, key: str, text: str) -> None:
        """Set the condition of a rule by CQL2 text."""
        with self._field(key, "condition", text):
            condition = Condition.of((draft.rule_at(self.document, key) or {}).get("selector"))
            self._change(form.with_condition(self.document, key, form.with_rest(condition, tree_of_text(text))))

    def write_condition(self, as_text: bool) -> None:
        """Show the condition as text, or as a form."""
        self._set(as_text=as_text, unfinished=None)

    def set_scale(self, key: str, end: str, text: str | None) -> None:
        """Set an end of the scales of a rule: ``above`` its closest, ``below`` its farthest."""
        with self._field(key, end, text):
            condition = Condition.of((draft.rule_at(self.document, key) or {}).get("selector"))
            changed = form.checked_scale(condition, end, form.scale_value(text, end))
            self._change(form.with_condition(self.document, key, changed))

    def scale_here(self, key: str) -> None:
        """Draw a rule from the scale of the map on, closer in."""
        self.set_scale(key, "below", f"{float(f'{self.denominator:.2g}'):.0f}")

    def set_stops(self, key: str, stops: Sequence[tuple[float, str]], *, live: bool = False) -> None:
        """Set the colours of a coverage by value."""
        with self._field(key, "colorMap", ""):
            ordered = sorted(stops, key=lambda stop: stop[0])
            made = [[value, form.color_of(color, "colorMap")] for value, color in ordered]
            drag = f"{key} colorMap"
            self._change(
                draft.with_value(self.document, key, "colorMap", made), **({"moving": drag} if live else {"ends": drag})
            )

    def add_stop(self, key: str) -> None:
        """Add a stop in the middle of the widest step."""
        found = draft.effective(self.document, key).get("colorMap")
        stops = [(float(stop[0]), form.hex_of(stop[1]) or "#808080") for stop in found or ()]
        if len(stops) < 2:
            stops = [*stops, ((stops[-1][0] if stops else 0) + 1, "#ffffff")]
        else:
            (low, first), (high, last) = max(pairwise(stops), key=lambda pair: pair[1][0] - pair[0][0])
            parts = [form.color_of(color, "colorMap") for color in (first, last)]
            middle = "#" + "".join(f"{(a + b) // 2:02x}" for a, b in zip(*parts, strict=True))
            stops = [*stops, (float(f"{(low + high) / 2:.6g}"), middle)]
        self.set_stops(key, stops)

    def _look_up(self, attributes: Sequence[str]) -> None:
        """Look up which values occur, to choose from."""
        subject = self.subject
        names = [name for name in attributes if subject and subject.layer.properties.get(name) == "text"]
        wanted = [name for name in names if name not in self.values]
        if subject is not None and wanted and not subject.is_coverage:
            self._start(lambda: self._find_values(subject, wanted))

    def _find_values(self, subject: Subject, names: Sequence[str]) -> None:
        with self._doing("looking up values"):
            found = {name: values_of(self.platform, subject, name) for name in names}
            if self.subject is subject:
                self._set(values={**self.values, **found})

    # ---- the text --------------------------------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Take the text of the editor as the style; where it is none, say where, and keep the last one."""
        if self.subject is None:
            return
        try:
            style = Style.of(json.loads(text))
        except json.JSONDecodeError as error:
            told = f"This is no JSON: {error.msg} in line {error.lineno}, column {error.colno}."
            self._set(text=replace(self.text, text=text, problem=told, pointer="", offset=error.pos))
            return
        except (ValueError, RecursionError):
            told = "This is no JSON: it nests too deep, or has a number that is too long."
            self._set(text=replace(self.text, text=text, problem=told, pointer="", offset=0))
            return
        except InvalidStyle as error:
            told = f"{error.detail} {error.hint or ''}".strip()
            self._set(text=replace(self.text, text=text, problem=told, pointer=error.field or "", offset=None))
            return
        document = style.document()
        doubt = next((one for one in style.findings() if one.severity is Severity.WARNING), None)
        said = f"{doubt.subject}: {doubt.message} {doubt.remedy}".strip() if doubt else ""
        self._set(history=self.history.then(document), unfinished=None, said=said)
        if draft.rule_at(document, self.selected) is None:
            self._set(selected="0" if document["stylingRules"] else "")
        self._show(typed=text)
        self._keep_channels()

    def undo(self) -> None:
        """Take the last step back."""
        self._step(self.history.undone())

    def redo(self) -> None:
        """Do the step again that was undone last."""
        self._step(self.history.redone())

    def _step(self, history: History) -> None:
        if self.subject is None or history is self.history:
            return
        self._set(history=history, unfinished=None, said="")
        if draft.rule_at(history.present, self.selected) is None:
            self._set(selected="0" if history.present["stylingRules"] else "")
        self._show()
        self._keep_channels()

    # ---- classes ---------------------------------------------------------------------------------------------------

    def ask(self, **changes: Any) -> None:
        """Try out other classes: `attribute`, `method`, `classes`, `ramp` or `reversed`."""
        if self.subject is None or self.question is None:
            return
        layer = self.subject.layer
        if "attribute" in changes and changes["attribute"] != self.question.attribute:
            question = question_of(layer, str(changes["attribute"]))
        else:
            question = replace(self.question, **changes)
        methods = methods_of(layer, question.attribute)
        if question.method not in methods:
            question = replace(question, method=next(iter(methods)))
        if question.ramp not in ramps_of(question):
            fitting = question_of(layer, question.attribute)
            same = fitting.ramp in ramps_of(question)
            question = replace(question, ramp=fitting.ramp if same else ramps_of(question)[0])
        self._set(question=question)
        self.try_classes()

    def try_classes(self) -> None:
        """Work out the classes that are asked for."""
        turn = self._trying.ask()
        self._start(lambda: self._try(turn))

    def _try(self, turn: Turn) -> None:
        with self._doing("working out classes"), turn.work() as wanted:
            subject, question = self.subject, self.question
            if not wanted or subject is None or question is None:
                return
            try:
                if subject.is_coverage:
                    found = window(self.platform, subject, [question.attribute])
                    trial = try_out_coverage(found.values[0], question)
                else:
                    trial = try_out(column(self.platform, subject, question.attribute), question, subject.layer)
            except GeoetlError as error:
                if turn.may_show():
                    self._set(trial=None, trial_problem=f"{error.detail} {error.hint or ''}".strip())
                return
            if turn.may_show():
                self._set(trial=trial, trial_problem="")

    def use_classes(self) -> None:
        """Put the classes that were tried out into the style."""
        if self.trial is not None and self.subject is not None:
            document, key = with_classes(self.document, self.selected or "0", self.trial, self.subject.layer)
            self._change(document, select=key)

    # ---- coverages -------------------------------------------------------------------------------------------------

    def symbol(self, document: draft.Document | None = None) -> CoverageSymbol:
        """Return how a style, left out the one that is edited, draws the coverage."""
        assert self.subject is not None
        return coverage_symbol(Style.of(document or self.document), self.subject.layer)

    def bands(self) -> dict[str, Any]:
        """Return the values that were read, by the name of band or variable."""
        if self.window is None:
            return {}
        names = self._read or (self.window.variable,)
        return dict(zip(names, self.window.values, strict=False))

    def _keep_channels(self) -> None:
        """Read other values where other bands or another variable are shown."""
        if self.subject is not None and self.subject.is_coverage and not set(self._needed()) <= set(self._read):
            self._read_window()

    def _needed(self) -> tuple[str, ...]:
        others = self.symbol(self.compared.document).properties if self.compared else ()
        return tuple(dict.fromkeys((*self.symbol().properties, *others)))

    def _read_window(self) -> None:
        turn = self._looking.ask()
        self._start(lambda: self._look(turn))

    def _look(self, turn: Turn) -> None:
        with self._doing("reading the coverage"), turn.work() as wanted:
            subject = self.subject
            if not wanted or subject is None:
                return
            names = self._needed()
            found: RasterWindow = window(self.platform, subject, names)
            if turn.may_show():
                self._read = names
                self._set(window=found, subject=replace(subject, units=found.units))

    # ---- keeping ---------------------------------------------------------------------------------------------------

    def save(self, note: str = "", *, as_new: str = "") -> None:
        """Keep what is edited as a new version, or under a new title as a style of its own.

        Args:
            note: What changed, and why.
            as_new: Title of the new style; left out, the open one gets a version.
        """
        with self._doing("saving"):
            self._check_may_edit()
            if self.subject is None:
                return
            document = self.document
            if as_new:
                document = {**document, "metadata": {**document.get("metadata", {}), "title": as_new}}
            is_new = bool(as_new) or self.stored is None
            style_id = (
                self.stored.id if self.stored and not is_new else self._free_id(as_new or self.title or "default")
            )
            try:
                kept = self.platform.styles.put(
                    self.subject.id,
                    style_id,
                    document,
                    author=self.principal.name,
                    note=note.strip() or None,
                    expected=None if is_new or self.stored is None else self.stored.etag,
                    only_new=is_new,
                )
            except Outdated as error:
                hint = "Save it as a new style, or open the style again: your changes are then lost."
                raise Outdated(error.detail, hint=hint, field="save") from error
            self._saved = kept.style.document()
            self._set(stored=kept, history=self.history.then(self._saved))
            self._list()
            self._show()
            self._set(said=f"Saved as version {kept.version} of {kept.summary.title or kept.id}.")

    def _free_id(self, title: str) -> str:
        used = {one.id for one in self.styles}
        name = slug(title.casefold()) or "style"
        return next(one for one in (name, *(f"{name}-{n}" for n in range(2, 1000))) if one not in used)

    def make_default(self) -> None:
        """Draw the layer with the open style from now on, everywhere."""
        with self._doing("setting the default"):
            self._check_may_edit()
            if self.subject is not None and self.stored is not None:
                self.platform.styles.set_default(self.subject.id, self.stored.id)
                self._set(stored=self.platform.styles.get(self.subject.id, self.stored.id))
                self._list()
                self._set(said="The layer is now drawn with this style by default.")

    def take_version(self, number: int) -> None:
        """Edit an older version; it is kept again only when it is saved."""
        with self._doing("opening the version"):
            if self.subject is not None and self.stored is not None:
                style = self.platform.styles.version(self.subject.id, self.stored.id, number)
                self._change(style.document(), select="0")
                self._set(said=f"This is version {number}. Save it to go back to it, or undo.")

    def compare(self, number: int) -> None:
        """Put a version beside what is edited; 0 puts none there."""
        with self._doing("comparing"):
            self._compare(number)

    def _compare(self, number: int) -> None:
        if self.subject is None or self.stored is None or number == 0:
            self._set(compared=None)
            return
        style = self.platform.styles.version(self.subject.id, self.stored.id, number)
        outputs = outputs_of(style, self.subject.layer, f"{self._filename()}-{number}")
        self._set(compared=Compared(f"Version {number}", number, style.document(), outputs))
        self._keep_channels()

    def _check_may_edit(self) -> None:
        if not self.may_edit:
            raise Forbidden(
                f"{self.principal.name} may look at styles and try them out, and not keep them.",
                hint="Ask an operator for the role of an editor, or copy the JSON.",
                field="save",
            )

    # ---- the map ---------------------------------------------------------------------------------------------------

    def look_at(self, centre: Point, zoom: float) -> None:
        """Take note of where the map stands."""
        self._set(centre=centre, zoom=zoom)

    def pick(self, place: Point, properties: Mapping[str, Any] | None) -> None:
        """Take note of the feature that was clicked; None for none."""
        self._set(picked=None if properties is None else Picked(dict(properties), place))

    def fit(self) -> None:
        """Go to the layer."""
        if self.subject is not None:
            # A box of its own each time, so that the map moves although it was there before.
            self._set(target=None)
            self._set(target=self.subject.bbox)

    # ---- the address -----------------------------------------------------------------------------------------------

    def address(self) -> Address:
        """Return the state as an address."""
        if self.subject is None:
            return Address()
        return Address(
            layer=self.subject.id,
            style=self.stored.id if self.stored else "",
            version=self.compared.version if self.compared else 0,
            rule="" if self.selected == "0" else self.selected,
            centre=self.centre,
            zoom=self.zoom,
        )

    def go(self, query: str) -> None:
        """Bring about the state of an address's query."""
        with self._doing("opening the address"):
            address = Address.parse(query)
            turn = self._opening.ask()
            if address.layer:
                go = address.centre is None
                self._start(lambda: self._open(address.layer, address.style, turn, go=go, wanted=address))

    # ---- the edge --------------------------------------------------------------------------------------------------

    def dismiss(self) -> None:
        """Take the note of what went wrong, or was done, away."""
        self._set(problem=None, said="")

    def report(self, problem: Problem) -> None:
        """Tell of something that went wrong outside, for example in the browser."""
        self._set(problem=problem)

    def _set(self, **values: Any) -> None:
        """Change parameters; whoever watches is told while nobody else changes any."""
        with self._changing:
            self.param.update(**values)

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Say what is being done; what goes wrong becomes a `Problem` that a person can read."""
        with self._changing:
            self._under_way.append(what)
            self._set(busy=what)
        try:
            yield
        except Exception as error:
            self._set(problem=Problem.of(error, what))
        finally:
            with self._changing:
                self._under_way.remove(what)
                self._set(busy=self._under_way[-1] if self._under_way else "")
