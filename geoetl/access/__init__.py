"""Read answers out of the catalogue by ids: values, series, pictures, features. Every answer says how it was made.

``raster`` points and pictures of COGs (``bands``, ``warp``) · ``cube`` contents, pictures and series of virtual cubes
and NetCDF (``layout``, ``grid``, ``series``) · ``features`` GeoParquet by box and place · ``open`` an asset as xarray
or geopandas, by kind · ``items`` from ids to files · ``pool`` datasets kept open · ``frame`` extents and picture
grids over every antimeridian and pole · ``rescale``, ``colormap`` ranges, colours, legends · ``picture`` PNG, JPEG and
WebP · ``tiles`` map tiles of cubes · ``reader`` titiler's reader on cubes · ``result`` what every answer carries.
"""

from geoetl.access.colormap import Legend, LegendStop, colormap_names, legend
from geoetl.access.cube import CubeAccess, CubeDescription
from geoetl.access.features import FeatureAccess
from geoetl.access.items import CUBE_KINDS, AssetKind, kind_of
from geoetl.access.open import OPENERS, open_item
from geoetl.access.picture import Picture
from geoetl.access.raster import PointValues, RasterAccess
from geoetl.access.result import Result, Source, ValueRange
from geoetl.access.series import Series

__all__ = [
    "CUBE_KINDS",
    "OPENERS",
    "AssetKind",
    "CubeAccess",
    "CubeDescription",
    "FeatureAccess",
    "Legend",
    "LegendStop",
    "Picture",
    "PointValues",
    "RasterAccess",
    "Result",
    "Series",
    "Source",
    "ValueRange",
    "colormap_names",
    "kind_of",
    "legend",
    "open_item",
]
