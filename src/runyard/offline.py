"""What is done to a deployment that need not be served meanwhile: its database is migrated, backed up or moved, and all
of it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runyard import databases, moving
from runyard.agents import Agent
from runyard.api.authorization.authority import Authority
from runyard.deployment import Deployment, Source, deployment, settled, sources
from runyard.errors import InvalidInput, RunyardError
from runyard.runtime.load import load_targets
from runyard.settings import POSTGRES, SQLITE, Settings, without_password
from runyard.storage.sqlite.backup import copy_database

OTHER_WAYS = {
    (False, False): "`runyard backup` copies a file",
    (True, True): "PostgreSQL's own pg_dump and pg_restore copy one of theirs",
    (True, False): "there is no way back into a file",
}
"""What is there instead of a copy, by whether source and target are PostgreSQL databases."""


def migrate(settings: Settings) -> int:
    """Brings the database to this version's schema; how many migrations were applied.

    Raises:
        Unavailable: a server holds the database.
        StorageError: it was written by a newer version.
    """
    if settings.shared:
        return databases.migrate_postgres(settings.database)
    return databases.migrate_sqlite(settings.database_path, settings.synchronous)


def backup(settings: Settings, file: Path, *, overwrite: bool, progress: Callable[[int, int], None]) -> dict[str, int]:
    """Copies the database to `file`, whether it is being served or not; what the copy holds: `threads`, `runs`,
    `unfinished` ones among them, `items`, `bytes`. `progress` is told pages done and pages in all.

    Raises:
        InvalidInput: the file exists and is not to be overwritten, or cannot be made; or there is no database.
        StorageError: the copy failed, or is not sound.
    """
    if settings.shared:
        raise InvalidInput("the database is a PostgreSQL one: PostgreSQL's own pg_dump copies it", field="database")
    return copy_database(settings.database_path, file, overwrite=overwrite, progress=progress)


def copy(source: str, target: str, *, restart: bool, progress: moving.Progress) -> moving.Moved:
    """Copies an SQLite database (its URL, or the path of its file) into a PostgreSQL one, which is empty or holds what
    an earlier copy of the same has brought; the copy is compared with its source. With `restart` what was copied
    earlier is removed first. `progress` is told what goes on, rows done and rows in all.

    Raises:
        InvalidInput: that direction is not copied, there is no such file, or the target holds something else.
        Unavailable: a server has the source, the target cannot be reached, or another copy is under way.
        StorageError: a schema does not fit, a row is refused, or the two are not the same in the end.
    """
    way = source.startswith(POSTGRES), target.startswith(POSTGRES)
    if way in OTHER_WAYS:
        raise InvalidInput(f"only an SQLite database is copied, into a PostgreSQL one: {OTHER_WAYS[way]}")
    path = Settings(database=source).database_path if source.startswith(SQLITE) else Path(source)
    return moving.move(path, target, restart=restart, progress=progress)


def inspect(settings: Settings) -> dict[str, Any]:
    """What `runyard doctor` looks at: the database (`path`, `exists`, `schema`, `latest`, `holder`, `problem`), for
    one that is shared its `workers`, what runs wait for none of them (`unoffered`: agent id -> runs) and its settings
    by which something may be lost (`unsafe`), the agents (`agents`, `agents_problem`), and what the `langgraph.json`
    files among the targets say (`told`: key, `ok` or `warning`, text; `told_problem`). Changes nothing."""
    if settings.shared:
        facts = databases.inspect_postgres(settings.database, without_password(settings.database))
    else:
        facts = databases.inspect_sqlite(settings.database_path)
    agents: list[Agent] = []
    try:
        agents = [loaded.agent for loaded in load_targets(settings.agents, Path.cwd())]
        facts["agents_problem"] = None
    except RunyardError as error:
        facts["agents_problem"] = error.message
    facts |= {"told": [], "told_problem": None}
    try:
        found = sources(settings.agents, Path.cwd())
        facts["told"] = [remark for source in found for remark in source.remarks]
        facts["told"] += _obeyed(settings, found)
    except RunyardError as error:
        facts["told_problem"] = error.message
    return {**facts, "agents": sorted(agent.agent_id for agent in agents)}


def _obeyed(settings: Settings, found: Sequence[Source]) -> list[tuple[str, str, str]]:
    """What of the files is obeyed, in words; where a setting says otherwise, that it does."""
    asked = deployment(found)
    told: list[tuple[str, str, str]] = []
    if asked.auth is not None:
        Authority(asked.auth, asked.auth_place)
        told.append(
            ("auth", "ok", "its `authenticate` is asked by every request, and its handlers say who may do what")
        )
    if asked.app is not None:
        told.append(("http.app", "ok", "its routes are served before the API's own"))
    if asked.cors is not None:
        told.append(("http.cors", "ok", f"pages of {', '.join(asked.cors.origins) or asked.cors.pattern} may call"))
    if asked.disabled:
        told.append(("http.disable_*", "ok", f"not served are {', '.join(sorted(asked.disabled))}"))
    if asked.copied is not None:
        told.append(("http.configurable_headers", "ok", f"runs know of {', '.join(asked.copied.includes) or 'none'}"))
    if asked.webhook_headers:
        told.append(_webhook_headers(asked))
    if asked.prefix:
        told.append(("http.mount_prefix", "ok", f"everything is served below {asked.prefix}"))
    if asked.lasting.minutes is not None:
        told.append(("store.ttl", "ok", f"items are kept {asked.lasting.minutes:g} minutes where nobody says how long"))
    if asked.index is not None:
        if not settings.shared:
            databases.sqlite_adapters(settings.database_path, settings.synchronous).storage.check_meanings()
        told.append(("store.index", "ok", f"items are found by their meaning, with vectors by {asked.index.place}"))
    obeyed = settled(settings, asked)
    for key, name in (("checkpointer.ttl", "thread_retention"), ("sweep_interval_minutes", "sweep_interval")):
        wanted, is_ = getattr(asked, name), getattr(obeyed, name)
        if wanted is not None:
            wins = "" if wanted == is_ else f"; the setting {name} wins over {wanted:g}"
            cuts = name == "thread_retention" and obeyed.thread_retention_strategy == "keep_latest"
            then = ", and then histories are cut" if cuts else ""
            told.append((key, "ok", f"{name} is {is_:g} seconds{then}{wins}"))
    return told


def _webhook_headers(asked: Deployment) -> tuple[str, str, str]:
    names = ", ".join(sorted(asked.webhook_headers))
    bounds = asked.webhook_bounds
    if bounds.names or bounds.below:
        return "webhooks.headers", "ok", f"{names} go with every webhook"
    why = "whoever creates runs says where to: name the receivers by webhooks.url.allowed_domains"
    return "webhooks.headers", "warning", f"{names} go with every webhook, and {why}"
