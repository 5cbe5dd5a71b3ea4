"""The conformance classes of OGC API - Styles that are kept."""

_CLASS = "http://www.opengis.net/spec/ogcapi-styles-1/1.0/conf/{}"
_READING = ("core", "style-info", "mapbox-styles", "sld-11")
_WRITING = ("manage-styles", "style-validation")


def classes(*, writing: bool) -> list[str]:
    """Return the classes of a server; one that only reads manages nothing."""
    return [_CLASS.format(name) for name in (*_READING, *(_WRITING if writing else ()))]
