"""The parts of the page Runs: what rows, forms, causes and texts say."""

from typing import Any

import pytest

from dashboards.runs import markup
from dashboards.runs.address import Address
from dashboards.runs.causes import cause_row, causes_of
from dashboards.runs.form import Form
from dashboards.runs.listing import failed_stage, may_cancel, may_retry, may_run_again, run_row, stage_rows, state_text
from dashboards.runs.log import log_lines
from geoetl.core.errors import InputError, UnreadableFile
from geoetl.runs.model import EventKind, RunEvent, RunKind, RunRecord, RunState, Stage
from geoetl.runs.pipeline import load_pipeline, pipelines

ATTACK = "</script><img src=x onerror=alert(1)>'\""


def run(**changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "id": "06h0d64n1z476m07cr77",
        "kind": RunKind.NOTEBOOK,
        "pipeline": "ingest-raster",
        "subject": "images/x",
        "state": RunState.COMPLETED,
        "parameters": {"source": "folder/image.tif", "collection": "images", "title": ""},
        "priority": 0,
        "attempt": 1,
        "failures": 0,
        "max_attempts": 5,
        "cancel_requested": False,
        "submitted_by": "Ada",
        "events": 3,
        "created_at": 1_790_000_000.0,
        "started_at": 1_790_000_001.0,
        "finished_at": 1_790_000_003.0,
    }
    return RunRecord(**{**values, **changes})


def stage(name: str, state: RunState = RunState.COMPLETED, **changes: Any) -> Stage:
    values: dict[str, Any] = {
        "attempt": 1,
        "started_at": 1.0,
        "finished_at": 2.0,
        "done": 1,
        "total": 1,
        "warnings": (),
    }
    return Stage(name=name, state=state, **{**values, **changes})


def failed(detail: str, **changes: Any) -> RunRecord:
    error = UnreadableFile(detail, hint="Look at it.").problem()
    return run(state=RunState.FAILED, error=error, **changes)


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_row_says_what_is_done_to_what_and_how_far_it_is() -> None:
    stages = (stage("validate"), stage("convert", RunState.RUNNING, done=3, total=8, finished_at=None))
    row = run_row(run(state=RunState.RUNNING, stages=stages, finished_at=None), {"ingest-raster": "Ingest a raster"})
    assert (row["title"], row["subject"], row["who"]) == ("Ingest a raster", "image.tif → images", "Ada")
    assert (row["note"], row["done"], row["total"]) == ("convert, 3 of 8", 3, 8)
    assert run_row(failed("It is a web page."), {})["note"] == "It is a web page."
    assert run_row(run(parameters={"days": 90}), {})["subject"] == "days 90"


def test_states_are_words() -> None:
    assert state_text(run(state=RunState.RUNNING, cancel_requested=True)) == "Being cancelled"
    assert state_text(run(state=RunState.QUEUED, failures=1)) == "Waits to be tried again"
    assert state_text(run()) == "Completed"


def test_an_error_that_stands_above_the_stages_is_not_told_twice() -> None:
    error = UnreadableFile("It is odd.").problem()
    stages = (stage("validate", warnings=("Careful.",)), stage("convert", RunState.FAILED, error=error))
    assert [row["error"] for row in stage_rows(failed("It is odd.", stages=stages))] == ["", ""]
    again = stage_rows(run(state=RunState.QUEUED, attempt=2, stages=stages))
    assert [(row["name"], row["error"], row["attempt"]) for row in again] == [
        ("Validate", "", 1),
        ("Convert", "It is odd.", 1),
    ]


def test_what_may_be_done_with_a_run_hangs_on_how_it_stands() -> None:
    for state, cancel, retry, again in (
        (RunState.QUEUED, True, False, False),
        (RunState.RUNNING, True, False, False),
        (RunState.INTERRUPTED, True, True, False),
        (RunState.FAILED, False, True, False),
        (RunState.CANCELLED, False, True, False),
        (RunState.COMPLETED, False, False, True),
    ):
        one = run(state=state)
        assert (may_cancel(one), may_retry(one), may_run_again(one)) == (cancel, retry, again)
    assert not may_cancel(run(state=RunState.RUNNING, cancel_requested=True))
    assert not may_retry(run(state=RunState.FAILED, pipeline="interactive"))


def test_a_retry_names_the_stage_that_it_goes_on_with() -> None:
    assert failed_stage(failed("x", stages=(stage("validate"), stage("convert", RunState.FAILED)))) == "convert"
    assert failed_stage(failed("x", stages=(stage("validate", RunState.FAILED),))) == ""
    assert failed_stage(failed("x")) == ""


def test_a_log_has_what_was_printed_and_what_happened_without_progress() -> None:
    def event(kind: EventKind, **data: Any) -> RunEvent:
        return RunEvent(run_id="x", number=1, at=5.0, kind=kind, data=data)

    happened = [
        event(EventKind.STARTED, attempt=2),
        event(EventKind.PROGRESS, stage="convert", done=3),
        event(EventKind.LOG, lines=[ATTACK, "✓ convert · 1 s"]),
        event(EventKind.RETRYING, error={"detail": "It is away."}, after_s=2.5),
    ]
    assert [(line.text, line.printed) for line in log_lines(happened)] == [
        ("started, attempt 2", False),
        (ATTACK, True),
        ("It is away. It is tried again in 2.5 s.", False),
    ]


# -- causes ------------------------------------------------------------------------------------------------------------


def test_failures_that_differ_in_names_and_numbers_alone_are_one_cause() -> None:
    records = [
        failed("There is no file 'a.tif' of 10 bytes.", id="3"),
        failed("It is a web page.", id="2"),
        failed("There is no file 'b.tif' of 2,000 bytes.", id="1", pipeline="ingest-vector"),
        run(id="0"),
    ]
    first, second = causes_of(records)
    assert (first.runs, first.pipelines) == (("3", "1"), ("ingest-raster", "ingest-vector"))
    assert (first.sentence, first.remedy) == ("There is no file 'a.tif' of 10 bytes.", "Look at it.")
    assert second.runs == ("2",)
    row = cause_row(first, {"ingest-raster": "Ingest a raster"})
    assert (row["key"], row["badge"], row["note"]) == ("3", "2 runs", "Look at it.")
    assert row["subtitle"].startswith("Ingest a raster, ingest-vector · 2026-")


# -- forms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", pipelines())
def test_a_form_that_is_left_as_it_is_changes_no_default(name: str) -> None:
    pipeline = load_pipeline(name)
    form = Form.of(pipeline)
    assert form.parameters() == {}
    for one in form.fields:
        parameter = pipeline.parameters[one.name]
        if one.default != "":
            assert parameter.check(one.default) == parameter.default


def test_a_form_is_filled_in_from_a_link_and_knows_only_its_own_fields() -> None:
    given = {"source": "a.tif", "preserve_topology": "false", "mode": "replace", "nonsense": "1"}
    form = Form.of(load_pipeline("ingest-vector"), given)
    assert form.given == {"source": "a.tif", "preserve_topology": False}
    assert form.filled("preserve_topology", True).given == {"source": "a.tif"}


def test_a_number_that_is_taken_out_is_its_default_and_a_text_is_empty() -> None:
    form = Form.of(load_pipeline("ingest-vector")).filled("simplify_tolerance", "").filled("collection", "")
    assert form.parameters() == {"collection": ""}


# -- texts -------------------------------------------------------------------------------------------------------------


def test_whatever_a_run_says_is_text() -> None:
    error = UnreadableFile(ATTACK, hint=ATTACK, field="source").problem()
    record = run(
        state=RunState.FAILED,
        parameters={ATTACK: ATTACK, "source": ATTACK, "collection": ATTACK, "list": [ATTACK] * 40},
        result={"collection": ATTACK, "items": [ATTACK], ATTACK: {ATTACK: ATTACK}},
        error=error,
        submitted_by=ATTACK,
        dashboard=f"javascript:{ATTACK}",
        notebook="x",
    )
    for html in (
        markup.problem_html(error),
        markup.facts_html(record),
        markup.parameters_html(record.parameters),
        markup.result_html(record, linked=True),
        markup.head_html(record, ATTACK),
        markup.notebook_html(record, f"<p>{ATTACK}</p>"),
    ):
        assert "<img" not in html and "</script>" not in html
    assert markup.dask_html(record) == ""
    assert 'href="explore?collection=%3C%2Fscript' in markup.result_html(record, linked=True)


def test_a_dask_dashboard_is_linked_where_the_run_told_one() -> None:
    html = markup.dask_html(run(dashboard="http://127.0.0.1:8787/status"))
    assert 'href="http://127.0.0.1:8787/status"' in html and 'rel="noopener noreferrer"' in html


def test_a_frame_lets_nothing_run() -> None:
    html = markup.notebook_html(run(notebook="x"), None)
    assert 'sandbox=""' in html and 'src="api/runs/06h0d64n1z476m07cr77/notebook"' in html


# -- links -------------------------------------------------------------------------------------------------------------


def test_an_address_carries_what_is_open_and_leaves_out_what_is_not() -> None:
    assert Address().query() == ""
    address = Address(start="ingest-raster", given={"title": "a&b", "long": "x" * 1000}, state="failed")
    assert address.query() == "?start=ingest-raster&state=failed&with.title=a%26b"
    assert Address.parse(address.query()) == Address(start="ingest-raster", given={"title": "a&b"}, state="failed")
    assert Address.parse("?view=nonsense&unknown=1") == Address()


@pytest.mark.parametrize("query", ["?run=a/b", "?run=" + "x" * 65, "?start=<b>", "?state=lost", "?pipeline=a b"])
def test_an_address_that_is_not_right_is_refused(query: str) -> None:
    with pytest.raises(InputError):
        Address.parse(query)
