"""A scheduler whose machine has another time: looks for what is due each time that a line comes in.

``python -m tests.faults.scheduling URL`` is run with libfaketime, which tells it the time of a file. First it
prints what it takes for the time, then for each line the slots that it has dealt with.
"""

import sys
import time

from geoetl.runs.queue import RunQueue
from geoetl.runs.schedule import Schedules
from geoetl.store.database import Database
from tests.faults.test_runs_chaos import prepare


def main(url: str) -> None:
    """Answer until there is nothing more to read."""
    schedules = Schedules(RunQueue(Database(url)), prepare)
    print(int(time.time()), flush=True)
    for _ in sys.stdin:
        print(*(slot.slot for slot in schedules.tick()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
