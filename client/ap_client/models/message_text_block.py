from typing import Any, Literal, Self

from ap_client.model import Model


class MessageTextBlock(Model, open=True):
    """A block of text in a message's content."""

    text: str
    type: Literal["text"]
    metadata: dict[str, Any] | None = None

    @property
    def actual_instance(self) -> Self:
        """The block itself, for code that expects it in a `ContentOneOfInner`."""
        return self
