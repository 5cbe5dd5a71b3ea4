"""The web application: the API with the pages in it, one process, one address."""

import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import panel as pn
import panel_material_ui as pmui
from bokeh.server.auth import AuthPolicy
from fastapi import FastAPI, Header, Response
from fastapi.responses import RedirectResponse
from panel.io.fastapi import add_applications
from panel.util import edit_readonly
from starlette.types import Lifespan

from dashboards.datasets.feed import DatasetFeed
from dashboards.datasets.model import DatasetsModel
from dashboards.datasets.view import DatasetsView
from dashboards.explore.model import ExploreModel
from dashboards.explore.view import ExploreView
from dashboards.review.feed import ReviewFeed
from dashboards.review.files import router as release_files
from dashboards.review.model import ReviewModel
from dashboards.review.view import ReviewView
from dashboards.runs.feed import RunFeed
from dashboards.runs.model import RunsModel
from dashboards.runs.view import RunsView
from dashboards.shared.background import Background
from dashboards.shared.basemap import BASEMAP_PATH
from dashboards.shared.delivery import PictureShelf, Served
from dashboards.shared.navigation import navigation
from dashboards.shared.theme import theme_config
from dashboards.shared.unchanged import Unchanged
from dashboards.shared.visitor import VisitorCookie, may_enter, visitor, visitor_markup
from dashboards.shared.warm import warm_up
from dashboards.style.model import StyleModel
from dashboards.style.view import StyleView
from geoetl.api import edge, guard
from geoetl.api.apart import Launch
from geoetl.api.app import create_app as create_api
from geoetl.api.roles import ServerRole
from geoetl.api.security import Authority

if TYPE_CHECKING:
    from geoetl.platform import Platform

EXPLORE, STYLE, REVIEW, DATASETS, RUNS = "/explore", "/style", "/review", "/datasets", "/runs"
# Pictures and readings that are worked out at the same time, for all visitors together.
THREADS = 8
# How often a page looks whether the catalogue changed: one number read from the database.
REFRESH_MS = 2000
ICON = Path(__file__).parent / "shared" / "icon.svg"
# The page says itself what it is doing; Material's progress bar stays even where busy_indicator is None (0.16).
_PAGE_SX = {
    ".title": {"fontSize": "16px"},
    ".logo": {"height": "28px !important"},
    ".header .MuiLinearProgress-root": {"display": "none"},
    ".main .MuiToolbar-root": {"margin": "0 !important"},
    "@media (max-width: 600px)": {".header .title": {"display": "none"}},
}
_AT_THE_END: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}
# A picture is named by its content, so that it never changes.
_FOREVER = "private, max-age=31536000, immutable"


def create_app(
    platform: "Platform",
    *,
    role: ServerRole = ServerRole.ALL,
    proxy_token: str | None = None,
    launch: Launch | None = None,
) -> FastAPI:
    """Return the API and the pages of a platform, with the guard before them.

    Args:
        platform: What answers.
        role: What the server is for; one without pages is made of geoetl.api.app and geoetl.api.guard alone.
        proxy_token: The secret of the one proxy that may ask; left out, whoever is signed in may.
        launch: Starts the process that heavy requests are answered by; left out, this one answers them.
    """
    app = create_api(platform, role=role, launch=launch)
    authority = Authority.of(platform, proxy_token=proxy_token)
    shelf = PictureShelf()
    land = BASEMAP_PATH.read_bytes()
    land_tag = hashlib.sha256(land).hexdigest()[:32]

    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        # Relative, like every address that a page uses: so it works below any path of a proxy.
        return RedirectResponse(EXPLORE.removeprefix("/"))

    @app.get("/basemap.topojson", include_in_schema=False)
    def basemap(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        headers = {"ETag": f'"{land_tag}"', "Cache-Control": "private, no-cache"}
        if if_none_match and land_tag in if_none_match:
            return Response(status_code=304, headers=headers)
        return Response(land, media_type="application/json", headers=headers)

    @app.get("/pictures/{name}", include_in_schema=False)
    def picture(name: str) -> Response:
        content, media_type = shelf.get(name)
        return Response(content, media_type=media_type, headers={"Cache-Control": _FOREVER})

    app.include_router(release_files(platform), include_in_schema=False)
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="geoetl-page")

    def explore() -> pmui.Page:
        return explore_page(platform, shelf, executor)

    def style() -> pmui.Page:
        return style_page(platform, shelf, executor)

    feed = RunFeed(platform)

    def runs() -> pmui.Page:
        return runs_page(platform, feed, executor)

    dataset_feed = DatasetFeed(platform)

    def datasets() -> pmui.Page:
        return datasets_page(platform, dataset_feed, shelf, executor)

    review_feed = ReviewFeed(platform)

    def review() -> pmui.Page:
        return review_page(platform, review_feed, shelf, executor)

    cookie = VisitorCookie(authority)
    add_applications(
        {EXPLORE: explore, STYLE: style, REVIEW: review, DATASETS: datasets, RUNS: runs},
        app=app,
        title={
            EXPLORE: "Explore · geoetl",
            STYLE: "Style · geoetl",
            REVIEW: "Review · geoetl",
            DATASETS: "Datasets · geoetl",
            RUNS: "Runs · geoetl",
        },
        # Origins are checked by the guard, which knows the address that the browser used.
        websocket_origin=["*"],
        auth_policy=AuthPolicy(may_enter),
        # What names a session cannot be made up. Panel writes it into the page together with headers and cookies of the
        # request: only the visitor's name is among them, no secret of the browser or of a proxy.
        sign_sessions=True,
        secret_key=authority.derived_key("panel session"),
        include_headers=["user-agent"],
        include_cookies=[cookie.NAME],
    )
    # Panel answers its own paths in a middleware: only what is added after it stands before it.
    app.add_middleware(Unchanged)
    guard.install(app, authority, role, access=getattr(app.state, "access", None), name_cookie=cookie)
    edge.outermost(app)
    app.router.lifespan_context = _warmed(app.router.lifespan_context)
    return app


def _warmed(lifespan: Lifespan[FastAPI]) -> Lifespan[FastAPI]:
    """Load what the first click would wait for while the server already answers."""

    @asynccontextmanager
    async def warmed(app: FastAPI) -> AsyncIterator[Any]:
        warm_up()
        async with lifespan(app) as state:
            yield state

    return warmed


def explore_page(platform: "Platform", shelf: PictureShelf, executor: Executor) -> pmui.Page:
    """Return the page *Explore* for one visitor.

    Args:
        platform: What answers.
        shelf: Where pictures wait for the browser.
        executor: Does what takes long, so that one person's slow picture does not stop the others.
    """
    background = Background(executor)
    location = pn.state.location

    def server() -> str:
        # The browser tells its own address, which below a proxy is another than this server's.
        return location.href.partition(EXPLORE)[0] if location else ""

    model = ExploreModel(platform, background.start)
    view = ExploreView(model, delivery=Served(shelf), server=server, background=background)
    page = _page(view, "explore")
    view.load()
    _while_shown(model, background, begin=lambda: pn.state.add_periodic_callback(model.refresh, period=REFRESH_MS))
    return page


def style_page(platform: "Platform", shelf: PictureShelf, executor: Executor) -> pmui.Page:
    """Return the page *Style* for one visitor; the arguments are those of `explore_page`."""
    background = Background(executor)
    model = StyleModel(platform, visitor(), background.start)
    view = StyleView(model, delivery=Served(shelf), background=background)
    page = _page(view, "style")
    view.load()
    _while_shown(model, background)
    return page


def runs_page(platform: "Platform", feed: RunFeed, executor: Executor) -> pmui.Page:
    """Return the page *Runs* for one visitor; `feed` looks for all of them, the rest is as for `explore_page`."""
    background = Background(executor)
    model = RunsModel(platform, feed, visitor(), background.start)
    view = RunsView(model, served=True, background=background)
    page = _page(view, "runs")
    view.load()
    _while_shown(model, background, begin=model.follow, end=model.leave)
    return page


def datasets_page(platform: "Platform", feed: DatasetFeed, shelf: PictureShelf, executor: Executor) -> pmui.Page:
    """Return the page *Datasets* for one visitor; `feed` looks for all of them, the rest is as for `explore_page`."""
    background = Background(executor)
    model = DatasetsModel(platform, feed, visitor(), background.start)
    view = DatasetsView(model, delivery=Served(shelf), background=background)
    page = _page(view, "datasets")
    view.load()
    _while_shown(model, background, begin=model.follow, end=model.leave)
    return page


def review_page(platform: "Platform", feed: ReviewFeed, shelf: PictureShelf, executor: Executor) -> pmui.Page:
    """Return the page *Review* for one visitor; `feed` looks for all of them, the rest is as for `explore_page`."""
    background = Background(executor)
    model = ReviewModel(platform, feed, visitor(), background.start)
    view = ReviewView(model, delivery=Served(shelf), background=background)
    page = _page(view, "review")
    view.load()
    _while_shown(model, background, begin=model.follow, end=model.leave)
    return page


def _while_shown(
    model: ExploreModel | StyleModel | ReviewModel | DatasetsModel | RunsModel,
    background: Background,
    *,
    begin: Callable[[], object] = lambda: None,
    end: Callable[[], object] = lambda: None,
) -> None:
    """Bring about what the address says once the page is in a browser, and end what belongs to it with the session."""
    location = pn.state.location

    def live() -> None:
        background.live()
        if location and location.search:
            model.go(location.search)
        begin()

    def leave() -> None:
        background.end()
        end()

    pn.state.onload(live)
    pn.state.on_session_destroyed(lambda _: leave())


def _page(view: ExploreView | StyleView | ReviewView | DatasetsView | RunsView, name: str) -> pmui.Page:
    """Return a page around a view: header, links to the other pages, theme."""
    page = pmui.Page(
        title="geoetl",
        main=[view],
        theme_config=theme_config(),
        favicon=ICON,
        logo=ICON,
        header=[pn.pane.HTML(navigation(name), margin=0), pn.pane.HTML(visitor_markup(visitor()), **_AT_THE_END)],
        sx=_PAGE_SX,
        busy_indicator=None,
        site_url=".",
    )
    with edit_readonly(page):
        # It follows a count of all sessions, whose threads change it without having this page's lock: Bokeh then fails
        # (panel-material-ui 0.16, template/base.py).
        page.busy = False
    view.dark = page.dark_theme
    page.param.watch(lambda event: view.param.update(dark=event.new), "dark_theme")
    return page
