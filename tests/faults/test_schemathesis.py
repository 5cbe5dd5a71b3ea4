"""Whatever the description of the API allows, and much that it does not: no server error, no status that it hides.

``GEOETL_TEST_FUZZ_S`` is how long it asks; the long form is ``make chaos``.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import dashboards.app
import geoetl
from tests import catalogued
from tests.datasets.released import declared_here
from tests.served import serving

# In every test run; enough for a first look at each operation.
SHORT_S = 40


def test_no_operation_answers_with_an_error_of_the_server_or_a_status_that_it_hides(tmp_path: Path) -> None:
    seconds = int(os.environ.get("GEOETL_TEST_FUZZ_S", SHORT_S))
    # A plan asks the source of a dataset: here it is a file.
    platform = geoetl.connect(tmp_path / "home", managed=declared_here(tmp_path / "managed"))
    catalogued.fill(platform, tmp_path / "home" / "shelf")
    with serving(dashboards.app.create_app(platform)) as address:
        command = [
            Path(sys.executable).with_name("schemathesis"),
            "run",
            f"{address}/api/openapi.json",
            "--checks=not_a_server_error,status_code_conformance",
            "--phases=examples,coverage,fuzzing",
            f"--max-time={seconds}",
            "--max-examples=100000",
            "--continue-on-failure",
            "--suppress-health-check=all",
            "--request-timeout=10",
            "--no-color",
            "--generation-deterministic" if os.environ.get("CI") else "--generation-database=:memory:",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-8000:]
        cases = re.search(r"([\d,]+) generated", said)
        assert cases, said[-3000:]
        print(f"{cases[1]} questions in {seconds} s")
