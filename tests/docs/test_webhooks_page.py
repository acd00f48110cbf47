"""What the page for receivers says is true: its code verifies what the server signs, its numbers are the code's."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runyard.api import openapi
from runyard.api.answers import WebhookEvent
from runyard.api.app import ROUTES
from runyard.deliveries import FACTOR, FIRST_PAUSE, GONE, LONGEST_PART
from runyard.outbound.guard import parse_allowed
from runyard.outbound.signing import parse_secret, signed_headers
from runyard.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
def verify() -> Any:
    """The page's function, as it stands there."""
    code = PAGE.split("<!-- verify -->\n```python\n")[1].split("```")[0]
    room: dict[str, Any] = {}
    exec(compile(code, "webhooks.md", "exec"), room)
    return room["verify"]


def signed(*secrets: str, at: float = 0.0, body: bytes = b'{"type":"run.success"}') -> dict[str, str]:
    return signed_headers([*map(parse_secret, secrets)], "msg_1", int(time.time() + at), body)


def test_the_page_verifies_what_the_server_signs(verify: Any) -> None:
    body = b'{"type":"run.success"}'
    for secrets in ((SECRET,), (SECRET, OTHER), (OTHER, SECRET)):
        assert verify(SECRET, signed(*secrets), body) == {"type": "run.success"}


def test_the_page_refuses_what_the_server_did_not_sign(verify: Any) -> None:
    body = b'{"type":"run.success"}'
    for headers, given in (
        (signed(OTHER), body),
        (signed(SECRET), body + b" "),
        (signed(SECRET) | {"webhook-id": "msg_2"}, body),
        (signed(SECRET) | {"webhook-timestamp": str(int(time.time()) + 1)}, body),
        (signed(SECRET, at=-301), body),
    ):
        with pytest.raises(ValueError, match=r"^the (signature is wrong|message is too old)$"):
            verify(SECRET, headers, given)


def test_the_example_has_the_shape_of_the_code() -> None:
    example = json.loads(PAGE.split("```json\n")[1].split("```")[0])
    told = msgspec.json.schema_components([WebhookEvent])[1]
    assert set(example) == set(told["WebhookEvent"]["properties"])
    fields = told["WebhookData"]
    assert set(fields["required"]) <= set(example["data"]) <= set(fields["properties"])


def test_the_numbers_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    defaults = Settings()
    pauses = ", ".join(f"{FIRST_PAUSE * FACTOR**n:g}" for n in range(8))
    assert f"after {pauses} seconds, then every four hours" in text
    assert defaults.webhook_retry_for / LONGEST_PART == 4 * 3600 < FIRST_PAUSE * FACTOR**8
    assert f"**{GONE} means no.**" in text
    assert f"`webhook_timeout` ({defaults.webhook_timeout:g} s)" in text
    assert f"`webhook_concurrency` ({defaults.webhook_concurrency})" in text
    assert defaults.webhook_retention == 7 * 86400


def test_the_entries_of_the_table_are_valid() -> None:
    table = PAGE.split("| entry | allows |\n|---|---|\n")[1].split("\n\n")[0]
    entries = [entry for line in table.splitlines() for entry in re.findall(r"`([^`]+)`", line.split("|")[1])]
    assert len(entries) == 6
    parse_allowed(entries)


def test_the_served_document_describes_what_is_posted() -> None:
    described = openapi.document(ROUTES, "0")
    (webhook,) = described["webhooks"].values()
    schema = webhook["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/WebhookEvent"}
    assert set(described["components"]["schemas"]["WebhookEvent"]["properties"]) == {"type", "timestamp", "data"}
    headers = {parameter["name"] for parameter in webhook["post"]["parameters"]}
    assert headers == set(signed(SECRET))
    assert {"/webhooks/search", "/webhooks/{delivery_id}", "/webhooks/{delivery_id}/resend"} <= set(described["paths"])
