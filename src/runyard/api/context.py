"""What the API is given: the verbs, the streams, storage for plain reads, and values from the settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from runyard.api.auth import Keys
from runyard.api.authorization.authority import Authority
from runyard.api.authorization.guard import Guard
from runyard.api.gate import Cors
from runyard.api.indexed import IndexedItems
from runyard.api.pulse import Pulse
from runyard.api.streaming.detached import Detached
from runyard.catalog import Catalog
from runyard.headers import Copied
from runyard.inspection import Inspection
from runyard.items import Lasting
from runyard.lifecycle import Lifecycle
from runyard.protocol.filters import Filters
from runyard.storage.contract import Storage
from runyard.streams import Streams
from runyard.telemetry import Spans
from runyard.timetable import Timetable


@dataclass(frozen=True, kw_only=True)
class ApiContext:
    """Everything that handlers may reach; one per server.

    `ready` gives `{"ready": bool, "reasons": [text, ...], "unoffered": {agent id: runs}}`; `metrics` their content type
    and text. Times are seconds.
    """

    verbs: Lifecycle
    streams: Streams
    storage: Storage
    items: IndexedItems
    inspection: Inspection
    catalog: Catalog
    timetable: Timetable
    ready: Callable[[], Awaitable[dict[str, Any]]]
    metrics: Callable[[], Awaitable[tuple[bytes, bytes]]]
    slots: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """How many runs execute here, and how many more could."""
    keys: Keys = field(default_factory=Keys)
    cors: Cors = field(default_factory=Cors)
    allowed_hosts: tuple[str, ...] = ()
    """Host names that may be asked for; `*.example.com` means any below; empty means any at all."""
    max_body_bytes: int = 4_000_000
    body_timeout: float = 30.0
    """How long a request may take to come."""
    heartbeat: float = 15.0
    """How often an open stream gets a comment."""
    keepalive: float = 1.0
    """How often a wait that lasts gets a newline."""
    disabled: frozenset[str] = frozenset()
    """Groups of paths that are not served (see `runyard.api.faces`)."""
    lasting: Lasting = field(default_factory=Lasting)
    """How long items of the store are kept of which nobody says so."""
    authority: Authority | None = None
    """The deployment's own code that says who may do what."""
    security: bytes = b""
    """What the served documents say of who may ask, where the deployment says so (see `runyard.api.openapi`)."""
    guard: Guard | None = None
    """What a request was let at, where that has to be asked; the API is one request's then."""
    renew: Callable[[], ApiContext] | None = None
    copied: Copied | None = None
    """Which headers of requests agents are told."""
    version: str = "0"
    spans: Spans | None = None
    """What makes spans of requests, where traces are on."""
    pulse: Pulse = field(init=False)
    detached: Detached = field(init=False)
    filters: Filters = field(default_factory=Filters)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pulse", Pulse(self.heartbeat))
        object.__setattr__(self, "detached", Detached(self.verbs.clock.now))

    def renewed(self) -> ApiContext:
        """The same for the next command of a connection that stays open: what that may is asked anew."""
        return self if self.renew is None else self.renew()
