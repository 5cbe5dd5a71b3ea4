"""A frame that plots as styled: what Bokeh gets for each feature, and for the values of a coverage."""

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoetl.core.errors import InvalidParameter
from geoetl.core.selectors import Rows
from geoetl.styles.coverage import colours, coverage_symbol
from geoetl.styles.encoders.holoviews import HoloViews, columns_of, to_holoviews
from geoetl.styles.evaluate import symbols
from geoetl.styles.layer import StyledLayer
from geoetl.styles.model import Style
from geoetl.testing.styles import features, layers, styles

SHIRES = StyledLayer("shires", "vector", 2, {"name": "text"})
RELIEF = StyledLayer("relief", "coverage", None, {"height": "number"})
STYLE: dict[str, Any] = {
    "stylingRules": [
        {
            "symbolizer": {
                "fill": {"color": "gray", "opacity": 0.5},
                "stroke": {"color": "black", "width": {"px": 1}},
            },
            "nestedRules": [
                {
                    "selector": {"op": "=", "args": [{"property": "name"}, "North"]},
                    "symbolizer": {
                        "fill": {"alter": True, "color": "red"},
                        "stroke": {"alter": True, "width": {"px": 3}, "dashPattern": [4, 2]},
                        "marker": {
                            "alter": True,
                            "elements": {"index": 0, "value": {"alter": True, "type": "Dot", "color": "blue"}},
                        },
                    },
                }
            ],
        }
    ]
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(styles(labels=False), layers(), st.lists(features(), min_size=4, max_size=4))
def test_each_feature_has_the_options_of_its_symbol(
    document: dict[str, Any], layer: StyledLayer, rows: list[dict[str, Any]]
) -> None:
    style = Style.of(document)
    encoded = HoloViews().encode(style, layer)
    (element,) = encoded.document["elements"]
    columns = columns_of(element, Rows.of_documents(rows))
    for number, symbol in enumerate(symbols(style, layer, Rows.of_documents(rows))):
        options = {
            name: columns[value["dim"]][number] if isinstance(value, dict) else value
            for name, value in element["opts"].items()
        }
        fill, stroke = symbol.fill, symbol.stroke
        shown = symbol.opacity if symbol.visible else 0
        if layer.dimensions == 2 and fill:
            assert options["fill_color"] == fill.color.hex
            assert options["fill_alpha"] == pytest.approx(shown * fill.opacity, abs=1e-6)
        if layer.dimensions != 0 and stroke:
            line = "" if layer.dimensions == 1 else "line_"
            assert options[f"{line}color"] == stroke.color.hex
            assert options[f"{line}alpha"] == pytest.approx(shown * stroke.opacity, abs=1e-6)
            assert options["line_width"] == pytest.approx(stroke.width, abs=1e-6)


@pytest.mark.parametrize(("dimension", "kind"), [(2, "Polygons"), (1, "Contours"), (0, "Points")])
def test_a_frame_plots_as_styled(dimension: int, kind: str) -> None:
    shown = to_holoviews(Style.of(STYLE), StyledLayer("x", "vector", dimension, {"name": "text"}), frame_of(dimension))
    assert type(shown).__name__ == kind
    glyph, data = rendered(shown)
    if dimension == 2:
        assert np.asarray(data["fill_color"]).tolist() == ["#ff0000", "#808080"]
        assert glyph.fill_alpha == 0.5
    if dimension == 0:
        assert np.asarray(data["fill_color"]).tolist() == ["#0000ff", "#ffffff"]
    else:
        assert np.asarray(data["line_width"]).tolist() == [3.0, 1.0]
        assert np.asarray(data["line_dash"]).tolist() == ["4 2", "solid"]


def test_mixed_geometries_in_another_crs_are_an_overlay() -> None:
    frame = pd.concat([frame_of(number) for number in (0, 2, 1)]).to_crs(3857)
    shown = to_holoviews(Style.of(STYLE), StyledLayer("x", "vector", None, {"name": "text"}), frame)
    assert [type(part).__name__ for part in shown] == ["Polygons", "Contours", "Points"]
    west, south, east, north = (*shown.Polygons.I.range("Longitude"), *shown.Polygons.I.range("Latitude"))
    assert (west, south, east, north) == pytest.approx((5, 9, 45, 48))


def test_a_plot_has_no_scale_and_says_so() -> None:
    scaled = {"selector": {"op": "<", "args": [{"sysId": "viz.sd"}, 1000]}, "symbolizer": {"fill": {"color": "red"}}}
    encoded = HoloViews().encode(Style.of({"stylingRules": [scaled]}), SHIRES)
    assert encoded.document["elements"][0]["opts"]["fill_color"] == "#ffffff"
    assert [(loss.pointer, "no scale" in loss.reason) for loss in encoded.losses] == [("/stylingRules/0", True)]


def test_a_coverage_has_the_colours_of_its_stops() -> None:
    stops = [[0, "black"], [100, "black"], [100, "white"], [200, [255, 0, 0]]]
    style = Style.of({"stylingRules": [{"symbolizer": {"singleChannel": {"property": "height"}, "colorMap": stops}}]})
    values = np.linspace(0, 200, 12).reshape(3, 4)
    frame = xr.DataArray(values, dims=("lat", "lon"), coords={"lat": [3.0, 2, 1], "lon": [5.0, 6, 7, 8]}, name="z")
    glyph, _ = rendered(to_holoviews(style, RELIEF, frame))
    mapper = glyph.color_mapper
    assert (mapper.low, mapper.high, len(mapper.palette)) == (0, 200, 256)
    middles = (np.arange(256) + 0.5) / 256 * 200
    wanted = colours(coverage_symbol(style, RELIEF), middles)
    assert mapper.palette == ["#" + bytes(rgba[:3]).hex() for rgba in wanted]


def test_three_variables_are_a_picture_in_their_ranges() -> None:
    channels = [{"op": "/", "args": [{"property": name}, 200]} for name in "abc"]
    style = Style.of({"stylingRules": [{"symbolizer": {"colorChannels": channels}}]})
    layer = StyledLayer("x", "coverage", None, dict.fromkeys("abc", "number"))
    values = {name: (("y", "x"), np.full((2, 3), value)) for name, value in (("a", 100.0), ("b", 300.0), ("c", 0.0))}
    shown = to_holoviews(style, layer, xr.Dataset(values, coords={"x": [0.0, 1, 2], "y": [0.0, 1]}))
    assert [float(shown.dimension_values(name).mean()) for name in "RGB"] == [0.5, 1.0, 0.0]


def test_what_is_not_there_is_told() -> None:
    style = Style.of({"stylingRules": [{"symbolizer": {"visibility": False}}]})
    with pytest.raises(InvalidParameter, match="draws nothing of 'relief'"):
        to_holoviews(style, RELIEF, xr.DataArray(np.zeros((2, 2)), dims=("y", "x")))
    named = Style.of({"stylingRules": [{"symbolizer": {"singleChannel": {"property": "height"}}}]})
    with pytest.raises(InvalidParameter, match="shows 'height'; the dataset has 'depth'"):
        to_holoviews(named, RELIEF, xr.Dataset({"depth": (("y", "x"), np.zeros((2, 2)))}))


def frame_of(dimension: int) -> gpd.GeoDataFrame:
    """Return two features of a dimension, with a name."""
    boxes = gpd.GeoSeries([shapely.box(5, 46.5, 9, 48), shapely.box(5, 45, 9, 46.5)], crs=4326)
    shapes = {2: boxes, 1: boxes.boundary, 0: boxes.representative_point()}[dimension]
    return gpd.GeoDataFrame({"name": ["North", "<b>South</b>"]}, geometry=shapes, crs=4326)


def rendered(shown: Any) -> tuple[Any, Any]:
    """Return the glyph that Bokeh draws, and its data."""
    import holoviews as hv

    renderer = next(one for one in hv.render(shown).renderers if hasattr(one, "glyph"))
    return renderer.glyph, renderer.data_source.data
