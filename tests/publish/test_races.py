"""Many processes decide at once, and some die: each release is decided on once, and the log tells of each once."""

import multiprocessing
import os
import random
import signal
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from geoetl.publish.model import Action, State
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import Step
from geoetl.publish.transition import move_within
from geoetl.publish.verification import verify
from geoetl.store.database import Database
from tests.publish.deciding import decide
from tests.publish.releasing import APPROVER, AUTHOR, NOW, a_content, a_step, brought

PROCESSES, PENDING, BATCH = 8, 40, 7


def test_eight_processes_decide_on_each_release_once(releases: ReleaseRepository) -> None:
    made = [releases.create(AUTHOR, a_content(f"item-{number}")) for number in range(PENDING)]
    seen = []
    for release in made:
        pending = releases.move(AUTHOR, a_step(release, Action.SUBMIT))
        seen.append((pending.id, pending.revision, pending.manifest_digest))
    before = releases.audit.head().number
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.publish.deciding"])
    drawn = random.Random(5)
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        url = releases.database.url
        orders = [drawn.sample(seen, len(seen)) for _ in range(PROCESSES)]
        asked = [pool.submit(decide, url, f"p{'x' * n}", order, BATCH) for n, order in enumerate(orders)]
        done = [one.result() for one in asked]
    won = Counter(release_id for mine, _ in done for release_id in mine)
    assert won == dict.fromkeys((release_id for release_id, *_ in seen), 1)
    assert sum(len(lost) for _, lost in done) == (PROCESSES - 1) * PENDING
    counts = releases.counts()
    assert counts[State.APPROVED] + counts[State.REJECTED] == PENDING
    assert counts[State.APPROVED] * counts[State.REJECTED] > 0
    rows = list(releases.audit.rows(before))
    decided = Counter(row.release_id for row in rows if row.action != "refused")
    assert decided == won
    assert len(rows) == PROCESSES * PENDING
    assert verify(releases.audit.rows(), releases.audit.head()).is_intact


def die_in_the_middle(url: str, steps: list[Step]) -> None:
    """Do steps, and be gone before the transaction ends."""
    with Database(url).begin() as connection:
        assert all(one.error is None for one in move_within(connection, APPROVER, steps, NOW))
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_leaves_nothing_half_done(releases: ReleaseRepository) -> None:
    made = [brought(releases, State.PENDING_REVIEW, f"item-{number}") for number in range(3)]
    steps = [a_step(release, Action.APPROVE) for release in made]
    head = releases.audit.head()
    context = multiprocessing.get_context("forkserver")
    for _ in range(2):
        process = context.Process(target=die_in_the_middle, args=(releases.database.url, steps))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert [releases.get(release.id) for release in made] == made
        assert releases.audit.head() == head
    assert all(one.error is None for one in releases.decide_many(APPROVER, steps))
    assert verify(releases.audit.rows(), releases.audit.head()).is_intact
