"""Where a question leads: who asks is added to it, redirects are followed, and credentials stay with their host."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from urllib.parse import urlencode

from geoetl.datasets.upstream.addresses import Place, Reach, parsed
from geoetl.datasets.upstream.credentials import Auth, Secrets
from geoetl.datasets.upstream.errors import AddressRefused
from geoetl.datasets.upstream.exchange import Answer, Ask, Connections
from geoetl.datasets.upstream.limits import Limits
from geoetl.datasets.upstream.wire import Pace

_REDIRECTS = (301, 302, 303, 307, 308)
# Headers that go along to another host.
_SENT_TO_ALL = frozenset({"user-agent", "accept", "accept-encoding", "range", "if-range"})


@dataclass(frozen=True, repr=False)
class Question:
    """What a handler asks; without a repr, since forms hold tokens.

    Attributes:
        method: HEAD, GET or POST.
        url: The address, without credentials.
        params: Added to its query.
        headers: Sent with it.
        auth: Who asks.
        form: Fields of a POST.
    """

    method: str
    url: str
    params: Mapping[str, str | int]
    headers: Mapping[str, str]
    auth: Auth
    form: Mapping[str, str] | None = None

    def is_known_to(self, answer: Answer) -> bool:
        """Tell whether whoever answered was told who asks, and not another host that a redirect led to."""
        return answer.place.origin == parsed(self.url).origin

    def with_headers(self, headers: Mapping[str, str]) -> "Question":
        """Return it with more headers."""
        return replace(self, headers={**self.headers, **headers})


class Asker:
    """Sends questions to where they lead.

    Args:
        secrets: Values of the credentials.
        limits: How many redirects are followed, and how long is waited.
    """

    def __init__(self, secrets: Secrets, limits: Limits) -> None:
        self._secrets = secrets
        self._limits = limits
        self._connections = Connections(limits.connect_s)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def shown(self, place: Place) -> str:
        """Return an address as messages have it: without its query, and without credentials."""
        return self._secrets.hide(place.shown)

    def exchange(self, question: Question, pace: Pace) -> Answer:
        """Send a question; where a token is refused, once more with a new one."""
        answer = self._follow(question, pace)
        if answer.status != 401 or question.auth.bearer is None or not question.is_known_to(answer):
            return answer
        answer.close()
        return self._follow(question, pace, is_refused=True)

    def _follow(self, question: Question, pace: Pace, *, is_refused: bool = False) -> Answer:
        """Send a question to where it leads."""
        first = parsed(question.url)
        ask = self._signed(question, first, is_refused=is_refused)
        reach: Reach | None = None
        seen: set[Place] = set()
        while True:
            pace.check()
            reached = self._connections.reach(ask.place, reach)
            if reach is None:
                reach = reached
                if question.auth.names and ask.place.scheme == "http" and reach is not Reach.LOOPBACK:
                    raise AddressRefused(
                        f"Credentials are not sent to {self.shown(first)}: it is not encrypted.",
                        hint="Write the address with https.",
                        field="source_url",
                    )
            answer = self._connections.send(ask, self.shown(ask.place), pace)
            place = answer.leads_to if answer.status in _REDIRECTS else None
            if place is None:
                return answer
            answer.close()
            seen.add(ask.place)
            ask = self._redirected(question, ask, place, first)
            said = ""
            if ask.place in seen:
                said = "leads in a circle of redirects"
            elif len(seen) > self._limits.redirects:
                said = f"leads from redirect to redirect, more than {self._limits.redirects} times"
            if said:
                raise AddressRefused(
                    f"{self.shown(first)} {said}.",
                    hint="Open the address in a browser to see where it leads, and give that address.",
                    field="source_url",
                )

    def _signed(self, question: Question, first: Place, *, is_refused: bool) -> Ask:
        """Return what is sent to the first address, with who asks; `is_refused` says that the last token was."""
        auth, value = question.auth, self._secrets.value
        token = None
        if auth.bearer is not None:
            token = auth.bearer.refreshed() if is_refused else auth.bearer.token()
        asked = [*question.params.items(), *((name, value(known)) for name, known in auth.query.items())]
        query = "&".join(part for part in (first.query, urlencode(asked)) if part)
        headers = {"User-Agent": f"geoetl/{version('geoetl')}", **question.headers}
        headers.update({name: value(known) for name, known in auth.headers.items()})
        if token is not None:
            self._secrets.keep(token)
            headers["Authorization"] = f"Bearer {token}"
        body = None
        if question.form is not None:
            fields = {**question.form, **{name: value(known) for name, known in auth.form.items()}}
            body = urlencode(fields).encode("ascii")
        place = Place(first.scheme, first.host, first.port, first.path, query)
        return Ask(question.method, place, headers, body)

    def _redirected(self, question: Question, ask: Ask, place: Place, first: Place) -> Ask:
        """Return what is sent to where a redirect leads.

        Raises:
            AddressRefused: It leads where it may not.
        """
        problem = None
        if question.form is not None:
            problem = f"{self.shown(ask.place)} answered a form with a redirect to '{place.host}'."
        elif ask.place.scheme == "https" and place.scheme == "http":
            problem = f"{self.shown(ask.place)} leads to an address that is not encrypted."
        elif place.origin != first.origin and self._secrets.are_in(f"{place.host}{place.target}"):
            problem = f"{self.shown(ask.place)} hands a credential on to '{place.host}'."
        if problem:
            raise AddressRefused(
                self._secrets.hide(problem),
                hint="Give the address that it leads to, if you trust it.",
                field="source_url",
            )
        headers = ask.headers
        if place.origin != first.origin:
            # Whatever a handler set may be a credential too: only what every request has goes to another host.
            headers = {name: text for name, text in headers.items() if name.lower() in _SENT_TO_ALL}
        return Ask(ask.method, place, headers)
