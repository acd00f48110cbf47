from collections.abc import Iterable
from typing import Any, cast

from ap_client.model import Model, field
from ap_client.wrapper import Wrapper


def _channels(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    each_given = cast("Iterable[Any]", value)
    return [each.actual_instance if isinstance(each, Wrapper) else each for each in each_given]


class EventStreamRequest(Model, open=True):
    """What of a thread's events to stream, over one connection.

    - `channels`: values, updates, messages, tools, lifecycle, input, checkpoints, tasks, custom, or `custom:NAME`.
    - `namespaces`: prefixes; all namespaces if not given.
    - `depth`: how far below a prefix.
    - `since`: a sequence number; the events after it are replayed first.
    """

    channels: list[str] = field(converter=_channels, at_least=1)
    namespaces: list[list[str]] | None = None
    depth: int | None = field(default=None, at_least=0)
    since: int | None = field(default=None, at_least=0)
