"""Facts and readings as HTML; every text is escaped."""

import re
from collections.abc import Callable, Sequence
from html import escape

from dashboards.explore.about import About, Fact
from dashboards.explore.layer import Layer
from dashboards.explore.reading import Place, Reading, point_text, value_text
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


def about_html(told: About) -> str:
    """Return the facts of an item; links lead only to the web or to this server."""
    parts = [f"<p>{escape(told.description)}</p>"] if told.description else []
    for title, facts in told.sections:
        rows = "".join(f"<dt>{escape(fact.name)}</dt><dd>{_fact(fact)}</dd>" for fact in facts)
        parts.append(f"<h3>{escape(title)}</h3><dl>{rows}</dl>")
    files = "".join(
        f"<li><span><b>{escape(asset.title)}</b><small>{escape(asset.kind)}</small></span>"
        f'<a href="{escape(asset.address)}" download aria-label="Download {escape(asset.title)}">Download</a></li>'
        for asset in told.assets
    )
    return "".join(parts) + (f"<h3>Files</h3><ul>{files}</ul>" if files else "")


def _fact(fact: Fact) -> str:
    text = escape(fact.value)
    if re.match(r"https?://", fact.link):
        return f'<a href="{escape(fact.link)}" target="_blank" rel="noopener noreferrer">{text}</a>'
    own = re.match(r"[a-z]+/", fact.link)
    return f'<a href="{escape(fact.link)}" download>{text}</a>' if own else text


def readings_html(layer: Layer, readings: Sequence[Reading], color_of: Callable[[Place], str]) -> str:
    """Return what an item says at the places."""
    answered = [reading for reading in readings if reading.problem is None]
    parts = [_problem_line(reading, color_of) for reading in readings if reading.problem]
    if any(reading.values for reading in answered):
        parts.append(_values_table(answered, color_of))
    parts += [series_html(layer, [reading], color_of) for reading in answered if reading.series]
    parts += [_features(reading, color_of) for reading in answered if reading.features is not None]
    return "".join(parts)


def problem_html(problem: Problem) -> str:
    """Return a problem: the sentence, the next step, and the details behind a click."""
    step = f" {escape(problem.next_step)}" if problem.next_step else ""
    behind = f"<details><summary>Details</summary><div>{escape(problem.details)}</div></details>"
    return f"<div>{escape(problem.sentence)}{step}</div>{behind}"


def _pin(place: Place, color_of: Callable[[Place], str]) -> str:
    return f'<span class="pin" style="--pin:{color_of(place)}">{escape(place.label)}</span>'


def _head(place: Place, color_of: Callable[[Place], str]) -> str:
    return f'<div class="place">{_pin(place, color_of)}<span>{point_text(place.point)}</span></div>'


def _problem_line(reading: Reading, color_of: Callable[[Place], str]) -> str:
    assert reading.problem is not None
    step = f" {escape(reading.problem.next_step)}" if reading.problem.next_step else ""
    return f'{_head(reading.place, color_of)}<p class="muted">{escape(reading.problem.sentence)}{step}</p>'


def _values_table(readings: Sequence[Reading], color_of: Callable[[Place], str]) -> str:
    first = readings[0].values
    assert first is not None
    heads = "".join(f"<th>{_pin(reading.place, color_of)}</th>" for reading in readings)
    rows = []
    for index, band in enumerate(first.bands):
        numbers = (value_text(r.values.values[index], band.units) for r in readings if r.values)
        rows.append(f"<tr><td>{escape(band.name)}</td>{''.join(f'<td>{escape(text)}</td>' for text in numbers)}</tr>")
    single = _head(readings[0].place, color_of) if len(readings) == 1 else ""
    table_head = "" if single else f"<thead><tr><th>Band</th>{heads}</tr></thead>"
    note = f'<p class="muted">{escape(first.method.capitalize())}.</p>'
    return f"{single}<table>{table_head}<tbody>{''.join(rows)}</tbody></table>{note}"


def series_html(layer: Layer, readings: Sequence[Reading], color_of: Callable[[Place], str]) -> str:
    """Return what a cube says at the places in the step that is shown, side by side."""
    parts = []
    for reading in readings:
        series, problem = reading.series, reading.problem
        where = point_text(reading.place.point)
        if series is not None:
            step = min(layer.choice.time_index, len(series.values)) - 1
            value = value_text(series.values[step], series.units)
            away = f"{where}; cell centre {point_text(series.cell)}, {series.distance_km:.3g} km away"
            said = f"<b>{escape(value)}</b>"
        else:
            away = where
            said = f"{escape(problem.sentence)} {escape(problem.next_step)}" if problem else ""
        pin = _pin(reading.place, color_of)
        parts.append(f'<span class="reading" title="{escape(away)}">{pin}{said}<small>{where}</small></span>')
    return f'<div class="readings">{"".join(parts)}</div>'


def _features(reading: Reading, color_of: Callable[[Place], str]) -> str:
    features = reading.features or ()
    if not features:
        return f'{_head(reading.place, color_of)}<p class="muted">No feature here.</p>'
    blocks = []
    for attributes in features:
        rows = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
            for name, value in attributes.items()
            if value not in (None, "")
        )
        blocks.append(f"<dl>{rows}</dl>")
    return _head(reading.place, color_of) + "<hr>".join(blocks)
