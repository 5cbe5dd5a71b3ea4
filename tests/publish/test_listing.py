"""The order in which releases are listed."""

from geoetl.publish.model import State
from geoetl.publish.repository import ReleaseRepository
from tests.publish.releasing import brought


def test_releases_are_listed_in_either_order_page_by_page(releases: ReleaseRepository) -> None:
    made = [brought(releases, State.PENDING_REVIEW, f"item{number}").id for number in range(5)]
    for newest_first, expected in ((False, made), (True, made[::-1])):
        found: list[str] = []
        after = None
        while True:
            page = releases.list(State.PENDING_REVIEW, limit=2, after=after, newest_first=newest_first)
            found += [one.id for one in page.releases]
            after = page.next
            if after is None:
                break
        assert found == expected
