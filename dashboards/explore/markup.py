"""Facts and readings as HTML; every text is escaped."""

import re
from collections.abc import Callable, Sequence
from html import escape

from dashboards.explore.about import About, Fact
from dashboards.explore.layer import Layer
from dashboards.explore.reading import Place, Reading, point_text, value_text


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
