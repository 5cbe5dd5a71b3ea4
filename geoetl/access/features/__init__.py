"""Features of GeoParquet items: matched by box, time, CQL2 and attributes; sorted, paged, in any reference system.

``access`` `FeatureAccess`, what is asked · ``select`` which rows a question means · ``table`` opened files, and columns
kept in memory · ``place`` reference systems · ``page`` `FeaturePage` and its forms · ``describe`` which properties
there are · ``values`` attributes as filters and JSON have them.
"""

from geoetl.access.features.access import DEFAULT_LIMIT, MAX_FEATURES, FeatureAccess
from geoetl.access.features.describe import FeatureDescription, FeatureProperty
from geoetl.access.features.page import ID, FeaturePage
from geoetl.access.features.place import CRS84, ProjectedBox

__all__ = [
    "CRS84",
    "DEFAULT_LIMIT",
    "ID",
    "MAX_FEATURES",
    "FeatureAccess",
    "FeatureDescription",
    "FeaturePage",
    "FeatureProperty",
    "ProjectedBox",
]
