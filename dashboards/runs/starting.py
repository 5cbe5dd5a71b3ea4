"""The panel that starts a run: a form made from the parameters cell of the pipeline's notebook."""

from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.runs.form import Field, FieldKind, Form
from dashboards.runs.model import RunsModel
from dashboards.shared.background import Background, follow_widget
from dashboards.shared.layout import CONTROL, FITTING, column, row, scrolling, text
from dashboards.shared.styling import VersionList
from geoetl.store.samples import SAMPLES


class StartPanel(pn.viewable.Viewer):
    """The choice of a pipeline, and its form."""

    def __init__(self, model: RunsModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._shown: Form | None = None
        self._inputs: dict[str, Any] = {}
        self._put: dict[str, Any] = {}
        back = pmui.IconButton(icon="arrow_back", description="All runs", size="small", margin=0)
        back.on_click(lambda _: model.close())
        title = text('<h2 style="font-size:20px;line-height:28px;margin:0">Start a run</h2>')
        choice = {"All pipelines": "", **{model.title(name): name for name in model.startable}}
        self._choice = pmui.Select(label="Pipeline", options=choice, value="", visible=False, **CONTROL)
        self._put_choice = follow_widget(self._choice, "value", lambda value: model.prepare(value or ""))
        self._summary = text()
        pipelines = VersionList(sizing_mode="stretch_width", margin=0, versions=_rows(model))
        pipelines.on_msg(lambda event: model.prepare(str(event.data["key"])))
        # The component says itself how it is displayed, and would not go away.
        self._all = column(pipelines)
        self._first, self._rest = column(pn.Spacer(height=0), gap="16px"), column(pn.Spacer(height=0), gap="16px")
        self._fold = pmui.Button(
            label="More parameters", icon="expand_more", variant="text", margin=0, sx={"fontSize": "14px"}
        )
        self._fold.on_click(lambda _: self._unfold(not self._rest.visible))
        self._again = pmui.Switch(label="Run it although exactly this was done before", size="small", margin=0)
        self._submit = pmui.Button(label="Start", icon="play_arrow", color="primary", margin=0, sx={"fontSize": "14px"})
        self._submit.on_click(lambda _: model.submit(again=self._again.value))
        self._said = text()
        self._foot = column(
            self._said,
            row(self._again, self._submit, gap="8px 16px", flex_wrap="wrap", justify_content="space-between"),
            gap="8px",
            padding="12px 16px",
            flex="none",
            border_top="1px solid var(--ge-line)",
        )
        self._panel = column(
            row(back, title, padding="12px 16px 4px 8px", gap="8px", flex="none"),
            scrolling(
                self._choice,
                self._summary,
                self._all,
                self._first,
                self._fold,
                self._rest,
                padding="12px 16px 16px",
                gap="16px",
            ),
            self._foot,
            **{**FITTING, "flex": "1 1 auto"},
        )
        background.follow(model, ["form"], self._show)
        background.follow(model, ["busy"], self._show_busy)
        self._submit.visible = self._again.visible = model.may_run
        self._show()

    def _show(self) -> None:
        form = self._model.form
        self._put_choice(form.pipeline.name if form else "")
        self._foot.visible = self._choice.visible = form is not None
        self._all.visible = form is None
        if form is None or self._shown is None or form.pipeline.name != self._shown.pipeline.name:
            self._build(form)
        self._shown = form
        if form is None:
            self._summary.object = (
                '<p class="muted">A pipeline is a notebook: it brings data in, step by step, and what it did can be '
                "read afterwards.</p>"
            )
            return
        self._summary.object = f"<p>{escape(form.pipeline.summary)}</p>"
        for one in form.fields:
            self._put[one.name](form.value(one.name))
            if one.kind is FieldKind.TEXT:
                wrong = form.wrong.get(one.name, "")
                self._inputs[one.name].param.update(error_state=bool(wrong), helper_text=wrong or _meaning(one))
        self._say(form)

    def _build(self, form: Form | None) -> None:
        self._inputs, self._put = {}, {}
        for one in form.fields if form else ():
            self._inputs[one.name] = widget = _widget(one)
            self._put[one.name] = follow_widget(widget, "value", lambda value, name=one.name: self._fill(name, value))
        fields = form.fields if form else ()
        nothing = [pn.Spacer(height=0)]
        self._first.objects = [self._inputs[one.name] for one in fields if one.first] or nothing
        self._rest.objects = [self._inputs[one.name] for one in fields if not one.first] or nothing
        self._fold.visible = any(not one.first for one in fields)
        hidden = {one.name for one in fields if not one.first}
        self._unfold(bool(form and hidden & {*form.given, *form.wrong}))

    def _unfold(self, unfolded: bool) -> None:
        self._rest.visible = unfolded
        count = len(self._rest.objects)
        self._fold.label = "Fewer parameters" if unfolded else f"{count} more parameters"
        self._fold.icon = "expand_less" if unfolded else "expand_more"

    def _fill(self, name: str, value: Any) -> None:
        self._model.fill(name, value if isinstance(value, bool) else str(value or ""))

    def _say(self, form: Form) -> None:
        if not self._model.may_run:
            said = "You may look at what it takes. Starting it takes the role of an editor, on a server that writes."
        elif form.wrong:
            elsewhere = form.wrong.get("")
            names = [one.label for one in form.fields if one.name in form.wrong]
            said = (
                f'<span class="error">{escape(elsewhere or "It cannot begin yet. Look at: " + ", ".join(names))}</span>'
            )
            if any(one.name in form.wrong and not one.first for one in form.fields):
                self._unfold(True)
        else:
            said = escape(form.ready or "Nothing is started before you say so.")
        self._said.object = f'<div class="muted" role="status">{said}</div>'

    def _show_busy(self) -> None:
        busy = self._model.busy == "starting"
        self._submit.param.update(loading=busy, disabled=busy)

    def __panel__(self) -> Any:
        return self._panel


def _rows(model: RunsModel) -> list[dict[str, Any]]:
    """Return the pipelines as the component `VersionList` takes them."""
    return [
        {
            "key": name,
            "title": model.title(name),
            "subtitle": name,
            "note": model.summary(name),
            "badge": "",
            "shown": False,
            "actions": [{"type": "open", "label": "Fill in"}],
        }
        for name in model.startable
    ]


def _widget(one: Field) -> Any:
    if one.kind is FieldKind.SWITCH:
        label = f"{one.label}: {one.meaning}" if one.meaning else one.label
        return pmui.Switch(label=label, value=bool(one.default), size="small", margin=0)
    label = f"{one.label} *" if one.required else one.label
    example = f"For example samples:{next(iter(SAMPLES))}" if one.name == "source" else ""
    return pmui.TextInput(
        label=label,
        value=str(one.default),
        placeholder=example,
        helper_text=_meaning(one),
        max_length=64_000,
        **CONTROL,
    )


def _meaning(one: Field) -> str:
    said = one.meaning[:1].upper() + one.meaning[1:]
    return f"{said} (has to be given)" if one.required else said
