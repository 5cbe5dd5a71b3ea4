"""Questions to ACLED's API, and what its answers mean.

Signing in is OAuth 2.0 with a password (RFC 6749 4.3). Answers are JSON with an envelope: ``status`` and ``success``,
which may tell of a failure although HTTP says 200, ``count``, and ``data`` with the rows of one page.

Source: https://acleddata.com/api-documentation/getting-started
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from geoetl.core.errors import GeoetlError, UnreadableFile, VerificationFailed
from geoetl.datasets.handlers.acled.config import AcledConfig
from geoetl.datasets.model import Definition
from geoetl.datasets.upstream import (
    AccessRefused,
    Auth,
    CredentialRefused,
    PasswordGrant,
    RateLimited,
    SourceRefused,
    SourceUnavailable,
    Upstream,
)

KEY = "event_id_cnty"
CREDENTIALS = ("USERNAME", "PASSWORD")
_CLIENT = {"client_id": "acled"}

type Row = Mapping[str, Any]


class AccountLimited(AccessRefused):
    """ACLED knows the account, and does not give it events."""

    code = "acled_account_limited"
    title = "The ACLED account does not include this"


@dataclass(frozen=True)
class Question:
    """Which rows are asked for; their order is not known, and is the same as long as nothing changes.

    Attributes:
        endpoint: ``acled`` for events, ``deleted`` for what went.
        filters: By parameter.
        fields: Only these columns; all where there are none.
    """

    endpoint: str
    filters: Mapping[str, str]
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """One answer.

    Attributes:
        envelope: All of it.
        rows: Its rows.
    """

    envelope: Mapping[str, Any]
    rows: list[Row]

    @property
    def embargo(self) -> str | None:
        """The newest day whose events the account is shown (ISO 8601); None for no such limit."""
        told = self.envelope.get("data_query_restrictions")
        recency = told.get("date_recency") if isinstance(told, Mapping) else None
        day = recency.get("date") if isinstance(recency, Mapping) else None
        return day if isinstance(day, str) and day.isprintable() and len(day) <= 40 else None


class Api:
    """Asks ACLED for pages of rows.

    Args:
        upstream: Speaks HTTP, and has the credentials.
        definition: Where the API is, and what its credentials are named.
        config: Rows of a page, and which events.
    """

    def __init__(self, upstream: Upstream, definition: Definition, config: AcledConfig) -> None:
        self._upstream = upstream
        self._url = definition.source_url.rstrip("/")
        self._config = config
        names = [f"{definition.credential_key or 'ACLED'}_{end}" for end in CREDENTIALS]
        parts = urlsplit(self._url)
        # Nobody but the source itself is told the password.
        self._session = _Session(
            PasswordGrant(
                upstream,
                f"{parts.scheme}://{parts.netloc}/oauth/token",
                username=names[0],
                password=names[1],
                fields=_CLIENT,
            )
        )

    @property
    def rows_per_page(self) -> int:
        """How many rows are asked for at a time."""
        return self._config.batch_size

    def events(self, filters: Mapping[str, str], *fields: str) -> Question:
        """Return the question for events."""
        where = {"country": "|".join(self._config.countries)} if self._config.countries else {}
        return Question("acled", {**where, **filters}, fields)

    def deletions(self, filters: Mapping[str, str]) -> Question:
        """Return the question for what was deleted, wherever it was."""
        return Question("deleted", filters)

    def url(self, question: Question) -> str:
        """Return where a question is asked, without its filters."""
        return f"{self._url}/{question.endpoint}/read"

    def page(self, question: Question, number: int, limit: int | None = None) -> Page:
        """Ask for one page.

        Args:
            question: Which rows.
            number: Of the page, from 1.
            limit: Rows of it; those of the configuration where it is not given.

        Raises:
            AccountLimited: The account is known, and is not given the data.
            CredentialRefused: User name or password are refused.
            RateLimited, SourceUnavailable: It cannot be had now.
            UnreadableFile: The answer is none of ACLED's.
            VerificationFailed: It has not as many rows as it says.
        """
        params = {"_format": "json", **question.filters, "limit": str(limit or self.rows_per_page)}
        params["page"] = str(number)
        if question.fields:
            params["fields"] = "|".join(question.fields)
        try:
            answer = self._upstream.get_json(self.url(question), params=params, auth=Auth(bearer=self._session))
        except (AccessRefused, CredentialRefused):
            if self._session.is_refused:
                raise
            raise _limited() from None
        return _page(answer, question, number)

    def pages(self, question: Question, most: int, limit: int | None = None) -> Iterator[Page]:
        """Ask for page after page until one is empty.

        Args:
            question: Which rows.
            most: Pages.
            limit: Rows of a page, as of `page`.

        Raises:
            SourceUnavailable: There are more than `most`.
            VerificationFailed: A page is the one before once more.
        """
        before: list[Row] | None = None
        for number in range(1, most + 2):
            page = self.page(question, number, limit)
            if not page.rows:
                return
            check_is_another(page.rows == before, number)
            if number > most:
                break
            yield page
            before = page.rows
        raise SourceUnavailable(
            f"ACLED has more than {most} pages of '{question.endpoint}' for what should be a few.",
            hint="It may ignore the filter by time now; tell ACLED, and try again later.",
            field="source_url",
        )


def check_is_another(is_same: bool, number: int) -> None:
    """Raise VerificationFailed where a page is the one before once more: then the number of the page was ignored."""
    if is_same:
        raise VerificationFailed(
            f"ACLED answered page {number} with the rows of page {number - 1} once more.",
            hint="It seems to ignore the number of the page; nothing was changed. Tell ACLED, and try again later.",
            field="page",
        )


class _Session:
    """A sign-in that knows whether it was the sign-in that was refused."""

    def __init__(self, grant: PasswordGrant) -> None:
        self._grant = grant
        self.is_refused = False

    @property
    def names(self) -> tuple[str, ...]:
        return self._grant.names

    def token(self) -> str:
        return self._tried(self._grant.token)

    def refreshed(self) -> str:
        return self._tried(self._grant.refreshed)

    def _tried(self, ask: Callable[[], str]) -> str:
        self.is_refused = True
        token = ask()
        self.is_refused = False
        return token


def _limited() -> AccountLimited:
    return AccountLimited(
        "ACLED signed the account in and then did not give it the events.",
        hint="See in myACLED which data the account includes, and ask access@acleddata.com for event data by API.",
        field="credential_key",
    )


def _page(answer: Any, question: Question, number: int) -> Page:
    if not isinstance(answer, Mapping):
        raise _strange(question, "it is no object")
    problem = _told(answer, question)
    if problem is not None:
        raise problem
    rows = answer.get("data")
    if not isinstance(rows, list):
        raise _strange(question, "it has no list 'data'")
    if not all(isinstance(row, Mapping) and isinstance(row.get(KEY), str | int) for row in rows):
        raise _strange(question, f"rows have no '{KEY}'")
    count = answer.get("count")
    if count is not None and str(count) != str(len(rows)):
        raise VerificationFailed(
            f"ACLED said that page {number} of '{question.endpoint}' has {str(count)[:20]} rows, and sent {len(rows)}.",
            hint="The answer may be cut off; what was fetched before is kept, run the update again.",
            field="count",
        )
    return Page(answer, rows)


def _told(answer: Mapping[str, Any], question: Question) -> GeoetlError | None:
    """Return the failure that an envelope tells of; what is written in it is not repeated."""
    told = str(answer.get("status", 200))
    status = int(told) if told.isdecimal() and len(told) <= 3 else -1
    if status in (0, 200) and answer.get("success") is not False:
        return None
    if status in (401, 403):
        return _limited()
    if status == 429:
        return RateLimited("ACLED was asked too often (429).", hint="Try again later, or look for changes more rarely.")
    if status >= 500:
        return SourceUnavailable(f"ACLED has trouble of its own ({status}).", hint="Try again later.")
    said = "'success' is false" if status in (0, 200) else f"its status is {told[:20]}"
    return SourceRefused(
        f"ACLED did not answer the question for '{question.endpoint}': {said}, although HTTP says 200.",
        hint="Check countries and batch_size in the source_config of the dataset; ACLED may also have changed its API.",
        field="source_config",
    )


def _strange(question: Question, why: str) -> UnreadableFile:
    return UnreadableFile(
        f"The answer to the question for '{question.endpoint}' is none of ACLED's: {why}.",
        hint="Check source_url, https://acleddata.com/api; ACLED may also have changed its API.",
        field="source_url",
    )
