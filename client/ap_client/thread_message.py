"""A message of a thread, to look at. No input and output in here."""

from typing import Any

from ap_client.assembly import STREAMING, MessageState, reasoning_of, text_of, tool_calls_of


class MessageView:
    """A message, as far as it has come."""

    def __init__(self, state: MessageState) -> None:
        self._state = state

    @property
    def id(self) -> str:
        return self._state.id

    @property
    def role(self) -> str:
        """ai, human or system."""
        return self._state.role

    @property
    def namespace(self) -> tuple[str, ...]:
        """Where in the tree of agents it was said; () is the root."""
        return self._state.namespace

    @property
    def node(self) -> str | None:
        """The node of a graph that said it."""
        return self._state.node

    @property
    def run_id(self) -> str | None:
        return self._state.run_id

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known of its model."""
        return self._state.metadata

    @property
    def status(self) -> str:
        """streaming; complete; failed (see `error`); dropped: its attempt ended, and the next one tells another."""
        return self._state.status

    @property
    def done(self) -> bool:
        """Whether nothing more of it comes."""
        return self._state.status != STREAMING

    @property
    def text(self) -> str:
        return text_of(self._state.blocks)

    @property
    def reasoning(self) -> str:
        return reasoning_of(self._state.blocks)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The tools that it calls, each a block with `id`, `name` and `args`."""
        return tool_calls_of(self._state.blocks)

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """Its content blocks, in the words of the protocol."""
        return self._state.blocks

    @property
    def usage(self) -> dict[str, Any] | None:
        """The tokens that it took, such as `inputTokens` and `outputTokens`; None where that was not told."""
        return self._state.usage

    @property
    def error(self) -> str | None:
        """What its model's call failed with."""
        return None if self._state.error is None else self._state.error[1]

    def __repr__(self) -> str:
        return f"<message {self.id} of {self.role}: {self.status}, {self.text!r}>"
