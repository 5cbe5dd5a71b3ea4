"""`Upstream`: asks outside sources, patiently, and takes their files."""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from geoetl.datasets.release import FetchedFile
from geoetl.datasets.upstream.answers import json_of, problem_of
from geoetl.datasets.upstream.asker import Asker, Question
from geoetl.datasets.upstream.credentials import Auth, Secrets
from geoetl.datasets.upstream.errors import SourceUnavailable
from geoetl.datasets.upstream.exchange import Answer
from geoetl.datasets.upstream.limits import Limits
from geoetl.datasets.upstream.media import Media
from geoetl.datasets.upstream.stamp import Stamp, stamp_of
from geoetl.datasets.upstream.transfer import Transfer, range_of
from geoetl.datasets.upstream.wire import Pace

# Servers that know no HEAD, or whose permission is for GET alone.
_HEAD_REFUSED = (403, 405, 501)
# A try that brought less was of no use: else a source that drips would be asked for hours.
_GAIN_BYTES = 1024**2
_NOBODY = Auth()


class Upstream:
    """Asks outside sources over http and https, for one thread.

    What may pass is tried again, after growing waits or when the source says. Redirects are followed as far as they
    lead neither further inside this network nor from https to http; credentials stay with the host that they are for.
    Proxies of the environment are not used: they would decide where a name leads to.

    Args:
        credentials: Value of each credential by its name, which is that of its environment variable.
        limits: How long is waited, and how much is taken.
        cancelled: Whether somebody wants it to end; asked about twice a second.
        pause: Waits for seconds, between tries.
    """

    def __init__(
        self,
        credentials: Mapping[str, str] | None = None,
        *,
        limits: Limits | None = None,
        cancelled: Callable[[], bool] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._secrets = Secrets(credentials or {})
        self._limits = limits or Limits()
        self._cancelled = cancelled or (lambda: False)
        self._pause = pause
        self._asker = Asker(self._secrets, self._limits)

    def __repr__(self) -> str:
        return f"Upstream({self._secrets!r})"

    def __enter__(self) -> "Upstream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._asker.close()

    def keep_secret(self, value: str, name: str | None = None) -> None:
        """Show `value`, a token that was had for a credential, in no message from now on.

        Args:
            value: The token.
            name: By which `Auth` can send it, like a credential.
        """
        self._secrets.keep(value, name)

    def hide(self, text: str) -> str:
        """Return a text without credentials."""
        return self._secrets.hide(text)

    def head(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: Auth | None = None,
    ) -> Stamp:
        """Return what a source says of a file, in one request; where it refuses HEAD, with the first byte of the file.

        Raises:
            NotFound: It is not there.
            SourceRefused: It is not given; CredentialRefused (401) and AccessRefused (403) are of this kind.
            SourceUnavailable: It cannot be had now; RateLimited (429) is of this kind.
            AddressRefused: The address, or a redirect, leads where it may not.
        """
        plain = {"Accept-Encoding": "identity", **(headers or {})}
        first = Question("HEAD", url, params or {}, plain, auth or _NOBODY)
        pace = self._pace(self._limits.answer_s)

        def ask() -> Stamp:
            answer = self._asker.exchange(first, pace)
            if answer.status in _HEAD_REFUSED:
                answer.close()
                one = {**plain, "Range": "bytes=0-0"}
                answer = self._answer(Question("GET", url, first.params, one, first.auth), pace, (200, 206))
            else:
                self._check(answer, first)
            try:
                stamp = stamp_of(answer)
                return stamp if answer.status != 206 else stamp.model_copy(update={"bytes": range_of(answer).total})
            finally:
                answer.close()

        return self._patiently(ask, pace)

    def get_json(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: Auth | None = None,
        max_bytes: int | None = None,
    ) -> Any:
        """Return the JSON that a source answers with.

        Args:
            url: The address, without credentials.
            params: Added to its query.
            headers: Sent with it.
            auth: Who asks.
            max_bytes: Of the answer, unpacked.

        Raises:
            UnreadableFile: The answer is not JSON, or has names twice or numbers that are none.
            LimitExceeded: It has more bytes.
            NotFound, SourceRefused, SourceUnavailable, AddressRefused: As of `head`.
        """
        wanted = {"Accept": "application/json", "Accept-Encoding": "gzip", **(headers or {})}
        return self._json(Question("GET", url, params or {}, wanted, auth or _NOBODY), max_bytes)

    def post_form(
        self, url: str, data: Mapping[str, str], *, auth: Auth | None = None, max_bytes: int | None = None
    ) -> Any:
        """Send a form and return the JSON that is answered; what is sent is shown nowhere.

        Args:
            url: The address.
            data: Fields of the form.
            auth: Who asks; `Auth.form` adds credentials to the fields.
            max_bytes: Of the answer.

        Raises:
            CredentialRefused: 400, 401 or 403 to a form with credentials (RFC 6749 5.2).
            NotFound, SourceRefused, SourceUnavailable, AddressRefused, UnreadableFile: As of `get_json`.
        """
        auth = auth or _NOBODY
        wanted = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self._json(Question("POST", url, {}, wanted, auth, form=data), max_bytes)

    def download(
        self,
        url: str,
        path: Path,
        *,
        media: Media,
        expect: Stamp | None = None,
        sha256: str | None = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: Auth | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> FetchedFile:
        """Fetch a file; one that an earlier call, or a killed process, left half done is gone on with.

        It has its name only when it is whole, is what it should be, and is durable.

        Args:
            url: The address, without credentials.
            path: What it becomes; ``.part`` and ``.part.json`` beside it are on the way.
            media: What it should be, judged by its bytes.
            expect: What `head` said; another version is not taken.
            sha256: Its digest, where it is known.
            params: Added to the query.
            headers: Sent with it.
            auth: Who asks.
            progress: Told bytes that are there, and of how many.

        Raises:
            UnreadableFile: It is something else, a web page for instance, or cut off.
            VerificationFailed: Its digest is another.
            SourceChanged: It is another version than `expect`.
            LimitExceeded: It has more bytes than the limit.
            Unavailable: The disk is full, or another process fetches it.
            NotFound, SourceRefused, SourceUnavailable, AddressRefused: As of `head`.
        """
        question = Question("GET", url, params or {}, dict(headers or {}), auth or _NOBODY)
        pace = self._pace(self._limits.download_s)
        with Transfer(path, media, expect, sha256, self._limits, progress) as transfer:

            def go_on() -> None:
                answer = self._answer(question.with_headers(transfer.headers()), pace, (200, 206, 416))
                try:
                    transfer.take(answer)
                finally:
                    answer.close()

            self._patiently(go_on, pace, lambda: transfer.have)
            return transfer.finish()

    # -- asking --------------------------------------------------------------------------------------------------------

    def _pace(self, total_s: float) -> Pace:
        return Pace(self._limits, total_s, self._cancelled, self._pause)

    def _json(self, question: Question, max_bytes: int | None) -> Any:
        pace = self._pace(self._limits.answer_s)

        def ask() -> Any:
            answer = self._answer(question, pace)
            try:
                return json_of(answer, max_bytes or self._limits.json_bytes)
            finally:
                answer.close()

        return self._patiently(ask, pace)

    def _patiently[T](self, ask: Callable[[], T], pace: Pace, got: Callable[[], int] = lambda: 0) -> T:
        """Ask until it is answered, or until nothing was gained in so many tries."""
        limits = self._limits
        failures, most = 0, got()
        while True:
            try:
                return ask()
            except SourceUnavailable as error:
                problem = error
            if got() >= most + _GAIN_BYTES:
                failures, most = 0, got()
            failures += 1
            if failures >= limits.attempts or (problem.after_s or 0) > limits.longest_retry_after_s:
                raise problem
            wait = min(limits.longest_backoff_s, limits.backoff_s * 2 ** (failures - 1))
            # Chance keeps those who failed together from coming back together.
            pace.wait(problem.after_s if problem.after_s is not None else wait * random.uniform(0.5, 1))

    def _answer(self, question: Question, pace: Pace, good: tuple[int, ...] = (200,)) -> Answer:
        answer = self._asker.exchange(question, pace)
        self._check(answer, question, good)
        return answer

    def _check(self, answer: Answer, question: Question, good: tuple[int, ...] = (200,)) -> None:
        names = question.auth.names if question.is_known_to(answer) else ()
        problem = problem_of(answer, names, good, is_form=question.form is not None)
        if problem is not None:
            answer.close()
            raise problem
