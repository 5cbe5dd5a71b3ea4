"""OGC API - Features at ``/features``: the features of vector items, each item one collection.

``routes`` what is answered · ``request`` what may be asked, and the question that it means · ``documents`` landing
page, collections, queryables · ``crs`` reference systems by their URIs and the order of their axes · ``conformance``
the classes that are kept.

The id of a collection of features is that of the STAC collection and of the STAC item, joined by a colon.

Source: OGC API - Features, part 1 (17-069r4), part 2 (18-058r1), part 3 (19-079r2); CQL2 (21-065r2).
"""

from geoetl.api.features.documents import PREFIX
from geoetl.api.features.routes import router

__all__ = ["PREFIX", "router"]
