"""Whenever an update of a managed dataset is killed, readers see one version, whole; the next one cleans up."""

import json
import os
import subprocess
import sys
from pathlib import Path

# Every so-many-th of the effects of an update; ``make chaos`` takes all of them.
STEP = int(os.environ.get("GEOETL_TEST_UPDATE_STEP", 3))
LEAST_POINTS = 100
RECOVERY_S = 10.0


def test_killed_before_any_effect_an_update_leaves_one_version_whole(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.faults.updating", str(tmp_path), str(STEP)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    seen = json.loads(told.stdout.splitlines()[-1])
    assert seen["wrong"] == [], told.stderr[-3000:]
    assert seen["points"] >= LEAST_POINTS
    # Before the one transaction that swaps, the old version; behind it, the new one.
    assert seen["old"] > 0 and seen["new"] > 0
    assert seen["slowest_s"] < RECOVERY_S
