"""Plan a conversion and run it."""

import time
from collections.abc import Callable, Sequence
from operator import call
from pathlib import Path
from typing import Any

from geoetl.core.errors import Unavailable
from geoetl.core.identifiers import digest
from geoetl.core.settings import DaskSettings
from geoetl.runs.cluster import client
from geoetl.store.gate import Gate
from geoetl.virtual.convert.check import checks
from geoetl.virtual.convert.layout import lay_out
from geoetl.virtual.convert.model import Chunking, Converted, ZarrPlan
from geoetl.virtual.convert.place import TEMPLATE, Place
from geoetl.virtual.convert.survey import survey_files
from geoetl.virtual.convert.write import consolidate, region_writers, write_template

# Threads when no Dask cluster is configured.
THREADS = 2
# A change of what is written to the store; part of the journal's digest.
_FORM = 1


def plan(
    gate: Gate, paths: Sequence[Path], *, variables: Sequence[str] | None = None, chunking: Chunking = Chunking.BALANCED
) -> ZarrPlan:
    """Say what a conversion would write; headers, coordinates and one chunk of each large variable are read.

    Args:
        gate: Opens the files.
        paths: The files of one cube, in any order.
        variables: The variables to convert, with all that they refer to; None takes every one.
        chunking: What the chunks shall be good for.

    Raises:
        VerificationFailed: The files do not make one cube; the message names file and variable.
        UnreadableFile: A file is damaged, or a variable is not in it.
        EmptyDataset: There is no file, or one without a time step.
    """
    return lay_out(survey_files(gate, paths, variables), chunking)


def convert(
    gate: Gate,
    paths: Sequence[Path],
    target: Path,
    *,
    variables: Sequence[str] | None = None,
    chunking: Chunking = Chunking.BALANCED,
    dask: DaskSettings | None = None,
) -> Converted:
    """Write the files of one cube as a Zarr v3 store and compare it with them.

    Where an earlier call was killed, this one goes on; a finished store of the same sources and plan is returned as it
    is. Numbers stay packed where all files pack them alike.

    Args:
        gate, paths, variables, chunking: As for `plan`.
        target: Folder of the store, which must not be there yet.
        dask: Where the tasks run; without an address in this process, by two threads.

    Raises:
        VerificationFailed, UnreadableFile, EmptyDataset: As of `plan`; or the store differs from its files.
        Conflict: The target is there already, or another process is writing it.
        Unavailable: The disk is full or cannot be written; what is finished is kept for the next call.
    """
    started = time.monotonic()
    survey = survey_files(gate, paths, variables)
    planned = lay_out(survey, chunking)
    sources = [[header.name, header.bytes, header.modified_ns] for header in survey.headers]
    place = Place(target, digest([_FORM, planned.model_dump(mode="json"), sources]))
    with place.held():
        if target.exists():
            return place.recorded()
        tasks = region_writers(survey, planned, place)
        with place.writing():
            place.remove_others()
            done = place.finished()
            waiting = [task for task in tasks if task.key not in done]
            place.check_space(planned.estimated_bytes * len(waiting) / max(1, len(tasks)))
            if not done:
                place.reset()
                write_template(survey, planned, place.partial)
                place.note(TEMPLATE)
        with client(dask or DaskSettings()) as cluster:
            _execute(waiting, cluster)
            with place.writing():
                consolidate(place.partial, survey)
            checked = _execute(checks(survey, planned, place.partial), cluster)
        fields, total, values = (sum(counts) for counts in zip(*checked, strict=True))
        sizes = [path.stat().st_size for path in place.partial.rglob("*") if path.is_file()]
        result = Converted(
            store=target.name,
            plan=planned,
            bytes=sum(sizes),
            files=len(sizes),
            chunks=sum(array.chunk_count for array in planned.arrays),
            fields_compared=fields,
            fields_total=total,
            values_compared=values,
            regions_resumed=max(0, len(done) - 1),
            seconds=time.monotonic() - started,
        )
        with place.writing():
            place.publish(result)
        return result


def _execute[T](tasks: Sequence[Callable[[], T]], cluster: Any) -> list[T]:
    """Call every task, on the Dask cluster or by Dask's threads of this process; the first error ends it.

    Raises:
        Unavailable: A worker was lost again and again.
    """
    if cluster is None:
        import dask

        waiting = [dask.delayed(call, pure=False)(task) for task in tasks]  # type: ignore[attr-defined]
        return list(dask.compute(*waiting, scheduler="threads", num_workers=THREADS))  # type: ignore[attr-defined,no-untyped-call]
    from distributed import KilledWorker

    futures = cluster.map(call, tasks, pure=False)
    try:
        return list(cluster.gather(futures))
    except KilledWorker:
        raise Unavailable(
            "Dask workers were lost while they wrote the store.",
            hint="They may lack memory: a task holds up to 1 GB. What is finished is kept; run it again.",
        ) from None
    finally:
        cluster.cancel(futures)
