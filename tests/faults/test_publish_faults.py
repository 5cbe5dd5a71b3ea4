"""Killed at any system call, or on a full disk: the public sees all or nothing, and the next try comes to the end."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# So many of the points at which a step changes the world; ``make chaos`` takes all of them (0).
POINTS = int(os.environ.get("GEOETL_TEST_PUBLISH_POINTS", 25))
LEAST_POINTS = 300
RECOVERY_S = 10.0


def test_wherever_publishing_is_killed_or_has_no_space_nothing_is_lost_doubled_or_half_visible(
    tmp_path: Path, require: Callable[[str, str], str]
) -> None:
    require("strace", "on Debian and Ubuntu: apt-get install strace")
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.faults.publishing", str(tmp_path), str(POINTS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=7200,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    seen = json.loads(told.stdout.splitlines()[-1])
    assert seen["wrong"] == [], told.stderr[-3000:]
    assert seen["of"] >= LEAST_POINTS
    assert min(seen["by_step"][step] for step in ("approve", "copy", "withdraw", "audit")) > 0
    assert seen["tried"] >= min(POINTS or seen["of"], seen["of"])
    assert min(seen["seen"]["killed"], seen["seen"]["told"]) > 0
    assert seen["seen"]["missed"] <= max(1, seen["tried"] // 10)
    assert seen["slowest_s"] < RECOVERY_S
