"""Roles: their order, and what each may."""

from itertools import pairwise

import pytest

from geoetl.core.errors import GeoetlError
from geoetl.core.principal import Forbidden, Principal, Role, Unauthenticated, Via


def test_each_role_may_what_those_before_it_may() -> None:
    assert list(Role) == [Role.VIEWER, Role.EDITOR, Role.APPROVER, Role.OPERATOR]
    for less, more in pairwise(Role):
        assert less < more and more > less and less <= more and more >= less and not more < less
        assert Principal("1", "a", more, Via.TOKEN).may(less)
        assert not Principal("1", "a", less, Via.TOKEN).may(more)
    assert min(Role) is Role.VIEWER
    assert max(Role) is Role.OPERATOR


def test_roles_are_not_compared_as_text() -> None:
    assert str(Role.APPROVER) < str(Role.VIEWER).upper().lower()
    assert Role.APPROVER > Role.VIEWER
    with pytest.raises(ValueError, match="admin"):
        assert Role.VIEWER < "admin"


def test_the_two_refusals_are_rebuilt_from_their_problems() -> None:
    for kind, status in ((Unauthenticated, 401), (Forbidden, 403)):
        problem = kind("No.", hint="Ask.").problem()
        assert problem["status"] == status
        assert GeoetlError.from_problem(problem).code == kind.code
