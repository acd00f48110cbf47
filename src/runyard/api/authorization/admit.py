"""Letting a request in: the API as its user may use it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from starlette.authentication import AuthCredentials
from starlette.types import Receive, Scope, Send

from runyard.api.authorization.assistants import GuardedCatalog, GuardedInspection
from runyard.api.authorization.crons import GuardedTimetable
from runyard.api.authorization.guard import Guard
from runyard.api.authorization.items import GuardedItems
from runyard.api.authorization.storage import GuardedStorage
from runyard.api.authorization.streams import GuardedStreams
from runyard.api.authorization.threads import GuardedVerbs
from runyard.api.context import ApiContext
from runyard.api.custom import Admit
from runyard.api.gate import refuse
from runyard.api.problems import Words
from runyard.errors import RunyardError
from runyard.users import ACTING, User


async def admitted(
    api: ApiContext, scope: Scope, receive: Receive, params: Mapping[str, str]
) -> tuple[ApiContext, Receive]:
    """The API as the user who asks may use it, and where the request's body is to be read from.

    Raises:
        RunyardError: it is refused.
    """
    assert api.authority is not None  # else nobody is asked
    user, receive = await api.authority.user(scope, receive, params)
    own = guarded(api, user)
    ACTING.set(own.guard.acting if own.guard is not None else None)
    return own, receive


def guarded(api: ApiContext, user: User) -> ApiContext:
    """The API as a user may use it, for one request."""
    assert api.authority is not None  # as above
    guard = Guard(api.authority, user, api.storage)
    storage = GuardedStorage(guard, api.storage)
    verbs = GuardedVerbs(guard, api.verbs, storage)
    parts: dict[str, Any] = {
        "storage": storage,
        "items": GuardedItems(guard, api.items),
        "verbs": verbs,
        "streams": GuardedStreams(guard, api.streams, verbs),
        "catalog": GuardedCatalog(guard, api.catalog, verbs),
        "timetable": GuardedTimetable(guard, api.timetable),
        "inspection": GuardedInspection(guard, api.inspection),
        "guard": guard,
        "renew": lambda: guarded(api, user),
    }
    own = copy.copy(api)
    for name, part in parts.items():
        object.__setattr__(own, name, part)
    return own


def admitting(api: ApiContext, words: Words) -> Admit:
    """Asks who wants the user's own routes, and tells those by `request.user` and `request.auth`."""

    async def admit(scope: Scope, receive: Receive, send: Send) -> Receive | None:
        try:
            api.keys.principal(scope["runyard.headers"], "read")
            if api.authority is not None:
                user, receive = await api.authority.user(scope, receive, {})
                scope["user"] = user
                scope["auth"] = AuthCredentials(["authenticated", *user.permissions])
        except RunyardError as error:
            await refuse(scope, receive, send, error, words)
            return None
        return receive

    return admit
