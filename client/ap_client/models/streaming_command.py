from typing import Any

from ap_client.model import Model, field


class StreamingCommand(Model, open=True):
    """A command of the streaming protocol, such as `run.start` or `input.respond`.

    The answer repeats `id`, a number of the caller's choice; what `params` holds depends on `method`.
    """

    id: int = field(at_least=0)
    method: str
    params: dict[str, Any] | None = None
