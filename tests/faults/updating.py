"""Kill an update of a managed dataset before each of its effects in turn, and look what readers see.

Run as ``python -m tests.faults.updating FOLDER STEP``, for every STEP-th of them: a process of its own, because it
forks. The update in a child counts what it does to the world: each statement and commit of the database, and each file
that is opened for writing, renamed or removed. The child with the number n kills itself before its n-th. Prints one
JSON object.
"""

import gc
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import geoetl
from geoetl.datasets import UpdateStatus, VersionState
from geoetl.datasets.handlers import installed_handlers
from geoetl.platform import Platform
from tests.datasets.released import COLLECTION, ID, ITEM, Upkeep, lands

OLD, NEW = 6, 7
# What takes longer hangs.
PATIENCE_S = 120
_CHANGING = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}


class Effects:
    """Counts effects, and kills the process before one of them.

    Args:
        last: Which; 0 for none.
    """

    def __init__(self, last: int) -> None:
        self.count = 0
        self._last, self._is_watching = last, False
        sys.addaudithook(self._audited)

    def watch(self, engine: sa.Engine) -> None:
        """Count from now on."""
        sa.event.listen(engine, "before_cursor_execute", lambda *args: self._pass())
        sa.event.listen(engine, "commit", lambda connection: self._pass())
        self._is_watching = True

    def _audited(self, event: str, args: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if self._is_watching and (writes or event in _CHANGING):
            self._pass()

    def _pass(self) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], object]) -> int:
    """Do something in a forked process; return how it ended, as `os.waitstatus_to_exitcode` says it."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE_S)
        ended = 1
        try:
            work()
            ended = 0
        finally:
            if ended:
                traceback.print_exc()
            os._exit(ended)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def connected(folder: Path) -> Upkeep:
    """Return the platform below a folder."""
    return Upkeep(platform_below(folder), folder / "drop")


def platform_below(folder: Path) -> Platform:
    """Return the platform below a folder, for which no file declares a dataset."""
    (managed := folder / "managed").mkdir(exist_ok=True)
    return geoetl.connect(folder / "home", allowed_roots=(folder,), managed=managed)


def begin(folder: Path) -> None:
    """Serve the first version, and put the second release into the folder of the source."""
    platform = platform_below(folder)
    upkeep = Upkeep.begin(platform, folder / "drop", keep_versions=1)
    upkeep.release(lands(OLD))
    assert upkeep.update().status is UpdateStatus.COMPLETED
    upkeep.release(lands(NEW))
    platform.database.dispose()


def update(folder: Path, last: int) -> None:
    """Update, and kill this process before its effect of the number `last`."""
    upkeep = connected(folder)
    effects = Effects(last)
    upkeep.platform.datasets.repository.get(ID)
    effects.watch(upkeep.platform.database.engine)
    upkeep.update()
    (folder / "effects").write_text(str(effects.count))


def look(folder: Path) -> None:
    """Write how many countries readers see, after a look that it is one version, whole."""
    upkeep = connected(folder)
    platform = upkeep.platform
    live = platform.datasets.repository.live(ID)
    assert live is not None
    states = [version.state for version in platform.datasets.repository.versions(ID)]
    assert states.count(VersionState.LIVE) == 1
    item = platform.catalog.item(COLLECTION, ITEM)
    assert len(upkeep.served()) == live.profile.rows == item["properties"]["table:row_count"]
    assert platform.vector_tiles.tile(COLLECTION, ITEM, 0, 0, 0)
    assert platform.datasets.repository.get(ID).live_version == live.number
    (folder / "seen").write_text(str(live.profile.rows))


def recover(folder: Path) -> None:
    """Update once more: the new version is served, and nothing is left of the update that died."""
    upkeep = connected(folder)
    upkeep.update()
    platform = upkeep.platform
    assert len(upkeep.served()) == NEW
    assert all(record.status.is_over for record in platform.datasets.repository.history(ID))
    kept = platform.datasets.repository.versions(ID, states=[VersionState.LIVE, VersionState.KEPT])
    assert [version.profile.rows for version in kept] == [NEW, OLD]
    (folder / "objects").write_text("\n".join(sorted(upkeep.objects())))


def rehearse(folder: Path) -> None:
    """Do it all, killing nothing, and write of how many effects the update consists and what it was done with."""
    update(folder, 0)
    look(folder)
    recover(folder)
    (folder / "modules").write_text("\n".join(sys.modules))


def _files(folder: Path, name: str) -> str:
    return (folder / name).read_text()


def main(root: Path, step: int) -> dict[str, Any]:
    """Try every point, and return what was seen."""
    pristine, clean = root / "pristine", root / "clean"
    pristine.mkdir()
    assert in_child(lambda: begin(pristine)) == 0
    shutil.copytree(pristine, clean)
    _follow(clean)
    assert in_child(lambda: rehearse(clean)) == 0
    points = int(_files(clean, "effects"))
    # Loaded and looked up here once, and not in each child: that takes longer than the update itself.
    for name in _files(clean, "modules").splitlines():
        with suppress(ImportError):
            importlib.import_module(name)
    installed_handlers()
    expected = _files(clean, "objects")
    # What the children have in common is not looked through by their collectors, which would copy all of it.
    gc.freeze()
    seen, wrong, slowest = {OLD: 0, NEW: 0}, [], 0.0
    for point in range(1, points + 1, step):
        folder = root / "now"
        shutil.copytree(pristine, folder)
        _follow(folder)
        ended = in_child(lambda folder=folder, point=point: update(folder, point))
        if ended != -signal.SIGKILL:
            wrong.append(f"{point}: it was not killed ({ended})")
        if in_child(lambda folder=folder: look(folder)) != 0:
            wrong.append(f"{point}: what is served is not whole")
        else:
            seen[int(_files(folder, "seen"))] += 1
        started = time.monotonic()
        if in_child(lambda folder=folder: recover(folder)) != 0:
            wrong.append(f"{point}: the next update failed")
        elif _files(folder, "objects") != expected:
            left = set(_files(folder, "objects").splitlines()) ^ set(expected.splitlines())
            wrong.append(f"{point}: there are other objects than there should be: {sorted(left)}")
        slowest = max(slowest, time.monotonic() - started)
        shutil.rmtree(folder)
    return {
        "points": sum(seen.values()),
        "of": points,
        "old": seen[OLD],
        "new": seen[NEW],
        "wrong": wrong,
        "slowest_s": round(slowest, 2),
    }


def _follow(folder: Path) -> None:
    """Point what was copied at its new place."""
    database = sa.create_engine(f"sqlite:///{folder / 'home' / 'geoetl.db'}")
    with database.begin() as connection:
        connection.execute(sa.text("update curated_datasets set source_url = :url"), {"url": str(folder / "drop")})
    database.dispose()


if __name__ == "__main__":
    # What Python keeps of a compiled module is no effect of the work, and is there the next time.
    sys.dont_write_bytecode = True
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
