"""The page Runs as the last line of a notebook cell, and what its panels show of the model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.runs import watch
from dashboards.runs.view import RunsView
from dashboards.shared.runs import RunList, RunLog, RunStages, ScheduleList
from dashboards.shared.theme import DARK
from geoetl.core.principal import Principal, Role, Via
from geoetl.platform import Platform
from tests.by_hand import SAMPLE, HandWorker, scheduled, submit

VIEWER = Principal("2", "Vera Viewer", Role.VIEWER, Via.COOKIE)


@pytest.fixture
def platform(home: Path) -> Platform:
    """Give an empty platform with one schedule."""
    return scheduled(home)


@pytest.fixture
def worker(platform: Platform) -> HandWorker:
    return HandWorker(platform)


@pytest.fixture
def view(platform: Platform) -> Iterator[RunsView]:
    """Give the page as a cell shows it."""
    shown = watch(platform)
    shown.__panel__()
    yield shown
    shown.model.leave()


def the[T](view: RunsView, kind: type[T]) -> T:
    found = view.__panel__().select(kind)
    component: T = found[0]
    return component


def see(view: RunsView) -> None:
    view.model.load()


def test_a_cell_shows_the_page_without_a_server_and_the_run_that_was_asked_for(platform: Platform) -> None:
    run_id = submit(platform)
    shown = watch(platform, "latest")
    assert shown.__panel__().get_root() is not None
    assert the(shown, RunList).selected == run_id
    shown.model.leave()


def test_an_empty_page_says_what_to_do_first(view: RunsView) -> None:
    listed = the(view, RunList)
    assert (listed.runs, listed.loading) == ([], False)
    assert listed.message["code"] == "geoetl demo"
    view.model.ask(state="failed")
    assert listed.message["title"] == "No such runs"
    assert "No worker is at work" in view._list._workers.object
    assert view._schedules._causes.message == "Nothing failed lately."


def test_a_run_is_opened_moved_and_closed(view: RunsView, platform: Platform, worker: HandWorker) -> None:
    run_id = submit(platform)
    see(view)
    listed = the(view, RunList)
    view.model.open(listed.runs[0]["key"])
    run = view._run
    assert run.__panel__().visible and not view._schedules.__panel__().visible
    assert (listed.selected, run._cancel.visible, run._retry.visible) == (run_id, True, False)
    assert "waits for a worker" in the(view, RunStages).message
    worker.claim()
    worker.begin("convert", total=4)
    worker.progress("convert", 1)
    worker.say("hello")
    see(view)
    (stage,) = the(view, RunStages).stages
    assert (stage["name"], stage["done"], stage["total"]) == ("Convert", 1, 4)
    assert the(view, RunLog).lines[-1]["text"] == "hello"
    worker.fail()
    see(view)
    assert run._problem.visible and "The file is a web page." in run._problem.object
    assert (run._cancel.visible, run._retry.visible, run._retry.label) == (False, True, "Retry")
    view.model.close()
    assert (listed.selected, view._schedules.__panel__().visible) == ("", True)


def test_an_executed_notebook_is_shown_within_the_cell(view: RunsView, platform: Platform, worker: HandWorker) -> None:
    run_id = submit(platform)
    worker.claim()
    view.model.open(run_id)
    view._run._tabs.active = 3
    assert "when an attempt has ended" in view._run._notebook.object and not view._run._frame.visible
    worker.finish({"collection": "images", "items": ["one"]}, cells=[{"cell_type": "markdown", "source": "# Done"}])
    see(view)
    assert 'srcdoc="' in view._run._frame.object and "&lt;h1&gt;Done" in view._run._frame.object
    assert "<a" not in view._run._result.object and "one" in view._run._result.object


def test_a_form_has_a_field_for_each_parameter_and_says_what_is_wrong_in_it(view: RunsView) -> None:
    view.model.prepare("ingest-vector")
    start = view._start
    inputs = start._inputs
    assert not start._rest.visible
    inputs["source"].value = "nowhere.tif"
    assert inputs["source"].error_state and "There is no file 'nowhere.tif'" in inputs["source"].helper_text
    inputs["simplify_tolerance"].value = "much"
    assert start._rest.visible and inputs["simplify_tolerance"].error_state
    inputs["simplify_tolerance"].value = "0.5"
    inputs["preserve_topology"].value = False
    inputs["source"].value = "samples:us_states.geojson"
    assert not inputs["source"].error_state and "Found: us_states.geojson" in start._said.object
    view.model.submit()
    assert view.model.opened is not None
    assert view.model.opened.parameters["simplify_tolerance"] == 0.5
    assert view.model.opened.parameters["preserve_topology"] is False


def test_schedules_have_the_actions_that_are_allowed(platform: Platform, view: RunsView) -> None:
    (row,) = the(view, ScheduleList).schedules
    assert [action["type"] for action in row["actions"]] == ["run", "pause"]
    assert row["next"].endswith("01:30 UTC") and row["last"] == ""
    view._schedules._act({"type": "pause", "key": "purge-events"})
    (row,) = the(view, ScheduleList).schedules
    assert [action["type"] for action in row["actions"]] == ["run", "resume"] and row["paused"]
    view._schedules._act({"type": "run", "key": "purge-events"})
    assert view.model.opened is not None and view.model.opened.pipeline == "purge-events"


def test_a_viewer_has_no_buttons_that_change_anything(platform: Platform, worker: HandWorker) -> None:
    from dashboards.runs.feed import RunFeed
    from dashboards.runs.model import RunsModel

    run_id = submit(platform)
    worker.claim()
    worker.fail()
    shown = RunsView(RunsModel(platform, RunFeed(platform), VIEWER))
    shown.__panel__()
    shown.model.open(run_id)
    run = shown._run
    assert not any(button.visible for button in (run._cancel, run._retry, run._again, run._like))
    assert the(shown, ScheduleList).schedules[0]["actions"] == []
    shown.model.prepare("ingest-raster")
    assert not shown._start._submit.visible and "role of an editor" in shown._start._said.object
    shown.model.leave()


def test_another_pipeline_has_another_form(view: RunsView) -> None:
    view.model.prepare()
    assert view._start._all.visible and not (view._start._foot.visible or view._start._fold.visible)
    view.model.prepare("ingest-raster", {"source": SAMPLE})
    assert not view._start._all.visible and view._start._foot.visible
    assert view._start._inputs["source"].value == SAMPLE
    view._start._choice.value = "virtualise-cmip6"
    assert "naming" in view._start._inputs and view._start._inputs["source"].value == ""
    assert view.model.form is not None and view.model.form.pipeline.name == "virtualise-cmip6"


def test_dark_colours_reach_the_page(view: RunsView) -> None:
    view.dark = True
    assert DARK.surface in view._stage.stylesheets[0]
