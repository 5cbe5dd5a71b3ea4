"""ACLED's API as far as it is known, with events that come, change and go, in any order of rows that is asked for."""

import itertools
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from geoetl.testing.upstream import Asked, LocalUpstream, Reply

TOKEN, READ, DELETED = "/oauth/token", "/api/acled/read", "/api/deleted/read"
USERNAME, PASSWORD = "somebody@example.org", "acled-secret-1"
CREDENTIALS = {"ACLED_USERNAME": USERNAME, "ACLED_PASSWORD": PASSWORD}
TYPES = ("Battles", "Protests", "Riots", "Violence against civilians", "Strategic developments", "Something new")

Row = dict[str, Any]
Order = Callable[[Row], Any]
ORDERS: Mapping[str, Order] = {
    "oldest first": lambda row: (int(row["timestamp"]), row["event_id_cnty"]),
    "newest first": lambda row: (-int(row["timestamp"]), row["event_id_cnty"]),
    "by key": lambda row: row["event_id_cnty"],
    "as if shuffled": lambda row: random.Random(row["event_id_cnty"]).random(),
}


def event(number: int, at: int, **further: Any) -> Row:
    """Return an event as the API has it: numbers as text, but for some."""
    return {
        "event_id_cnty": f"ETH{number}",
        "event_date": f"2026-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
        "year": "2026",
        "time_precision": "1",
        "disorder_type": "Political violence",
        "event_type": TYPES[number % len(TYPES)],
        "sub_event_type": "Armed clash",
        "actor1": "Military Forces of Ethiopia (2018-)",
        "assoc_actor_1": "",
        "inter1": "State forces",
        "actor2": "Fano Youth Militia",
        "assoc_actor_2": "",
        "inter2": "Political militia",
        "interaction": "State forces-Political militia",
        "civilian_targeting": "",
        "iso": "231",
        "region": "Eastern Africa",
        "country": "Ethiopia",
        "admin1": "Amhara",
        "admin2": "North Gondar",
        "admin3": "Debark",
        "location": "Débark",
        "latitude": f"{8 + number % 50 / 10:.4f}",
        "longitude": f"{36 + number % 70 / 10:.4f}",
        "geo_precision": "2",
        "source": "Addis Standard",
        "source_scale": "National",
        "notes": f"On a day, something happened ({number}).",
        "fatalities": str(number % 7),
        "tags": "",
        "timestamp": str(at),
    } | further


class PlayedAcled:
    """The API: what it has, and what it does wrong.

    Attributes:
        events: By key.
        deletions: As the API lists them.
        now: Its clock, Unix seconds.
        order: Of rows.
        before_page: Called with the number of a page of whole events before it is answered.
        shape: Changes an answer to a question for events, `Reply` or JSON.
        tokens: That are good.
        answers_left: Of a token, before it is too old; None for ever.
        is_refused: Whether the data are refused to everybody.
        most: Rows of a page, whatever is asked for.
    """

    def __init__(self, source: LocalUpstream) -> None:
        self.events: dict[str, Row] = {}
        self.deletions: list[Row] = []
        self.now = int(time.time()) - 3600
        self.order: Order = ORDERS["by key"]
        self.before_page: Callable[[int], None] = lambda number: None
        self.shape: Callable[[Asked, dict[str, Any]], Any] = lambda asked, answer: answer
        self.tokens: dict[str, int | None] = {}
        self.refreshes: set[str] = set()
        self.answers_left: int | None = None
        self.is_refused = False
        self.most = 5000
        self._numbers = itertools.count(1)
        source.json(TOKEN, self._sign_in)
        source.json(READ, self._read)
        source.json(DELETED, self._deleted)
        self.url = source.url("/api")

    # -- what happens --------------------------------------------------------------------------------------------------

    def put(self, number: int, **further: Any) -> None:
        """Add an event, or change the one that is there."""
        row = event(number, self.now, **further)
        self.events[row["event_id_cnty"]] = row

    def delete(self, number: int) -> None:
        """Delete an event, and list that."""
        if self.events.pop(f"ETH{number}", None) is not None:
            self.deletions.append({"event_id_cnty": f"ETH{number}", "deleted_timestamp": str(self.now)})

    # -- what it answers -----------------------------------------------------------------------------------------------

    def _sign_in(self, asked: Asked) -> Any:
        form = asked.form
        by_password = (form.get("username"), form.get("password")) == (USERNAME, PASSWORD)
        by_refresh = form.get("refresh_token") in self.refreshes
        is_right = {"password": by_password, "refresh_token": by_refresh}.get(form.get("grant_type", ""), False)
        if form.get("client_id") != "acled" or not is_right:
            return Reply(400, {"error": "invalid_grant", "error_description": f"wrong: {form}"})
        number = next(self._numbers)
        token, refresh = f"token-secret-{number}", f"refresh-secret-{number}"
        self.tokens[token] = self.answers_left
        self.refreshes.add(refresh)
        return {"token_type": "Bearer", "expires_in": 86400, "access_token": token, "refresh_token": refresh}

    def _read(self, asked: Asked) -> Any:
        if "fields" not in asked.query:
            self.before_page(int(asked.query["page"]))
        return self._answer(asked, "timestamp", list(self.events.values()), self.order)

    def _deleted(self, asked: Asked) -> Any:
        return self._answer(asked, "deleted_timestamp", self.deletions, lambda row: row["event_id_cnty"])

    def _answer(self, asked: Asked, column: str, rows: list[Row], order: Order) -> Any:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        left = self.tokens.get(token, 0)
        if left == 0:
            return Reply(401, {"message": f"{token} is too old"})
        if left is not None:
            self.tokens[token] = left - 1
        if self.is_refused:
            return Reply(403, {"message": "Access denied"})
        query = asked.query
        number, limit = int(query["page"]), min(int(query["limit"]), self.most)
        if column in query:
            since, is_after = int(query[column]), query.get(f"{column}_where", ">=") == ">"
            rows = [row for row in rows if int(row[column]) >= since + is_after]
        if "country" in query:
            rows = [row for row in rows if row.get("country") in query["country"].split("|")]
        page = sorted(rows, key=order)[(number - 1) * limit : number * limit]
        if "fields" in query:
            page = [{name: row[name] for name in query["fields"].split("|")} for row in page]
        answer = {"status": 200, "success": True, "last_update": 5, "count": len(page), "messages": [], "data": page}
        return self.shape(asked, answer) if column == "timestamp" else answer
