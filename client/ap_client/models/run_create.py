from typing import Any, Literal

from ap_client.conversion import id_text
from ap_client.model import Model, field
from ap_client.models.config import Config
from ap_client.models.message import Message
from ap_client.models.stream_mode import stream_mode_of
from ap_client.models.thread_checkpoint import ThreadCheckpoint
from ap_client.wrapper import plain_value


class RunCreate(Model):
    """The wish for a run.

    Without `thread_id` the run is stateless; without `agent_id` the server's default agent runs.
    Other servers than Runyard may ignore these:

    - `after_seconds`: start no sooner than this many seconds from now.
    - `checkpoint`: start from this checkpoint of the thread, not from its head.
    - `command`: go on after a human's answer: `{"resume": ..., "update": {...}, "goto": ...}`.
    - `multitask_strategy`: what to do when the thread is busy.
    - `stream_mode`: the kinds of events to record and stream: one name or several.

    And these are for graphs:

    - `context`: the run context that the graph's code is given.
    - `interrupt_before`, `interrupt_after`: names of nodes at which the run stops and asks; `"*"` is all.
    - `durability`: when its checkpoints are durable: sync, async, exit.
    - `stream_subgraphs`: whether a stream shows what subgraphs tell, as events `name|path`.
    """

    thread_id: str | None = field(default=None, converter=id_text)
    agent_id: str | None = None
    input: Any = field(default=None, nullable=True, converter=plain_value)
    messages: list[Message] | None = None
    metadata: dict[str, Any] | None = None
    config: Config | None = None
    webhook: str | None = None
    on_completion: Literal["delete", "keep"] | None = None
    on_disconnect: Literal["cancel", "continue"] | None = None
    if_not_exists: Literal["create", "reject"] | None = None
    after_seconds: float | None = None
    checkpoint: ThreadCheckpoint | None = None
    command: dict[str, Any] | None = None
    multitask_strategy: Literal["reject", "enqueue", "interrupt", "rollback"] | None = None
    stream_mode: str | list[str] | None = field(default=None, converter=stream_mode_of)
    context: dict[str, Any] | None = None
    interrupt_before: list[str] | Literal["*"] | None = None
    interrupt_after: list[str] | Literal["*"] | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    stream_subgraphs: bool | None = None
