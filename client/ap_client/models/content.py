from collections.abc import Iterable, Mapping
from typing import Any, cast

from ap_client.models.content_one_of_inner import ContentOneOfInner
from ap_client.models.message_any_block import MessageAnyBlock
from ap_client.models.message_text_block import MessageTextBlock
from ap_client.wrapper import Wrapper, plain_value

Block = MessageTextBlock | MessageAnyBlock


class Content(Wrapper):
    """The content of a message, in a box. The plain string or list is accepted wherever this is."""


def content_of(value: str | Iterable[Block | Mapping[str, Any] | ContentOneOfInner] | Content) -> Any:
    """A message's content as it is kept: a string, or a list of blocks.

    A block of type `text` with a string in `text` becomes a `MessageTextBlock`, any other mapping with a
    type a `MessageAnyBlock`; what is no block stays as it is, for `validate` to name.
    """
    bare: Any = value.actual_instance if isinstance(value, Wrapper) else value
    if isinstance(bare, list | tuple):
        bare = [_block_of(each) for each in cast("Iterable[Any]", bare)]
    return plain_value(bare)


def _block_of(value: Any) -> Any:
    bare = value.actual_instance if isinstance(value, ContentOneOfInner) else value
    if not isinstance(bare, Mapping):
        return bare
    block = cast("Mapping[str, Any]", bare)
    is_text = block.get("type") == "text" and isinstance(block.get("text"), str)
    return (MessageTextBlock if is_text else MessageAnyBlock).from_dict(block)
