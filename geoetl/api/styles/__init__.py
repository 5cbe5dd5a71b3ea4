"""OGC API - Styles below each layer, at ``/features/collections/{id}/styles`` and ``/collections/{id}/styles``.

``routes`` what is answered · ``request`` encodings, preconditions and preferences as a client gives them ·
``documents`` lists and metadata with their links · ``conformance`` the classes that are kept.

The id of a layer is that of a STAC collection of rasters or cubes, or that of a STAC collection and of a vector item in
it, joined by a colon.  What an encoding cannot express is counted in the header ``X-Losses``, in the metadata, and
listed at ``{styleId}/losses``.

Source: OGC API - Styles (20-009, draft).
"""

from geoetl.api.styles.routes import router

__all__ = ["router"]
