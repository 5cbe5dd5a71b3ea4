"""The routes of styles."""

from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request, Response

from geoetl.api.etag import is_known, tag_of, tagged
from geoetl.api.stac.documents import encoded as as_json
from geoetl.api.stac.transactions import merge_patch
from geoetl.api.styles import request as ask
from geoetl.api.styles.documents import Documents, located
from geoetl.api.styles.request import JSON
from geoetl.core.errors import InvalidStyle
from geoetl.core.principal import Principal
from geoetl.styles.library import FURTHER_MEMBERS, OWN_MEMBERS, InvalidMetadata, StoredStyle, checked_style, id_of

if TYPE_CHECKING:
    from geoetl.platform import Platform
    from geoetl.styles.encoders.protocol import Encoded
    from geoetl.styles.model import Style

SVG, PNG = "image/svg+xml", "image/png"
MERGE_PATCH = "application/merge-patch+json"
CARTOSYM_JSON = "application/vnd.ogc.cartosym+json"
# What may be written: canonical CartoSym-JSON and the friendly dialect of it. Other encodings are only given.
STYLE_TYPES = (CARTOSYM_JSON, JSON)
# Below both, each layer has its styles.
PREFIXES = ("/features/collections", "/collections")
# A style is data of unknown origin on our own address: nothing in it may run.
HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
#: What metadata have that the server knows itself.
SERVER_MEMBERS = ("id", "created", "updated", "scope", "version", "stylesheets", "layers", "links")
MAX_ERRORS = 20
_EVALUATOR = "leaflet_style.js"
_EXAMPLE = {
    "metadata": {"title": "Green areas"},
    "stylingRules": [{"symbolizer": {"fill": {"color": "green", "opacity": 0.5}, "stroke": {"color": "darkGreen"}}}],
}

IfMatch = Annotated[str | None, Header(description="Only where the style still has this ETag")]
IfNoneMatch = Annotated[str | None, Header(description="On writing `*`: only where there is none yet")]
Prefer = Annotated[str | None, Header(description="`handling=strict` refuses what is doubtful too")]
NewStyle = Annotated[dict[str, Any], Body(media_type=CARTOSYM_JSON, examples=[_EXAMPLE])]


def router(platform: "Platform", *, writing: bool) -> APIRouter:
    """Return the routes of styles.

    Args:
        platform: What answers.
        writing: Whether there are routes that write.
    """
    routes = APIRouter(tags=["styles"])

    @routes.get(
        f"/api/styles/{_EVALUATOR.replace('_', '-')}", response_class=Response, responses=_is("text/javascript")
    )
    def evaluator(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """Return the program that draws features in Leaflet with a style as data (`f=leaflet`)."""
        program = files("geoetl.styles.encoders").joinpath(_EVALUATOR).read_bytes()
        tag = tag_of(_EVALUATOR, program)
        if is_known(tag, if_none_match):
            return Response(status_code=304, headers=tagged(tag))
        return Response(program, media_type="text/javascript", headers=tagged(tag))

    for prefix in PREFIXES:
        _add_reading(routes, platform, prefix)
        if writing:
            _add_writing(routes, platform, prefix)
    return routes


def _add_reading(routes: APIRouter, platform: "Platform", prefix: str) -> None:
    here = f"{prefix}/{{collectionId}}/styles"
    library = platform.styles

    @routes.get(here, response_class=Response, responses=_is(JSON))
    def styles(
        request: Request,
        collectionId: ask.LayerId,  # noqa: N803  OGC's name
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Return the styles of a layer (OGC API - Styles)."""
        found = library.list(collectionId)
        document = _documents(request, prefix, collectionId).list(found)
        return _tagged(document, tag_of(found, str(request.base_url)), if_none_match)

    @routes.get(f"{here}/{{styleId}}", response_class=Response, responses=_is(*_media_types()))
    def style(
        request: Request,
        collectionId: ask.LayerId,  # noqa: N803
        styleId: ask.StyleId,  # noqa: N803
        f: ask.Encoding = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Return a style in an encoding; the header ``X-Losses`` counts what that cannot express."""
        stored = library.get(collectionId, styleId)
        name, media_type = ask.negotiated(request, f, _kind(collectionId))
        made = located(library.encoded(stored, name), str(request.base_url))
        named = ask.NAMES.get(name, name)
        root = f"{_documents(request, prefix, collectionId).root}/{stored.id}"
        headers = {
            **_tags(stored, made, media_type),
            **HARMLESS,
            "Vary": "Accept",
            "X-Losses": str(len(made.losses)),
            "Link": f'<{root}/metadata>; rel="describedby"; type="{JSON}", '
            f'<{root}/losses?f={named}>; rel="related"; type="{JSON}"; title="Losses"',
            "Content-Disposition": f'inline; filename="{stored.id}.{made.extension.lstrip(".")}"',
        }
        if is_known(headers["ETag"].strip('"'), if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(made.content, media_type=media_type, headers=headers)

    @routes.get(f"{here}/{{styleId}}/losses", response_class=Response, responses=_is(JSON))
    def losses(
        request: Request,
        collectionId: ask.LayerId,  # noqa: N803
        styleId: ask.StyleId,  # noqa: N803
        f: Annotated[str, Query(description="Name of the encoding", examples=["leaflet"])],
    ) -> Response:
        """Return what an encoding of a style leaves out, each with the place in the style and the reason."""
        stored = library.get(collectionId, styleId)
        made = library.encoded(stored, ask.encoder_of(f, _kind(collectionId)))
        return as_json(_documents(request, prefix, collectionId).losses(stored, f, made))

    @routes.get(f"{here}/{{styleId}}/metadata", response_class=Response, responses=_is(JSON))
    def metadata(
        request: Request,
        collectionId: ask.LayerId,  # noqa: N803
        styleId: ask.StyleId,  # noqa: N803
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Return what there is to know about a style."""
        stored = library.get(collectionId, styleId)
        document = _metadata(request, platform, prefix, stored)
        return _tagged(document, f"{stored.etag}.{tag_of(document)[:8]}", if_none_match)

    @routes.get(f"{here}/{{styleId}}/legend", response_class=Response, responses=_is(JSON, SVG, PNG))
    def legend(
        collectionId: ask.LayerId,  # noqa: N803
        styleId: ask.StyleId,  # noqa: N803
        f: ask.LegendForm = "svg",
        scale: Annotated[float, Query(ge=0.5, le=8, description="Of a PNG, times its size", examples=[2])] = 1.0,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Return what a style means: its lines, or the colours of its values."""
        made = library.legend(library.get(collectionId, styleId))
        if f == "json":
            document = made.document()
            return _tagged(document, tag_of(document), if_none_match)
        content = made.svg().encode() if f == "svg" else made.png(scale)
        headers = {**tagged(tag_of(content)), **HARMLESS}
        if is_known(headers["ETag"].strip('"'), if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=SVG if f == "svg" else PNG, headers=headers)


def _add_writing(routes: APIRouter, platform: "Platform", prefix: str) -> None:
    here = f"{prefix}/{{collectionId}}/styles"
    library = platform.styles

    @routes.post(here, response_class=Response, status_code=201, responses={201: _of(JSON), 204: _CHECKED})
    def create(
        request: Request,
        collectionId: ask.LayerId,  # noqa: N803
        style: NewStyle,
        dry_run: ask.DryRun = False,
        prefer: Prefer = None,
    ) -> Response:
        """Add a style; its id is its name in the friendly dialect, else made of its title, else a new one."""
        ask.check_media_type(request, STYLE_TYPES)
        given = _checked(style, prefer)
        made = library.put(
            collectionId, id_of(style, given), given, author=_author(request), only_new=True, dry_run=dry_run
        )
        if dry_run:
            return Response(status_code=204, headers=_applied(prefer))
        location = f"{_documents(request, prefix, collectionId).root}/{made.id}"
        headers = {"Location": location, "ETag": f'"{made.etag}"', **_applied(prefer)}
        return as_json(_metadata(request, platform, prefix, made), JSON, 201, headers)

    @routes.patch(here, response_class=Response, status_code=204, responses={204: {"description": "Changed"}})
    def choose_default(
        request: Request,
        collectionId: ask.LayerId,  # noqa: N803
        patch: Annotated[dict[str, Any], Body(media_type=MERGE_PATCH, examples=[{"default": "default"}])],
    ) -> Response:
        """Make a style the default of its layer, or none with null (JSON Merge Patch, RFC 7396)."""
        ask.check_media_type(request, (MERGE_PATCH, JSON))
        for name in patch:
            if name != "default":
                raise InvalidMetadata(
                    f"'{name[:60]}' of a list of styles cannot be changed.",
                    hint="Give 'default'.",
                    field=f"/{name[:60]}",
                )
        if "default" in patch:
            chosen = patch["default"]
            if chosen is not None and not isinstance(chosen, str):
                raise InvalidMetadata(
                    "'default' is not text.", hint="Give the id of a style, or null for none.", field="/default"
                )
            library.set_default(collectionId, chosen)
        else:
            library.list(collectionId)
        return Response(status_code=204)

    @routes.put(
        f"{here}/{{styleId}}", response_class=Response, status_code=204, responses={204: {"description": "Kept"}}
    )
    def replace(
        request: Request,
        collectionId: ask.LayerId,  # noqa: N803
        styleId: ask.StyleId,  # noqa: N803
        style: NewStyle,
        dry_run: ask.DryRun = False,
        prefer: Prefer = None,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Put a style in the place of the one that is there, as a new version, or add one under this id."""
        ask.check_media_type(request, STYLE_TYPES)
        made = library.put(
            collectionId,
            styleId,
            _checked(style, prefer),
            author=_author(request),
            expected=ask.expected_of(if_match, if_none_match),
            dry_run=dry_run,
        )
        tag = {} if dry_run else {"ETag": f'"{made.etag}"'}
        return Response(status_code=204, headers={**tag, **_applied(prefer)})

    @routes.delete(
        f"{here}/{{styleId}}", response_class=Response, status_code=204, responses={204: {"description": "Removed"}}
    )
    def delete(
        collectionId: ask.LayerId,  # noqa: N803
        styleId: ask.StyleId,  # noqa: N803
        if_match: IfMatch = None,
    ) -> Response:
        """Remove a style with its versions; of a default the oldest other style takes its place."""
        library.delete(collectionId, styleId, expected=ask.expected_of(if_match))
        return Response(status_code=204)

    def changed(
        request: Request,
        ids: tuple[str, str],
        change: Callable[[dict[str, Any]], dict[str, Any]],
        if_match: str | None,
    ) -> Response:
        made = library.change_metadata(
            *ids,
            lambda present: change(dict(present)),
            author=_author(request),
            expected=ask.expected_of(if_match),
        )
        return Response(status_code=204, headers={"ETag": f'"{made.etag}"'})

    @routes.put(
        f"{here}/{{styleId}}/metadata",
        response_class=Response,
        status_code=204,
        responses={204: {"description": "Changed"}},
    )
    def replace_metadata(
        request: Request,
        collectionId: ask.LayerId,  # noqa: N803
        styleId: ask.StyleId,  # noqa: N803
        metadata: Annotated[dict[str, Any], Body(examples=[{"id": "default", "title": "Green areas"}])],
        if_match: IfMatch = None,
    ) -> Response:
        """Replace the metadata of a style; what the server knows itself, links and times, stays as it is."""
        ask.check_media_type(request, (JSON,))
        _check_id(metadata, styleId)
        given = {name: value for name, value in metadata.items() if name not in SERVER_MEMBERS}
        return changed(request, (collectionId, styleId), lambda _: given, if_match)

    @routes.patch(
        f"{here}/{{styleId}}/metadata",
        response_class=Response,
        status_code=204,
        responses={204: {"description": "Changed"}},
    )
    def patch_metadata(
        request: Request,
        collectionId: ask.LayerId,  # noqa: N803
        styleId: ask.StyleId,  # noqa: N803
        patch: Annotated[dict[str, Any], Body(media_type=MERGE_PATCH, examples=[{"keywords": ["land use"]}])],
        if_match: IfMatch = None,
    ) -> Response:
        """Change members of the metadata of a style (JSON Merge Patch, RFC 7396)."""
        ask.check_media_type(request, (MERGE_PATCH, JSON))
        for name in patch:
            if name in SERVER_MEMBERS:
                raise InvalidMetadata(
                    f"'{name}' is kept by the server.",
                    hint=f"Change one of: {', '.join((*OWN_MEMBERS, *FURTHER_MEMBERS))}.",
                    field=f"/{name}",
                )
        return changed(request, (collectionId, styleId), lambda present: merge_patch(present, patch), if_match)


def _checked(document: dict[str, Any], prefer: str | None) -> "Style":
    """Return a body as a style; where the client prefers that, what is doubtful in it is refused too."""
    style = checked_style(document)
    if ask.is_strict(prefer) and (findings := style.findings()):
        first, count = findings[0], len(findings)
        refused = InvalidStyle(
            f"{first.message}{f' And {count - 1} more.' if count > 1 else ''}", hint=first.remedy, field=first.subject
        )
        refused.errors = [{"detail": one.message, "pointer": one.subject or ""} for one in findings[:MAX_ERRORS]]
        raise refused
    return style


def _check_id(metadata: dict[str, Any], style_id: str) -> None:
    if metadata.get("id", style_id) != style_id:
        raise InvalidMetadata(
            f"The metadata are of {str(metadata['id'])[:60]!r}, the address is of '{style_id}'.",
            hint="Send them to the address of their own style.",
            field="/id",
        )


def _documents(request: Request, prefix: str, layer_id: str) -> Documents:
    server = str(request.base_url).rstrip("/")
    return Documents(f"{server}{prefix}", f"{server}{PREFIXES[0]}", layer_id, _kind(layer_id))


def _kind(layer_id: str) -> str:
    return "vector" if ":" in layer_id else "coverage"


def _metadata(request: Request, platform: "Platform", prefix: str, stored: StoredStyle) -> dict[str, Any]:
    library = platform.styles
    layer = library.layer(stored.layer_id)
    made = {name: library.encoded(stored, ask.encoder_of(name, layer.kind)) for name in ask.offered(layer.kind)}
    return _documents(request, prefix, stored.layer_id).metadata(stored, layer, made)


def _tags(stored: StoredStyle, made: "Encoded", media_type: str) -> dict[str, str]:
    return tagged(f"{stored.etag}.{tag_of(media_type, made.content)[:8]}")


def _tagged(document: Any, tag: str, if_none_match: str | None) -> Response:
    if is_known(tag, if_none_match):
        return Response(status_code=304, headers=tagged(tag))
    return as_json(document, headers=tagged(tag))


def _author(request: Request) -> str | None:
    """Return who asks, as they are shown; None where no guard stands before the routes."""
    principal = request.scope.get("state", {}).get("principal")
    return principal.name if isinstance(principal, Principal) else None


def _applied(prefer: str | None) -> dict[str, str]:
    return {"Preference-Applied": "handling=strict"} if ask.is_strict(prefer) else {}


def _media_types() -> list[str]:
    from geoetl.styles.encoders import ENCODERS

    return [JSON, *(encoder.media_type for encoder in ENCODERS.values())]


def _of(*media_types: str) -> dict[str, Any]:
    return {"content": {media_type: {} for media_type in media_types}}


def _is(*media_types: str) -> dict[int | str, dict[str, Any]]:
    return {200: _of(*media_types)}


_CHECKED = {"description": "It could be kept; nothing was (dry run)"}
