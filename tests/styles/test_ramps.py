"""Colours that are offered can be told apart by everybody; the checks agree with published numbers."""

import pytest

from geoetl.core.errors import InvalidParameter, NotFound
from geoetl.styles.ramps import (
    MIN_GRAPHIC_CONTRAST,
    RAMPS,
    VISIONS,
    WHITE,
    check_colours,
    check_contrast,
    contrast,
    difference,
    over,
    ramp_names,
    seen_with,
)
from geoetl.styles.ramps import _ciede2000 as ciede2000
from geoetl.styles.values import Color

BLACK = Color(0, 0, 0)


def named(colours: tuple[Color, ...]) -> dict[str, Color]:
    return {f"class {number}": colour for number, colour in enumerate(colours)}


def test_contrast_is_that_of_wcag() -> None:
    assert contrast(BLACK, WHITE) == pytest.approx(21)
    # The grey that WCAG's own examples give as the lightest that text may have on white.
    assert contrast(Color(0x76, 0x76, 0x76), WHITE) == pytest.approx(4.54, abs=0.005)
    assert contrast(Color(255, 0, 0), WHITE) == contrast(WHITE, Color(255, 0, 0)) == pytest.approx(4.0, abs=0.005)


# Source: Sharma, Wu and Dalal 2005, table 1.
SHARMA = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.441), (91.1528, -1.6435, 0.0447), 1.4441),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("one", "other", "wanted"), SHARMA)
def test_the_difference_of_colours_is_that_of_the_published_pairs(one: tuple, other: tuple, wanted: float) -> None:  # type: ignore[type-arg]
    assert ciede2000(one, other) == pytest.approx(wanted, abs=5e-5)
    assert ciede2000(other, one) == pytest.approx(wanted, abs=5e-5)


def test_who_lacks_cones_sees_greys_as_they_are_and_takes_red_for_green() -> None:
    for vision in VISIONS:
        for grey in (0, 97, 255):
            assert difference(seen_with(Color(grey, grey, grey), vision), Color(grey, grey, grey)) < 1
    red, green = Color(213, 62, 79), Color(102, 130, 60)
    assert difference(red, green) > 40
    assert difference(seen_with(red, "deuteranopia"), seen_with(green, "deuteranopia")) < 15


@pytest.mark.parametrize("name", RAMPS)
def test_up_to_five_classes_of_every_ramp_can_be_told_apart_by_everybody(name: str) -> None:
    ramp = RAMPS[name]
    for count in range(2, 6):
        found = check_colours(named(ramp.colours(count)), is_ordered=ramp.kind != "qualitative")
        alike = [finding for finding in found if finding.code.startswith("colours_alike")]
        assert alike == [], [finding.message for finding in alike]


@pytest.mark.parametrize("name", ramp_names("qualitative"))
def test_all_colours_of_a_qualitative_ramp_can_be_told_from_each_other(name: str) -> None:
    assert check_colours(named(RAMPS[name].all_colours()), is_ordered=False) == ()


@pytest.mark.parametrize("name", ramp_names("sequential"))
def test_colours_of_lines_stand_out_from_a_light_map(name: str) -> None:
    for colour in RAMPS[name].colours(5, least_contrast=MIN_GRAPHIC_CONTRAST):
        assert contrast(colour, WHITE) >= MIN_GRAPHIC_CONTRAST
        assert check_contrast("line", colour) == ()


def test_a_ramp_goes_from_low_to_high_and_back() -> None:
    ramp = RAMPS["viridis"]
    low, *_, high = ramp.colours(9)
    assert contrast(low, WHITE) > contrast(high, WHITE)
    assert ramp.colours(9, reverse=True) == ramp.colours(9)[::-1]
    assert len(ramp.colours(1)) == 1


def test_colours_that_look_the_same_are_named_with_who_mixes_them_up() -> None:
    same, mixed = Color(200, 30, 30), Color(205, 32, 30)
    (finding,) = check_colours({"a": same, "b": mixed})
    assert finding.code == "colours_alike"
    assert "'a' (#c81e1e) and 'b' (#cd201e) cannot be told apart." in finding.message
    found = check_colours({"forest": Color(93, 105, 46), "burnt": Color(131, 84, 44)})
    assert {one.code for one in found} <= {"colours_alike_protanopia", "colours_alike_deuteranopia"}
    assert found
    assert "topia" in found[0].message or "anopia" in found[0].message
    # From low to high only neighbours count; categories may lie side by side anywhere.
    three = {"a": same, "b": Color(0, 0, 160), "c": mixed}
    assert check_colours(three) == ()
    assert [one.subject for one in check_colours(three, is_ordered=False)] == ["a, c"]


def test_what_vanishes_on_its_ground_is_found() -> None:
    assert [one.code for one in check_colours({"sea": Color(250, 252, 255)})] == ["colour_like_background"]
    assert check_colours({"sea": Color(250, 252, 255)}, background=BLACK) == ()
    (finding,) = check_contrast("label", Color(150, 150, 150), least=4.5)
    assert (finding.code, finding.expected) == ("low_contrast", "at least 4.5 (WCAG 2.2)")
    assert over(BLACK, 0.5) == Color(128, 128, 128)


def test_a_ramp_that_is_not_there_or_too_short_is_refused() -> None:
    with pytest.raises(NotFound, match="viridis"):
        RAMPS["virdis"]
    with pytest.raises(InvalidParameter, match="7 colours"):
        RAMPS["okabe-ito"].colours(8)
    with pytest.raises(InvalidParameter, match="dark enough"):
        RAMPS["okabe-ito"].colours(7, least_contrast=3)
