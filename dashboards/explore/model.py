"""The state of the page and what a person can do with it; nothing in here draws."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Self

import param

from dashboards.explore.about import About, about, extent_words
from dashboards.explore.address import Address
from dashboards.explore.layer import AS_COLOURS, AUTO_RANGE, OWN, Choice, Layer, draw, drawing_of
from dashboards.explore.listing import Kind, Listing, Question, find, kind_of_item, title_of
from dashboards.explore.reading import MAX_PLACES, Place, Reading, read
from dashboards.explore.snippets import snippets
from dashboards.shared.model import Start, at_once
from dashboards.shared.problem import Problem
from dashboards.shared.theme import POINT_COLOURS, VECTOR_COLOURS
from dashboards.shared.turns import Turn, Turns
from geoetl.access.located import locate
from geoetl.core.errors import GeoetlError, InputError, InvalidTime, NotFound
from geoetl.core.spatial import BBox, Point
from geoetl.core.temporal import Interval

if TYPE_CHECKING:
    from geoetl.platform import Platform

# Sequential ones first, then diverging; all that geoetl has can be given in code.
COLORMAPS = ("viridis", "cividis", "magma", "batlow", "YlGnBu", "thermal", "turbo", "coolwarm", "RdBu_r", "gray")
# More layers than this make neither a readable map nor a short address.
MAX_LAYERS = 12
# Where everything is, without the empty ends of the Mercator map.
WORLD = BBox(-180, -60, 180, 80)
ARCTIC, ANTARCTIC = BBox(-60, 62, 60, 85), BBox(-60, -85, 60, -62)
_LABELS = tuple(chr(ord("A") + i) for i in range(MAX_PLACES))


@dataclass(frozen=True)
class Target:
    """Where the map is asked to go.

    Attributes:
        bbox: What is to be seen.
        exact: Whether this is what the whole map shows, at once; else it flies there and keeps clear of the panels.
        globe: Whether it is seen on a globe, as near the poles there is no flat map.
    """

    bbox: BBox
    exact: bool = False
    globe: bool = False

    @classmethod
    def of(cls, layer: Layer) -> Self:
        """Return where a layer is seen."""
        if not layer.is_beyond_map:
            return cls(layer.bbox)
        return cls(ARCTIC if layer.bbox.south > 0 else ANTARCTIC, globe=True)


class ExploreModel(param.Parameterized):
    """What is searched, what is open, what lies on the map, what was read where.

    The parameters are changed by the commands alone; their values are frozen.  A command returns at once: what takes
    long is handed to `start`.

    Args:
        platform: Everything that is asked.
        start: Does what takes long; left out, the command itself does.
    """

    words = param.String(default="", doc="Words that have to occur.")
    since = param.String(default="", doc="Begin of the time that is searched: 1950, 1950-06 or 1950-06-15.")
    until = param.String(default="", doc="Its end.")
    in_view = param.Boolean(default=False, doc="Whether only what the map shows is listed.")
    bounds = param.ClassSelector(class_=BBox, default=None, allow_None=True, doc="What the map shows.")
    hovered = param.String(default="", doc="Key of the item in the list that is pointed at.")
    listing = param.ClassSelector(class_=Listing, default=None, allow_None=True, doc="What was found.")

    opened = param.String(default="", doc="Key of the open item, collection/item.")
    layers = param.ClassSelector(class_=tuple, default=(), doc="What lies on the map, from the top.")
    variable: param.Selector[str | None] = param.Selector(
        default=None, objects=[None], doc="The variable or band that is shown."
    )
    time_index = param.Integer(default=1, bounds=(1, None), doc="Number of the time step that is shown.")
    selection = param.Dict(default={}, doc="Values of the extra dimensions.")
    colormap: param.Selector[str] = param.Selector(default=OWN, objects=[OWN, *COLORMAPS], doc="Name of a colour map.")
    stretch: param.Selector[str] = param.Selector(
        default=OWN, objects=[OWN, AUTO_RANGE], doc="What the colours end at."
    )

    comparing = param.Boolean(default=False, doc="Whether a click adds a place instead of moving the one there is.")
    place_problem = param.String(default="", doc="What is wrong with the place that was written.")
    places = param.ClassSelector(class_=tuple, default=(), doc="The places that are read.")
    readings = param.ClassSelector(class_=tuple, default=(), doc="What the open item says there.")

    target = param.ClassSelector(class_=Target, default=None, allow_None=True, doc="Where the map is asked to go.")
    busy = param.String(default="", doc="What is being done; empty when nothing is.")
    problem = param.ClassSelector(class_=Problem, default=None, allow_None=True, doc="What went wrong last.")
    time_problem = param.String(default="", doc="What is wrong with the time that is searched.")

    def __init__(self, platform: "Platform", start: Start = at_once, **params: Any) -> None:
        self.platform = platform
        self._start = start
        self._pages: dict[str, int] = {}
        self._collections: dict[str, Mapping[str, Any]] = {}
        self._under_way: list[str] = []
        self._changing = threading.RLock()
        self._finding, self._opening, self._reading = Turns(), Turns(), Turns()
        self._drawing: defaultdict[str, Turns] = defaultdict(Turns)
        super().__init__(**params)  # type: ignore[no-untyped-call]  # param 2.4 leaves it unannotated

    # ---- finding ---------------------------------------------------------------------------------------------------

    def look_for(self, **changes: Any) -> None:
        """Change what is searched (`words`, `since`, `until`, `in_view`) and search anew."""
        self._set(**changes)
        self._pages.clear()
        self.search()

    def look_at(self, bounds: BBox | None) -> None:
        """Take note of what the map shows; where only that is listed, search anew."""
        self._set(bounds=bounds)
        if self.in_view:
            self.search()

    def point_at(self, key: str) -> None:
        """Take note of the item in the list that is pointed at."""
        self._set(hovered=key)

    def more(self, collection: str) -> None:
        """List another page of a collection."""
        self._pages[collection] = self._pages.get(collection, 1) + 1
        self.search()

    def refresh(self) -> None:
        """Search anew if the catalogue was changed since the last search, here or by another process."""
        self._start(self._refresh)

    def _refresh(self) -> None:
        if self.listing and self.platform.catalog.version() != self.listing.version:
            self._collections.clear()
            self._search(self._finding.ask())

    def search(self) -> None:
        """Look up what fits the words, the time and the view."""
        turn = self._finding.ask()
        self._start(lambda: self._search(turn))

    def _search(self, turn: Turn) -> None:
        with self._doing("searching the catalogue"), turn.work() as wanted:
            if not wanted:
                return
            try:
                question = self._question()
            except InvalidTime as error:
                self._set(time_problem=f"{error.detail} {error.hint or ''}".strip())
                return
            found = find(self.platform.catalog, question, dict(self._pages))
            if turn.may_show():
                self._set(time_problem="", listing=found)

    def _question(self) -> Question:
        since, until = self.since.strip(), self.until.strip()
        return Question(
            words=tuple(self.words.split()),
            interval=Interval.parse(f"{since or '..'}/{until or '..'}") if since or until else None,
            bbox=self.bounds if self.in_view else None,
        )

    # ---- opening ---------------------------------------------------------------------------------------------------

    def open(self, key: str, *, go: bool = True) -> None:
        """Open an item: put it on the map, go there, and read the places anew.

        Args:
            key: ``collection/item``.
            go: Whether the map moves to it.
        """
        turn = self._opening.ask()
        self._start(lambda: self._open(key, turn, go=go))

    def _open(self, key: str, turn: Turn, *, go: bool, wanted: Address | None = None) -> None:
        with self._doing("opening the item"):
            self._set(problem=None)
            layer = self.layer(key) or self._new_layer(key)
            # A later click may have opened another item; this one then only lies on the map.
            if turn.is_latest:
                self._follow(layer, **({"target": Target.of(layer)} if go else {}))
            if layer.kind is Kind.CUBE and layer.contents is None:
                layer = self._update(key, contents=self.platform.cube.describe(layer.collection, layer.id)) or layer
            if layer.kind is Kind.VECTOR:
                layer = self._update(key, **self._styled(layer)) or layer
            if wanted:
                layer = self._update(key, choice=_choice_of(wanted, layer)) or layer
            if turn.is_latest:
                self._follow(layer)
            if layer.is_beyond_map and not self.places:
                # There is nothing to click on: its middle is read unasked.
                self._set(places=(Place(_LABELS[0], layer.centre),))
            if layer.picture is None or wanted:
                self._draw(key, self._drawing[key].ask())
            if turn.is_latest:
                self._read_all(self._reading.ask())

    def _styled(self, layer: Layer) -> dict[str, Any]:
        """Return how the features of a layer are drawn now; where that fails, in the layer's own colour, with why."""
        try:
            return {"drawing": drawing_of(self.platform, layer), "problem": None}
        except GeoetlError as error:
            return {"drawing": None, "problem": Problem.of(error, f"styling {layer.title}")}

    def close(self) -> None:
        """Go back to the list; what lies on the map stays there."""
        self._opening.ask()
        self._set(opened="", readings=(), problem=None)

    @property
    def active(self) -> Layer | None:
        """The open item."""
        return self.layer(self.opened)

    def layer(self, key: str) -> Layer | None:
        """Return the layer of an item, if it lies on the map."""
        return next((layer for layer in self.layers if layer.key == key), None)

    def about(self) -> About | None:
        """Return what is to be known about the open item."""
        return about(self.active, self._collection(self.active.collection)) if self.active else None

    def collection_title(self, layer: Layer) -> str:
        """Return the title of a layer's collection."""
        return title_of(self._collection(layer.collection))

    def snippets(self, server: str) -> Mapping[str, str]:
        """Return the open item as programs, by name; `server` is the address of this server."""
        return snippets(self.active, [place.point for place in self.places], server) if self.active else {}

    def _new_layer(self, key: str) -> Layer:
        collection, _, name = key.partition("/")
        item = self.platform.catalog.item(collection, name)
        kind = kind_of_item(item)
        with self._changing:
            used = {layer.color for layer in self.layers}
            free = next((color for color in VECTOR_COLOURS if color not in used), VECTOR_COLOURS[0])
            layer = Layer(item, kind, free if kind is Kind.VECTOR else None)
            others = tuple(known for known in self.layers if known.key != key)
            self._set(layers=(layer, *others)[:MAX_LAYERS])
        return layer

    def _collection(self, name: str) -> Mapping[str, Any]:
        if name not in self._collections:
            self._collections[name] = self.platform.catalog.collection(name)
        return self._collections[name]

    def _follow(self, layer: Layer, **also: Any) -> None:
        """Let the controls show the choice of a layer."""
        choice = layer.choice
        names: list[str | None] = [None]
        if layer.contents:
            names = [variable.name for variable in layer.contents.variables]
        elif len(layer.bands) > 1:
            names = [AS_COLOURS, *layer.bands]
        with self._changing:
            self.param.variable.objects = names
            self.param.time_index.bounds = (1, max(1, len(layer.times)))
            self._set(
                opened=layer.key,
                variable=choice.variable or layer.variable or names[0],
                time_index=choice.time_index,
                selection=dict(choice.selection),
                colormap=choice.colormap,
                stretch=choice.stretch,
                **also,
            )

    # ---- how it is shown -------------------------------------------------------------------------------------------

    def choose(self, **changes: Any) -> None:
        """Change how the open item is shown: `variable`, `time_index`, `selection`, `colormap` or `stretch`."""
        layer = self.active
        if layer is None:
            return
        with self._changing:
            self._set(**changes)
            before = layer.choice
            variable = None if self.variable in (AS_COLOURS, layer.own_variable) else self.variable
            chosen = replace(layer, choice=Choice(variable, self.time_index, {}, self.colormap, self.stretch))
            selection = {name: value for name, value in self.selection.items() if name in chosen.extra_names}
            choice = replace(chosen.choice, selection=selection)
            if choice == before:
                return
            self._update(layer.key, choice=choice)
        same_data = (variable, selection) == (before.variable, before.selection)
        drawing = self._drawing[layer.key].ask()
        self._start(lambda: self._draw(layer.key, drawing, keep_range=same_data and choice.stretch == before.stretch))
        if not same_data:
            reading = self._reading.ask()
            self._start(lambda: self._read_all(reading))

    def _draw(self, key: str, turn: Turn, *, keep_range: bool = False) -> None:
        with self._doing("drawing the picture"), turn.work() as wanted:
            layer = self.layer(key)
            if not wanted or layer is None:
                return
            # The steps of a cube are comparable only while the colours mean the same.
            limits = layer.picture.rescale if keep_range and layer.picture and layer.kind is Kind.CUBE else None
            try:
                drawn = draw(self.platform, layer, limits)
            except GeoetlError as error:
                drawn = replace(layer, picture=None, problem=Problem.of(error, f"drawing {layer.title}"))
            if turn.may_show():
                self._update(key, picture=drawn.picture, problem=drawn.problem)

    def set_visible(self, key: str, visible: bool) -> None:
        """Show or hide a layer."""
        self._update(key, visible=visible)

    def set_opacity(self, key: str, opacity: float) -> None:
        """Set how much of what lies below shines through: 0 all, 1 nothing."""
        self._update(key, opacity=min(1.0, max(0.0, opacity)))

    def move(self, key: str, by: int) -> None:
        """Move a layer up (negative) or down in the stack."""
        with self._changing:
            keys = [layer.key for layer in self.layers]
            if key not in keys:
                return
            rest = [layer for layer in self.layers if layer.key != key]
            at = max(0, min(len(rest), keys.index(key) + by))
            self._set(layers=(*rest[:at], self.layers[keys.index(key)], *rest[at:]))

    def remove(self, key: str) -> None:
        """Take a layer off the map; the open item is closed with it."""
        with self._changing:
            self._set(layers=tuple(layer for layer in self.layers if layer.key != key))
        if key == self.opened:
            self.close()

    def fit(self, key: str = "") -> None:
        """Go to a layer, or to the open item, or to everything on the map, or to the world."""
        layer = self.layer(key) or self.active
        if layer:
            self._set(target=Target.of(layer))
            return
        boxes = [known.bbox for known in self.layers if not known.is_beyond_map] or [WORLD]
        self._set(target=Target(reduce(BBox.union, boxes)))

    def _update(self, key: str, **changes: Any) -> Layer | None:
        """Change a layer and return it; None where it has been taken off the map meanwhile."""
        with self._changing:
            self._set(layers=tuple(replace(known, **changes) if known.key == key else known for known in self.layers))
            return self.layer(key)

    # ---- reading at places -----------------------------------------------------------------------------------------

    def click(self, point: Point, *, tolerance_deg: float = 0.0, footprints: tuple[str, ...] = ()) -> None:
        """Read the open item at a place; where none is open, open the item whose footprint was hit.

        Args:
            point: Where.
            tolerance_deg: How far from it a feature may lie.
            footprints: Keys of the items whose footprints lie there.
        """
        if self.active is None:
            if footprints:
                self.open(min(footprints, key=self._footprint_size))
            return
        kept = self.places if self.comparing else ()
        used = {place.label for place in kept}
        label = next((name for name in _LABELS if name not in used), None)
        if label is None:
            self._set(
                problem=Problem(
                    f"{MAX_PLACES} places are compared already.",
                    "Clear them, or switch off comparing.",
                    "limit of places",
                )
            )
            return
        self._set(places=(*kept, Place(label, point, tolerance_deg)))
        turn = self._reading.ask()
        self._start(lambda: self._read_all(turn))

    def read_at(self, text: str) -> None:
        """Read the open item at a place that is written: ``12.5, 41.9`` (longitude first) or a name such as paris."""
        try:
            place = locate(text, self.platform.places)
        except InputError as error:
            self._set(place_problem=f"{error.detail} {error.hint or ''}".strip())
            return
        self._set(place_problem="")
        self.click(place.point)

    def compare(self, wanted: bool) -> None:
        """Let a click add a place instead of moving the one there is."""
        self._set(comparing=wanted)

    def clear_places(self) -> None:
        """Forget the places."""
        self._reading.ask()
        self._set(places=(), readings=())

    def _read_all(self, turn: Turn) -> None:
        with self._doing("reading the place"), turn.work() as wanted:
            layer, places = self.active, self.places
            if not wanted or layer is None:
                return
            known = {reading.place: reading for reading in self.readings if _is_still_true(reading, layer)}
            readings = tuple(known.get(place) or self._read(layer, place) for place in places)
            if turn.is_latest and turn.may_show():
                self._set(readings=readings)

    def _read(self, layer: Layer, place: Place) -> Reading:
        try:
            return read(self.platform, layer, place)
        except NotFound as error:
            if error.field != "location":
                return Reading(place, problem=Problem.of(error, f"reading {layer.title}"))
            covered = f"It covers {extent_words(layer.bbox)}."
            return Reading(place, problem=Problem("This place lies outside of the item.", covered, error.code))
        except GeoetlError as error:
            return Reading(place, problem=Problem.of(error, f"reading {layer.title}"))

    def _footprint_size(self, key: str) -> float:
        items = [item for group in (self.listing.groups if self.listing else ()) for item in group.items]
        geometry = next((item.geometry for item in items if item.key == key), None)
        if geometry is None:
            return float("inf")
        from shapely.geometry import shape

        return float(shape(dict(geometry)).area)

    def color_of(self, place: Place) -> str:
        """Return the colour of a place: the same on the map, in the table and in the chart."""
        return POINT_COLOURS[_LABELS.index(place.label)]

    # ---- the address -----------------------------------------------------------------------------------------------

    def address(self) -> Address:
        """Return the state as an address."""
        layer = self.active
        keys = tuple(known.key for known in self.layers)
        return Address(
            key=self.opened,
            layers=() if keys in ((), (self.opened,)) else keys,
            variable=(layer.choice.variable or "") if layer else "",
            time=layer.time if layer else "",
            selection=tuple((name, str(value)) for name, value in self.selection.items()) if layer else (),
            points=tuple(place.point for place in self.places),
            extent=self.bounds,
            words=self.words,
            since=self.since,
            until=self.until,
            in_view=self.in_view,
        )

    def go(self, query: str) -> None:
        """Bring about the state of an address's query."""
        turn = self._opening.ask()
        self._start(lambda: self._go(query, turn))

    def _go(self, query: str, turn: Turn) -> None:
        with self._doing("opening the address"):
            address = Address.parse(query)
            searched = {"words": address.words, "since": address.since, "until": address.until}
            searched_anew = any(getattr(self, name) != value for name, value in searched.items())
            wanted = {address.key, *address.layers}
            with self._changing:
                self._set(
                    **searched,
                    in_view=address.in_view,
                    comparing=len(address.points) > 1,
                    places=tuple(Place(label, point) for label, point in zip(_LABELS, address.points, strict=False)),
                    layers=tuple(layer for layer in self.layers if layer.key in wanted),
                )
                if address.extent:
                    self._set(bounds=address.extent, target=Target(address.extent, exact=True))
            if searched_anew or address.in_view or self.listing is None:
                self._search(self._finding.ask())
            for key in reversed(address.layers):
                if key != address.key and self.layer(key) is None:
                    self._open(key, turn, go=False)
            if address.key:
                self._open(address.key, turn, go=address.extent is None, wanted=address)
            elif turn.is_latest:
                self._set(opened="", readings=())

    # ---- the edge --------------------------------------------------------------------------------------------------

    def dismiss(self) -> None:
        """Take the note of what went wrong away."""
        self._set(problem=None)

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


def _is_still_true(reading: Reading, layer: Layer) -> bool:
    """Tell whether a reading of before is of what the layer shows, so that it need not be read again."""
    answer = reading.series or reading.values
    if answer is None or (answer.source.collection, answer.source.item) != (layer.collection, layer.id):
        return False
    if reading.series is None:
        return True
    same_levels = layer.choice.selection.items() <= reading.series.sel.items()
    return reading.series.variable == layer.variable and same_levels


def _choice_of(address: Address, layer: Layer) -> Choice:
    """Return how an address wants an item to be shown, as far as the item has it."""
    wanted = dict(address.selection)
    dimensions = layer.contents.dimensions if layer.contents else ()
    known = (variable.name for variable in layer.contents.variables) if layer.contents else layer.bands
    return Choice(
        variable=address.variable if address.variable in known else None,
        time_index=layer.times.index(address.time) + 1 if address.time in layer.times else 1,
        selection={d.name: value for d in dimensions for value in d.values if str(value) == wanted.get(d.name)},
    )
