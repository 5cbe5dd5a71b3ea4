"""The conformance classes that the features keep."""

from geoetl.api.stac.conformance import CQL2
from geoetl.api.styles.conformance import classes as style_classes

_PART = "http://www.opengis.net/spec/ogcapi-features-{}/1.0/conf/{}"
_CLASSES = [
    *(_PART.format(1, name) for name in ("core", "geojson")),
    _PART.format(2, "crs"),
    *(_PART.format(3, name) for name in ("queryables", "queryables-query-parameters", "filter", "features-filter")),
    *(_PART.format(5, name) for name in ("queryables", "sortables")),
    *CQL2,
]


def classes(*, writing: bool) -> list[str]:
    """Return the classes of a server; one that only reads manages no styles."""
    return [*_CLASSES, *style_classes(writing=writing)]
