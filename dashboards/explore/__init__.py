"""The page *Explore*: find items, see them on the map, read values and series, take the way out to code.

``model`` state and commands, without Panel · ``listing`` what the catalogue holds · ``layer`` what lies on the map ·
``reading`` what a place says · ``about`` what is to be known about an item · ``snippets`` the same as a program ·
``address`` the state as a link · ``chart``, ``markup``, ``panels``, ``view`` how it looks.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.explore.view import ExploreView
    from geoetl.platform import Platform

__all__ = ["explore"]


def explore(platform: "Platform") -> "ExploreView":
    """Return the page for the last line of a notebook cell."""
    import panel as pn

    from dashboards.explore.model import ExploreModel
    from dashboards.explore.view import ExploreView
    from dashboards.shared.warm import warm_up

    pn.extension()
    warm_up()
    return ExploreView(ExploreModel(platform))
