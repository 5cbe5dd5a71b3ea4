"""The panel in which a person decides: what may be done, why not, and the question before it is done."""

from collections.abc import Mapping
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.review import markup
from dashboards.review.comparison import size_text
from dashboards.review.deciding import Asking
from dashboards.review.model import ReviewModel
from dashboards.shared.background import Background
from dashboards.shared.layout import CONTROL, TEXT_CSS, column, row, text
from geoetl.publish.model import Action, Clearance, State
from geoetl.publish.steps import MAX_REASON_LETTERS
from geoetl.publish.withdrawal import Withdrawal

_BUTTON: Mapping[str, Any] = {"size": "small", "margin": 0, "sx": {"fontSize": "14px"}}
# Label, icon, colour and kind of each button.
_LOOKS: Mapping[Action, tuple[str, str, str, str]] = {
    Action.APPROVE: ("Approve", "check", "primary", "contained"),
    Action.REQUEST_CHANGES: ("Request changes", "reply", "primary", "outlined"),
    Action.REJECT: ("Reject", "close", "error", "outlined"),
    Action.REVOKE: ("Revoke", "undo", "error", "outlined"),
    Action.WITHDRAW: ("Withdraw", "visibility_off", "error", "outlined"),
    Action.RESTORE: ("Restore", "restore", "primary", "outlined"),
}
_QUESTIONS: Mapping[Action, str] = {
    Action.REQUEST_CHANGES: "Send it back? Say what has to change.",
    Action.REJECT: "Reject it? Nothing of it becomes public.",
    Action.REVOKE: "Revoke the approval? Nothing of it becomes public.",
    Action.RESTORE: "Restore it? The same version becomes public again, as it was.",
}
_CLEARANCES = {
    markup.CLEARANCES[Clearance.PUBLIC]: str(Clearance.PUBLIC),
    markup.CLEARANCES[Clearance.RESTRICTED]: str(Clearance.RESTRICTED),
}
# Objects of a withdrawal that are listed one by one.
MAX_GOING = 100
_PLAN_CSS = """
ul { margin: 4px 0 8px; padding-left: 20px; list-style: disc; }
li { display: list-item; padding: 0; overflow-wrap: anywhere; }
.list { max-height: 160px; overflow: auto; scrollbar-width: thin; }
"""


class DeedsPanel(pn.viewable.Viewer):
    """The buttons of what may be done to the open release; for whoever may not, why."""

    def __init__(self, model: ReviewModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._buttons: dict[Action, Any] = {}
        for action, (label, icon, color, variant) in _LOOKS.items():
            button = pmui.Button(label=label, icon=icon, color=color, variant=variant, **_BUTTON)
            button.on_click(lambda _, action=action: model.ask(action))
            self._buttons[action] = button
        self._retry = pmui.Button(label="Try again", icon="replay", color="primary", **_BUTTON)
        self._retry.on_click(lambda _: model.retry())
        self._why = text()
        self._why.param.update(align="center", sizing_mode=None)
        self._panel = row(self._retry, *self._buttons.values(), self._why, gap="8px", flex_wrap="wrap")
        self._panel.sizing_mode = None
        background.follow(model, ["opened", "asking"], self._show)

    def _show(self) -> None:
        opened = self._model.opened
        if opened is None:
            return
        allowed = {deed.action for deed in opened.deeds if not deed.barred}
        is_asked = self._model.asking is not None
        for action, button in self._buttons.items():
            button.visible = action in allowed and not is_asked
        has_failed = opened.release.state is State.COPY_FAILED
        self._retry.visible = has_failed and opened.may(Action.REVOKE) and not is_asked
        # One reason for all that is barred in the same way.
        told = list(dict.fromkeys(deed.barred for deed in opened.deeds if deed.barred))
        self._why.param.update(
            object="".join(f'<div class="muted" role="note">{escape(one)}</div>' for one in told), visible=bool(told)
        )

    def __panel__(self) -> Any:
        return self._panel


class AskPanel(pn.viewable.Viewer):
    """What is asked before something is done, with the reason and what is wrong with it."""

    def __init__(self, model: ReviewModel, background: Background) -> None:
        super().__init__()
        self._model = model
        self._asked: tuple[Action, str] | None = None
        self._question = text()
        self._question.stylesheets = [TEXT_CSS, markup.TABLE_CSS, _PLAN_CSS]
        self._reason = pmui.TextAreaInput(
            label="Reason", max_length=MAX_REASON_LETTERS, rows=1, auto_grow=True, max_rows=6, **CONTROL
        )
        self._clearance = pmui.Select(label="Clearance", options=_CLEARANCES, value=str(Clearance.PUBLIC), **CONTROL)
        self._yes = pmui.Button(label="Yes", color="primary", **_BUTTON)
        self._yes.on_click(lambda _: self._go_ahead())
        no = pmui.Button(label="Cancel", variant="outlined", **_BUTTON)
        no.on_click(lambda _: model.never_mind())
        self._panel = column(
            self._question,
            row(self._reason, self._clearance, gap="8px", align_items="flex-start"),
            row(self._yes, no, gap="8px"),
            gap="8px",
            padding="12px 16px",
            background="var(--ge-accent-soft)",
            flex="none",
            max_height="60%",
            overflow="auto",
        )
        background.follow(model, ["asking", "opened"], self._show)
        background.follow(model, ["problem"], self._show_wrong)
        self._show()

    def _go_ahead(self) -> None:
        reason = str(self._reason.value_input or self._reason.value or "")
        self._model.go_ahead(reason, Clearance(self._clearance.value) if self._clearance.visible else None)

    def _show(self) -> None:
        asking, opened = self._model.asking, self._model.opened
        self._panel.visible = asking is not None and opened is not None
        if asking is None or opened is None:
            self._asked = None
            return
        label, icon, color, _ = _LOOKS[asking.action]
        if asking.action is Action.APPROVE:
            self._question.object = markup.plan_html(opened)
        elif asking.action is Action.WITHDRAW:
            self._question.object = withdrawal_html(asking)
        else:
            self._question.object = f'<div role="alert">{escape(_QUESTIONS[asking.action])}</div>'
        is_possible = asking.action is not Action.WITHDRAW or (asking.plan is not None and not asking.plan.is_nothing)
        self._yes.param.update(label=label, icon=icon, color=color, disabled=not is_possible)
        self._clearance.visible = asking.action is Action.APPROVE
        if self._asked != (asking.action, asking.release_id):
            self._asked = (asking.action, asking.release_id)
            is_cleared = asking.clearance is not Clearance.UNCLEARED
            self._clearance.value = str(asking.clearance if is_cleared else Clearance.PUBLIC)
            told = "Reason *" if asking.needs_reason else "Note, for whoever looks later"
            self._reason.param.update(label=told, value="", value_input="")
            self._reason.focus()

    def _show_wrong(self) -> None:
        """Tell what is wrong with the reason beside it."""
        problem = self._model.problem
        is_wrong = problem is not None and problem.field == "reason"
        said = f"{problem.sentence} {problem.next_step}" if problem is not None and is_wrong else ""
        self._reason.param.update(error_state=is_wrong, helper_text=said)

    def __panel__(self) -> Any:
        return self._panel


def withdrawal_html(asking: Asking) -> str:
    """Return exactly what a withdrawal takes away, what stays, and what depends on it."""
    plan = asking.plan
    if plan is None:
        return '<div role="status">What would go is being looked up …</div>'
    if plan.is_nothing:
        return '<div role="alert">There is nothing to withdraw any more.</div>'
    stays = _list("What stays", plan.stays)
    depends = _list("What depends on it", plan.depends)
    return (
        '<div role="alert">Withdraw it? Nothing was done yet. This is what goes, from the public catalogue first:</div>'
        f"{_list('', plan.goes)}{_objects(plan)}{stays}{depends}"
        '<div class="muted">For 30 days it can be restored.</div>'
    )


def _objects(plan: Withdrawal) -> str:
    lines = "".join(
        f"<li>{escape(one.key)} <span class='muted'>{size_text(one.bytes)}</span></li>"
        for one in plan.objects[:MAX_GOING]
    )
    more = len(plan.objects) - MAX_GOING
    rest = f'<li class="muted">and {more:,} more</li>' if more > 0 else ""
    return f'<div class="list" tabindex="0" role="region" aria-label="Files that go"><ul>{lines}{rest}</ul></div>'


def _list(title: str, lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    head = f"<b>{escape(title)}</b>" if title else ""
    return f"{head}<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
