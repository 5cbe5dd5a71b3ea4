"""The page *Datasets*: outside sources that are kept current, what changed in them, and what a person decides.

``model`` state and commands, without Panel · ``feed`` looks for everybody at what happens · ``standing`` how one
stands, in a word · ``comparison`` the numbers of two versions · ``differing`` the features that differ · ``address``
the state as a link · ``markup``, ``panels``, ``updating``, ``release``, ``view`` how it looks.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.datasets.view import DatasetsView
    from geoetl.platform import Platform

__all__ = ["oversee"]


def oversee(platform: "Platform", dataset_id: str = "", version: int | None = None) -> "DatasetsView":
    """Return the page for the last line of a notebook cell.

    Args:
        platform: What answers.
        dataset_id: The dataset to open.
        version: The version whose changes are shown; 0 for none, left out the one that waits for a decision.
    """
    import panel as pn

    from dashboards.datasets.feed import DatasetFeed
    from dashboards.datasets.model import DatasetsModel
    from dashboards.datasets.view import DatasetsView
    from dashboards.shared.visitor import visitor

    pn.extension()
    model = DatasetsModel(platform, DatasetFeed(platform), visitor())
    view = DatasetsView(model)
    if dataset_id:
        model.open(dataset_id, version)
    return view
