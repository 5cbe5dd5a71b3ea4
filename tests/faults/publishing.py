"""Kill what publishes at its system calls, or fill its disk there, and look at what the public sees.

Run as ``python -m tests.faults.publishing FOLDER HOW_MANY``, with 0 for all points: a process of its own, because it
forks. Each step (approve, copy, withdraw, audit) is done once under strace, which counts the system calls of each kind
by which it changes the world. Then it is done again for each of them in a child that strace kills at that call, or for
which from that call on there is no space left. Prints one JSON object.
"""

import importlib
import json
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import geoetl
from geoetl.core.errors import GeoetlError
from geoetl.core.identifiers import digest, file_digest
from geoetl.platform import Platform
from geoetl.publish.model import Action, Release, State
from geoetl.publish.publishing import Publishing
from geoetl.publish.steps import Step
from geoetl.publish.verification import verify
from tests.faults.tracing import DONE, NEED_SPACE, TOLD, Point, counted, ended, in_child, traced
from tests.publish.outside import VECTORS, vector
from tests.publish.releasing import APPROVER, AUTHOR
from tests.publish.running import Blind, bring, take_back

ITEM = "shires"

# -- the steps ---------------------------------------------------------------------------------------------------------


def connected(folder: Path) -> Platform:
    """Return the platform below a folder; without what opens the published things: that changes nothing."""
    platform = geoetl.connect(folder / "home")
    platform.__dict__["publish"] = replace(platform.publish, make_probe=Blind)
    return platform


def the_release(publish: Publishing) -> Release:
    """Return the one release that there is."""
    (release,) = publish.list().releases
    return release


def approve(platform: Platform) -> None:
    """Approve the release; its copy is queued."""
    release = the_release(platform.publish)
    if release.state is State.PENDING_REVIEW:
        seen = {"revision": release.revision, "manifest_digest": release.manifest_digest}
        platform.publish.approve(APPROVER, release.id, **seen)  # type: ignore[arg-type]
    platform.publish.do_due()


def copy(platform: Platform) -> None:
    """Copy the release, and let the catalogue lead there."""
    bring(platform, platform.publish, the_release(platform.publish))


def withdraw(platform: Platform) -> None:
    """Take it back, from the catalogue too."""
    take_back(platform, platform.publish, VECTORS, ITEM, 0, "everywhere")


def audit(platform: Platform) -> None:
    """Have something refused, which is written down, and keep the head of the log."""
    publish = platform.publish
    release = the_release(publish)
    with suppress(GeoetlError):
        publish.repository.move(AUTHOR, Step(release.id, Action.REVOKE, 1, reason="Too late."))
    publish.anchor.write(publish.audit)


STEPS: dict[str, Callable[[Platform], None]] = {
    "approve": approve, "copy": copy, "withdraw": withdraw, "audit": audit,
}  # fmt: skip
#: Where the release stands before and after each.
STANDS = {
    "approve": (State.PENDING_REVIEW, State.APPROVED),
    "copy": (State.APPROVED, State.PUBLISHED),
    "withdraw": (State.PUBLISHED, State.WITHDRAWN),
    "audit": (State.PUBLISHED, State.PUBLISHED),
}


def begin(folder: Path, step: str) -> None:
    """Bring everything from where the step before begins to where this one does."""
    platform = connected(folder)
    publish = platform.publish
    if step == "approve":
        vector(platform, folder / "home" / "files")
        publish.submit(AUTHOR, VECTORS, ITEM)
    elif step == "copy":
        release = the_release(publish)
        seen = {"revision": release.revision, "manifest_digest": release.manifest_digest}
        # Without a run in the queue.
        publish.repository.move(APPROVER, Step(release.id, Action.APPROVE, **seen))  # type: ignore[arg-type]
    elif step == "withdraw":
        copy(platform)
    platform.database.dispose()


# -- looking -----------------------------------------------------------------------------------------------------------


def look(folder: Path, step: str) -> None:
    """See that nothing is lost, nothing doubled, and nothing visible that is not whole."""
    platform = connected(folder)
    publish = platform.publish
    release = the_release(publish)
    on_the_way = (State.COPYING, State.COPY_FAILED) if step == "copy" else ()
    assert release.state in (*STANDS[step], *on_the_way), release.state
    found = verify(publish.audit.rows(), publish.anchor.read())
    assert found.is_intact, found.fault
    actions = Counter(row.action for row in publish.audit.rows())
    for once in ("create", "submit", "approve", "finish_copy", "withdraw", "remove_item"):
        assert actions[once] <= 1, actions
    external = folder / "home" / "external"
    linked = public(external)
    for path in (external / VECTORS / ITEM).glob("*"):
        assert files(path) == wanted(release), path
        assert path.name == "v1"
    assert linked in ([], [f"{VECTORS}/{ITEM}/v1/{ITEM}.json"]), linked
    if linked:
        assert files(external / VECTORS / ITEM / "v1") == wanted(release)
    if release.state is State.WITHDRAWN:
        assert not linked
    for one in release.manifest.objects:
        assert file_digest(platform.zones.internal.local_path(one.source.removeprefix("internal://"))) == one.sha256


def public(external: Path) -> list[str]:
    """Return the items to which the public catalogue leads, as paths; whatever it leads to is there."""
    if not (external / "catalog.json").exists():
        return []
    items = []
    for child in _links(external / "catalog.json", "child"):
        for item in _links(child, "item"):
            items.append(item.relative_to(external).as_posix())
            for asset in json.loads(item.read_text())["assets"].values():
                assert (item.parent / asset["href"]).resolve().is_file(), asset["href"]
    return items


def _links(document: Path, rel: str) -> list[Path]:
    links = json.loads(document.read_text())["links"]
    return [(document.parent / link["href"]).resolve() for link in links if link["rel"] == rel]


def files(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder, by name; of documents their content as canonical JSON."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            found[name] = digest(json.loads(path.read_text())) if name.endswith(".json") else file_digest(path)
    return found


def wanted(release: Release) -> dict[str, str]:
    """Return the same of what a release consists of."""
    documents = {target: digest(document) for target, document in release.manifest.documents.items()}
    return {**{one.target: one.sha256 for one in release.manifest.objects}, **documents}


def recover(folder: Path, step: str) -> None:
    """Do the step once more, and see that it comes to its end and leaves nothing behind."""
    platform = connected(folder)
    STEPS[step](platform)
    look(folder, step)
    release, publish = the_release(platform.publish), platform.publish
    assert release.state is STANDS[step][1], release.state
    actions = Counter(row.action for row in publish.audit.rows())
    assert actions["finish_copy"] == (release.state in (State.PUBLISHED, State.WITHDRAWN)), actions
    if step == "approve":
        assert [run.pipeline for run in platform.runs.list()] == ["publish"]
    if step == "withdraw":
        assert (actions["withdraw"], actions["remove_item"]) == (1, 1), actions
        publish.restore(APPROVER, release.id, revision=release.revision, reason="It was a test.")
        assert platform.catalog.item(VECTORS, ITEM)["id"] == ITEM
    external = folder / "home" / "external"
    on_the_way = [path for path in (external / ".incoming").rglob("*") if path.is_file() and "publish" in path.parts]
    assert not on_the_way, on_the_way
    assert bool(public(external)) is (release.state is State.PUBLISHED)
    assert (external / VECTORS / ITEM / "v1").exists() is (release.state is State.PUBLISHED)


# -- disturbing --------------------------------------------------------------------------------------------------------


def all_points(root: Path) -> list[Point]:
    """Prepare each step, do it once, and return where it can be disturbed."""
    points, before = [], root / "nothing"
    before.mkdir()
    for step in STEPS:
        pristine, clean, trace = root / step, root / "clean", root / "trace"
        shutil.copytree(before, pristine)
        before = pristine
        assert ended(in_child(partial(begin, pristine, step))) == DONE, step
        shutil.copytree(pristine, clean)
        assert traced(partial(_preloaded, clean, step), trace) == DONE, step
        calls = counted(trace)
        for call, number in sorted(calls.items()):
            points += [Point(step, call, one, full=False) for one in range(1, number + 1)]
            if call in NEED_SPACE:
                points += [Point(step, call, one, full=True) for one in range(1, number + 1)]
        for name in (clean / "modules").read_text().splitlines():
            # Loaded here once, and not in each child: that takes longer than the step itself.
            with suppress(ImportError):
                importlib.import_module(name)
        shutil.rmtree(clean)
    return points


def _preloaded(folder: Path, step: str) -> None:
    _done(folder, step)
    (folder / "modules").write_text("\n".join(sys.modules))


def _done(folder: Path, step: str) -> None:
    STEPS[step](connected(folder))


def main(root: Path, how_many: int) -> dict[str, Any]:
    """Try points, and return what was seen.

    Args:
        root: Empty folder.
        how_many: So many, evenly; 0 for all.
    """
    points = all_points(root)
    every = max(1, len(points) // how_many) if how_many else 1
    wrong, slowest, seen = [], 0.0, Counter({"killed": 0, "told": 0, "got through": 0, "missed": 0})
    for point in points[every // 2 :: every]:
        folder, trace = root / "now", root / "trace"
        shutil.copytree(root / point.step, folder)
        result = traced(partial(_done, folder, point.step), trace, "-e", f"inject={point.injection}")
        is_hit = result == -signal.SIGKILL or "INJECTED" in trace.read_text(errors="replace")
        # Which thread does how much differs from time to time: another one may do the last of a kind.
        kinds = {-signal.SIGKILL: "killed", TOLD: "told", DONE: "got through" if is_hit else "missed"}
        if result not in kinds or (result == -signal.SIGKILL) is not (is_hit and not point.full):
            wrong.append(f"{point}: it ended with {result}")
        seen[kinds.get(result, "wrong")] += 1
        if ended(in_child(partial(look, folder, point.step))) != DONE:
            wrong.append(f"{point}: what is there is not whole")
        started = time.monotonic()
        if ended(in_child(partial(recover, folder, point.step))) != DONE:
            wrong.append(f"{point}: it did not come to its end afterwards")
        slowest = max(slowest, time.monotonic() - started)
        shutil.rmtree(folder)
    by_step = Counter(point.step for point in points)
    return {
        "of": len(points), "tried": seen.total(), "seen": seen, "by_step": by_step, "wrong": wrong,
        "slowest_s": round(slowest, 2),
    }  # fmt: skip


if __name__ == "__main__":
    # What Python keeps of a compiled module is no effect of the work, and is there the next time.
    sys.dont_write_bytecode = True
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
