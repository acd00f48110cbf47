"""Headers of a request in `config.configurable` of the runs that it creates (`http.configurable_headers` of a
`langgraph.json`)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from runyard.api.context import ApiContext
from runyard.lifecycle import CreateRun, Lifecycle
from runyard.runs import Config
from runyard.storage.contract import Created


class TellingVerbs:
    """`Lifecycle`, for one request, whose runs are told of its headers; all else is as it was."""

    def __init__(self, verbs: Lifecycle, told: Mapping[str, str]) -> None:
        self._verbs = verbs
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verbs, name)

    async def create_run(self, owner: str, wish: CreateRun) -> Created:
        config = Config() if wish.config is UNSET else wish.config
        asked = {} if config.configurable is UNSET else config.configurable
        # Whoever is in front of the server says by its headers what clients must not.
        config = msgspec.structs.replace(config, configurable={**asked, **self._told})
        return await self._verbs.create_run(owner, msgspec.structs.replace(wish, config=config))


def telling(api: ApiContext, headers: Mapping[bytes, bytes]) -> ApiContext:
    """The API as a request with these headers uses it."""
    told = {} if api.copied is None else api.copied.of(headers)
    if not told:
        return api
    own = copy.copy(api)
    parts: dict[str, Any] = {
        "verbs": TellingVerbs(api.verbs, told),
        "renew": lambda: telling(api.renewed(), headers),
    }
    for name, part in parts.items():
        object.__setattr__(own, name, part)
    return own
