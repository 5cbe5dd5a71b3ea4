"""The panels of the page *Style*: small views, each of one part of the model."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui
import param

from dashboards.explore.reading import unit_text
from dashboards.shared.background import Background
from dashboards.shared.layout import CARD_CSS, CONTROL, FITTING, column, row, scrolling, text
from dashboards.shared.lists import ItemList
from dashboards.shared.styling import ClassifyForm, CodeEditor, LegendList, RuleForm, RuleList, VersionList
from dashboards.style.classes import methods_of, ramp_colors, ramps_of
from dashboards.style.condition import Row
from dashboards.style.draft import text_of
from dashboards.style.form import form_of
from dashboards.style.markup import LOSSES_CSS, legend_rows, losses_html, picked_html, rule_rows
from dashboards.style.model import StyleModel
from dashboards.style.outputs import OWN, Output
from geoetl.styles.numbers import number_text

_TABS = ("Rules", "Classify", "Versions")
_RULES, _CLASSIFY, _VERSIONS = range(3)
_NO_LAYERS = {
    "title": "No layers yet",
    "text": "Bring in data, or see the platform at work on real sample data:",
    "code": "geoetl demo",
}
_GROUPS = {"vector": "Features", "coverage": "Rasters and cubes"}
RAMP_COLORS = 9


class LayerPicker(pn.viewable.Viewer):
    """Every layer that can be styled."""

    def __init__(self, model: StyleModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._words = pmui.TextInput(label="Search", placeholder="Words in title or id", **CONTROL)
        self._words.param.watch(lambda _: self._show(), "value_input")
        self._list = ItemList(sizing_mode="stretch_width", margin=0, loading=True, expanded=list(_GROUPS))
        self._list.on_msg(lambda event: self._act(event.data))
        head = text(
            '<div style="font-weight:700;font-size:16px;line-height:24px">Style a layer</div>'
            '<div class="muted">Choose what to draw; nothing is changed before you save.</div>'
        )
        self._panel = column(
            column(head, self._words, gap="12px", padding="16px 16px 8px", flex="none"),
            scrolling(self._list, padding="0 8px 8px"),
            **FITTING,
        )
        background.follow(model, ["layers", "subject"], self._show)

    def _act(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "open":
            self._model.open(str(message["key"]))

    def _show(self) -> None:
        self._panel.visible = self._model.subject is None
        found = self._model.layers
        if found is None:
            return
        words = (self._words.value_input or "").casefold().split()
        fitting = [one for one in found if all(word in f"{one.title} {one.id}".casefold() for word in words)]
        groups = []
        for kind, title in _GROUPS.items():
            of_kind = [one for one in fitting if one.kind == kind]
            if of_kind:
                items = [
                    {
                        "key": one.id,
                        "title": one.title,
                        "subtitle": one.id,
                        "kind": "vector" if kind == "vector" else "raster",
                        "thumbnail": "",
                    }
                    for one in of_kind
                ]
                groups.append(
                    {
                        "id": kind,
                        "title": title,
                        "description": "",
                        "count": str(len(of_kind)),
                        "more": "",
                        "items": items,
                    }
                )
        nothing = {"title": "Nothing found", "text": "Use fewer words."}
        self._list.param.update(groups=groups, message=nothing if found else _NO_LAYERS, loading=False)

    def __panel__(self) -> Any:
        return self._panel


class EditorPanel(pn.viewable.Viewer):
    """The open layer: its style by rules, by classes, and its versions; and keeping it.

    Args:
        model: The page's model.
        background: Brings its changes here.
        served: Whether other pages can be gone to.
    """

    def __init__(self, model: StyleModel, background: Background, *, served: bool) -> None:
        super().__init__()
        self._model = model
        self._served = served
        self._head = text()
        back = pmui.IconButton(icon="arrow_back", description="All layers", margin=0, size="small")
        back.on_click(lambda _: model.close())
        self._undo = pmui.IconButton(icon="undo", description="Undo", margin=0, size="small")
        self._undo.on_click(lambda _: model.undo())
        self._redo = pmui.IconButton(icon="redo", description="Redo", margin=0, size="small")
        self._redo.on_click(lambda _: model.redo())
        self._styles = pmui.Select(label="Style", options={}, **CONTROL)
        # New options make the widget choose the first of them by itself, which no person did.
        self._filling = False
        self._styles.param.watch(lambda event: self._choose(event.new), "value")
        self._tabs = pmui.TabMenu(
            items=[{"label": label} for label in _TABS], active=0, sizing_mode="stretch_width", margin=0
        )
        self._tabs.param.watch(lambda _: self._choose_tab(), "active")
        self._bodies = [RulesTab(model, background), ClassifyTab(model, background), VersionsTab(model, background)]
        rules, *others = self._bodies
        self._holders = [
            column(rules, flex="1 1 auto", min_height="0", overflow="hidden"),
            *(scrolling(body, padding="0 8px 8px") for body in others),
        ]
        self._panel = column(
            row(back, self._head, padding="12px 8px 4px 8px", gap="8px", flex="none"),
            row(self._styles, self._undo, self._redo, padding="8px 16px 4px", gap="8px", flex="none"),
            column(self._tabs, padding="0 16px", flex="none", border_bottom="1px solid var(--ge-line)"),
            *self._holders,
            SavePanel(model, background),
            **FITTING,
        )
        self._panel.visible = False
        self._choose_tab()
        background.follow(model, ["subject", "stored", "styles"], self._show)
        background.follow(model, ["history", "stored"], self._show_history)

    def _choose(self, style_id: str) -> None:
        if self._model.subject is not None and style_id and not self._filling:
            self._model.open(self._model.subject.id, style_id, go=False)

    def _choose_tab(self) -> None:
        for index, holder in enumerate(self._holders):
            holder.visible = index == self._tabs.active
        if self._tabs.active == _CLASSIFY and self._model.trial is None:
            self._model.try_classes()

    def _show(self) -> None:
        subject = self._model.subject
        self._panel.visible = subject is not None
        if subject is None:
            return
        collection, item = subject.names
        there = f"explore?{urlencode({'collection': collection, 'item': item})}"
        link = f' · <a href="{escape(there)}">Look at it in Explore</a>' if self._served else ""
        kind = "Collection of rasters or cubes" if subject.is_coverage else "Features"
        self._head.object = (
            f'<div style="font-weight:700;font-size:16px;line-height:24px">{escape(subject.title)}</div>'
            f'<div class="muted">{kind}{link}</div>'
        )
        options = {
            f"{one.title or one.id}{' (default)' if one.is_default else ''}": one.id for one in self._model.styles
        }
        if self._model.stored is None:
            options = {"Proposal, not kept": "", **options}
        self._filling = True
        self._styles.param.update(options=options, value=self._model.stored.id if self._model.stored else "")
        self._filling = False

    def _show_history(self) -> None:
        self._undo.disabled = not self._model.history.past
        self._redo.disabled = not self._model.history.future

    def __panel__(self) -> Any:
        return self._panel


class RulesTab(pn.viewable.Viewer):
    """The rules, and the form of the one that is edited."""

    def __init__(self, model: StyleModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._list = RuleList(sizing_mode="stretch_width", margin=0)
        self._list.on_msg(lambda event: self._act(event.data))
        self._form = RuleForm(sizing_mode="stretch_width", margin=0)
        self._form.on_msg(lambda event: self._fill_in(event.data))
        # The rules stay in sight while one of them is edited: as many as there are, up to some five on a low screen.
        self._panel = column(
            scrolling(self._list, padding="0 8px", flex="none", max_height="30vh"),
            scrolling(self._form, padding="0 8px 8px", flex="1 1 440px", border_top="1px solid var(--ge-line)"),
            flex="1 1 auto",
            min_height="0",
        )
        background.follow(model, ["history", "selected", "subject"], self._show)
        background.follow(model, ["history", "selected", "subject", "as_text", "unfinished", "values"], self._show_form)

    def _act(self, message: Mapping[str, Any]) -> None:
        key = str(message.get("key", ""))
        actions: dict[str, Callable[[], None]] = {
            "select": lambda: self._model.select(key),
            "add": self._model.add,
            "up": lambda: self._model.move(key, -1),
            "down": lambda: self._model.move(key, 1),
            "visible": lambda: self._model.set_visible(key, bool(message["value"])),
        }
        actions[message["type"]]()

    def _fill_in(self, message: Mapping[str, Any]) -> None:
        key, kind = str(message["key"]), message["type"]
        model, live = self._model, bool(message.get("live"))
        actions: dict[str, Callable[[], None]] = {
            "set": lambda: model.set_value(key, str(message["path"]), message["value"], live=live),
            "name": lambda: model.rename(key, str(message["value"])),
            "condition": lambda: model.set_rows(key, "or" if message["join"] == "or" else "and", _rows(message)),
            "condition_text": lambda: model.set_condition(key, str(message["text"])),
            "mode": lambda: model.write_condition(message["value"] == "text"),
            "scale": lambda: model.set_scale(key, str(message["end"]), message["value"]),
            "scale_here": lambda: model.scale_here(key),
            "stops": lambda: model.set_stops(key, _stops(message), live=live),
            "add_stop": lambda: model.add_stop(key),
            "up": lambda: model.move(key, -1),
            "down": lambda: model.move(key, 1),
            "copy": lambda: model.copy(key),
            "nest": lambda: model.add(within=key),
            "remove": lambda: model.remove(key),
        }
        actions[kind]()

    def _show(self) -> None:
        subject = self._model.subject
        if subject is not None:
            rows = rule_rows(self._model.document, subject.layer)
            self._list.param.update(rules=rows, selected=self._model.selected)

    def _show_form(self) -> None:
        model = self._model
        if model.subject is not None:
            self._form.form = form_of(
                model.document,
                model.selected,
                model.subject.layer,
                as_text=model.as_text,
                unfinished=model.unfinished,
                values=model.values,
                units=unit_text(model.subject.units),
            )

    def __panel__(self) -> Any:
        return self._panel


def _rows(message: Mapping[str, Any]) -> list[Row]:
    return [Row(str(row["attribute"]), str(row["op"]), str(row.get("value", ""))) for row in message["rows"]]


def _stops(message: Mapping[str, Any]) -> list[tuple[float, str]]:
    return [(float(stop["value"]), str(stop["color"])) for stop in message["stops"]]


class ClassifyTab(pn.viewable.Viewer):
    """Classes by an attribute, looked at before they are used."""

    def __init__(self, model: StyleModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._form = ClassifyForm(sizing_mode="stretch_width", margin=0)
        self._form.on_msg(lambda event: self._act(event.data))
        background.follow(model, ["question", "trial", "trial_problem", "subject", "busy"], self._show)

    def _act(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "apply":
            self._model.use_classes()
            return
        known = {name: message[name] for name in ("attribute", "method", "ramp", "reversed") if name in message}
        if "classes" in message:
            known["classes"] = min(12, max(2, int(message["classes"] or 5)))
        self._model.ask(**known)

    def _show(self) -> None:
        subject, question, trial = self._model.subject, self._model.question, self._model.trial
        if subject is None:
            return
        if question is None:
            self._form.form = {"error": "This layer has no attribute to divide it by."}
            return
        form: dict[str, Any] = {
            "attributes": [{"name": name} for name in subject.layer.properties],
            "attribute": question.attribute,
            "methods": [
                {"name": name, "title": title} for name, title in methods_of(subject.layer, question.attribute).items()
            ],
            "method": question.method,
            "classes": question.classes,
            "ramps": [
                {"name": name, "title": name, "colors": ramp_colors(name, RAMP_COLORS, reversed=question.reversed)}
                for name in ramps_of(question)
            ],
            "ramp": question.ramp,
            "reversed": question.reversed,
            "error": self._model.trial_problem,
            "busy": self._model.busy == "working out classes",
        }
        if trial is not None:
            form["rows"] = [{"label": label, "color": color.hex, "count": count} for label, color, count in trial.rows]
            form["notes"] = list(trial.notes)
            if trial.histogram is not None:
                bins = trial.histogram
                form["histogram"] = {
                    "edges": list(bins.edges),
                    "counts": list(bins.counts),
                    "colors": list(bins.colors),
                    "breaks": list(bins.breaks),
                    "low": number_text(float(f"{bins.edges[0]:.4g}")),
                    "high": number_text(float(f"{bins.edges[-1]:.4g}")),
                    "title": f"How often values of {trial.question.attribute} occur, and where classes end",
                }
        self._form.form = form

    def __panel__(self) -> Any:
        return self._form


class VersionsTab(pn.viewable.Viewer):
    """What is kept of the open style, to look at, compare and go back to."""

    def __init__(self, model: StyleModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._list = VersionList(sizing_mode="stretch_width", margin=0)
        self._list.on_msg(lambda event: self._act(event.data))
        self._default = pmui.Button(
            label="Make it the default of the layer", size="small", variant="outlined", margin=8
        )
        self._default.on_click(lambda _: model.make_default())
        self._note = text('<div class="muted">The layer is drawn with this style by default.</div>', padding="8px")
        self._panel = column(self._default, self._note, self._list)
        background.follow(model, ["versions", "stored", "compared"], self._show)

    def _act(self, message: Mapping[str, Any]) -> None:
        number = int(message["key"])
        if message["type"] == "open":
            self._model.take_version(number)
        else:
            compared = self._model.compared
            self._model.compare(0 if compared and compared.version == number else number)

    def _show(self) -> None:
        stored, compared = self._model.stored, self._model.compared
        self._default.visible = stored is not None and not stored.is_default and self._model.may_edit
        self._note.visible = stored is not None and stored.is_default
        rows = []
        for version in self._model.versions:
            here = compared is not None and compared.version == version.number
            when = datetime.fromtimestamp(version.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
            rows.append(
                {
                    "key": str(version.number),
                    "title": f"Version {version.number}",
                    "subtitle": f"{when} · {version.author}" if version.author else when,
                    "note": version.note or "",
                    "badge": "current" if stored and version.number == stored.version else "",
                    "shown": here,
                    "actions": [
                        {"type": "compare", "label": "Stop comparing" if here else "Compare", "pressed": here},
                        {"type": "open", "label": "Edit this one"},
                    ],
                }
            )
        self._list.param.update(versions=rows, message="Nothing is kept of this style yet. Save it to have a version.")

    def __panel__(self) -> Any:
        return self._panel


class SavePanel(pn.viewable.Viewer):
    """Keeping what is edited, for who may."""

    def __init__(self, model: StyleModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._note = pmui.TextInput(label="What changed", placeholder="A few words for the others", **CONTROL)
        self._new = pmui.Switch(label="As a new style", size="small", margin=0)
        self._title = pmui.TextInput(label="Title of the new style", visible=False, **CONTROL)
        self._new.param.watch(lambda _: self._show(), "value")
        self._title.param.watch(lambda _: self._show(), "value_input")
        self._save = pmui.Button(label="Save", size="small", color="primary", margin=0, sx={"fontSize": "14px"})
        self._save.on_click(lambda _: self._keep())
        self._said = text()
        self._viewer = text(
            '<div class="muted">You may try out everything here. Keeping it takes the role of an editor.</div>',
            padding="12px 16px",
        )
        self._form = column(
            self._said,
            self._title,
            self._note,
            row(self._new, pn.HSpacer(), self._save),
            gap="8px",
            padding="12px 16px",
        )
        self._panel = column(self._form, self._viewer, flex="none", border_top="1px solid var(--ge-line)")
        background.follow(model, ["history", "stored", "said", "subject", "text"], self._show)

    def _keep(self) -> None:
        self._model.save(self._note.value_input or "", as_new=self._name() if self._new.value else "")
        if not self._model.is_changed:
            self._note.param.update(value="", value_input="")
            self._title.param.update(value="", value_input="")
            self._new.value = False

    def _name(self) -> str:
        return str(self._title.value_input or "").strip()

    def _show(self) -> None:
        model = self._model
        may = model.may_edit
        self._form.visible, self._viewer.visible = may, not may
        self._title.visible = self._new.value
        changed = model.is_changed or model.stored is None
        self._note.visible = changed or self._new.value
        self._save.disabled = not (self._name() if self._new.value else changed) or bool(model.text.problem)
        state = model.said or ("Not saved yet." if changed else "Saved.")
        self._said.object = f'<div role="status" class="muted">{escape(state)}</div>'

    def __panel__(self) -> Any:
        return self._panel


class OutputPanel(pn.viewable.Viewer):
    """The style as text, to edit beside the form; and in the form of every target, with what is lost."""

    folded = param.Boolean(default=False, doc="Whether only its head is seen.")

    def __init__(self, model: StyleModel, background: Background) -> None:
        super().__init__()
        self._model = model
        common: dict[str, Any] = {
            "sizing_mode": "stretch_width",
            "margin": 0,
            "styles": {"flex": "1 1 auto", "min-height": "160px"},
        }
        self._own = CodeEditor(editable=True, label="Style as CartoSym-JSON", **common)
        self._own.on_msg(lambda event: model.write(str(event.data["text"])))
        self._json = CodeEditor(label="Style in another form", visible=False, **common)
        self._plain = CodeEditor(label="Style in another form", language="xml", visible=False, **common)
        self._losses = pn.pane.HTML(
            "",
            stylesheets=[LOSSES_CSS],
            margin=0,
            sizing_mode="stretch_width",
            styles={
                "flex": "0 1 auto",
                "overflow-y": "auto",
                "max-height": "30%",
                "padding": "8px 16px 12px",
                "border-top": "1px solid var(--ge-line)",
            },
        )
        narrow = {"& .MuiTab-root": {"padding": "8px 7px", "fontSize": "13px"}}
        self._tabs = pmui.TabMenu(items=[], active=0, sizing_mode="stretch_width", margin=0, sx=narrow)
        self._tabs.param.watch(lambda _: self._show(), "active")
        self._fold = pmui.IconButton(icon="unfold_less", description="Fold or unfold", margin=0, size="small")
        self._fold.on_click(lambda _: self.param.update(folded=not self.folded))
        self._body = column(self._own, self._json, self._plain, self._losses, flex="1 1 auto", min_height="0")
        self._panel = column(
            row(self._tabs, self._fold, padding="0 8px 0 16px", flex="none"),
            self._body,
            **{**FITTING, "flex": "1 1 auto"},
        )
        self.param.watch(lambda _: self._show(), "folded")
        background.follow(model, ["outputs", "subject"], self._show)
        background.follow(model, ["text"], self._show_text)
        background.follow(model, ["compared"], self._compare)

    def _show(self) -> None:
        outputs = self._model.outputs
        items = [{"label": output.label} for output in outputs]
        if items != self._tabs.items:
            self._tabs.param.update(items=items, active=min(self._tabs.active, max(0, len(items) - 1)))
        self._fold.icon = "unfold_more" if self.folded else "unfold_less"
        self._body.visible = not self.folded
        if not outputs:
            return
        chosen = outputs[min(self._tabs.active, len(outputs) - 1)]
        own = chosen.name == OWN
        self._own.visible = own
        self._own.filename = next(output.filename for output in outputs if output.name == OWN)
        self._json.visible, self._plain.visible = not own and chosen.is_json, not own and not chosen.is_json
        if not own:
            self._fill(self._json if chosen.is_json else self._plain, chosen)
        self._losses.object = losses_html(chosen.title, chosen.losses)

    def _fill(self, editor: CodeEditor, chosen: Output) -> None:
        editor.param.update(
            content={"text": chosen.text},
            filename=chosen.filename,
            media_type=chosen.media_type,
            label=f"Style as {chosen.title}",
        )

    def _show_text(self) -> None:
        text = self._model.text
        if self._own.content.get("serial") != text.serial:
            self._own.content = {"text": text.text.rstrip("\n"), "serial": text.serial}
        problem: dict[str, Any] = {}
        if text.problem:
            problem = {"message": text.problem, "pointer": text.pointer, "offset": text.offset}
        self._own.problem = problem

    def _compare(self) -> None:
        compared = self._model.compared
        self._own.against = text_of(compared.document).rstrip("\n") if compared else ""

    def __panel__(self) -> Any:
        return self._panel


class FeaturePanel(pn.viewable.Viewer):
    """The feature that was clicked."""

    def __init__(self, model: StyleModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._text = text()
        close = pmui.IconButton(icon="close", description="Close", size="small", margin=0)
        close.on_click(lambda _: model.pick(model.centre, None))
        self._panel = column(
            row(text("<b>Feature</b>"), close, padding="8px 8px 0 16px", flex="none"),
            scrolling(self._text, padding="0 16px 12px"),
            min_height="0",
            flex="0 1 auto",
        )
        self._panel.param.update(stylesheets=[CARD_CSS], visible=False)
        background.follow(model, ["picked"], self._show)

    def _show(self) -> None:
        picked = self._model.picked
        self._panel.visible = picked is not None
        if picked is not None:
            self._text.object = picked_html(picked)

    def __panel__(self) -> Any:
        return self._panel


class LegendPanel(pn.viewable.Viewer):
    """What the map shows, by the style as it is edited."""

    def __init__(self, model: StyleModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._list = LegendList(sizing_mode="stretch_width", margin=0)
        self._panel = column(
            text("<b>Legend</b>", padding="12px 16px 4px", flex="none"),
            scrolling(self._list, padding="0 16px 12px"),
            flex="0 1 auto",
            min_height="96px",
        )
        self._panel.param.update(stylesheets=[CARD_CSS], visible=False)
        background.follow(model, ["outputs", "subject", "zoom"], self._show)

    def _show(self) -> None:
        legend = self._model.legend()
        self._panel.visible = legend is not None
        if legend is not None:
            rows = legend_rows(legend)
            is_composite = self._model.subject is not None and self._model.subject.is_coverage and not rows
            message = "Three bands as red, green and blue." if is_composite else "Nothing is drawn at this scale."
            self._list.param.update(entries=rows, message=message)

    def __panel__(self) -> Any:
        return self._panel
