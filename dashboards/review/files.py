"""The files of a release by address, for whoever reviews it: of one that waits, what would be copied."""

from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Response
from fastapi.responses import FileResponse

from dashboards.review.markup import manifest_text
from dashboards.review.sides import ReleaseFiles
from geoetl.api.files import HARMLESS, file_response
from geoetl.core.errors import NotFound
from geoetl.publish.delivery import document_bytes

if TYPE_CHECKING:
    from geoetl.platform import Platform

_JSON = "application/json"


def router(platform: "Platform") -> APIRouter:
    """Return the routes of the files of releases."""
    routes = APIRouter()

    @routes.get("/releases/{release_id}/manifest")
    def manifest(release_id: str) -> Response:
        """Return the manifest of a release."""
        release = platform.publish.get(release_id)
        return _download(manifest_text(release).encode(), f"manifest-{release.manifest_digest[:12]}.json")

    @routes.get("/releases/{release_id}/files/{target:path}", response_class=FileResponse)
    @routes.head("/releases/{release_id}/files/{target:path}")
    def file(release_id: str, target: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """Return a file of a release; a ``Range`` header returns a part of it."""
        release = platform.publish.get(release_id)
        name = target.rpartition("/")[2]
        if target in release.manifest.documents:
            return _download(document_bytes(release.manifest.documents[target]), name)
        files = ReleaseFiles(platform, release)
        zone, key = platform.zones.locate(files.href(target))
        if zone is None:
            raise NotFound("This file does not lie on this server.", hint="Ask whoever keeps its source.")
        return file_response(zone.local_path(key), files.media_type(target), name, if_none_match)

    return routes


def _download(content: bytes, name: str) -> Response:
    told = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}", "Cache-Control": "private, no-cache"}
    return Response(content, media_type=_JSON, headers={**told, **HARMLESS})
