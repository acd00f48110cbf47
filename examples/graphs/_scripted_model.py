"""A chat model that plays a script, so that the graphs beside it need no key and no network.

It streams as the real ones do: a word at a time, the arguments of a tool call in pieces, the usage at the end. To see
an example with a real model, put `init_chat_model("...")` in its place; nothing else changes.

It remembers nothing. Which line of the script is next is told by the conversation (as many as it has answers since
the person last spoke), so that threads do not mix, and a run that goes on after a crash goes on in the script, too.
"""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCall, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

Line = AIMessage | Callable[[Sequence[BaseMessage]], AIMessage]
"""What the model says, or a function that makes it of the conversation so far."""


def calls(*tools: tuple[str, dict[str, Any]], text: str = "") -> AIMessage:
    """A line that calls tools, each by its name and arguments."""
    return AIMessage(text, tool_calls=[ToolCall(name=name, args=args, id=None) for name, args in tools])


def question(messages: Sequence[BaseMessage]) -> str:
    """What the person said last."""
    return str(next(message.text for message in reversed(messages) if isinstance(message, HumanMessage)))


class ScriptedModel(BaseChatModel):
    """Plays `script`, from its first line again each time the person has spoken; the last line is repeated."""

    script: list[Any]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> "ScriptedModel":
        """The script knows already which tools it calls."""
        return self

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages):
            yield ChatGenerationChunk(message=chunk)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return generate_from_stream(self._stream(messages))

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages))

    def _chunks(self, messages: Sequence[BaseMessage]) -> Iterator[AIMessageChunk]:
        line = self._line(messages)
        words = re.findall(r"\s*\S+", line.text)
        yield from (AIMessageChunk(word) for word in words)
        for index, call in enumerate(line.tool_calls):
            pieces = re.findall(r"[^,]+,?|,", json.dumps(call["args"]))
            # An id that the thread has once, and that a run which goes on after a crash makes again.
            yield _piece(index, pieces[0], call["name"], f"call_{len(messages)}_{index}")
            yield from (_piece(index, piece) for piece in pieces[1:])
        read, written = sum(len(message.text.split()) for message in messages), len(words)
        usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        yield AIMessageChunk("", usage_metadata=usage, chunk_position="last")

    def _line(self, messages: Sequence[BaseMessage]) -> AIMessage:
        said = 0
        for message in messages:
            said = 0 if isinstance(message, HumanMessage) else said + isinstance(message, AIMessage)
        line: Line = self.script[min(said, len(self.script) - 1)]
        return line if isinstance(line, AIMessage) else line(messages)


def _piece(index: int, args: str, name: str | None = None, id: str | None = None) -> AIMessageChunk:
    return AIMessageChunk("", tool_call_chunks=[tool_call_chunk(name=name, args=args, id=id, index=index)])
