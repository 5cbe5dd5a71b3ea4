"""The page *Runs*: what is executed and how it goes, what failed and why, what runs by itself; start, retry, cancel.

``model`` state and commands, without Panel · ``feed`` looks for everybody at what happens · ``listing`` runs as rows ·
``causes`` failures by what caused them · ``form`` the parameters of a pipeline to fill in · ``log`` what a run said ·
``plan`` schedules as rows · ``address`` the state as a link · ``markup``, ``panels``, ``starting``, ``view`` how it
looks.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.runs.view import RunsView
    from geoetl.platform import Platform

__all__ = ["watch"]


def watch(platform: "Platform", run_id: str = "") -> "RunsView":
    """Return the page for the last line of a notebook cell.

    Args:
        platform: What answers.
        run_id: The run to open; `latest` is the newest.
    """
    import panel as pn

    from dashboards.runs.feed import RunFeed
    from dashboards.runs.model import RunsModel
    from dashboards.runs.view import RunsView
    from dashboards.shared.visitor import visitor

    pn.extension()
    model = RunsModel(platform, RunFeed(platform), visitor())
    view = RunsView(model)
    if run_id:
        model.open(run_id)
    return view
