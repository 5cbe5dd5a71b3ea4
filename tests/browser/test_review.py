"""The page *Review* in a real browser: one submits, another looks and decides."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

import geoetl
from geoetl.core.principal import Principal, Role, Via
from geoetl.platform import Platform
from geoetl.publish.model import Release, State
from tests.browser.conftest import Enter, serving
from tests.by_hand import HandWorker
from tests.reviewed import FIELDS, bring_fields, field_rows, published, submitted
from tests.served import PASSWORD

PWNED = "() => window.__pwned === undefined"
ATTACK = "</script><img src=x onerror=window.__pwned=1>"
ADA, OLGA, ABE, VERA = "ada", "olga", "abe", "vera"
_ROLES = {ADA: Role.EDITOR, OLGA: Role.OPERATOR, ABE: Role.APPROVER, VERA: Role.VIEWER}


@dataclass(frozen=True)
class Board:
    """A platform with four people, and the address of a dashboard that shows it.

    Attributes:
        platform: With an item of which version 1 is public; nothing waits.
        address: Of the server.
    """

    platform: Platform
    address: str

    @property
    def page(self) -> str:
        """The page with nothing opened."""
        return f"{self.address}/review"

    def who(self, name: str) -> Principal:
        """Return one of the people."""
        user = self.platform.identity.user(name)
        return Principal(user.id, user.name, user.role, Via.COOKIE)

    def submit(self, name: str = ADA, item: str = FIELDS) -> Release:
        """Let somebody submit the item as it is."""
        return self.platform.publish.submit(self.who(name), "places", item, note="Measured again.")

    def state(self, release: Release) -> State:
        """Return how a release stands."""
        return self.platform.publish.get(release.id).state


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a home with four people and a changed item of which a first version is public."""
    made: Path = tmp_path_factory.mktemp("template") / "home"
    platform = geoetl.connect(made)
    for name, role in _ROLES.items():
        platform.identity.add(name, role, PASSWORD)
    bring_fields(platform, field_rows(8))
    published(platform, submitted(platform))
    bring_fields(platform, [*field_rows(8, f03="Renamed")[1:], *field_rows(10)[8:]], title="Fields, measured again")
    platform.database.dispose()
    return made


@pytest.fixture
def board(template: Path, tmp_path: Path) -> Iterator[Board]:
    """Give a dashboard of a copy of it."""
    shutil.copytree(template, tmp_path / "home")
    platform = geoetl.connect(tmp_path / "home")
    with serving(platform) as address:
        yield Board(platform, address)


def test_one_submits_and_another_looks_approves_and_watches_the_copy(
    board: Board, enter: Enter, tmp_path: Path
) -> None:
    watched = enter(ABE, board.page)
    page = watched.page
    expect(page.get_by_role("heading", name="Nothing waits for review")).to_be_visible()
    page.screenshot(path=tmp_path / "empty.png")
    release = board.submit()
    row = page.get_by_role("button", name="Fields, measured again")
    expect(row).to_contain_text("ada")
    row.click()
    expect(page).to_have_url(f"{board.page}?release={release.id}")
    expect(page.locator(".state")).to_have_text("Waits for review")
    expect(page.get_by_role("slider", name="Where the second map begins")).to_be_visible()
    expect(page.locator(".side.left")).to_have_text("Published v1")
    expect(page.locator(".frame[data-ready=true]")).to_have_count(2)
    page.screenshot(path=tmp_path / "map.png")
    page.get_by_role("tab", name="What changed").click()
    expect(page.get_by_role("row", name="Rows 8 9 +1 (+12.5%)")).to_be_visible()
    expect(page.locator(".changes tbody tr")).to_have_count(4)
    page.screenshot(path=tmp_path / "changes.png")
    page.get_by_role("tab", name="Files (7)").click()
    expect(page).to_have_url(f"{board.page}?release={release.id}&tab=files")
    for one in release.manifest.objects:
        listed = page.get_by_role("row", name=one.target)
        expect(listed.locator("code")).to_have_attribute("title", one.sha256)
    with page.expect_download() as download:
        page.get_by_role("link", name="data.parquet").click()
    wanted = next(one.sha256 for one in release.manifest.objects if one.target == "data.parquet")
    assert hashlib.sha256(download.value.path().read_bytes()).hexdigest() == wanted
    page.screenshot(path=tmp_path / "files.png")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_label("Note, for whoever looks later")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("Approve exactly 7 files")
    expect(page.get_by_role("alert").locator("code")).to_have_attribute("title", release.manifest_digest)
    page.get_by_label("Note, for whoever looks later").fill("The names are right.")
    page.screenshot(path=tmp_path / "approve.png")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator(".state")).to_have_text("Approved")
    expect(page.get_by_text("The copy waits: no worker is at work.")).to_be_visible()
    approved = board.platform.publish.get(release.id)
    assert approved.approval is not None and approved.approval.by == board.who(ABE).id
    worker = HandWorker(board.platform)
    worker.claim()
    worker.begin("deliver", total=7)
    worker.progress("deliver", 3)
    expect(page.locator(".stage")).to_contain_text("3 of 7")
    page.screenshot(path=tmp_path / "copying.png")
    worker.finish()
    worker.leave()
    page.get_by_role("tab", name="History").click()
    expect(page.get_by_text("rows of the audit log are as they were written")).to_be_visible()
    expect(page.get_by_role("row", name="approved it as version 2 The names are right.")).to_be_visible()
    page.screenshot(path=tmp_path / "history.png")
    watched.check(board.address)


def test_nothing_is_rejected_without_a_reason_and_the_author_sees_it(
    board: Board, enter: Enter, tmp_path: Path
) -> None:
    release = board.submit()
    author = enter(ADA, f"{board.page}?release={release.id}").page
    expect(author.get_by_role("note")).to_contain_text("takes the role approver")
    watched = enter(ABE, f"{board.page}?release={release.id}&tab=checks")
    page = watched.page
    expect(page.get_by_role("row", name="Licence")).to_contain_text("CC-BY-4.0")
    page.get_by_role("button", name="Reject", exact=True).click()
    expect(page.get_by_label("Reason")).to_be_focused()
    page.get_by_role("button", name="Reject", exact=True).click()
    expect(page.get_by_text("It is not rejected without a reason. Say why.")).to_be_visible()
    expect(page.get_by_label("Reason")).to_have_attribute("aria-invalid", "true")
    page.screenshot(path=tmp_path / "no-reason.png")
    assert board.state(release) is State.PENDING_REVIEW
    page.get_by_label("Reason").fill("A field is missing.")
    page.get_by_role("button", name="Reject", exact=True).click()
    expect(page.locator(".state")).to_have_text("Rejected")
    expect(author.locator(".state")).to_have_text("Rejected")
    expect(author.get_by_text("A field is missing.").first).to_be_visible()
    watched.check(board.address)


def test_who_submitted_or_only_looks_sees_why_there_is_no_button(board: Board, enter: Enter, tmp_path: Path) -> None:
    release = board.submit(OLGA)
    for name, why in ((OLGA, "You submitted it: somebody else decides on it."), (VERA, "Your role is viewer")):
        page = enter(name, f"{board.page}?release={release.id}").page
        expect(page.get_by_role("note")).to_contain_text(why)
        for label in ("Approve", "Request changes", "Reject"):
            expect(page.get_by_role("button", name=label, exact=True)).to_have_count(0)
        page.screenshot(path=tmp_path / f"{name}.png")


def test_of_two_who_decide_the_later_sees_how_it_stands_now(board: Board, enter: Enter, tmp_path: Path) -> None:
    release = board.submit()
    page = enter(ABE, f"{board.page}?release={release.id}").page
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Approve exactly")
    said = {"revision": release.revision, "reason": "No."}
    board.platform.publish.reject(board.who(OLGA), release.id, **said)  # type: ignore[arg-type]
    expect(page.locator(".state")).to_have_text("Rejected")
    expect(page.get_by_text("It changed while you looked; it is now: rejected.")).to_be_visible()
    expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    page.screenshot(path=tmp_path / "too-late.png")


def test_a_withdrawal_shows_what_goes_before_anything_does(board: Board, enter: Enter, tmp_path: Path) -> None:
    watched = enter(ABE, f"{board.page}?show=published")
    page = watched.page
    page.get_by_role("button", name="Fields", exact=False).first.click()
    expect(page.locator(".state")).to_have_text("Published")
    page.get_by_role("button", name="Withdraw", exact=True).click()
    expect(page.get_by_role("region", name="Files that go")).to_contain_text("places/fields/v1/data.parquet")
    page.screenshot(path=tmp_path / "withdrawal.png")
    assert board.platform.runs.list() == []
    page.get_by_label("Reason").fill("It is wrong.")
    page.get_by_role("button", name="Withdraw", exact=True).click()
    expect(page.get_by_text("The withdrawal waits: no worker is at work.")).to_be_visible()
    (run,) = board.platform.runs.list()
    assert (run.pipeline, run.parameters["reason"]) == ("withdraw", "It is wrong.")
    watched.check(board.address)


def test_whatever_people_write_is_text(board: Board, enter: Enter, tmp_path: Path) -> None:
    said: dict[str, Any] = {"description": ATTACK, "attribution": ATTACK, "keywords": (ATTACK,)}
    bring_fields(board.platform, field_rows(4, f01=ATTACK), title=ATTACK, **said)
    release = board.platform.publish.submit(board.who(ADA), "places", FIELDS, note=ATTACK)
    watched = enter(ABE, f"{board.page}?release={release.id}")
    page = watched.page
    expect(page.get_by_role("heading", name=ATTACK)).to_be_visible()
    expect(page.locator(".frame[data-ready=true]").first).to_be_visible()
    for tab, named in {
        "What changed": "changes",
        "Files": "files",
        "Checks": "checks",
        "About": "about",
        "History": "history",
    }.items():
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        # The address follows when what the tab shows has come: nothing moves under the next click then.
        page.wait_for_url(lambda url, named=named: f"tab={named}" in url)
    page.get_by_role("button", name="Request changes", exact=True).click()
    expect(page.get_by_label("Reason")).to_be_focused()
    page.get_by_label("Reason").fill(ATTACK)
    page.get_by_role("button", name="Request changes", exact=True).click()
    expect(page.locator(".state")).to_have_text("Changes requested")
    page.screenshot(path=tmp_path / "attacked.png")
    assert page.evaluate(PWNED)
    watched.check(board.address)


def test_the_keyboard_reaches_everything(board: Board, enter: Enter) -> None:
    bring_fields(board.platform, field_rows(2), item="second", title="Second")
    first, second = board.submit(), board.submit(item="second")
    page = enter(ABE, board.page).page
    rows = page.locator("button.release")
    expect(rows).to_have_count(2)
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{board.page}?release={second.id}")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{board.page}?release={first.id}")
    page.get_by_role("slider", name="Where the second map begins").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("slider", name="Where the second map begins")).to_have_attribute("aria-valuenow", "45")
    page.get_by_role("tab", name="Map").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{board.page}?release={first.id}&tab=changes")
    page.get_by_role("button", name="Reject", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("No.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".state")).to_have_text("Rejected")
    page.go_back()
    expect(page).to_have_url(f"{board.page}?release={second.id}")
    page.go_back()
    expect(page).to_have_url(board.page)
    expect(page.get_by_role("heading", name="Choose a release")).to_be_visible()


def test_the_files_of_a_release_are_for_those_who_are_signed_in(board: Board, enter: Enter) -> None:
    release = board.submit()
    page = enter(VERA, board.page).page
    address = f"{board.address}/releases/{release.id}"
    for path in ("manifest", "files/data.parquet", f"files/{FIELDS}.json"):
        assert page.request.get(f"{address}/{path}").status == 200
    part = page.request.get(f"{address}/files/visual.pmtiles", headers={"Range": "bytes=0-6"})
    assert (part.status, part.body()) == (206, b"PMTiles")
    for path in ("files/nothing.tif", "files/../../../geoetl.db", "files/%2e%2e/geoetl.db"):
        assert page.request.get(f"{address}/{path}").status == 404
    page.context.clear_cookies()
    assert page.request.get(f"{address}/files/data.parquet").status == 401
