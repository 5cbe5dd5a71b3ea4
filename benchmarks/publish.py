"""Promises of publishing.

    decisions_per_s     releases that 8 processes approve a second, who share a queue                   at least 2,000
    tries_per_s         decisions on the same releases that 8 processes try a second, one of 8 granted  at least 2,000
    append_per_s        rows added to the audit log a second                                            at least 2,000
    verify_rows_per_s   rows of the audit log read and verified a second                                at least 50,000
    copy_vs_bare        10,000 objects delivered between folders / copied by obstore alone, its rate    at least 0.8
    copy_vs_bare_s3     the same within an S3 server on this machine                                    no promise

The first four on SQLite as it is used: write-ahead log, synced at each commit.

For the first two, 8 processes that have loaded everything wait for a sign. Then, for the first, each looks for what is
pending, from a place of its own on, approves it in a batch, and looks again until nothing is left. For the second, each
tries to approve every one of the releases, whatever the others did meanwhile. What is granted and what is refused
leaves a row in the audit log; what is granted a notification too. The time is that from the sign to the end of the last
process. Afterwards each release has been approved once, and the log is whole.

What is delivered is collected, read back whole and compared with its digests, written to the disk, brought into place
and recorded; what is copied by obstore alone is read and written by as many threads, with nothing verified and nothing
waited for. They take turns, the rate is that of each pair, and what was written before is on the disk when one begins.
In S3 what is public is never seen before it was read back, which needs two requests more for each object; there is no
way around them, so nothing is promised.
"""

import argparse
import hashlib
import json
import os
import platform as machine
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from geoetl.core.identifiers import new_id
from geoetl.core.principal import Principal, Role, Via
from geoetl.core.settings import LimitSettings
from geoetl.publish.audit import AuditLog, Entry, append_many
from geoetl.publish.copiers.objects import ObjectsCopier
from geoetl.publish.delivery import Delivery
from geoetl.publish.model import Action, Clearance, Manifest, ManifestObject, State, asset_id
from geoetl.publish.repository import ReleaseRepository
from geoetl.publish.steps import Content, Step
from geoetl.publish.tables import queue
from geoetl.publish.transition import move_within
from geoetl.publish.verification import verify
from geoetl.store.artifacts import ArtifactRepository
from geoetl.store.database import Database
from geoetl.store.gate import Gate
from geoetl.store.origins import Origins
from geoetl.store.zones import Zone, Zones, connect

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results" / "publish.json"
AT_LEAST = {
    "decisions_per_s": 2000.0,
    "tries_per_s": 2000.0,
    "append_per_s": 2000.0,
    "verify_rows_per_s": 50_000.0,
    "copy_vs_bare": 0.8,
}
PROCESSES = 8
BATCH = 250
AUTHOR = Principal("author", "Author", Role.EDITOR, Via.LOCAL)


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        pending: Releases that wait.
        contested: Releases that all processes try to approve.
        rows: Of the audit log.
        objects, s3_objects: That are copied between folders, and within S3.
        rounds: How often it is measured.
    """

    pending: int
    contested: int
    rows: int
    objects: int
    s3_objects: int
    rounds: int


QUICK = Sizes(pending=10_000, contested=2_000, rows=50_000, objects=10_000, s3_objects=1_000, rounds=3)
FULL = Sizes(pending=10_000, contested=10_000, rows=200_000, objects=10_000, s3_objects=10_000, rounds=5)


@dataclass
class Measured:
    """What came out."""

    result: dict[str, Any] = field(default_factory=dict)
    rounds: dict[str, list[float]] = field(default_factory=dict)
    equal: bool = True

    def compare(self, same: bool, what: str) -> None:
        """Note whether something is as it has to be."""
        if not same:
            self.equal = False
            print(f"DIFFERENT: {what}")

    def note(self, key: str, value: float) -> None:
        """Note one round."""
        self.rounds.setdefault(key, []).append(value)

    def settle(self, key: str) -> float:
        """Take the median of the rounds."""
        self.result[key] = round(statistics.median(self.rounds[key]), 2)
        return float(self.result[key])


# -- decisions ---------------------------------------------------------------------------------------------------------


def fill(database: Database, count: int) -> None:
    """Put releases into the table that wait for review."""
    now, rows = time.time(), []
    for number in range(count):
        item = f"item-{number}"
        data = ManifestObject(
            source=f"rasters/{item}.tif",
            target=f"rasters/{item}.tif",
            bytes=1,
            sha256=f"{number:064x}",
            media_type="image/tiff; application=geotiff; profile=cloud-optimized",
            role="data",
        )
        manifest = Manifest(collection="hazards", item=item, objects=(data,))
        rows.append(
            {
                "id": new_id(),
                "asset_id": asset_id("hazards", item),
                "collection": "hazards",
                "item": item,
                "state": State.PENDING_REVIEW,
                "revision": 2,
                **Content(manifest, Clearance.PUBLIC).columns(),
                "submitted_by": AUTHOR.id,
                "submitted_at": now,
                "created_at": now,
                "updated_at": now,
            }
        )
    with database.begin() as connection:
        connection.execute(sa.insert(queue), rows)


def decide(url: str, number: int, go: Path, *, contest: bool) -> None:
    """Be a process that approves, from the moment a file appears."""
    releases = ReleaseRepository(Database(url))
    actor = Principal(f"approver{number}", f"Approver {number}", Role.APPROVER, Via.TOKEN)
    everything = look(releases, 0)
    start = everything[len(everything) * number // PROCESSES].seq
    with releases.database.begin() as connection:  # statements are compiled at their first use; nothing is kept
        move_within(connection, actor, as_steps(everything[:1]), time.time())
        connection.rollback()
    print("ready", flush=True)
    while not go.exists():
        time.sleep(0.005)
    outcomes = []
    if contest:
        steps = as_steps([*(row for row in everything if row.seq >= start), *everything])[: len(everything)]
        outcomes = releases.decide_many(actor, steps)
    else:
        while rows := look(releases, start, limit=BATCH) or look(releases, 0, limit=BATCH):
            outcomes += releases.decide_many(actor, as_steps(rows))
    won = [one.release_id for one in outcomes if one.error is None]
    print(json.dumps({"ended": time.time(), "won": won, "tries": len(outcomes)}), flush=True)


def look(releases: ReleaseRepository, start: int, *, limit: int | None = None) -> Sequence[Any]:
    """Return what is pending, from a place on."""
    query = (
        sa.select(queue.c.seq, queue.c.id, queue.c.revision, queue.c.manifest_digest)
        .where(queue.c.state == State.PENDING_REVIEW, queue.c.seq >= start)
        .order_by(queue.c.seq)
        .limit(limit)
    )
    with releases.database.read() as connection:
        return connection.execute(query).all()


def as_steps(rows: Sequence[Any]) -> list[Step]:
    """Return the steps that approve what was seen."""
    return [Step(row.id, Action.APPROVE, row.revision, manifest_digest=row.manifest_digest) for row in rows]


def measure_decisions(found: Measured, folder: Path, sizes: Sizes, *, contest: bool) -> None:
    """Measure eight processes that approve what is in one queue."""
    key, count = ("tries_per_s", sizes.contested) if contest else ("decisions_per_s", sizes.pending)
    for round_number in range(sizes.rounds):
        url = f"sqlite:///{folder / f'{key}-{round_number}.db'}"
        database = Database(url)
        database.upgrade()
        fill(database, count)
        go = folder / f"{key}-{round_number}"
        command = [sys.executable, __file__, "--decide", url, "--go", str(go), *(["--contest"] if contest else [])]
        processes = [
            subprocess.Popen([*command, "--number", str(number)], stdout=subprocess.PIPE, text=True)
            for number in range(PROCESSES)
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        started = time.time()
        go.touch()
        answers = [json.loads(process.communicate()[0]) for process in processes]
        seconds = max(answer["ended"] for answer in answers) - started
        tries = sum(answer["tries"] for answer in answers)
        found.note(key, (tries if contest else count) / seconds)
        won = Counter(release_id for answer in answers for release_id in answer["won"])
        found.compare(set(won.values()) == {1} and len(won) == count, "a release was not decided on once")
        releases = ReleaseRepository(database)
        found.compare(releases.counts()[State.APPROVED] == count, "not all were approved")
        looked = verify(releases.audit.rows(), releases.audit.head())
        found.compare(looked.is_intact and looked.rows == tries, "the log is not whole")
        database.dispose()
    what = "tries at the same releases" if contest else "releases approved"
    print(f"{'decisions':<10} {found.settle(key):10,.0f} {what}/s by {PROCESSES} processes")


# -- the log -----------------------------------------------------------------------------------------------------------


def measure_log(found: Measured, folder: Path, sizes: Sizes) -> None:
    """Measure adding to the log, a hundred rows in a transaction, and verifying it."""
    database = Database(f"sqlite:///{folder / 'log.db'}")
    database.upgrade()
    log = AuditLog(database)
    details = {"by": {"name": "Approver", "role": "approver", "via": "token"}, "reason": "It is as it should be."}
    now = time.time()
    entry = Entry(new_id(), "a" * 32, "approve", "pending_review", "approved", "approver", "b" * 64, now, details)
    each = sizes.rows // sizes.rounds
    for _ in range(sizes.rounds):
        started = time.perf_counter()
        for _ in range(0, each, 100):
            with database.begin() as connection:
                append_many(connection, [entry] * 100)
        found.note("append_per_s", each / (time.perf_counter() - started))
    head = log.head()
    for _ in range(sizes.rounds):
        started = time.perf_counter()
        looked = verify(log.rows(), head)
        found.note("verify_rows_per_s", looked.rows / (time.perf_counter() - started))
        found.compare(looked.is_intact and looked.head == head, "a right log was blamed")
    database.dispose()
    print(f"{'append':<10} {found.settle('append_per_s'):10,.0f} rows/s")
    print(f"{'verify':<10} {found.settle('verify_rows_per_s'):10,.0f} rows/s of {head.number:,}")


# -- copies ------------------------------------------------------------------------------------------------------------


def new_records(folder: Path) -> ArtifactRepository:
    """Return the records of a new database."""
    database = Database(f"sqlite:///{folder / 'records.db'}")
    database.upgrade()
    return ArtifactRepository(database)


def make_objects(zone: Zone, count: int) -> tuple[ManifestObject, ...]:
    """Put objects of mixed sizes into a zone, about 106 KB in the mean: tiles of pyramids, chunks, a few rasters."""
    draw, content = random.Random(8), os.urandom(4 * 1024**2)
    objects = []
    for number in range(count):
        low, high = draw.choices([(4, 64), (64, 256), (1024, 2200)], [70, 28, 2])[0]
        size, start = draw.randint(low * 1024, high * 1024), draw.randint(0, 1024**2)
        part, key = content[start : start + size], f"made/{number // 500}/{number}.tif"
        if zone.root:
            path = zone.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(part)
        else:
            import obstore

            obstore.put(zone.store, key, part, attributes={"Content-Type": "image/tiff"})
        digest = hashlib.sha256(part).hexdigest()
        objects.append(
            ManifestObject(
                source=f"internal://{key}", target=key, bytes=size, sha256=digest, media_type="image/tiff", role="data"
            )
        )
    return tuple(objects)


def copy_bare(zones: Zones, objects: Sequence[ManifestObject], workers: int) -> float:
    """Copy with obstore alone; return how long it takes, seconds."""
    import obstore

    if zones.external.root:
        (zones.external.root / "bare").mkdir(parents=True)
    source, target = connect(zones.internal.url), connect(f"{zones.external.url}/bare")

    def copy(one: ManifestObject) -> None:
        found = obstore.get(source, one.source.removeprefix("internal://"))
        kept = {"Content-Type": one.media_type} if zones.external.root is None else None
        obstore.put(target, one.target, found.bytes(), attributes=kept)

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(copy, objects):
            pass
    seconds = time.perf_counter() - started
    if zones.external.root:
        shutil.rmtree(zones.external.root / "bare")
    else:
        obstore.delete(target, [one.target for one in objects])
    os.sync()
    return seconds


def deliver(zones: Zones, objects: tuple[ManifestObject, ...], number: int, found: Measured) -> float:
    """Deliver a release, and remove it; return how long the former takes, seconds."""
    origins = Origins(zones, Gate((), LimitSettings()))
    delivery = Delivery(zones.external, origins, ObjectsCopier(origins))
    documents = {"item.json": {"type": "Feature"}}
    manifest = Manifest(collection="hazards", item="item", version=number, objects=objects, documents=documents)
    started = time.perf_counter()
    done = delivery.deliver(manifest, f"release-{number}", lambda count, size: None)
    seconds = time.perf_counter() - started
    found.compare(done.copied == len(objects) + 1 and delivery.is_complete(manifest), "not all was delivered")
    delivery.remove(manifest)
    os.sync()
    return seconds


def measure_copies(found: Measured, key: str, zones: Zones, count: int, rounds: int) -> None:
    """Measure deliveries beside copies of obstore."""
    objects = make_objects(zones.internal, count)
    size = sum(one.bytes for one in objects)
    os.sync()
    for number in range(1, rounds + 1):
        bare = copy_bare(zones, objects, ObjectsCopier.workers)
        ours = deliver(zones, objects, number, found)
        found.note(key, bare / ours)
        found.note(f"{key}_mb_per_s", size / ours / 1e6)
    rate = found.settle(f"{key}_mb_per_s")
    print(f"{'copies':<10} {found.settle(key):10.2f} of the rate of obstore, {rate:,.0f} MB/s: {key}")


def measure_s3(found: Measured, folder: Path, records: ArtifactRepository, sizes: Sizes) -> None:
    """Measure deliveries from one bucket of an S3 server to another."""
    for bucket in ("internal", "external"):
        (folder / "s3" / bucket).mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-bench", "AWS_REGION": "us-east-1"}
    os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true"}
    command = [sys.executable, "-m", "nanio", "serve", "--data-dir", str(folder / "s3"), "--host", "127.0.0.1"]
    command += ["--port", port, "--no-access-log", "--log-level", "error"]
    environment = {**os.environ, "NANIO_ACCESS_KEY": "bench", "NANIO_SECRET_KEY": "bench-bench"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(port))).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        zones = Zones(
            *(Zone(name, f"s3://{name}/zone", records, folder / "cache") for name in ("internal", "external"))
        )
        measure_copies(found, "copy_vs_bare_s3", zones, sizes.s3_objects, sizes.rounds)
    finally:
        server.terminate()
        server.wait()


# -- the result --------------------------------------------------------------------------------------------------------


def broken(found: Measured) -> list[str]:
    """Return the promises that were not kept."""
    got = found.result
    missed = [f"{key} is {got[key]}, promised {least}" for key, least in AT_LEAST.items() if got[key] < least]
    return missed if found.equal else [*missed, "results differ"]


def save(found: Measured, load_before: tuple[float, ...], *, quick: bool) -> None:
    """Write what was measured, with every round of it."""
    RESULTS.parent.mkdir(exist_ok=True)
    document = {
        "when": time.strftime("%Y-%m-%d"),
        "sizes": "quick" if quick else "full",
        "machine": {
            "cores": os.cpu_count(),
            "system": machine.platform(),
            # Of the machine: above zero, others worked beside it.
            "load_average_before": [round(value, 2) for value in load_before],
            "load_average_after": [round(value, 2) for value in os.getloadavg()],
        },
        "versions": {
            "python": machine.python_version(),
            "sqlalchemy": version("sqlalchemy"),
            "obstore": version("obstore"),
        },
        "result": {**found.result, "equal": found.equal},
        "rounds": {key: [round(value, 2) for value in values] for key, values in found.rounds.items()},
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def main() -> int:
    """Measure, print the table and, as the last line, the result; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer releases, rows and rounds")
    parser.add_argument("--save", action="store_true", help=f"write every round to {RESULTS.relative_to(ROOT.parent)}")
    parser.add_argument("--decide", help=argparse.SUPPRESS)
    parser.add_argument("--go", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--contest", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.decide:
        decide(arguments.decide, arguments.number, arguments.go, contest=arguments.contest)
        return 0
    sizes = QUICK if arguments.quick else FULL
    found = Measured()
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        measure_decisions(found, Path(folder), sizes, contest=False)
        measure_decisions(found, Path(folder), sizes, contest=True)
        measure_log(found, Path(folder), sizes)
        records = new_records(Path(folder))
        zones = Zones(
            *(
                Zone(name, (Path(folder) / name).as_uri(), records, Path(folder) / "cache")
                for name in ("internal", "external")
            )
        )
        measure_copies(found, "copy_vs_bare", zones, sizes.objects, sizes.rounds)
        measure_s3(found, Path(folder), records, sizes)
    if arguments.save:
        save(found, load_before, quick=arguments.quick)
    missed = broken(found)
    for promise in missed:
        print(f"BROKEN: {promise}")
    print(json.dumps({**found.result, "equal": found.equal}))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
