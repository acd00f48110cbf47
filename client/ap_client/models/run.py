from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from ap_client.conversion import encode
from ap_client.model import Model
from ap_client.models.error_response import ErrorResponse
from ap_client.models.run_status import RunStatus
from ap_client.models.run_stream import RunStream


class Run(RunStream, Mapping[str, Any], open=True):
    """One wish to invoke an agent, as the server knows it.

    It is a read-only mapping, too: `run["run_id"]`, `run.get("status")`, `dict(run)` say what the server sent,
    in JSON's own types. A status that this client does not know stays the string that it is. `outcome`,
    `attempt` and `error` are Runyard's.
    """

    run_id: str
    created_at: datetime
    updated_at: datetime
    status: RunStatus | str
    outcome: str | None = None
    attempt: int | None = None
    error: ErrorResponse | None = None

    def _as_sent(self) -> dict[str, Any]:
        found = {each.wire_name: value for each, value in self.given()}
        return found | self.additional_properties

    def __getitem__(self, key: str) -> Any:
        return _wire_value(self._as_sent()[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._as_sent())

    def __len__(self) -> int:
        return len(self._as_sent())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping) and not isinstance(other, Model):
            return dict(self) == other
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


def _wire_value(value: Any) -> Any:
    return msgspec.json.decode(encode(value))
