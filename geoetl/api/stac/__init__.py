"""The STAC API at ``/stac``: stac-fastapi's routes over our catalogue, whichever back end holds it.

``serve`` puts it into the application · ``client`` landing page, collections, items, search · ``request`` what may be
asked, with an example each · ``documents`` the catalogue's documents as the API answers them: links, addresses of
assets, chosen fields · ``queryables`` what can be filtered and sorted by · ``transactions`` writing, for editors ·
``conformance`` the classes that are kept.

Source: STAC API 1.0.0; OGC API - Features 1.0; extensions filter 1.0.0-rc.2, sort, fields, transaction,
collection-search 1.0.0-rc.1.
"""

from geoetl.api.stac.serve import PREFIX, serve_stac

__all__ = ["PREFIX", "serve_stac"]
