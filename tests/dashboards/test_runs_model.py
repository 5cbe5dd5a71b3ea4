"""The model of the page Runs: look, filter, open, cancel, retry, start, schedules, links."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import geoetl
from dashboards.runs.feed import Question, RunFeed
from dashboards.runs.model import PAGE, RunsModel
from geoetl.core.principal import Principal, Role, Via
from geoetl.platform import Platform
from geoetl.runs.model import RunKind, RunState
from tests.by_hand import SAMPLE, HandWorker, scheduled, submit

EDITOR = Principal("1", "Ada Editor", Role.EDITOR, Via.COOKIE)
VIEWER = Principal("2", "Vera Viewer", Role.VIEWER, Via.COOKIE)
OPERATOR = Principal("3", "Olga Operator", Role.OPERATOR, Via.COOKIE)
PURGE = "purge-events"


@pytest.fixture
def platform(home: Path) -> Platform:
    """Give an empty platform with one schedule."""
    return scheduled(home)


@pytest.fixture
def worker(platform: Platform) -> HandWorker:
    return HandWorker(platform)


@pytest.fixture
def model(platform: Platform) -> RunsModel:
    """Give the page's model of an editor, loaded."""
    return made(platform, EDITOR)


def made(platform: Platform, principal: Principal) -> RunsModel:
    model = RunsModel(platform, RunFeed(platform), principal)
    model.load()
    return model


def told(model: RunsModel) -> str:
    assert model.problem is not None
    return f"{model.problem.sentence} {model.problem.next_step}"


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


# -- looking -----------------------------------------------------------------------------------------------------------


def test_runs_are_listed_the_newest_first_with_counts_and_workers(
    model: RunsModel, platform: Platform, worker: HandWorker
) -> None:
    first, second = submit(platform), submit(platform, collection="others")
    worker.claim()
    model.feed.look()
    model.refresh()
    assert [(record.id, record.state) for record in model.runs] == [(second, "queued"), (first, "running")]
    assert (model.counts, model.workers, model.more) == ({"queued": 1, "running": 1}, 1, False)


def test_what_happens_comes_by_itself_and_one_thread_looks_for_all_pages(
    model: RunsModel, platform: Platform, worker: HandWorker
) -> None:
    other = RunsModel(platform, model.feed, VIEWER)
    other.load()
    for page in (model, other):
        page.follow()
    run_id = submit(platform)
    until(lambda: len(model.runs) == 1 and len(other.runs) == 1)
    other.open(run_id)
    worker.claim()
    worker.begin("convert", total=10)
    worker.progress("convert", 4)
    worker.say("half of it", "✓ told by the stages")
    until(lambda: other.opened.stages[:1] and other.opened.stages[0].done == 4)
    until(lambda: "half of it" in [line.text for line in other.log])
    assert "✓ told by the stages" not in [line.text for line in other.log]
    # The thread of an earlier test may be about to end.
    until(lambda: len([thread for thread in threading.enumerate() if thread.name == "geoetl-runs"]) == 1)
    for page in (model, other):
        page.leave()
    until(lambda: model.feed._thread is None)


def test_as_long_as_nothing_happens_a_page_asks_the_database_nothing(platform: Platform) -> None:
    submit(platform)
    feed = RunFeed(platform)
    models = [RunsModel(platform, feed, VIEWER) for _ in range(5)]
    for _ in range(3):
        for one in models:
            one.load()
    asked: list[str] = []
    sa.event.listen(platform.database.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    for one in models:
        one.refresh()
    assert asked == []
    assert not feed.look()
    assert 0 < len(asked) < 10


def test_older_runs_are_listed_when_asked_for(platform: Platform, model: RunsModel) -> None:
    for number in range(PAGE + 3):
        submit(platform, collection=f"c{number}")
    model.feed.look()
    model.refresh()
    assert (len(model.runs), model.more) == (PAGE, True)
    model.more_of_them()
    assert (len(model.runs), model.more) == (PAGE + 3, False)


def test_runs_are_filtered_by_state_pipeline_and_words(
    model: RunsModel, platform: Platform, worker: HandWorker
) -> None:
    failed = submit(platform, collection="hills", who="Grace Hopper")
    worker.claim()
    worker.fail()
    vectors = submit(platform, pipeline="ingest-vector", source="samples:us_states.geojson")
    model.load()
    for changes, found in (
        ({"state": "failed"}, [failed]),
        ({"state": ""}, [vectors, failed]),
        ({"pipeline": "ingest-vector"}, [vectors]),
        ({"pipeline": "", "text": "grace HILLS"}, [failed]),
        ({"text": "web page"}, [failed]),
        ({"text": "100%"}, []),
        ({"text": ""}, [vectors, failed]),
        ({"state": "no such state"}, [vectors, failed]),
    ):
        model.ask(**changes)
        assert [record.id for record in model.runs] == found


def test_folders_of_this_machine_are_neither_told_nor_found(
    model: RunsModel, platform: Platform, worker: HandWorker, home: Path
) -> None:
    source = home.parent / "secretfolder" / "image.tif"
    source.parent.mkdir()
    source.write_bytes(b"x")
    run_id = submit(platform, source=str(source))
    worker.claim()
    worker.begin("validate")
    worker.end("validate", f"{source} is odd")
    worker.say(f"reading {source}")
    model.ask(text="secretfolder")
    assert model.runs == ()
    model.ask(text="image.tif")
    model.open(run_id)
    assert model.opened.parameters["source"] == "image.tif"
    shown = f"{model.runs} {model.opened} {model.log} {model.causes}"
    assert "secretfolder" not in shown and "image.tif is odd" in shown


def test_a_database_that_is_away_is_said_and_what_was_seen_stays(platform: Platform, model: RunsModel) -> None:
    run_id = submit(platform)
    model.feed.look()
    model.refresh()
    platform.database.dispose()
    file = Path(platform.settings.database_url.removeprefix("sqlite:///"))
    moved = file.rename(file.with_suffix(".away"))
    file.mkdir()
    model.follow()
    assert model.away is not None
    assert [record.id for record in model.runs] == [run_id]
    file.rmdir()
    moved.rename(file)
    model.feed.look()
    assert model.away is None
    model.leave()


def test_runs_fail_of_causes_each_with_its_remedy(model: RunsModel, platform: Platform, worker: HandWorker) -> None:
    for number in range(3):
        submit(platform, collection=f"c{number}")
        worker.claim()
        worker.fail()
    model.feed.look()
    model.refresh()
    (cause,) = model.causes
    assert (len(cause.runs), cause.sentence, cause.remedy) == (3, "The file is a web page.", "Download it again.")


# -- an open run -------------------------------------------------------------------------------------------------------


def test_an_open_run_tells_its_stages_and_what_it_said(
    model: RunsModel, platform: Platform, worker: HandWorker
) -> None:
    run_id = submit(platform)
    model.open("latest")
    assert (model.place, model.opened.id, model.opened.stages) == ("run", run_id, ())
    worker.claim()
    worker.begin("validate")
    worker.end("validate", "It does not say when.")
    model.feed.look()
    model.refresh()
    assert [(stage.name, stage.warnings) for stage in model.opened.stages] == [("validate", ("It does not say when.",))]
    assert [line.text for line in model.log] == [
        "queued",
        "started, attempt 1",
        "validate: running",
        "validate: completed",
    ]
    model.refresh()
    assert len(model.log) == 4
    assert list(model.parameters())[:3] == ["source", "collection", "item"]


def test_a_run_is_cancelled_after_a_question(model: RunsModel, platform: Platform, worker: HandWorker) -> None:
    run_id = submit(platform)
    worker.claim()
    model.open(run_id)
    model.confirm("cancel")
    model.withdraw()
    model.go_ahead()
    assert not worker.is_to_cancel()
    model.confirm("cancel")
    model.go_ahead()
    assert worker.is_to_cancel()
    assert (model.said, model.opened.cancel_requested) == ("It is being ended.", True)
    worker.cancel()
    model.feed.look()
    model.refresh()
    assert model.opened.state is RunState.CANCELLED
    model.cancel()
    assert told(model) == f"Run {run_id} is cancelled already. There is nothing to cancel."


def test_a_question_about_a_run_that_is_over_is_withdrawn_by_itself(
    model: RunsModel, platform: Platform, worker: HandWorker
) -> None:
    model.open(submit(platform))
    worker.claim()
    model.confirm("cancel")
    worker.finish()
    model.feed.look()
    model.refresh()
    assert model.asking is None


def test_a_failed_run_is_tried_again_from_where_it_failed(
    model: RunsModel, platform: Platform, worker: HandWorker
) -> None:
    run_id = submit(platform)
    worker.claim()
    worker.fail()
    model.open(run_id)
    model.retry()
    assert (model.opened.state, model.opened.error) == (RunState.QUEUED, None)
    assert model.said == "It waits to be tried again."
    assert platform.runs.events(run_id)[-1].data["submitted_by"] == "Ada Editor"
    model.retry()
    assert "only one that failed" in told(model)


def test_a_completed_run_is_done_once_more_by_another_run(
    model: RunsModel, platform: Platform, worker: HandWorker
) -> None:
    first = submit(platform)
    worker.claim()
    worker.finish()
    model.open(first)
    model.confirm("again")
    model.go_ahead()
    assert model.opened.id != first
    assert (model.opened.state, model.opened.parameters["source"]) == (RunState.QUEUED, SAMPLE)


def test_a_run_that_is_not_there_is_said(model: RunsModel) -> None:
    model.open("nowhere")
    assert told(model) == "There is no run 'nowhere'. It may have been removed. Choose one in the list."
    assert model.place == ""


# -- starting ----------------------------------------------------------------------------------------------------------


def test_a_form_is_made_of_the_parameters_cell(model: RunsModel) -> None:
    model.prepare("ingest-vector")
    fields = {one.name: one for one in model.form.fields}
    assert (fields["source"].required, fields["source"].first, fields["source"].default) == (True, True, "")
    assert fields["source"].meaning == "path under an allowed root, or samples:NAME"
    assert (fields["preserve_topology"].kind, fields["preserve_topology"].default) == ("switch", True)
    assert (fields["crs"].label, fields["simplify_tolerance"].default, fields["keywords"].default) == ("CRS", "0.0", "")


def test_what_is_not_right_is_told_beside_each_field_and_no_run_is_made(model: RunsModel, platform: Platform) -> None:
    model.prepare("ingest-vector")
    model.fill("simplify_tolerance", "much")
    model.fill("collection", "../x")
    model.submit()
    assert {name: said.partition(":")[0] for name, said in model.form.wrong.items()} == {
        "simplify_tolerance": "The parameter 'simplify_tolerance' takes float, not 'much'. simplify_tolerance",
        "collection": "'../x' is not a valid collection",
        "source": "The pipeline 'ingest-vector' needs the parameter 'source'.",
    }
    assert platform.runs.list() == []
    model.fill("collection", "ok")
    assert "collection" not in model.form.wrong


def test_a_field_that_nobody_has_touched_is_not_told_of_before_the_start(model: RunsModel) -> None:
    model.prepare("ingest-raster")
    model.fill("title", "A title")
    assert model.form.wrong == {}
    model.fill("source", "nowhere.tif")
    assert list(model.form.wrong) == ["source"]
    model.fill("source", SAMPLE)
    assert model.form.ready.startswith("It can begin. Found: landsat_rgb.tif, ")


def test_a_run_is_started_and_the_same_again_is_the_same_run(
    model: RunsModel, platform: Platform, worker: HandWorker
) -> None:
    model.prepare("ingest-raster", {"source": SAMPLE})
    model.fill("collection", "mine")
    model.submit()
    first = model.opened
    assert (first.state, first.submitted_by, model.said) == (RunState.QUEUED, "Ada Editor", "It was started.")
    assert first.parameters["collection"] == "mine"
    for again, said in ((False, "Exactly this was asked for before"), (True, "It was started.")):
        model.prepare_like()
        assert model.form.given == {"source": SAMPLE, "collection": "mine"}
        model.submit(again=again)
        assert model.said.startswith(said)
        assert (model.opened.id == first.id) is not again


def test_without_a_worker_it_is_said_that_nothing_moves(model: RunsModel) -> None:
    model.prepare("ingest-raster", {"source": SAMPLE})
    model.submit()
    assert model.said == "It was started. No worker is at work: it waits until one is."
    HandWorker(model.platform).claim()
    model.load()
    assert (model.opened.state, model.said) == (RunState.RUNNING, "")


def test_values_of_every_type_reach_the_run(model: RunsModel) -> None:
    model.prepare("virtualise-cmip6", {"source": SAMPLE})
    model.fill("select", '{"table_id": ["Amon"]}')
    model.fill("join", "variable, member")
    model.submit()
    parameters = model.opened.parameters
    assert (parameters["select"], parameters["join"]) == ({"table_id": ["Amon"]}, ["variable", "member"])


# -- schedules ---------------------------------------------------------------------------------------------------------


def test_schedules_are_shown_and_an_operator_lets_them_rest_and_run(platform: Platform, worker: HandWorker) -> None:
    model = made(platform, OPERATOR)
    (one,) = model.planned
    assert (one.schedule.name, one.latest, one.schedule.is_paused) == (PURGE, None, False)
    model.show_schedules()
    model.pause(PURGE)
    assert model.planned[0].schedule.is_paused
    assert model.said == "“Remove the events of old runs by night” rests until somebody resumes it."
    model.resume(PURGE)
    assert not model.planned[0].schedule.is_paused
    model.run_now(PURGE)
    assert (model.place, model.opened.pipeline, model.opened.submitted_by) == ("run", PURGE, "Olga Operator")
    schedules = platform.schedules
    schedules._change(PURGE, last_slot=schedules.get(PURGE).last_slot - 86_400)
    schedules.tick()
    model.feed.look()
    model.refresh()
    assert (model.planned[0].latest.outcome, model.planned[0].state) == ("run", RunState.QUEUED)
    worker.claim(RunKind.FUNCTION)
    worker.finish()
    worker.claim(RunKind.FUNCTION)
    worker.finish()
    model.feed.look()
    model.refresh()
    assert model.planned[0].state is RunState.COMPLETED


# -- who may -----------------------------------------------------------------------------------------------------------


def test_a_viewer_looks_and_changes_nothing(platform: Platform, worker: HandWorker) -> None:
    model = made(platform, VIEWER)
    run_id = submit(platform)
    model.open(run_id)
    assert not (model.may_run or model.may_plan)
    model.prepare("ingest-raster", {"source": SAMPLE, "collection": "others"})
    for command in (
        model.submit,
        lambda: model.run_now(PURGE),
        lambda: model.pause(PURGE),
        lambda: model.resume(PURGE),
        lambda: [model.open(run_id), model.cancel()],
        lambda: [model.open(run_id), model.retry()],
        lambda: [model.open(run_id), model.confirm("again"), model.go_ahead()],
    ):
        model.dismiss()
        command()
        assert "Vera Viewer may look at runs, and not" in told(model)
    (record,) = platform.runs.list()
    assert (record.state, record.cancel_requested) == (RunState.QUEUED, False)
    assert not platform.schedules.get(PURGE).is_paused


def test_an_editor_runs_a_schedule_and_does_not_decide_when_it_rests(model: RunsModel, platform: Platform) -> None:
    assert model.may_run and not model.may_plan
    model.pause(PURGE)
    assert "that takes the role operator" in told(model)
    model.run_now(PURGE)
    assert model.opened.pipeline == PURGE


def test_a_server_that_only_reads_says_so(platform: Platform) -> None:
    platform.declared_schedules()
    run_id = submit(platform)
    model = made(geoetl.connect(platform.settings.home, read_only=True), OPERATOR)
    assert [record.id for record in model.runs] == [run_id]
    assert not (model.may_run or model.may_plan) and len(model.planned) == 1
    model.open(run_id)
    model.cancel()
    assert told(model).startswith("This server only reads.")


# -- links -------------------------------------------------------------------------------------------------------------


def test_a_link_opens_the_same_view(model: RunsModel, platform: Platform) -> None:
    run_id = submit(platform)
    views: list[Callable[[RunsModel], object]] = [
        lambda one: one.open(run_id),
        lambda one: one.show_schedules(),
        lambda one: one.prepare(),
        lambda one: [
            one.prepare("ingest-vector"),
            one.fill("source", "a b&c.tif"),
            one.fill("preserve_topology", False),
        ],
        lambda one: one.ask(state="queued", pipeline="ingest-raster", text="images & more"),
    ]
    for view in views:
        view(model)
        query = model.address().query()
        other = made(platform, VIEWER)
        other.go(query)
        assert other.address().query() == query
        assert (other.place, other.question) == (model.place, model.question)
    model.go("")
    assert (model.place, model.opened, model.question) == ("", None, Question(limit=PAGE))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?run=../x", "'../x' is not right for 'run'."),
        ("?run=nothere", "There is no run 'nothere'."),
        ("?start=ingest-rastr", "There is no pipeline 'ingest-rastr'. Did you mean 'ingest-raster'?"),
        ("?state=lost", "'lost' is no state of a run."),
    ],
)
def test_an_address_that_is_not_right_is_told(model: RunsModel, query: str, says: str) -> None:
    model.go(query)
    assert told(model).startswith(says)
    assert model.opened is None
