"""Colour maps, ranges and legends."""

import numpy as np
import pytest

from geoetl.access import ValueRange, colormap_names, legend
from geoetl.access.colormap import colormap_name, lookup_table
from geoetl.access.rescale import auto_rescale, parse_rescale
from geoetl.core.errors import InvalidParameter


@pytest.mark.parametrize("name", ["viridis", "turbo", "plasma", "inferno", "coolwarm", "RdYlBu"])
def test_the_required_maps_are_there_in_any_case_and_reversed(name: str) -> None:
    table = lookup_table(name.upper())
    assert table.shape == (256, 3)
    assert np.array_equal(lookup_table(f"{name.lower()}_r"), table[::-1])
    assert colormap_name(name.lower()) == name


@pytest.mark.parametrize("name", ["viridis", "plasma", "inferno", "coolwarm", "turbo"])
def test_the_colours_are_those_of_matplotlib(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    expected = matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255
    assert np.abs(lookup_table(name).astype(float) - expected).max() <= 1.5


@pytest.mark.parametrize("name", colormap_names())
def test_every_map_has_256_colours_and_no_warning(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lookup_table(name).shape == (256, 3)
    assert capsys.readouterr().err == ""


def test_an_unknown_map_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidParameter) as error:
        lookup_table("rdylblu")
    assert (error.value.field, error.value.hint) == ("colormap", "Did you mean 'RdYlBu'?")


def test_auto_takes_the_middle_96_percent() -> None:
    assert auto_rescale(np.arange(101.0)) == pytest.approx((2, 98))
    assert auto_rescale(np.array([np.nan, np.inf])) == ValueRange(0, 1)
    spike = np.r_[np.zeros(1000), 7.0]
    assert auto_rescale(spike) == ValueRange(0, 7)


def test_one_range_serves_all_bands() -> None:
    assert parse_rescale([0, 1], 3) == (ValueRange(0, 1),) * 3
    assert parse_rescale([[0, 1], [2, 3]], 2) == (ValueRange(0, 1), ValueRange(2, 3))
    with pytest.raises(InvalidParameter, match=r"one such pair for each of 3 band\(s\)"):
        parse_rescale([[0, 1], [2, 3]], 3)


def test_a_legend_runs_from_end_to_end() -> None:
    made = legend("viridis", (270.0, 310.0), "K", stops=5)
    assert [stop.value for stop in made.stops] == [270, 280, 290, 300, 310]
    assert (made.stops[0].color, made.stops[-1].color) == ("#440154", "#fde725")
    assert (made.kind, made.units) == ("ramp", "K")
    assert "linear-gradient" in made._repr_html_()


def test_the_labels_of_a_legend_stay_different() -> None:
    made = legend("viridis", (1.000001, 1.000002), stops=3)
    assert len({stop.label for stop in made.stops}) == 3
    assert legend("gray", (0, 0), stops=2).stops[0].value < 0 < legend("gray", (0, 0), stops=2).stops[1].value


def test_text_in_a_legend_is_escaped() -> None:
    assert "<script>" not in legend("gray", (0, 1), "<script>")._repr_html_()
