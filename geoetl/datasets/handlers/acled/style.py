"""How events are drawn: dots in a colour for each type of event, the larger the more fatalities."""

from typing import Any

EVENT_DATE, EVENT_TYPE, FATALITIES = "event_date", "event_type", "fatalities"
# Paul Tol's "bright" scheme, told apart by the colour-blind as well: https://personal.sron.nl/~pault/
_COLOURS = {
    "Battles": (238, 102, 119),
    "Explosions/Remote violence": (204, 187, 68),
    "Violence against civilians": (170, 51, 119),
    "Riots": (34, 136, 51),
    "Protests": (68, 119, 170),
    "Strategic developments": (102, 204, 238),
}
_GREY = (110, 110, 110)
_DOT_PX = 5
# Diameter from so many fatalities on, pixels; area grows slower than their number, which goes into the thousands.
_SIZES_PX = {1: 7, 10: 11, 100: 17}


def event_style(title: str) -> dict[str, Any]:
    """Return a style as CartoSym-JSON."""
    dot = {"type": "Dot", "stroke": {"color": list(_GREY), "width": {"px": _DOT_PX}}}
    by_type = [
        _rule(name, {"op": "=", "args": [{"property": EVENT_TYPE}, name]}, {"color": list(colour)})
        for name, colour in _COLOURS.items()
    ]
    by_fatalities = [
        _rule(
            f"{least} or more fatalities",
            {"op": ">=", "args": [{"property": FATALITIES}, least]},
            {"width": {"px": size}},
        )
        for least, size in _SIZES_PX.items()
    ]
    return {
        "metadata": {"title": title, "description": f"By {EVENT_TYPE}; larger by {FATALITIES}."},
        "stylingRules": [
            {
                "name": "Other events",
                "symbolizer": {"marker": {"elements": [dot]}},
                "nestedRules": [*by_type, *by_fatalities],
            }
        ],
    }


def _rule(name: str, selector: dict[str, Any], stroke: dict[str, Any]) -> dict[str, Any]:
    """Return a rule that changes the dot."""
    dot = {"type": "Dot", "alter": True, "stroke": {"alter": True, **stroke}}
    marker = {"alter": True, "elements": {"index": 0, "value": dot}}
    return {"name": name, "selector": selector, "symbolizer": {"marker": marker}}
