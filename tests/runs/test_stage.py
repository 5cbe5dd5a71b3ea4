"""Checkpoints: what was done is not done again."""

from pathlib import Path

import pytest

from geoetl.core.errors import RunFailed, Unavailable, UnreadableFile
from geoetl.core.findings import Finding, Severity
from geoetl.runs.model import Result, RunState
from geoetl.runs.processes import ProcessMark
from geoetl.runs.queue import Ending, Submission
from geoetl.runs.stage import Run
from geoetl.store.zones import StoredFolder, StoredObject, Zones


class Doubled(Result):
    """A result to be stored and read back."""

    value: int


class Doubler:
    """Doubles numbers, counts its calls, and refuses those it was told to."""

    def __init__(self, refused: frozenset[int] = frozenset()) -> None:
        self.calls: list[int] = []
        self.refused = refused

    def double(self, number: int) -> Doubled:
        self.calls.append(number)
        if number in self.refused:
            raise UnreadableFile(f"{number} cannot be read.", hint="Give another.")
        return Doubled(value=2 * number)


def resumed(run: Run) -> Run:
    """Fail the run and begin its next attempt."""
    queue = run.repository.queue
    queue.finish(Ending(run.id, run.attempt, error={"detail": "killed", "hint": None}))
    claim = queue.begin(Submission("test", {}, "a" * 64, "test"), queue.enter(ProcessMark.own(), 0))
    return Run(claim.run_id, claim.attempt, run.repository, run.zones, run.dask)


def test_a_resumed_run_returns_finished_stages_from_the_record(run: Run) -> None:
    doubler = Doubler()
    assert run.stage("double", doubler.double, 4) == Doubled(value=8)
    assert resumed(run).stage("double", doubler.double, 4) == Doubled(value=8)
    assert doubler.calls == [4]


def test_a_stage_with_other_arguments_is_done_again(run: Run) -> None:
    doubler = Doubler()
    run.stage("double", doubler.double, 4)
    assert resumed(run).stage("double", doubler.double, 5) == Doubled(value=10)
    assert doubler.calls == [4, 5]


def test_a_stage_whose_object_was_lost_is_done_again(run: Run, zones: Zones, tmp_path: Path) -> None:
    source = tmp_path / "x.txt"
    source.write_text("content")
    calls = []

    def store(key: str) -> StoredObject:
        calls.append(key)
        return zones.internal.put(source, key, owner="c/x")

    stored = run.stage("store", store, "c/x.txt")
    zones.internal.delete(stored.key)
    assert resumed(run).stage("store", store, "c/x.txt") == stored
    assert len(calls) == 2


def test_a_stage_whose_folder_is_there_is_not_done_again(run: Run, zones: Zones, tmp_path: Path) -> None:
    (tmp_path / "cube").mkdir()
    (tmp_path / "cube/.zmetadata").write_text("{}")
    calls = []

    def store(key: str) -> StoredFolder:
        calls.append(key)
        return zones.internal.put_folder(tmp_path / "cube", key, owner="c/x")

    stored = run.stage("store", store, "c/cube")
    run = resumed(run)
    assert run.stage("store", store, "c/cube") == stored
    assert len(calls) == 1
    zones.internal.delete(stored.key)
    assert resumed(run).stage("store", store, "c/cube") == stored
    assert len(calls) == 2


def test_a_failed_stage_keeps_its_problem(run: Run) -> None:
    with pytest.raises(UnreadableFile):
        run.stage("double", Doubler(frozenset({4})).double, 4)
    (stage,) = run.repository.get(run.id).stages
    assert stage.state is RunState.FAILED
    assert stage.error is not None
    assert (stage.error["code"], stage.error["hint"]) == ("unreadable_file", "Give another.")


def test_an_unforeseen_error_is_recorded_without_a_stack(run: Run) -> None:
    def divide(number: int) -> float:
        return number / 0

    with pytest.raises(ZeroDivisionError):
        run.stage("divide", divide, 1)
    (stage,) = run.repository.get(run.id).stages
    assert stage.error is not None
    assert stage.error["detail"] == "'divide' stopped with ZeroDivisionError: division by zero"


def test_warnings_are_kept_with_their_stage(run: Run) -> None:
    def warn(number: int) -> int:
        import warnings

        warnings.warn("nodata is not declared", UserWarning, stacklevel=2)
        return number

    run.stage("warn", warn, 1)
    assert run.repository.get(run.id).stages[0].warnings == ("nodata is not declared",)


class Checked(Result):
    findings: tuple[Finding, ...]


def test_findings_that_warn_are_told_with_their_stage(run: Run) -> None:
    def check(number: int) -> Checked:
        lost = Finding(
            severity=Severity.WARNING, code="lost", message=f"{number} rows were left out.", subject="rows 3, 4"
        )
        return Checked(findings=(lost, Finding(severity=Severity.INFO, code="kept", message="All else is there.")))

    run.stage("check", check, 2)
    assert run.repository.get(run.id).stages[0].warnings == ("2 rows were left out. (rows 3, 4)",)


def test_a_fan_out_keeps_the_order_of_its_items(run: Run) -> None:
    doubler = Doubler()
    assert [r.value for r in run.map("double", doubler.double, [3, 1, 2])] == [6, 2, 4]
    (stage,) = run.repository.get(run.id).stages
    assert (stage.done, stage.total) == (3, 3)


def test_a_resumed_fan_out_repeats_only_what_failed(run: Run) -> None:
    first = Doubler(frozenset({2}))
    with pytest.raises(UnreadableFile, match=r"1 of 3 tasks failed\. The first: 2 cannot be read"):
        run.map("double", first.double, [1, 2, 3])
    assert first.calls == [1, 2, 3]
    second = Doubler()
    assert [r.value for r in resumed(run).map("double", second.double, [1, 2, 3])] == [2, 4, 6]
    assert second.calls == [2]


def test_a_fan_out_over_nothing_is_done_at_once(run: Run) -> None:
    assert run.map("double", Doubler().double, []) == []


def test_equal_items_are_done_once_and_returned_twice(run: Run) -> None:
    doubler = Doubler()
    assert [r.value for r in run.map("double", doubler.double, [1, 1])] == [2, 2]
    assert doubler.calls == [1]


def test_a_function_without_a_result_type_is_refused(run: Run) -> None:
    with pytest.raises(TypeError, match="annotated return type"):
        run.stage("bare", lambda: 1)


def test_a_task_whose_error_may_pass_is_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoetl.runs.stage.TRY_AGAIN_S", 0.01)
    calls: list[int] = []

    def fetch(number: int) -> int:
        calls.append(number)
        if number == 1 and calls.count(1) < 3:
            raise Unavailable("The place is away.")
        return number

    assert run.map("fetch", fetch, [1, 2, 3]) == [1, 2, 3]
    assert calls == [1, 2, 3, 1, 1]


def test_a_task_whose_error_does_not_pass_fails_after_three_tries(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoetl.runs.stage.TRY_AGAIN_S", 0.01)
    calls: list[int] = []

    def fetch(number: int) -> int:
        calls.append(number)
        raise Unavailable("The place is away.")

    with pytest.raises(Unavailable, match=r"1 of 1 tasks failed\. The first: The place is away"):
        run.map("fetch", fetch, [1])
    assert calls == [1, 1, 1]


def test_a_run_failure_in_a_task_names_the_error(run: Run) -> None:
    def divide(number: int) -> float:
        return 1 / number

    with pytest.raises(RunFailed, match="ZeroDivisionError"):
        run.map("divide", divide, [0])
