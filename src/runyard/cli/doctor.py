"""`runyard doctor`: what is configured here, and what is wrong with it."""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Generator, Mapping
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple, cast

import click

from runyard.cli.flags import read_settings, setting_flags
from runyard.cli.show import print_json, print_table
from runyard.errors import InvalidInput
from runyard.settings import Resolved, Settings, check_exposure, check_role, describe, is_loopback, without_password

EPILOG = """\b
Examples:
  runyard doctor                        what `runyard serve` would do here
  runyard doctor examples/ --port 9000  the same with these arguments
  runyard doctor --json                 for a program; exit code 1 where something is wrong
"""

# Read from the environment, but no settings of a server.
OTHER_VARIABLES = frozenset({"RUNYARD_URL", "RUNYARD_API_KEY", "RUNYARD_CONFIG"})
SHORT_KEY = 16

Verdict = Literal["ok", "warning", "problem"]
MARKS: dict[Verdict, str] = {
    "ok": click.style("ok     ", fg="green"),
    "warning": click.style("warning", fg="yellow"),
    "problem": click.style("problem", fg="red"),
}


class Finding(NamedTuple):
    """One thing that was looked at, and what was found."""

    subject: str
    verdict: Verdict
    text: str


@click.command("doctor", epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@setting_flags()
@click.option("--json", "as_json", is_flag=True, help="Settings and findings as one JSON object.")
def command(targets: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Say what is configured here, and what is wrong.

    It takes the same arguments as `runyard serve`, starts nothing and changes nothing. Exits 1 where `serve` would
    not start or would not do what it is meant to.
    """
    try:
        resolved = read_settings(flags, targets)
    except InvalidInput as error:
        findings = [Finding("settings", "problem", error.message)]
        settings: list[tuple[str, str, str]] = []
    else:
        findings = list(examine(resolved, os.environ))
        settings = list(_settings_shown(resolved))
    if as_json:
        print_json(
            {
                "settings": {name: {"value": value, "source": source} for name, value, source in settings},
                "findings": [finding._asdict() for finding in findings],
            }
        )
    else:
        told = [setting for setting in settings if setting[2] != "default"]
        print_table(("setting", "value", "source"), told, "every setting has its default")
        click.echo()
        for finding in findings:
            click.echo(f"{MARKS[finding.verdict]}  {finding.subject}: {finding.text}")
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0


def examine(resolved: Resolved, environ: Mapping[str, str]) -> Generator[Finding]:
    """Everything that is looked at, in the order in which a server would stumble over it."""
    from runyard.offline import inspect

    settings = resolved.settings
    yield from _variables(environ)
    facts: dict[str, Any] = inspect(settings)
    yield from _exposure(settings, guarded=any(key == "auth" for key, _, _ in facts["told"]))
    yield from _database(facts)
    yield _retention(settings)
    yield from _traces(settings, environ)
    yield from _agents(settings, facts)
    yield from _langgraph(facts)
    yield _webhooks(settings)
    yield _port(settings, served=facts["holder"] is not None)


def _settings_shown(resolved: Resolved) -> Generator[tuple[str, str, str]]:
    """Name, value and source of every setting; of keys only whose they are, of secrets only how many."""
    for row in describe():
        value: object = getattr(resolved.settings, row.name)
        if row.name == "api_keys":
            value = tuple(f"{key.owner}:{key.scope}" for key in resolved.settings.api_keys)
        elif row.name == "database":
            value = without_password(resolved.settings.database)
        elif row.name == "webhook_secrets":
            value = f"{len(resolved.settings.webhook_secrets)} of them"
        shown = ", ".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)
        yield row.name, shown, resolved.sources[row.name]


def _variables(environ: Mapping[str, str]) -> Generator[Finding]:
    known = {row.environment for row in describe()} | OTHER_VARIABLES
    for name in sorted(environ):
        if name.startswith("RUNYARD_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield Finding("environment", "warning", f"{name} means nothing to Runyard{hint}")


def _exposure(settings: Settings, *, guarded: bool) -> Generator[Finding]:
    try:
        if not guarded:
            check_exposure(settings)
    except InvalidInput as error:
        yield Finding("access", "problem", error.message)
        return
    where = "only this machine" if is_loopback(settings.host) else "other machines"
    if guarded and not settings.api_keys:
        yield Finding("access", "ok", f"{where} can reach {settings.host}, as far as auth of langgraph.json lets them")
        return
    if not settings.api_keys:
        verdict: Verdict = "ok" if is_loopback(settings.host) else "warning"
        yield Finding("access", verdict, f"{where} can reach {settings.host}, and everybody there may do everything")
        return
    owners = ", ".join(sorted({f"{key.owner} ({key.scope})" for key in settings.api_keys}))
    yield Finding("access", "ok", f"{where} can reach {settings.host}, with the keys of {owners}")
    if any(len(key.key) < SHORT_KEY for key in settings.api_keys):
        yield Finding("access", "warning", f"a key is shorter than {SHORT_KEY} characters: it can be guessed")


def _database(facts: Mapping[str, Any]) -> Generator[Finding]:
    path, version, latest = facts["path"], facts["schema"], facts["latest"]
    if facts["problem"] is not None:
        yield Finding("database", "problem", f"{path}: {facts['problem']}")
    elif facts["holder"] is not None:
        yield Finding("database", "ok", f"{path} is being served by process {facts['holder']}")
    elif not facts["exists"]:
        yield Finding("database", "ok", f"{path} is not there yet; the first start makes it")
    elif version < latest:
        yield Finding("database", "ok", f"{path} has layout {version}; the next start brings it to {latest}")
    else:
        yield Finding("database", "ok", f"{path} has this version's layout ({version})")
    if facts["unsafe"]:
        told = ", ".join(facts["unsafe"])
        yield Finding("database", "warning", f"PostgreSQL has {told}: a crash may take what was acknowledged")
    if facts["workers"]:
        yield Finding("workers", "ok", f"alive are {', '.join(facts['workers'])}")
    if facts["unoffered"]:
        told = ", ".join(f"{count} of {agent_id}" for agent_id, count in facts["unoffered"].items())
        yield Finding("workers", "warning", f"runs wait that no worker can execute: {told}")


def _retention(settings: Settings) -> Finding:
    cuts = settings.thread_retention_strategy == "keep_latest"
    ages = {
        "finished runs": settings.run_retention,
        "their events": settings.event_retention or settings.run_retention,
        "histories of idle threads" if cuts else "idle threads": settings.thread_retention,
    }
    told = [f"{what} {_age(seconds) if seconds else 'for ever'}" for what, seconds in ages.items()]
    stateless = f"runs without a thread {_age(settings.stateless_retention)}"
    return Finding("retention", "ok", f"kept are {', '.join(told)}; {stateless}")


def _age(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} seconds"


def _traces(settings: Settings, environ: Mapping[str, str]) -> Generator[Finding]:
    if not settings.traces:
        return
    try:
        missing = find_spec("opentelemetry.exporter.otlp.proto.http") is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        yield Finding("traces", "problem", "OpenTelemetry is not installed: pip install 'runyard[otel]'")
        return
    named = [name for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") if name in environ]
    yield Finding(
        "traces",
        "ok",
        f"sent to {environ[named[0]] if named else 'http://localhost:4318 (no OTEL_* variable says where)'}",
    )


def _agents(settings: Settings, facts: Mapping[str, Any]) -> Generator[Finding]:
    agents: list[str] = facts["agents"]
    if not settings.workers:
        try:
            check_role(settings)
        except InvalidInput as error:
            yield Finding("agents", "problem", error.message)
        else:
            yield Finding("agents", "ok", "none of its own: workers is 0")
        return
    if facts["agents_problem"] is not None:
        yield Finding("agents", "problem", facts["agents_problem"])
        return
    if not agents:
        yield Finding("agents", "problem", "there are none; name some: runyard serve examples/")
        return
    yield Finding("agents", "ok", ", ".join(agents))
    if settings.default_agent is not None and settings.default_agent not in agents:
        yield Finding("agents", "problem", f"default_agent is {settings.default_agent!r}, which is none of them")
    elif settings.default_agent is None and len(agents) > 1:
        yield Finding("agents", "ok", "no default_agent is set: every request has to name its agent")


def _langgraph(facts: Mapping[str, Any]) -> Generator[Finding]:
    if facts["told_problem"] is not None:
        yield Finding("langgraph.json", "problem", facts["told_problem"])
    for key, verdict, text in facts["told"]:
        yield Finding("langgraph.json", verdict, f"{key}: {text}")


def _webhooks(settings: Settings) -> Finding:
    where = "public addresses"
    if settings.webhook_allow:
        where += f" and {', '.join(settings.webhook_allow)}"
    if settings.webhook_secrets:
        return Finding("webhooks", "ok", f"they are signed, and go to {where}")
    verdict: Verdict = "ok" if is_loopback(settings.host) else "warning"
    return Finding(
        "webhooks",
        verdict,
        f"they go to {where}, and are not signed: without RUNYARD_WEBHOOK_SECRETS nobody can tell that they are ours",
    )


def _port(settings: Settings, *, served: bool) -> Finding:
    place = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if served:
                return Finding("port", "ok", f"{place} is taken, perhaps by the server that holds the database")
            return Finding("port", "problem", f"{place} cannot be listened on: {error.strerror}; choose another --port")
    return Finding("port", "ok", f"{place} is free")
