"""The model of the page Review: the queue, what is seen of a release, decisions, conflicts, withdrawals, links."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

import geoetl
import geoetl.publish.steps
from dashboards.review.feed import ReviewFeed
from dashboards.review.model import ReviewModel
from dashboards.review.standing import Group
from geoetl.core.principal import Principal, Role, Via
from geoetl.platform import Platform
from geoetl.publish.model import Action, Clearance, Release, State
from geoetl.publish.tables import audit_log
from geoetl.publish.verification import Tampering
from tests.reviewed import (
    APPROVER,
    AUTHOR,
    FIELDS,
    HILL,
    IMAGES,
    PLACES,
    VIEWER,
    bring_fields,
    bring_hill,
    field_rows,
    published,
    submitted,
)

OTHER = Principal("5", "Ben Approver", Role.APPROVER, Via.COOKIE)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the home of a platform with a vector item, of which a release waits; tests take copies of it."""
    made: Path = tmp_path_factory.mktemp("template") / "home"
    platform = geoetl.connect(made)
    bring_fields(platform, field_rows(8))
    submitted(platform, note="The first one.")
    platform.database.dispose()
    return made


@pytest.fixture
def platform(home: Path, template: Path) -> Platform:
    """Give a platform with one vector item, of which a release waits for review."""
    shutil.copytree(template, home, dirs_exist_ok=True)
    return geoetl.connect()


@pytest.fixture
def waiting(platform: Platform) -> Release:
    """Give that release."""
    return platform.publish.queue()[0].release


def made(platform: Platform, principal: Principal = APPROVER) -> ReviewModel:
    model = ReviewModel(platform, ReviewFeed(platform), principal)
    model.load()
    return model


def opened(platform: Platform, release: Release, principal: Principal = APPROVER) -> ReviewModel:
    model = made(platform, principal)
    model.open(release.id)
    assert model.opened is not None and model.problem is None
    return model


def told(model: ReviewModel) -> str:
    assert model.problem is not None
    return f"{model.problem.sentence} {model.problem.next_step}"


def state(platform: Platform, release: Release) -> State:
    return platform.publish.get(release.id).state


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_without_releases_the_queue_is_empty(home: Path) -> None:
    model = made(geoetl.connect())
    assert (model.releases, model.opened, model.problem, model.counts[Group.WAITING]) == ((), None, None, 0)


def test_what_waits_is_listed_the_longest_first_and_the_rest_by_group(platform: Platform, waiting: Release) -> None:
    bring_fields(platform, field_rows(2), item="second")
    second = submitted(platform, "second")
    model = made(platform)
    assert [one.id for one in model.releases] == [waiting.id, second.id]
    published(platform, waiting)
    platform.publish.reject(APPROVER, second.id, revision=second.revision, reason="No.")
    model.load()
    assert model.releases == ()
    assert model.counts == {**dict.fromkeys(Group, 0), Group.PUBLISHED: 1, Group.ENDED: 1}
    model.list_group(Group.ENDED)
    assert [one.id for one in model.releases] == [second.id]


def test_of_many_releases_more_are_listed_on_request(platform: Platform) -> None:
    for name in ("second", "third"):
        bring_fields(platform, field_rows(1), item=name)
        submitted(platform, name)
    model = made(platform)
    model._set(limit=2)
    model.load()
    assert (len(model.releases), model.more) == (2, True)
    model.list_more()
    assert (len(model.releases), model.more) == (3, False)


def test_what_others_do_comes_by_itself(platform: Platform, waiting: Release) -> None:
    model = opened(platform, waiting)
    model.follow()
    platform.publish.reject(OTHER, waiting.id, revision=waiting.revision, reason="No licence.")
    model.feed.look()
    assert model.opened.release.state is State.REJECTED
    assert (model.releases, model.counts[Group.ENDED]) == ((), 1)
    model.leave()


# -- what is seen ------------------------------------------------------------------------------------------------------


def test_a_first_release_is_seen_with_its_files_its_checks_and_on_the_map(platform: Platform, waiting: Release) -> None:
    model = opened(platform, waiting)
    seen = model.opened
    assert {"data.parquet", "fields.json"} <= {one.target for one in seen.new_objects}
    assert seen.before is None and seen.values == () and seen.gone_objects == ()
    assert [check.name for check in seen.checks if not check.is_right] == []
    drawn = model.looked.new
    assert drawn is not None and drawn.problem is None and drawn.archive.endswith(".pmtiles")
    assert drawn.style is not None and drawn.legend is not None
    assert (model.looked.old, model.looked.rows) == (None, None)
    assert [row.action for row in model.trail] == ["submit", "create"]


def test_a_release_is_seen_beside_what_is_public(platform: Platform, waiting: Release) -> None:
    published(platform, waiting)
    bring_fields(platform, [*field_rows(8, f03="Renamed")[1:], *field_rows(10)[8:]], title="Fields, again")
    model = opened(platform, submitted(platform))
    seen, rows = model.opened, model.looked.rows
    assert seen.before is not None and seen.before.id == waiting.id
    assert {one.name for one in seen.values} >= {"properties.title"}
    assert rows is not None and (rows.added, rows.updated, rows.deleted) == (2, 1, 1)
    assert model.looked.old is not None and model.looked.old.tiles is not None
    model.show_kind("updated")
    assert [one.key for one in model.listed()[0]] == ["f03"]
    model.choose(model.listed()[0][0].number)
    assert model.chosen is not None and model.chosen.columns == "name"


def test_what_is_public_is_read_where_it_is_public(platform: Platform, waiting: Release) -> None:
    published(platform, waiting)
    for one in waiting.manifest.objects:
        platform.zones.internal.delete(one.source.removeprefix("internal://"))
    model = opened(platform, waiting)
    assert model.looked.new is not None and model.looked.new.problem is None


def test_a_raster_is_seen_with_a_picture_and_its_values(platform: Platform) -> None:
    bring_hill(platform)
    published(platform, submitted(platform, HILL, IMAGES))
    bring_hill(platform, height=1200)
    model = opened(platform, submitted(platform, HILL, IMAGES))
    assert model.looked.new is not None and model.looked.new.picture is not None
    assert model.looked.old is not None and model.looked.old.picture is not None
    lines = {line.label: line.change for line in model.opened.numbers}
    assert lines["b1, maximum"] == "+200"
    assert model.looked.rows is None and model.looked.told == ""


def test_a_release_whose_files_are_gone_is_told_and_can_still_be_decided_on(
    platform: Platform, waiting: Release
) -> None:
    for one in waiting.manifest.objects:
        platform.zones.internal.delete(one.source.removeprefix("internal://"))
    model = opened(platform, waiting)
    assert model.looked.new is not None and model.looked.new.problem is not None
    assert model.opened.may(Action.REJECT)


def test_a_release_that_is_not_there_is_told(platform: Platform) -> None:
    model = made(platform)
    model.open("06h0nosuchrelease")
    assert told(model).startswith("There is no release '06h0nosuchrelease'.")


# -- deciding ----------------------------------------------------------------------------------------------------------


def test_an_approval_is_bound_to_what_was_seen_and_its_copy_is_queued(platform: Platform, waiting: Release) -> None:
    model = opened(platform, waiting)
    model.ask(Action.APPROVE)
    assert model.asking is not None and model.asking.manifest_digest == waiting.manifest_digest
    model.go_ahead("Looks right.")
    assert (model.problem, model.asking) == (None, None)
    assert model.said == "It is approved: exactly these files become public."
    stands = platform.publish.get(waiting.id)
    assert stands.state is State.APPROVED and stands.version == 1
    assert [run.pipeline for run in platform.runs.list()] == ["publish"]
    assert model.trail[0].action == "approve" and "Looks right." in model.trail[0].details


def test_what_is_not_cleared_is_approved_with_a_clearance(platform: Platform) -> None:
    release = submitted(platform, clearance=Clearance.UNCLEARED)  # in the place of the one that waits
    model = opened(platform, release)
    model.ask(Action.APPROVE)
    model.go_ahead()
    assert "not cleared for anybody" in told(model) and model.asking is not None
    model.go_ahead("", Clearance.RESTRICTED)
    assert platform.publish.get(release.id).clearance is Clearance.RESTRICTED
    assert platform.runs.list() == []


@pytest.mark.parametrize(
    ("action", "after"), [(Action.REJECT, State.REJECTED), (Action.REQUEST_CHANGES, State.CHANGES_REQUESTED)]
)
def test_what_is_turned_down_needs_a_reason(platform: Platform, waiting: Release, action: Action, after: State) -> None:
    model = opened(platform, waiting)
    model.ask(action)
    model.go_ahead("  ")
    assert model.problem is not None and model.problem.field == "reason"
    assert state(platform, waiting) is State.PENDING_REVIEW and model.asking is not None
    model.go_ahead("The licence is missing.")
    assert model.problem is None
    assert platform.publish.get(waiting.id).reason == "The licence is missing."
    assert state(platform, waiting) is after


@pytest.mark.parametrize("who", [VIEWER, AUTHOR, replace(AUTHOR, role=Role.OPERATOR, name="Ada as operator")])
def test_who_may_not_decide_is_refused_also_where_no_button_is(
    platform: Platform, waiting: Release, who: Principal
) -> None:
    model = opened(platform, waiting, who)
    assert all(deed.barred for deed in model.opened.deeds)
    model.ask(Action.APPROVE)
    assert model.asking is None and model.problem is not None
    assert state(platform, waiting) is State.PENDING_REVIEW


def test_a_reader_only_looks(platform: Platform, waiting: Release) -> None:
    model = opened(geoetl.connect(platform.settings.home, read_only=True), waiting)
    assert all("only reads" in deed.barred for deed in model.opened.deeds)


def test_of_two_who_decide_the_later_is_told_how_it_stands_and_sees_it(platform: Platform, waiting: Release) -> None:
    model = opened(platform, waiting)
    model.ask(Action.REJECT)
    platform.publish.approve(OTHER, waiting.id, revision=waiting.revision, manifest_digest=waiting.manifest_digest)
    model.go_ahead("No.")
    assert "is approved" in told(model)
    assert model.asking is None and model.opened.release.state is State.APPROVED
    assert state(platform, waiting) is State.APPROVED


def test_what_was_changed_after_it_was_seen_is_not_approved(platform: Platform, waiting: Release) -> None:
    model = opened(platform, waiting)
    model.ask(Action.APPROVE)
    bring_fields(platform, field_rows(3))
    changed = submitted(platform)
    assert changed.id == waiting.id and changed.manifest_digest != waiting.manifest_digest
    model.go_ahead()
    assert "was changed since" in told(model)
    assert model.opened.release.manifest_digest == changed.manifest_digest
    assert state(platform, waiting) is State.PENDING_REVIEW


def test_a_question_goes_when_the_release_changes(platform: Platform, waiting: Release) -> None:
    model = opened(platform, waiting)
    model.ask(Action.APPROVE)
    platform.publish.reject(OTHER, waiting.id, revision=waiting.revision, reason="No.")
    model.load()
    assert model.asking is None
    assert model.said == "It changed while you looked; it is now: rejected."


def test_an_approval_is_revoked(platform: Platform, waiting: Release) -> None:
    platform.publish.approve(OTHER, waiting.id, revision=waiting.revision, manifest_digest=waiting.manifest_digest)
    model = opened(platform, waiting)
    model.ask(Action.REVOKE)
    model.go_ahead("Too early.")
    assert state(platform, waiting) is State.WITHDRAWN


# -- withdrawing -------------------------------------------------------------------------------------------------------


def test_a_withdrawal_tells_first_what_would_go_and_is_then_queued(platform: Platform, waiting: Release) -> None:
    public = published(platform, waiting)
    model = opened(platform, public)
    model.ask(Action.WITHDRAW)
    assert model.asking is not None and model.asking.plan is not None
    assert {one.key for one in model.asking.plan.objects} >= {f"{PLACES}/{FIELDS}/v1/data.parquet"}
    assert state(platform, public) is State.PUBLISHED
    model.go_ahead()
    assert model.problem is not None and model.problem.field == "reason"
    model.go_ahead("It is wrong.")
    assert model.problem is None and model.run is not None and model.run.pipeline == "withdraw"
    assert model.run.parameters["reason"] == "It is wrong."


def test_a_withdrawal_is_undone(platform: Platform, waiting: Release) -> None:
    public = published(platform, waiting)
    releases = platform.publish.repository
    gone = releases.move(APPROVER, _withdrawal(public))
    model = opened(platform, gone)
    model.ask(Action.RESTORE)
    model.go_ahead("It was right.")
    assert model.problem is None
    assert state(platform, gone) is State.APPROVED


def _withdrawal(release: Release) -> geoetl.publish.steps.Step:
    return geoetl.publish.steps.Step(release.id, Action.WITHDRAW, release.revision, reason="Wrong.")


# -- the trail ---------------------------------------------------------------------------------------------------------


def test_the_log_is_verified_and_what_was_changed_in_it_is_told(platform: Platform, waiting: Release) -> None:
    model = opened(platform, waiting)
    assert model.verified is not None and model.verified.found.is_intact and model.verified.found.rows == 2
    with platform.database.begin() as connection:
        connection.execute(sa.text("drop trigger if exists publish_audit_log_no_update"))
        triggers = connection.execute(
            sa.text("select name from sqlite_master where type = 'trigger' and tbl_name = 'publish_audit_log'")
        ).scalars()
        for name in list(triggers):
            connection.execute(sa.text(f"drop trigger {name}"))
        connection.execute(sa.update(audit_log).where(audit_log.c.number == 1).values(actor="somebody else"))
    model.verify(wholly=True)
    fault = model.verified.found.fault
    assert fault is not None and (fault.number, fault.kind) == (1, Tampering.EDITED)


def test_what_is_new_in_the_log_is_verified_behind_what_was(platform: Platform, waiting: Release) -> None:
    model = opened(platform, waiting)
    platform.publish.reject(OTHER, waiting.id, revision=waiting.revision, reason="No.")
    model.load()
    assert model.verified is not None and model.verified.found.rows == 3


def test_people_are_told_by_name(platform: Platform, waiting: Release) -> None:
    model = opened(platform, waiting)
    assert model.person("local") == "Local operator"
    assert model.person(APPROVER.id) == APPROVER.name
    assert model.person("nobody") == "nobody"


# -- links -------------------------------------------------------------------------------------------------------------


def test_a_link_brings_about_what_it_says(platform: Platform, waiting: Release) -> None:
    model = made(platform)
    model.go(f"?show=ended&release={waiting.id}&tab=files")
    assert (model.show, model.tab, model.opened.release.id) == (Group.ENDED, "files", waiting.id)
    assert model.address().query() == f"?show=ended&release={waiting.id}&tab=files"
    model.go("")
    assert (model.opened, model.show, model.address().query()) == (None, Group.WAITING, "")
    model.go("?release=../x")
    assert model.problem is not None and model.problem.field == "release"
