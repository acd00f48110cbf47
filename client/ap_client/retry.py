"""When a call is sent again, and after how long. No input and output in here.

A call may be repeated when doing it twice is the same as doing it once: reading, searching, putting, deleting,
cancelling; and creating a run, because of the `Idempotency-Key` that goes with it. Any call may be when the server
cannot have begun it: nobody took the connection, or it was refused with 429.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from ap_client.exceptions import ApiException, TransportException

DEFAULT_RETRIES = 5
LONGEST_ASKED_SECONDS = 60.0
"""A server's `Retry-After` is obeyed up to here."""

UNAVAILABLE = frozenset({502, 503, 504})
"""What a proxy answers whose server is away, and a server that is not ready."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the n-th try without progress: doubled each time, jittered, `tries` in all."""

    first: float = 0.1
    limit: float = 5.0
    tries: int = 10
    jitter: Callable[[], float] = field(default=random.random)

    def seconds(self, failures: int, at_least: float = 0.0) -> float:
        """Between a half and the whole of the time of this failure (counted from 1)."""
        # Beyond that many doublings the limit holds anyway, and a float would overflow.
        whole = min(self.limit, self.first * 2.0 ** min(failures - 1, 60))
        return max(at_least, whole * (0.5 + self.jitter() / 2))


def may_repeat(error: ApiException, repeatable: bool) -> bool:
    """Whether the call that met this error may be sent again; `repeatable`: its doing it twice is the same."""
    if error.status == 429 or (isinstance(error, TransportException) and error.unsent):
        return True
    if error.code == "still_stopping":
        # The server has waited as long as it was willing to: that is its answer.
        return False
    return repeatable and (error.status == 0 or error.status in UNAVAILABLE)


def asked_seconds(headers: Mapping[str, str] | None) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date; None where it asks for nothing.

    A date is compared with the answer's own `Date`, so that no clock has to be right.
    """
    found = {name.lower(): value.strip() for name, value in (headers or {}).items()}
    text = found.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_ASKED_SECONDS)
    try:
        wanted = parsedate_to_datetime(text) - parsedate_to_datetime(found.get("date", ""))
    except (ValueError, TypeError):
        return None
    return min(max(wanted.total_seconds(), 0.0), LONGEST_ASKED_SECONDS)


class Persistence:
    """How long to go on trying for a connection that is to last."""

    def __init__(self, backoff: Backoff, retries: int) -> None:
        self._backoff = backoff
        self._retries = retries
        self._failures = 0
        self._lasted = False

    def progressed(self) -> None:
        """Something came, or the connection has held for a while."""
        self._lasted, self._failures = True, 0

    def lost(self, error: ApiException, held: float = 0.0, asked: float = 0.0) -> float:
        """It failed after `held` seconds: seconds to wait, `asked` at least. Raises the error when it is final.

        Until it has lasted once it is tried as often as any call.
        """
        if held > self._backoff.limit:
            self.progressed()
        self._failures += 1
        hopeless = self._failures > (self._backoff.tries if self._lasted else self._retries)
        if hopeless or not may_repeat(error, repeatable=True):
            raise error
        wait = max(asked_seconds(error.headers) or 0.0, min(asked, LONGEST_ASKED_SECONDS))
        return self._backoff.seconds(self._failures, at_least=wait)
