from collections.abc import Iterable, Sequence
from typing import Any, cast

from ap_client.wrapper import Wrapper, plain_value


class StreamMode(Wrapper):
    """The kinds of events to stream, in a box. The plain name or list is accepted wherever this is."""


def stream_mode_of(value: str | Sequence[str | StreamMode] | StreamMode | None) -> Any:
    """The plain name, or list of names, that is kept."""
    bare: Any = value.actual_instance if isinstance(value, Wrapper) else value
    if isinstance(bare, list | tuple):
        each_bare = cast("Iterable[Any]", bare)
        bare = [each.actual_instance if isinstance(each, Wrapper) else each for each in each_bare]
    return plain_value(bare)
