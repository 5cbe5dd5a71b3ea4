"""The panels of the page *Explore*: small views, each of one part of the model."""

import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui
import param

from dashboards.explore.chart import HEIGHT_PX, nearest_step, positions, series_figure
from dashboards.explore.layer import Layer
from dashboards.explore.listing import Group, Kind
from dashboards.explore.markup import about_html, readings_html, series_html
from dashboards.explore.model import ExploreModel
from dashboards.explore.reading import readings_csv, stop_label, unit_text
from dashboards.shared.background import Background, follow_widget
from dashboards.shared.code_block import CodeBlock
from dashboards.shared.delivery import Delivery
from dashboards.shared.layout import CARD_CSS, CONTROL, FITTING, TEXT_CSS, column, row, scrolling, text
from dashboards.shared.lists import ItemList, LayerList
from dashboards.shared.theme import palette
from geoetl.core.temporal import STANDARD_CALENDARS

# How long a step of a playing cube is seen.
PLAY_INTERVAL_MS = 700
# A collection of more items than this waits closed, so that the others are seen too.
SHOWN_OPEN = 6
_TABS = ("Show", "About", "Code")


class BrowsePanel(pn.viewable.Viewer):
    """Find items: by words, by time, by what the map shows.

    Args:
        model: The page's model.
        background: Brings its changes here.
        delivery: Where thumbnails come from.
    """

    visible = param.Boolean(default=True, doc="Whether it is shown.")

    def __init__(self, model: ExploreModel, background: Background, delivery: Delivery) -> None:
        super().__init__()
        self._model = model
        self._delivery = delivery
        words = pmui.TextInput(label="Search", placeholder="Words in title, id or description", **CONTROL)
        self._since = pmui.TextInput(label="From", placeholder="1950", **CONTROL)
        self._until = pmui.TextInput(label="Until", placeholder="2014-12", **CONTROL)
        in_view = pmui.Switch(label="Only what the map shows", **CONTROL)
        self._put = {
            "words": follow_widget(words, "value_input", lambda value: model.look_for(words=value or "")),
            "since": follow_widget(self._since, "value", lambda value: model.look_for(since=value or "")),
            "until": follow_widget(self._until, "value", lambda value: model.look_for(until=value or "")),
            "in_view": follow_widget(in_view, "value", lambda value: model.look_for(in_view=value)),
        }
        self._time_problem = text()
        self._time_problem.visible = False
        self._list = ItemList(sizing_mode="stretch_width", margin=0, loading=True)
        self._list.on_msg(lambda event: self._act(event.data))
        self._list.param.watch(lambda event: model.point_at(event.new), "hovered")
        self._panel = column(
            column(
                words,
                row(self._since, self._until, gap="8px"),
                self._time_problem,
                in_view,
                gap="12px",
                padding="16px 16px 8px",
                flex="none",
            ),
            scrolling(self._list, padding="0 8px 8px"),
            **FITTING,
        )
        self._panel.visible = self.param.visible
        background.follow(model, ["listing", "opened"], self._show)
        background.follow(model, ["words", "since", "until", "in_view", "time_problem"], self._show_question)

    def _act(self, message: dict[str, Any]) -> None:
        if message["type"] == "open":
            self._model.open(message["key"])
        else:
            self._model.more(message["group"])

    def _show_question(self) -> None:
        for name, put in self._put.items():
            put(getattr(self._model, name))
        wrong = self._model.time_problem
        self._since.error_state = self._until.error_state = bool(wrong)
        words = f'<div class="error" role="alert">{escape(wrong)}</div>'
        self._time_problem.param.update(object=words, visible=bool(wrong))

    def _show(self) -> None:
        listing = self._model.listing
        if listing is None:
            return
        known = {group["id"] for group in self._list.groups}
        found = [group.id for group in listing.groups]
        # What was searched for is shown opened, and so are small collections; what was closed stays closed.
        new = [group.id for group in listing.groups if group.id not in known and group.matched <= SHOWN_OPEN]
        expanded = found if self._model.words else [*self._list.expanded, *new]
        self._list.param.update(
            groups=[self._described(group) for group in listing.groups],
            expanded=expanded,
            message=_EMPTY if listing.collections == 0 else _NOTHING_FOUND,
            loading=False,
            selected=self._model.opened,
        )

    def _described(self, group: Group) -> dict[str, Any]:
        return {
            "id": group.id,
            "title": group.title,
            "description": group.description,
            "count": "1 item" if group.matched == 1 else f"{group.matched} items",
            "more": f"Show more of {group.matched}" if len(group.items) < group.matched else "",
            "items": [
                {
                    "key": item.key,
                    "title": item.title,
                    "subtitle": item.subtitle,
                    "kind": str(item.kind),
                    "thumbnail": self._delivery.thumbnail(item.key) if item.thumbnail else "",
                }
                for item in group.items
            ],
        }

    def __panel__(self) -> Any:
        return self._panel


_EMPTY = {"title": "No collections yet", "text": "See the platform at work on real sample data:", "code": "geoetl demo"}
_NOTHING_FOUND = {
    "title": "Nothing found",
    "text": "Use fewer words or a longer time, or list more than what the map shows.",
}


class ItemPanel(pn.viewable.Viewer):
    """The open item: how it is shown, what is to be known about it, and the way out to code.

    Args:
        model: The page's model.
        background: Brings its changes here.
        server: Tells the address of the server, for programs that ask it.
        served: Whether other pages can be gone to.
    """

    visible = param.Boolean(default=False, doc="Whether it is shown.")

    def __init__(
        self, model: ExploreModel, background: Background, server: Callable[[], str], *, served: bool = False
    ) -> None:
        super().__init__()
        self._model = model
        self._server = server
        self._served = served
        self._shown: tuple[str, bool] | None = None
        self._put: dict[str, Callable[[Any], None]] = {}
        back = pmui.IconButton(icon="arrow_back", description="Back to the list", margin=0, size="small")
        back.on_click(lambda _: model.close())
        self._head = text()
        self._controls = column(text(), gap="16px", padding="16px")
        self._colours = pmui.Select(label="Colours", options=[], **CONTROL)
        self._place = pmui.TextInput(label="Place", placeholder="12.5, 41.9 or paris", **CONTROL)
        self._place.param.watch(lambda event: event.new and model.read_at(event.new), "value")
        self._style = text()
        self._about = text(padding="16px")
        self._code = CodeBlock(margin=0, sizing_mode="stretch_width")
        self._bodies = [self._controls, self._about, column(self._code, padding="16px")]
        self._tabs = pmui.TabMenu(
            items=[{"label": label} for label in _TABS], active=0, sizing_mode="stretch_width", margin=0
        )
        self._tabs.param.watch(lambda _: self._choose_tab(), "active")
        self._fold = pmui.IconButton(icon="expand_less", description="Fold or unfold", margin=0, size="small")
        self._fold.on_click(lambda _: self._fold_or_unfold())
        self._below = [
            column(self._tabs, padding="0 16px", flex="none", border_bottom="1px solid var(--ge-line)"),
            scrolling(*self._bodies),
        ]
        self._panel = column(
            row(back, self._head, self._fold, gap="8px", padding="12px 8px 4px 8px", flex="none"),
            *self._below,
            **FITTING,
        )
        self._panel.visible = self.param.visible
        self._choose_tab()
        background.follow(model, ["opened", "layers"], self._show)
        background.follow(model, ["opened", "layers"], self._show_style)
        background.follow(
            model, ["variable", "time_index", "selection", "colormap", "stretch", "layers"], self._show_choice
        )
        background.follow(model, ["opened", "layers", "places"], self._write_programs)
        background.follow(model, ["place_problem"], self._show_place_problem)

    def _fold_or_unfold(self) -> None:
        shown = not self._below[0].visible
        self._fold.icon = "expand_less" if shown else "expand_more"
        for part in self._below:
            part.visible = shown

    def _choose_tab(self) -> None:
        for index, body in enumerate(self._bodies):
            body.visible = index == self._tabs.active
        self._write_programs()

    def _show(self) -> None:
        layer = self._model.active
        shown = (layer.key, layer.contents is None) if layer else None
        if layer is None or shown == self._shown:
            return
        self._shown = shown
        self._head.object = (
            f'<div style="font-weight:700;font-size:16px;line-height:24px">{escape(layer.title)}</div>'
            f'<div class="muted">{layer.kind.title} · {escape(self._model.collection_title(layer))}</div>'
        )
        self._controls.objects = self._controls_of(layer)
        self._show_choice()
        told = self._model.about()
        self._about.object = about_html(told) if told else ""

    def _controls_of(self, layer: Layer) -> list[Any]:
        self._put = {}
        if layer.kind is Kind.CUBE and layer.contents is None:
            return [pmui.Skeleton(height=40, sizing_mode="stretch_width", margin=0) for _ in range(3)]
        controls: list[Any] = []
        if layer.contents:
            titles = {_titled(v.title, v.units): v.name for v in layer.contents.variables}
            if len(titles) > 1:
                controls.append(self._select("variable", "Variable", titles))
            controls += [self._level(d.name, _titled(d.title, d.units), d.values) for d in layer.contents.dimensions]
        elif len(layer.bands) > 1:
            controls.append(self._select("variable", "Band", _named(self._model.param.variable.objects)))
        if layer.kind in (Kind.RASTER, Kind.CUBE) and not layer.is_beyond_map:
            self._colours = self._select("colormap", "Colours", _named(self._model.param.colormap.objects))
            stretch = self._select("stretch", "Range of the colours", _named(self._model.param.stretch.objects))
            controls += [self._colours, stretch]
        hint = text(f'<div class="muted">{_HINTS[layer.kind]}</div>')
        if layer.kind is Kind.OTHER:
            return [*controls, hint]
        return [*controls, self._place, hint, *([self._style] if self._served else [])]

    def _select(self, name: str, label: str, options: Mapping[str, Any]) -> Any:
        select = pmui.Select(label=label, options=dict(options), value=getattr(self._model, name), **CONTROL)
        self._put[name] = follow_widget(select, "value", lambda value: self._model.choose(**{name: value}))
        return select

    def _level(self, name: str, label: str, values: Sequence[Any]) -> Any:
        chosen = self._model.selection.get(name, values[0])
        select = pmui.Select(label=label, options={_number(v): v for v in values}, value=chosen, **CONTROL)

        def choose(value: Any) -> None:
            self._model.choose(selection={**self._model.selection, name: value})

        put = follow_widget(select, "value", choose)
        self._put[f"selection {name}"] = lambda _: put(self._model.selection.get(name, values[0]))
        return select

    def _show_choice(self) -> None:
        for name, put in self._put.items():
            put(getattr(self._model, name.partition(" ")[0]))
        layer = self._model.active
        # A composite of three bands has its own colours, and so have classes; those of a style may be exchanged.
        legend = layer.picture.legend if layer is not None and layer.picture is not None else None
        is_exchanged = layer is not None and (layer.picture is None or (legend is not None and legend.kind == "ramp"))
        self._colours.visible = is_exchanged

    def _show_style(self) -> None:
        # Apart from the controls: an item is shown as soon as it is found, and how it is drawn is known later.
        layer = self._model.active
        self._style.object = _style_link(layer) if layer is not None else ""

    def _show_place_problem(self) -> None:
        wrong = self._model.place_problem
        self._place.param.update(error_state=bool(wrong), helper_text=wrong)

    def _write_programs(self) -> None:
        if self._tabs.active == _TABS.index("Code"):
            self._code.programs = dict(self._model.snippets(self._server()))

    def __panel__(self) -> Any:
        return self._panel


def _style_link(layer: Layer) -> str:
    there = escape(f"style?{urlencode({'layer': layer.style_id}, safe=':')}")
    by = f"Drawn with the style “{escape(layer.drawing.title)}”. " if layer.drawing else ""
    return f'<div class="muted">{by}<a href="{there}">Style this layer</a></div>'


_HINTS = {
    Kind.RASTER: "Click on the map, or write longitude and latitude, to read the values of a place.",
    Kind.CUBE: "Click on the map, or write longitude and latitude, to read the series of a place.",
    Kind.VECTOR: "Click a feature, or write longitude and latitude, to see its attributes.",
    Kind.OTHER: "This item has nothing that the map can show; its files are listed under About.",
}


class LayersPanel(pn.viewable.Viewer):
    """What lies on the map, with order, opacity and legend."""

    def __init__(self, model: ExploreModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._list = LayerList(sizing_mode="stretch_width", margin=0)
        self._list.on_msg(lambda event: self._act(event.data))
        self._panel = column(
            text("<b>On the map</b>", padding="12px 16px 0", flex="none"),
            scrolling(self._list, padding="0 8px 8px"),
            flex="0 0 auto",
            max_height="60%",
        )
        self._panel.param.update(stylesheets=[CARD_CSS], visible=False)
        background.follow(model, ["layers", "opened"], self._show)

    def _act(self, message: dict[str, Any]) -> None:
        key = str(message["id"])
        actions: dict[str, Callable[[], None]] = {
            "open": lambda: self._model.open(key, go=False),
            "up": lambda: self._model.move(key, -1),
            "down": lambda: self._model.move(key, 1),
            "fit": lambda: self._model.fit(key),
            "remove": lambda: self._model.remove(key),
            "visible": lambda: self._model.set_visible(key, bool(message["value"])),
            "opacity": lambda: self._model.set_opacity(key, float(message["value"])),
        }
        actions[message["type"]]()

    def _show(self) -> None:
        self._list.layers = [self._described(layer) for layer in self._model.layers]
        self._panel.visible = bool(self._model.layers)

    def _described(self, layer: Layer) -> dict[str, Any]:
        described: dict[str, Any] = {
            "id": layer.key,
            "title": layer.title,
            "subtitle": layer.subtitle,
            "visible": layer.visible,
            "opacity": layer.opacity,
            "active": layer.key == self._model.opened,
        }
        if layer.color and not layer.drawing:
            described["color"] = layer.color
        if layer.problem:
            described["error"] = f"{layer.problem.sentence} {layer.problem.next_step}".strip()
        if layer.is_beyond_map:
            described["note"] = "It lies beyond latitude 85°, where the map ends. Its values can be read."
        if layer.drawing and layer.drawing.legend:
            lines = [{"color": color, "label": label} for label, color in layer.drawing.legend]
            described["legend"] = {"kind": "classes", "units": "", "stops": lines}
        legend = layer.picture.legend if layer.picture else None
        if legend:
            described["legend"] = {
                "kind": legend.kind,
                "units": unit_text(legend.units),
                "stops": [{"color": stop.color, "label": stop_label(legend.kind, stop)} for stop in legend.stops],
            }
        return described

    def __panel__(self) -> Any:
        return self._panel


class ReadingTools(pn.viewable.Viewer):
    """What can be done with readings: compare, take away, forget."""

    def __init__(self, model: ExploreModel, background: Background) -> None:
        super().__init__()
        self._model = model
        compare = pmui.Switch(label="Compare places", size="small", margin=0)
        self._put_compare = follow_widget(compare, "value", model.compare)
        self._download = pmui.FileDownload(
            label="CSV",
            callback=lambda: io.BytesIO(readings_csv(model.readings).encode()),
            filename="values.csv",
            size="small",
            variant="text",
            margin=0,
            description="Download the values as CSV",
        )
        clear = pmui.IconButton(icon="close", description="Forget the places", size="small", margin=0)
        clear.on_click(lambda _: model.clear_places())
        self._panel = pn.Row(compare, self._download, clear, margin=0)
        self._panel.styles = {"align-items": "center", "gap": "8px", "flex": "none"}
        background.follow(model, ["readings", "comparing"], self._show)

    def _show(self) -> None:
        self._put_compare(self._model.comparing)
        self._download.visible = any(reading.is_answer for reading in self._model.readings)

    def __panel__(self) -> Any:
        return self._panel


class ReadingPanel(pn.viewable.Viewer):
    """What a raster or features say at the places; a series is told by the dock."""

    def __init__(self, model: ExploreModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._text = text()
        self._panel = column(
            row(pn.HSpacer(), ReadingTools(model, background), padding="8px 8px 0", flex="none"),
            scrolling(self._text, padding="8px 16px 16px"),
            flex="0 1 auto",
            min_height="120px",
        )
        self._panel.param.update(stylesheets=[CARD_CSS], visible=False)
        background.follow(model, ["readings", "layers", "opened", "places"], self._show)

    def _show(self) -> None:
        layer = self._model.active
        if layer is None or _has_dock(layer) or not self._model.places:
            self._panel.visible = False
            return
        self._text.object = readings_html(layer, self._model.readings, self._model.color_of)
        self._panel.visible = True

    def __panel__(self) -> Any:
        return self._panel


class TimeDock(pn.viewable.Viewer):
    """The time of the open cube, to choose and to play, and the series at the places.

    Args:
        model: The page's model.
        background: Brings its changes here.
        stylesheets: Where on the page it lies.
    """

    dark = param.Boolean(default=False, doc="Whether the dark colours are used.")

    def __init__(self, model: ExploreModel, background: Background, stylesheets: list[str]) -> None:
        super().__init__()
        self._model = model
        self._mark: Any = None
        self._drawn: tuple[Any, ...] = ()
        self._time = pn.pane.HTML("", stylesheets=[TEXT_CSS], margin=0, width=176)
        self._player = pmui.Player(
            start=1,
            end=1,
            value=1,
            variant="minimal",
            show_value=False,
            loop_policy="loop",
            interval=PLAY_INTERVAL_MS,
            width=None,
            sizing_mode="stretch_width",
            margin=0,
        )
        self._put_time = follow_widget(self._player, "value", lambda value: model.choose(time_index=value))
        self._values = text(flex="1 1 0", min_width="0")
        self._places = row(self._values, ReadingTools(model, background), gap="16px", padding="8px 0 0")
        self._plot = pn.pane.Bokeh(None, margin=0, sizing_mode="stretch_width", visible=False)
        self._panel = pn.Column(
            row(self._time, self._player, gap="16px"),
            self._places,
            self._plot,
            margin=0,
            stylesheets=stylesheets,
            visible=False,
        )
        self.param.watch(lambda _: self._draw(), "dark")
        background.follow(model, ["layers", "opened", "readings", "places"], self._show)
        background.follow(model, ["readings", "opened"], self._draw)

    def _show(self) -> None:
        layer = self._model.active
        self._panel.visible = _has_dock(layer)
        if layer is None or not _has_dock(layer):
            self._player.direction = 0
            return
        steps = len(layer.times)
        calendar = layer.contents.calendar if layer.contents else None
        usual = calendar is None or calendar in STANDARD_CALENDARS
        note = f"step {layer.choice.time_index} of {steps}" + ("" if usual else f", {calendar} calendar")
        self._time.object = f"<b>{escape(layer.time_text)}</b><div class='muted'>{escape(note)}</div>"
        self._player.end = steps
        self._put_time(layer.choice.time_index)
        self._places.visible = bool(self._model.places)
        self._values.object = series_html(layer, self._model.readings, self._model.color_of)
        if self._mark is not None:
            xs = self._mark.tags
            self._mark.location = xs[min(layer.choice.time_index, len(xs)) - 1]

    def _draw(self) -> None:
        readings = [reading for reading in self._model.readings if reading.series and len(reading.series.times) > 1]
        if not _has_dock(self._model.active):
            readings = []
        drawn = (self.dark, *((reading.place, id(reading.series)) for reading in readings))
        if drawn == self._drawn:
            return
        self._drawn = drawn
        first = readings[0].series if readings else None
        if first is None:
            self._mark = None
            self._plot.param.update(visible=False, object=None)
            return
        from bokeh.events import Tap

        def jump(event: Any) -> None:
            self._model.choose(time_index=nearest_step(first.times, first.calendar, event.x))

        chart, mark = series_figure(readings, self._model.color_of, self._model.time_index, palette(self.dark))
        mark.tags = positions(first.times, first.calendar)
        chart.on_event(Tap, jump)
        self._mark = mark
        self._plot.param.update(object=chart, visible=True)

    @property
    def height_px(self) -> int:
        """What it takes of the height of the page, with its margins."""
        if not self._panel.visible:
            return 0
        return 104 + (48 if self._places.visible else 0) + (HEIGHT_PX if self._plot.visible else 0)

    def __panel__(self) -> Any:
        return self._panel


def _has_dock(layer: Layer | None) -> bool:
    """Tell whether a layer has a time to choose; its readings are then told with it."""
    return layer is not None and len(layer.times) > 1


def _titled(title: str, units: str | None) -> str:
    return f"{title}, {unit_text(units)}" if units else title


def _named(values: Sequence[str]) -> dict[str, str]:
    return {value: value for value in values}


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
