"""The pieces that objects show themselves with in notebooks."""

import pytest

from geoetl.core import html


def test_an_address_of_the_web_is_a_link_that_tells_nothing_of_where_it_was_clicked() -> None:
    shown = html.facts([("dashboard", "http://127.0.0.1:8787/status?a=1&b=2")])
    address = "http://127.0.0.1:8787/status?a=1&amp;b=2"
    assert f'<a href="{address}" target="_blank" rel="noopener noreferrer">{address}</a>' in shown


@pytest.mark.parametrize("text", ["javascript:alert(1)", "https://a b", "see https://a", "<b>https://a</b>"])
def test_other_text_stays_text(text: str) -> None:
    shown = html.facts([("said", text)])
    assert "<a " not in shown
    assert "<b>" not in shown


def test_an_address_cannot_end_its_link() -> None:
    assert 'href="https://a&quot;onclick=&quot;x"' in html.facts([("said", 'https://a"onclick="x')])


def test_what_has_no_value_is_left_out() -> None:
    assert html.facts([("a", None), ("b", ""), ("c", ()), ("d", 0)]).count("<tr>") == 1
