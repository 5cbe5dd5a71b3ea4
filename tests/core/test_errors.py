"""Errors say what was got, what was expected and what to do next, in every form they travel in."""

import pickle

import pytest

from geoetl.core.errors import GeoetlError, InvalidParameter, NotFound, RunFailed, did_you_mean


def kinds(kind: type[GeoetlError] = GeoetlError) -> list[type[GeoetlError]]:
    return [kind, *(found for sub in kind.__subclasses__() for found in kinds(sub))]


def test_codes_are_unique_and_every_kind_has_a_title() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(codes) == len(set(codes))
    assert all(kind.title and 400 <= kind.status < 600 and kind.exit_code > 0 for kind in kinds())


@pytest.mark.parametrize("kind", kinds())
def test_an_error_survives_pickling_and_the_problem_form(kind: type[GeoetlError]) -> None:
    error = kind("Got 3.", hint="Give 4.", field="size")
    for again in (pickle.loads(pickle.dumps(error)), GeoetlError.from_problem(error.problem())):
        assert type(again) is kind
        assert (again.detail, again.hint, again.field) == ("Got 3.", "Give 4.", "size")


def test_a_notebook_shows_a_sentence_and_no_stack() -> None:
    shown = "\n".join(NotFound("There is no item 'x'.", hint="Did you mean 'y'?")._render_traceback_())
    assert shown == "Not found (not_found)\nThere is no item 'x'.\n→ Did you mean 'y'?"


def test_a_problem_of_an_unknown_code_is_still_an_error() -> None:
    assert str(GeoetlError.from_problem({"code": "from_the_future", "detail": "No."})) == "No."


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("sorce", ["source", "crs"], "Did you mean 'source'?"),
        ("zzz", ["b", "a"], "There are: a, b."),
        ("x", [], ""),
        ("zzz", [f"n{i:02d}" for i in range(20)], "There are: " + ", ".join(f"n{i:02d}" for i in range(12))),
    ],
)
def test_a_wrong_name_leads_to_the_right_one(name: str, names: list[str], hint: str) -> None:
    assert did_you_mean(name, names).startswith(hint)


def test_the_groups_say_what_the_catcher_does_next() -> None:
    assert InvalidParameter("x").status == 422
    assert not RunFailed("x").retryable
