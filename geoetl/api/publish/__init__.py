"""Publishing over HTTP, below ``/api/publish``: submitted, decided on, taken back, and the log of it all.

``answers`` what is told · ``named`` which item a dataset id means · ``reading`` how things stand · ``deciding``
submitting and decisions · ``taking_back`` withdrawals and their undo · ``log`` the audit log.

An editor submits and reads the log; an approver decides and withdraws, never on what they submitted themselves. Some of
it answers below ``/api/platform`` too, where other programs look for it.
"""

from typing import TYPE_CHECKING

from fastapi import APIRouter

from geoetl.api.publish import deciding, log, reading, taking_back

if TYPE_CHECKING:
    from geoetl.platform import Platform


def router(platform: "Platform", *, writing: bool) -> APIRouter:
    """Return the routes of publishing.

    Args:
        platform: What answers.
        writing: Whether there are routes that change something.
    """
    routes = APIRouter(tags=["publishing"])
    reading.add(routes, platform)
    log.add(routes, platform)
    if writing:
        deciding.add(routes, platform)
        taking_back.add(routes, platform)
    return routes
