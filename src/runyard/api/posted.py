"""What is posted to webhooks: a run's end in the words of the face under which the run was created."""

from __future__ import annotations

from msgspec import UNSET

from runyard.api import answers
from runyard.api.langgraph import answers as dialect
from runyard.deliveries import Notice


def posted(notice: Notice, sent_at: int | None) -> bytes:
    """The body, as JSON text, of a try that begins at that time."""
    if notice.run.asked_for().langgraph is UNSET:
        return answers.webhook(notice, sent_at)
    return dialect.webhook(notice, sent_at)
