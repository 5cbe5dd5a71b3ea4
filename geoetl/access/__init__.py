"""Read answers out of the catalogue by ids: values, series, pictures, features. Every answer says how it was made.

``raster`` points, pictures and cuts of COGs and cubes (``layer`` what can be drawn, ``bands``, ``expression``,
``warp``, ``mesh``, ``window`` where its pixels lie, ``clip``, ``extract``, ``export``) · ``cube`` contents, pictures
and series of virtual cubes and NetCDF (``layout``, ``time_axis``, ``periods``, ``grid``, ``chunks``, ``fill``) · at
places: ``point_series``, ``sampling``, ``series``, ``batch``, ``table_export`` · over regions: ``regional``,
``weights``, ``over_time``, ``over_region``, ``statistics``, ``aggregate``, ``regional_export`` · ``features``
GeoParquet by box and place · ``open`` an asset as xarray or geopandas, by kind · ``items`` from ids to files · ``pool``
datasets kept open · ``frame`` extents and picture grids over every antimeridian and pole · ``rescale``, ``colormap``,
``colouring`` ranges, colours, legends · ``picture`` PNG, JPEG and WebP · ``tiles`` map tiles (``matrix``,
``tilejson``, ``renders``) · ``vector_tiles`` out of PMTiles · ``located``, ``places``, ``region``, ``boundaries``
where · ``cost`` what a question may ask for · ``result`` what every answer carries.
"""

from geoetl.access.aggregate import FieldAggregate
from geoetl.access.batch import BatchItem, BatchTable
from geoetl.access.colormap import Legend, LegendStop, colormap_names, legend
from geoetl.access.cube import CubeAccess, CubeDescription
from geoetl.access.extract import RasterWindow
from geoetl.access.features import FeatureAccess
from geoetl.access.items import CUBE_KINDS, AssetKind, kind_of
from geoetl.access.open import OPENERS, open_item
from geoetl.access.picture import Picture
from geoetl.access.raster import PointValues, RasterAccess
from geoetl.access.result import Result, Source, ValueRange
from geoetl.access.series import Series
from geoetl.access.statistics import RegionalSeries

__all__ = [
    "CUBE_KINDS",
    "OPENERS",
    "AssetKind",
    "BatchItem",
    "BatchTable",
    "CubeAccess",
    "CubeDescription",
    "FeatureAccess",
    "FieldAggregate",
    "Legend",
    "LegendStop",
    "Picture",
    "PointValues",
    "RasterAccess",
    "RasterWindow",
    "RegionalSeries",
    "Result",
    "Series",
    "Source",
    "ValueRange",
    "colormap_names",
    "kind_of",
    "legend",
    "open_item",
]
