"""The moment in which something is removed: nobody else writes, and what is needed is asked for again."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from geoetl.core.errors import Unavailable
from geoetl.ops.needs import Gatherer, Needed
from geoetl.store.database import Database, sqlstate, was_in_the_way

#: So long others wait for the janitor at most before it lets them, seconds; one object may take longer.
MOMENT_S = 0.5
# The janitor waits less for others than PostgreSQL does before it looks for two that wait for each other (1 s): so it
# is always the janitor who gives way.
_WAIT_MS = 400
_TRIES = 40
_PAUSE_S = 0.25
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True)
class Moment:
    """A transaction in which nobody else writes what decides whether an object is needed.

    Attributes:
        database: As it is seen from the transaction.
        connection: The transaction.
        needed: What is needed now.
    """

    database: Database
    connection: Connection
    needed: Needed


@dataclass(frozen=True)
class Alone:
    """Makes such moments.

    Args:
        database: Of the platform.
        gatherer: Asks what is needed.
    """

    database: Database
    gatherer: Gatherer

    def each[T, D](
        self, things: Sequence[T], work: Callable[[Moment, T], D], then: Callable[[Connection, Sequence[D]], None]
    ) -> list[D]:
        """Do something with each of many things, some in one transaction, some in the next.

        Args:
            things: With what.
            work: Does it with one of them.
            then: Is called at the end of each transaction with what came of its things.

        Raises:
            Unavailable: Others wrote all the time, or the database is away; what was done before is kept.
        """
        done: list[D] = []
        while len(done) < len(things):
            rest = things[len(done) :]

            def some(moment: Moment, rest: Sequence[T] = rest) -> list[D]:
                deadline, outcomes = time.monotonic() + MOMENT_S, list[D]()
                for thing in rest:
                    outcomes.append(work(moment, thing))
                    if time.monotonic() > deadline:
                        break
                then(moment.connection, outcomes)
                return outcomes

            done += self._patiently(some)
        return done

    def _patiently[T](self, work: Callable[[Moment], T]) -> T:
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                with self.database.begin() as connection:
                    self._lock(connection)
                    within = self.database.within(connection)
                    return work(Moment(within, connection, self.gatherer.gather(within)))
            except Unavailable as error:
                if last or not (was_in_the_way(error) or sqlstate(error) == _LOCK_NOT_AVAILABLE):
                    raise
            time.sleep(_PAUSE_S * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    def _lock(self, connection: Connection) -> None:
        is_postgres = connection.dialect.name == "postgresql"
        if is_postgres:
            connection.exec_driver_sql(f"set local lock_timeout = {_WAIT_MS}")
        for need in self.gatherer.needs:
            need.alone(connection)
        if is_postgres:
            # Whoever writes an object says so in this table first.
            connection.exec_driver_sql("lock table artifacts in share row exclusive mode")
