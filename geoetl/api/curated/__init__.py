"""Managed datasets over HTTP, below ``/api/curated/datasets``: outside sources that are kept current.

``answers`` what is told · ``reading`` datasets, updates, versions, what changed · ``definitions`` said, changed,
deleted · ``decisions`` update now, pause, accept, reject, go back.

Readers see all of it. An editor may ask a source, update, and say datasets that need no credentials; an approver
decides which version is served; an operator decides when sources are asked by themselves, and who receives credentials.
"""

from typing import TYPE_CHECKING

from fastapi import APIRouter

from geoetl.api.curated import decisions, definitions, reading

if TYPE_CHECKING:
    from geoetl.platform import Platform


def router(platform: "Platform", *, writing: bool) -> APIRouter:
    """Return the routes of managed datasets.

    Args:
        platform: What answers.
        writing: Whether there are routes that write, or ask a source.
    """
    routes = APIRouter(tags=["managed datasets"])
    reading.add(routes, platform)
    if writing:
        definitions.add(routes, platform)
        decisions.add(routes, platform)
    return routes
