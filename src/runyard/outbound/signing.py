"""Signatures after Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, one for each secret that is in use."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from runyard.errors import InvalidInput

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a key."""


class Secret(msgspec.Struct, frozen=True):
    """A key that is shared with those who receive webhooks."""

    key: bytes

    def __repr__(self) -> str:
        # Settings end up in logs and tracebacks; keys must not.
        return f"Secret({PREFIX}...)"


def parse_secret(text: str) -> Secret:
    """A secret from its text, `whsec_` and the key in base64.

    Raises InvalidInput that says what is wrong without repeating it.
    """
    key = b""
    if text.startswith(PREFIX):
        try:
            key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass  # the sentence below says what is needed
    if not SHORTEST <= len(key) <= LONGEST:
        raise InvalidInput(
            f"must be {PREFIX} and {SHORTEST} to {LONGEST} random bytes in base64", field="webhook_secrets"
        )
    return Secret(key)


def signed_headers(secrets: Sequence[Secret], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver knows a message; without secrets there is no signature among them."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    signatures = [base64.b64encode(hmac.digest(secret.key, signed, hashlib.sha256)).decode() for secret in secrets]
    if signatures:
        headers["webhook-signature"] = " ".join(f"v1,{signature}" for signature in signatures)
    return headers
