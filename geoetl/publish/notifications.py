"""What happened to releases is told by e-mail and webhooks; what cannot be sent is tried again, until it is given up.

A notification is a row that was written in the transaction of what it tells. Of several senders one claims it, by a
change that succeeds only where nobody else has it, and keeps the claim from channel to channel; where a sender dies the
claim ends, and another goes on with the channels that have nothing yet. So each channel has it once, or twice where a
sender died between sending and writing that down: the id of the notification is then the same.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from geoetl.core.identifiers import canonical_json, new_id
from geoetl.core.settings import NotifySettings
from geoetl.publish.channels import Channel, Mailbox, MailServer, Undelivered, Webhook
from geoetl.publish.messages import Notice
from geoetl.publish.tables import outbox
from geoetl.publish.transition import SYSTEM
from geoetl.runs.functions import LightFunction
from geoetl.runs.model import Result
from geoetl.runs.stage import Run
from geoetl.store.database import Database
from geoetl.store.identity import IdentityRepository, name_key

_log = logging.getLogger(__name__)
SEND = "send-notifications"
# One channel has this much time, seconds; what does not answer by then may still have taken it.
TIMEOUT_S = 10.0
# A claim lasts longer than any one channel takes.
CLAIM_S = 120.0
# Waits between attempts: 30 s, then twice as long each time, up to 6 h; by chance up to half as long, so that what
# failed together does not come back together.
FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 6 * 3600.0
# Later it is no news.
GIVE_UP_S = 3 * 24 * 3600.0
# One call ends after this time, seconds: the next one goes on.
BUDGET_S = 30.0
_AT_ONCE = 100


class Sent(Result):
    """What one look at the outbox did.

    Attributes:
        sent: Notifications that every receiver has.
        waiting: Those that are tried again later.
        given_up: Those that are not.
        errors: Why, each sentence once.
    """

    sent: int = 0
    waiting: int = 0
    given_up: int = 0
    errors: tuple[str, ...] = ()


@dataclass
class Notifications:
    """The outbox, and who is told of what is in it.

    Args:
        database: With the outbox and the users.
        settings: Who is told.
        public_url: Address of the dashboard, for links to the review page.
        clock: Gives Unix time.
        timeout_s: Time for one channel, seconds.
        draw: Gives a number from 0 to 1, by chance.
    """

    database: Database
    settings: NotifySettings
    public_url: str | None = None
    clock: Callable[[], float] = time.time
    timeout_s: float = TIMEOUT_S
    draw: Callable[[], float] = random.random
    _names: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def has_work(self) -> bool:
        """Whether somebody is to be told, and something is to be told now."""
        if not self.settings.is_set:
            return False
        with self.database.read() as connection:
            return connection.execute(sa.select(outbox.c.id).where(*self._ready()).limit(1)).first() is not None

    def send(self, *, budget_s: float = BUDGET_S) -> Sent:
        """Send what waits, until nothing does or the time is over.

        Args:
            budget_s: No further notification is begun after this time, seconds.

        Raises:
            Unavailable: The database is away; what was sent before is written down.
        """
        if not self.settings.is_set:
            return Sent()
        given_up, ends = self._drop_old_news(), time.monotonic() + budget_s
        count = {"sent": 0, "waiting": 0, "given_up": given_up}
        errors: dict[str, None] = {}
        down: dict[str, Undelivered] = {}
        with closing(MailServer(self.settings, self.timeout_s)) as server:
            for row, claim in self._claimed(lambda: time.monotonic() < ends):
                failed = self._deliver(row, claim, server, down)
                if failed is None:
                    continue  # another sender has it
                errors |= dict.fromkeys(failed)
                count[self._close(row, claim, failed)] += 1
        return Sent(**count, errors=tuple(errors))

    # -- claiming ------------------------------------------------------------------------------------------------------

    def _claimed(self, goes_on: Callable[[], bool]) -> Iterator[tuple[Row[Any], str]]:
        """Yield what waits, each when it has been claimed."""
        while goes_on():
            with self.database.read() as connection:
                query = sa.select(outbox).where(*self._ready()).order_by(outbox.c.ready_at, outbox.c.id)
                rows = connection.execute(query.limit(_AT_ONCE)).all()
            if not rows:
                return
            for row in rows:
                if not goes_on():
                    return
                claim, change = new_id(), sa.update(outbox).where(outbox.c.id == row.id, *self._ready())
                with self.database.begin() as connection:
                    values = {"claim": claim, "claimed_until": self.clock() + CLAIM_S}
                    claimed = connection.execute(change.values(**values).returning(*outbox.c)).one_or_none()
                # Read as it was claimed: since it was listed another sender may have been at it.
                if claimed is not None:
                    yield claimed, claim

    def _ready(self) -> tuple[sa.ColumnElement[bool], ...]:
        now = self.clock()
        return (
            outbox.c.sent_at.is_(None),
            outbox.c.given_up_at.is_(None),
            outbox.c.ready_at <= now,
            sa.or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until <= now),
        )

    def _drop_old_news(self) -> int:
        """Give up what nobody tried to send in time, as nobody was to be told; return how many."""
        old = (outbox.c.attempts == 0, outbox.c.created_at < self.clock() - GIVE_UP_S)
        values = {"given_up_at": self.clock(), "error": "Nobody sent it in time."}
        with self.database.read() as connection:
            if connection.execute(sa.select(outbox.c.id).where(*old, *self._ready()).limit(1)).first() is None:
                return 0
        with self.database.begin() as connection:
            return connection.execute(sa.update(outbox).where(*old, *self._ready()).values(**values)).rowcount

    # -- sending -------------------------------------------------------------------------------------------------------

    def _deliver(
        self, row: Row[Any], claim: str, server: MailServer, down: dict[str, Undelivered]
    ) -> tuple[str, ...] | None:
        """Send a notification to whoever lacks it; return why it did not go out, or None where the claim was lost."""
        payload = json.loads(row.payload)
        notice = Notice(row.id, row.event, payload, self._link(payload["release_id"]))
        delivered: dict[str, float] = json.loads(row.delivered) if row.delivered else {}
        failed: list[str] = []
        for channel in self._channels(notice, server):
            if channel.key in delivered:
                continue
            if channel.key in down:
                failed.append(down[channel.key].detail)
                continue
            if not self._note(row.id, claim, claimed_until=self.clock() + CLAIM_S):
                return None
            try:
                channel.send(notice)
            except Undelivered as error:
                failed.append(error.detail)
                if error.is_down:
                    down[channel.key] = error
                continue
            delivered[channel.key] = self.clock()
            if not self._note(row.id, claim, delivered=canonical_json(delivered)):
                return None
        return tuple(failed)

    def _channels(self, notice: Notice, server: MailServer) -> Iterable[Channel]:
        secret = self.settings.webhook_secret
        for url in dict.fromkeys(one.get_secret_value() for one in self.settings.webhooks):
            yield Webhook(url, secret.get_secret_value() if secret else "", self.timeout_s, self.clock)
        if self.settings.smtp_host:
            for address in dict.fromkeys(self._addresses(notice)):
                yield Mailbox(server, address, self._name_of)

    def _addresses(self, notice: Notice) -> Iterator[str]:
        if notice.for_reviewers:
            yield from self.settings.reviewers
        if notice.for_submitter:
            called = name_key(self._name_of(notice.for_submitter))
            yield from (to for name, to in self.settings.submitters.items() if name_key(name) == called)

    def _close(self, row: Row[Any], claim: str, failed: tuple[str, ...]) -> str:
        """Write down how an attempt ended, and return it: sent, waiting or given_up."""
        now, ended = self.clock(), {"claim": None, "claimed_until": None, "attempts": row.attempts + 1}
        if not failed:
            self._note(row.id, claim, **ended, sent_at=now, error=None)
            return "sent"
        error = " ".join(failed)
        if now >= row.created_at + GIVE_UP_S:
            _log.error("notification %s is given up after %d attempts: %s", row.id, row.attempts + 1, error)
            self._note(row.id, claim, **ended, given_up_at=now, error=error)
            return "given_up"
        _log.warning("notification %s is tried again later: %s", row.id, error)
        self._note(row.id, claim, **ended, ready_at=now + self._wait_s(row.attempts), error=error)
        return "waiting"

    def _wait_s(self, attempts: int) -> float:
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempts, 20))
        return longest * (1 - self.draw() / 2)

    def _note(self, id: str, claim: str, /, **values: Any) -> bool:
        """Write something down where the claim is still ours; tell whether it is."""
        with self.database.begin() as connection:
            return _is_one(connection, sa.update(outbox).where(outbox.c.id == id, outbox.c.claim == claim), values)

    # -- words ---------------------------------------------------------------------------------------------------------

    def _link(self, release_id: str) -> str | None:
        return f"{self.public_url.rstrip('/')}/review?release={release_id}" if self.public_url else None

    def _name_of(self, principal: str) -> str:
        """Return how a principal is called; the id where there is no such user."""
        if principal == SYSTEM.id:
            return SYSTEM.name
        if principal not in self._names:
            user = IdentityRepository(self.database).with_id(principal)
            self._names[principal] = user.name if user else principal
        return self._names[principal]


@final
class SendNotifications(LightFunction):
    """Tell by e-mail and webhooks what happened to releases."""

    title = "Send notifications of publishing"
    limit_s = BUDGET_S + 90.0

    def is_needed(self, platform: Any) -> bool:
        """Tell whether anything waits, and anybody is to be told."""
        return bool(_of(platform).has_work)

    def __call__(self, run: Run, platform: Any) -> Sent:
        """Send what waits."""
        return _of(platform).send()


def _of(platform: Any) -> Notifications:
    return Notifications(platform.database, platform.settings.publish.notify, platform.settings.security.public_url)


def _is_one(connection: Connection, change: "sa.Update", values: dict[str, Any]) -> bool:
    return connection.execute(change.values(**values)).rowcount == 1
