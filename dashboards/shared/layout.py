"""How the panels of a page are put together: columns and rows that stretch, cards, controls of one size."""

from collections.abc import Mapping
from html import escape
from typing import Any

import panel as pn

from dashboards.shared.problem import Problem

# The same look for everything that is shown as text.
TEXT_CSS = """
:host { font: 14px/20px Roboto, system-ui, sans-serif; color: var(--ge-text); }
p { margin: 0 0 8px; }
h3 { font-size: 14px; line-height: 20px; margin: 16px 0 4px; }
dl { display: grid; grid-template-columns: fit-content(40%) minmax(0, 1fr); gap: 4px 16px; margin: 0; }
dt, small, .muted { color: var(--ge-muted); font-size: 12px; line-height: 16px; }
dt { padding-top: 2px; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
a { color: var(--ge-accent); }
a:focus-visible { outline: 2px solid var(--ge-focus); outline-offset: 2px; border-radius: 2px; }
ul { list-style: none; margin: 0; padding: 0; }
li { display: flex; gap: 8px; align-items: center; justify-content: space-between; padding: 4px 0; }
li b { display: block; font-weight: 400; }
li a { flex: none; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 8px; border-top: 1px solid var(--ge-line); text-align: right; vertical-align: baseline; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
th { font-weight: 400; color: var(--ge-muted); font-size: 12px; }
tbody td { white-space: nowrap; }
.pin { display: inline-block; min-width: 20px; height: 20px; line-height: 20px; border-radius: 10px; color: #fff;
  background: var(--pin); text-align: center; font-weight: 700; font-size: 12px; }
.readings { display: flex; flex-wrap: wrap; gap: 4px 24px; }
.reading { display: inline-flex; white-space: nowrap; gap: 8px; align-items: baseline;
  font-variant-numeric: tabular-nums; }
.reading b { font-size: 16px; }
@container explore (max-width: 1000px) { .reading small { display: none; } }
.place { margin: 0 0 8px; display: flex; gap: 8px; align-items: center; font-variant-numeric: tabular-nums; }
.error { color: var(--ge-error); }
details { margin-top: 4px; }
summary { cursor: pointer; color: var(--ge-accent); }
summary:focus-visible { outline: 2px solid var(--ge-focus); outline-offset: 2px; border-radius: 2px; }
"""
CARD_CSS = """
:host { background: var(--ge-surface); border-radius: 12px; box-shadow: var(--ge-shadow); overflow: hidden; }
"""
_SCROLL_CSS = ":host { overflow-y: auto; overscroll-behavior: contain; scrollbar-width: thin; }"
# As high as its content, and no higher than the card; what is more is scrolled within.
FITTING: Mapping[str, str] = {"flex": "0 1 auto", "min_height": "0", "max_height": "100%"}
# Every control of a panel: small, as wide as the panel, its label alone without a question mark.
CONTROL: Mapping[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": 0, "description": ""}


def column(*objects: Any, **styles: str) -> pn.Column:
    """Return objects below each other, as wide as there is room."""
    return pn.Column(*objects, margin=0, sizing_mode="stretch_width", styles=css(styles))


def row(*objects: Any, **styles: str) -> pn.Row:
    """Return objects beside each other, as wide as there is room."""
    return pn.Row(*objects, margin=0, sizing_mode="stretch_width", styles=css({"align_items": "center", **styles}))


def scrolling(*objects: Any, **styles: str) -> pn.Column:
    """Return objects below each other that are scrolled where they are higher than the room."""
    return pn.Column(
        *objects,
        margin=0,
        sizing_mode="stretch_width",
        stylesheets=[_SCROLL_CSS],
        styles=css({"flex": "1 1 auto", "min_height": "0", **styles}),
    )


def text(html: str = "", **styles: str) -> pn.pane.HTML:
    """Return text; what is put into it has to be escaped."""
    return pn.pane.HTML(html, stylesheets=[TEXT_CSS], margin=0, sizing_mode="stretch_width", styles=css(styles))


def css(styles: Mapping[str, str]) -> dict[str, str]:
    """Return CSS declarations by their own names, ``max-height`` for ``max_height``."""
    return {name.replace("_", "-"): value for name, value in styles.items()}


def problem_html(problem: Problem) -> str:
    """Return a problem: the sentence, the next step, and the details behind a click."""
    step = f" {escape(problem.next_step)}" if problem.next_step else ""
    behind = f"<details><summary>Details</summary><div>{escape(problem.details)}</div></details>"
    return f"<div>{escape(problem.sentence)}{step}</div>{behind}"


def workers_html(count: int, away: Problem | None, *, waits: str, further: str = "") -> str:
    """Return whether anybody works.

    Args:
        count: How many workers there are.
        away: Why that cannot be seen now.
        waits: What is not done as long as there is none.
        further: Goes on from how many there are.
    """
    if away:
        said = f'<span class="error">{escape(away.sentence)} What is shown may be old.</span>'
    elif count:
        said = f"{count} {'worker' if count == 1 else 'workers'} at work{further}"
    else:
        said = f"No worker is at work: {waits}. Begin one with <code>geoetl worker</code>"
    return f'<div class="muted" role="status">{said}</div>'
