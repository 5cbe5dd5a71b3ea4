"""The page *Review*: what waits to become public, exactly what that is, and what a person decides.

``model`` state and commands, without Panel · ``feed`` looks for everybody at what happens · ``standing`` how a release
stands, and who may do what · ``opened`` an open one beside what is public · ``comparison`` the numbers of both ·
``rows`` the features that differ · ``sides`` how each looks · ``checks`` what is checked · ``deciding`` what is asked
and done · ``contents`` its files · ``files`` they, by address · ``address`` the state as a link · ``markup``,
``trail``, ``panels``, ``seeing``, ``changes``, ``ask``, ``progress``, ``view`` how it looks.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.review.view import ReviewView
    from geoetl.platform import Platform

__all__ = ["review"]


def review(platform: "Platform", release_id: str = "") -> "ReviewView":
    """Return the page for the last line of a notebook cell.

    Args:
        platform: What answers.
        release_id: The release to open.
    """
    import panel as pn

    from dashboards.review.feed import ReviewFeed
    from dashboards.review.model import ReviewModel
    from dashboards.review.view import ReviewView
    from dashboards.shared.visitor import visitor

    pn.extension()
    model = ReviewModel(platform, ReviewFeed(platform), visitor())
    view = ReviewView(model)
    if release_id:
        model.open(release_id)
    return view
