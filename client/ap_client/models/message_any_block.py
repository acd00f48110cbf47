from typing import Any, Self

from ap_client.model import Model


class MessageAnyBlock(Model, open=True):
    """A block of a message's content, of any type; all its other keys are kept."""

    type: str
    metadata: dict[str, Any] | None = None

    @property
    def actual_instance(self) -> Self:
        """The block itself, for code that expects it in a `ContentOneOfInner`."""
        return self
