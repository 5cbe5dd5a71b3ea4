"""How often a password may be guessed: by address and by name, in bounded memory, so that nobody is locked out."""

import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from geoetl.api.problems import TooManyRequests

# The one that was seen longest ago is forgotten first.
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Allowance:
    """So many wrong guesses at once, and one more each `every_s` seconds."""

    at_once: int
    every_s: float


# An office behind one address mistypes a few times; a program guesses four a minute.
PER_ADDRESS = Allowance(20, 15.0)
# Guessing at one name from many addresses: three a minute. Its owner comes from an address that is known, see Throttle.
PER_NAME = Allowance(10, 20.0)


class TooManyGuesses(TooManyRequests):
    """A password was guessed too often; it may be tried again after a while.

    Attributes:
        retry_after_s: Seconds until then.
    """

    code = "too_many_guesses"
    title = "Too many attempts"
    retry_after_s = 0


class Throttle:
    """Counts wrong guesses in this process.

    From where a name has signed in before, what others guess at that name does not count: so a stranger can slow down
    other strangers, and never its owner.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The moment at which everything that was used up is back.
        self._full_at: LRUCache[tuple[str, ...], float] = LRUCache(_REMEMBERED)
        self._familiar: LRUCache[tuple[str, str], bool] = LRUCache(_REMEMBERED)

    def take(self, address: str, name: str) -> None:
        """Take one guess from the allowances, before the password is looked at.

        Raises:
            TooManyGuesses: There is none left.
        """
        wait_s = max((self._wait(key, allowance) for key, allowance in self._counted(address, name)), default=0.0)
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            error = TooManyGuesses(
                f"There were too many attempts. The next one is possible in {seconds} s.",
                hint="Wait so long, then try again. An operator sets another password with: geoetl users password NAME",
            )
            error.retry_after_s = seconds
            raise error
        for key, allowance in self._counted(address, name):
            self._full_at[key] = max(self._clock(), self._full_at.get(key, 0.0)) + allowance.every_s

    def was_right(self, address: str, name: str) -> None:
        """Give the guess back, as it was none, and remember where the name comes from."""
        for key, allowance in self._counted(address, name):
            self._full_at[key] = self._full_at.get(key, 0.0) - allowance.every_s
        self._familiar[_network(address), name] = True

    def _counted(self, address: str, name: str) -> list[tuple[tuple[str, ...], Allowance]]:
        network = _network(address)
        by_name = ("name", name, network) if (network, name) in self._familiar else ("name", name)
        return [(("address", network), PER_ADDRESS), (by_name, PER_NAME)]

    def _wait(self, key: tuple[str, ...], allowance: Allowance) -> float:
        used_s: float = self._full_at.get(key, 0.0) - self._clock()
        return used_s - (allowance.at_once - 1) * allowance.every_s


def _network(address: str) -> str:
    """Return what one client can change its address within: itself, or the /64 that IPv6 gives to each."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
