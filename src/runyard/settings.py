"""The settings of a server: one frozen object, read once.

A flag wins over the environment (`RUNYARD_<NAME>`), the environment over `runyard.toml`, and that over the
default. The names are the same everywhere. `python -m runyard.settings` prints the documentation's table.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast, get_type_hints

import msgspec
from msgspec import Meta, inspect

from runyard.errors import InvalidInput, Unsupported
from runyard.outbound.guard import parse_allowed
from runyard.outbound.signing import Secret, parse_secret
from runyard.storage import place
from runyard.storage.place import without_password

CONFIG_FILE = "runyard.toml"
SQLITE = "sqlite:///"
POSTGRES = tuple(f"{scheme}://" for scheme in place.SCHEMES)
SECRET = frozenset({"api_keys", "webhook_secrets"})
"""Settings whose values are told to nobody."""


class ApiKey(msgspec.Struct, frozen=True):
    """A bearer key: who calls with it (the owner of what it makes) and whether it may change anything."""

    key: str
    owner: str
    scope: Literal["read", "write"] = "write"

    def __repr__(self) -> str:
        # Settings end up in logs and tracebacks; keys must not.
        return f"ApiKey(key='...', owner={self.owner!r}, scope={self.scope!r})"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a server can be told. Times are in seconds, sizes in bytes."""

    agents: Annotated[
        tuple[str, ...],
        Meta(
            description="Where the agents are: folders, files (`file.py`, `file.py:name`) and modules "
            "(`package.module:name`)."
        ),
    ] = ()
    host: Annotated[
        str,
        Meta(
            description="The address to listen on; beyond loopback it takes `api_keys`, `auth` in a `langgraph.json`, "
            "or `insecure`."
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="The port to listen on; 0 takes a free one.")] = 8000
    database: Annotated[
        str,
        Meta(
            description="Where everything is kept: `sqlite:///` and the path of a file, which is made, or "
            "`postgresql://` and what is needed to reach a PostgreSQL database, which any number of servers share."
        ),
    ] = "sqlite:///.runyard/runyard.db"
    database_connections: Annotated[
        int,
        Meta(
            ge=4,
            le=100,
            description="How many connections to a PostgreSQL database the server opens at most: one writes, one "
            "listens, one keeps the lease, the others read.",
        ),
    ] = 9
    database_statement_timeout: Annotated[
        float,
        Meta(ge=1, le=3600, description="After how long a PostgreSQL database gives a statement up."),
    ] = 60.0
    default_agent: Annotated[
        str | None,
        Meta(description="The agent that runs where a request names none; a single agent needs no mention."),
    ] = None
    api_keys: Annotated[
        tuple[ApiKey, ...],
        Meta(
            description="Bearer keys with owner and scope, as `key=owner:write,key2=owner2:read`; with none, "
            "everybody who reaches the server may do everything."
        ),
    ] = ()
    insecure: Annotated[bool, Meta(description="Serve other machines although there are no `api_keys`.")] = False
    root: Annotated[
        Literal["agent-protocol", "langgraph"],
        Meta(
            description="Which face of the API is served at the root: `agent-protocol`, with the other under "
            "`/langgraph`, or `langgraph`, with the other under `/agent-protocol`."
        ),
    ] = "agent-protocol"
    cors_origins: Annotated[
        tuple[str, ...],
        Meta(description="The foreign origins whose web pages may call the server; `*` means all."),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="The names (`Host` header) that are answered to, `*.example.com` for all below one; by "
            "default any, but only loopback's where nothing else is served."
        ),
    ] = ()
    workers: Annotated[
        int,
        Meta(
            ge=0,
            le=1,
            description="Whether the server executes runs itself; with 0 it needs no agents, and `runyard worker` "
            "executes them, on a PostgreSQL database.",
        ),
    ] = 1
    max_runs: Annotated[
        int, Meta(ge=1, description="How many runs a server executes at a time; the others wait in line.")
    ] = 200
    lease: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="How long a worker that is not heard of keeps its runs, on a PostgreSQL database; 0 means 6 "
            "where agents run in processes of their own, and 60 where they run in the server's, because code that lets "
            "nothing else of its process run must not cost a lease.",
        ),
    ] = 0.0
    max_pending: Annotated[
        int,
        Meta(
            ge=1,
            description="How many runs may wait, delayed ones too, of all servers together; one more is refused "
            "with 429.",
        ),
    ] = 100_000
    max_pending_per_owner: Annotated[int, Meta(ge=1, description="How many of them may be of one owner.")] = 100_000
    processes: Annotated[
        Annotated[int, Meta(ge=0, le=64)] | None,
        Meta(
            description="How many processes of their own the agents run in; with 0 they run in the server's. Where "
            "nothing is said it is 1 on a PostgreSQL database, and 0 on SQLite.",
        ),
    ] = None
    in_process: Annotated[
        bool, Meta(description="Run the agents in the server's own process: a word for `processes` being 0.")
    ] = False
    agent_threads: Annotated[
        int, Meta(ge=1, le=64, description="How many event-loop threads the agents share, in each process.")
    ] = 2
    max_body_bytes: Annotated[int, Meta(ge=1024, description="The largest request body that is read.")] = 4_000_000
    max_value_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=500_000_000,
            description="The largest value that an agent's code may hand over, and the largest state that it may make "
            "of its thread, as JSON text.",
        ),
    ] = 16_000_000
    body_timeout: Annotated[
        float,
        Meta(gt=0, description="How long a request may take to come; one that is still incomplete is answered 408."),
    ] = 30.0
    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(
            description="`full` has every acknowledged write on the disk; with `normal` a power cut (not a "
            "crash) may take the last ones."
        ),
    ] = "full"
    cancel_grace: Annotated[
        float,
        Meta(ge=0, description="How long the code of a cancelled run may take to stop before it is cut off."),
    ] = 10.0
    disconnect_grace: Annotated[
        float,
        Meta(
            ge=0,
            description="How long a run with `on_disconnect=cancel` goes on when nobody is connected to it.",
        ),
    ] = 5.0
    drain_notice: Annotated[
        float,
        Meta(
            ge=0,
            le=600,
            description="How long a server that is told to stop says so by `/ready` before it takes no more "
            "requests, so that whoever distributes them sends it no more.",
        ),
    ] = 0.0
    drain_grace: Annotated[
        float,
        Meta(ge=0, description="How long running attempts may take to end when the server is told to stop."),
    ] = 10.0
    stateless_retention: Annotated[
        float,
        Meta(ge=0, description="How long a finished run without a thread, and its output, can be read."),
    ] = 3600.0
    run_retention: Annotated[
        float,
        Meta(ge=0, description="How long a finished run on a thread is kept, with its events; 0 means for ever."),
    ] = 0.0
    event_retention: Annotated[
        float,
        Meta(
            ge=0, description="How long the events of a finished run on a thread are kept; 0 means as long as the run."
        ),
    ] = 0.0
    thread_retention: Annotated[
        float,
        Meta(
            ge=0,
            description="How long a thread is kept on which nothing happens, with all that is on it; 0 means for "
            "ever. One with an open question stays.",
        ),
    ] = 0.0
    thread_retention_strategy: Annotated[
        Literal["delete", "keep_latest"],
        Meta(
            description="What becomes of a thread after `thread_retention`: it goes, or stays with its newest state "
            "and without the history before it."
        ),
    ] = "delete"
    idempotency_retention: Annotated[float, Meta(ge=0, description="How long an `Idempotency-Key` is remembered.")] = (
        86400.0
    )
    heartbeat: Annotated[float, Meta(gt=0, description="The longest silence on a stream before a comment is sent.")] = (
        15.0
    )
    reader_queue_bytes: Annotated[
        int,
        Meta(
            ge=65536,
            description="How far the reader of a stream may fall behind before it is cut off; one commit counts for a "
            "quarter of it at most.",
        ),
    ] = 4_000_000
    sweep_interval: Annotated[float, Meta(gt=0, description="How often what has expired is removed.")] = 60.0
    webhook_secrets: Annotated[
        tuple[Secret, ...],
        Meta(
            description="What webhooks are signed with, newest first, each `whsec_` and 24 to 64 random bytes in "
            "base64; with none, they are not signed."
        ),
    ] = ()
    webhook_allow: Annotated[
        tuple[str, ...],
        Meta(
            description="Where webhooks may go beyond public addresses: addresses, networks (`10.1.0.0/16`) and "
            "names, `*.example.com` for all below one."
        ),
    ] = ()
    webhook_https_only: Annotated[bool, Meta(description="Refuse webhooks whose URL is not https.")] = False
    webhook_redirects: Annotated[
        int, Meta(ge=0, le=10, description="How many redirects of its receiver a webhook follows.")
    ] = 0
    webhook_timeout: Annotated[
        float, Meta(gt=0, le=600, description="How long a receiver may take to answer a webhook.")
    ] = 15.0
    webhook_retry_for: Annotated[
        float,
        Meta(ge=0, description="How long a webhook is tried again, later and later, before it is parked."),
    ] = 86400.0
    webhook_concurrency: Annotated[
        int,
        Meta(ge=1, le=1000, description="How many webhooks are sent at a time, at most a quarter of them to one host."),
    ] = 32
    webhook_retention: Annotated[
        float,
        Meta(ge=0, description="How long a delivered or parked webhook is listed and can be sent again."),
    ] = 604800.0
    traces: Annotated[
        bool,
        Meta(
            description="Send traces of requests, runs and attempts to where the `OTEL_*` variables say; needs the "
            "extra `runyard[otel]`."
        ),
    ] = False
    log_format: Annotated[Literal["text", "json"], Meta(description="How log lines are written to standard error.")] = (
        "text"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least important log lines that are written."),
    ] = "info"

    def __repr__(self) -> str:
        # Settings end up in logs and tracebacks; a password must not.
        told = {**msgspec.structs.asdict(self), "database": without_password(self.database)}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in told.items())})"

    @property
    def shared(self) -> bool:
        """Whether other servers may use the database at the same time: it is a PostgreSQL one."""
        return self.database.startswith(POSTGRES)

    @property
    def agent_processes(self) -> int:
        """How many processes of their own the agents run in, where `processes` may not say."""
        if self.in_process:
            return 0
        return int(self.shared) if self.processes is None else self.processes

    @property
    def database_path(self) -> Path:
        """The file of an SQLite database; `sqlite:///a.db` is relative, `sqlite:////data/a.db` absolute.

        Raises InvalidInput for anything that is not such a URL.
        """
        path = self.database.removeprefix(SQLITE)
        if path == self.database or not path or path.endswith("/") or ":memory:" in path:
            raise Unsupported(
                f"database is {without_password(self.database)!r}: must be {SQLITE} and the path of a file, "
                f"such as {SQLITE}.runyard/runyard.db, or the {POSTGRES[0]} URL of a PostgreSQL database",
                field="database",
            )
        return Path(path)


class Row(NamedTuple):
    """One line of the settings table. `flag` is empty for what does not belong on a command line."""

    name: str
    environment: str
    flag: str
    default: str
    meaning: str


class Resolved(NamedTuple):
    """Settings, and for each name where its value came from: a flag, a variable, a file or `default`."""

    settings: Settings
    sources: dict[str, str]


def load_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, config: Path | None = None
) -> Settings:
    """The settings, from flags by name (None: not given), the environment and a file.

    `config` (else `RUNYARD_CONFIG`) names the file; without it `runyard.toml` in `cwd` is read where it
    exists. Relative paths in the file are relative to the file's folder. Raises InvalidInput that names the
    setting, its value, what is allowed and where the value came from.
    """
    return resolve_settings(flags, environ, cwd, config).settings


def resolve_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, config: Path | None = None
) -> Resolved:
    """As `load_settings`, with the source of every value."""
    if config is None and environ.get("RUNYARD_CONFIG"):
        config = Path(environ["RUNYARD_CONFIG"])
    from_file, file_source, folder = _read_file(cwd, config)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, kind in _kinds().items():
        flag, variable = flags.get(name), environ.get(environment_of(name))
        if flag is not None and flag != ():
            sources[name] = "TARGET" if name == "agents" else flag_of(name)
            values[name] = _convert(name, kind, flag, sources[name], strict=False)
        elif variable:
            sources[name] = environment_of(name)
            values[name] = _convert(name, kind, variable, sources[name], strict=False)
        elif name in from_file:
            sources[name] = file_source
            value = _convert(name, kind, from_file[name], file_source, strict=True)
            values[name] = _from_folder(name, value, folder)
        else:
            sources[name] = "default"
    settings = Settings(**values)
    try:
        if settings.shared:
            place.read(settings.database)
        else:
            settings.database_path  # noqa: B018  (a wrong one is refused here, with its source)
    except InvalidInput as error:
        raise type(error)(f"{error.message} (from {sources['database']})", field="database") from None
    check_processes(settings, sources)
    return Resolved(settings, sources)


def check_processes(settings: Settings, sources: Mapping[str, str] | None = None) -> None:
    """Refuse to have agents in two places.

    Raises InvalidInput that says what to do, and where each setting came from as far as `sources` tell.
    """
    if settings.in_process and settings.processes:
        found = {name: f" (from {source})" for name, source in (sources or {}).items()}
        raise InvalidInput(
            f"in_process is true{found.get('in_process', '')}, and processes is {settings.processes}"
            f"{found.get('processes', '')}: agents run in the server's own process, or in others; take one of the two "
            "away",
            field="processes",
        )


def check_role(settings: Settings) -> None:
    """Refuse to leave the execution of runs to workers that there cannot be.

    Raises InvalidInput that says what to do.
    """
    if not settings.workers and not settings.shared:
        raise InvalidInput(
            f"workers is 0, but database is {settings.database!r}, which one server alone uses: nobody would execute "
            "its runs; that takes a PostgreSQL database",
            field="workers",
        )


def check_exposure(settings: Settings) -> None:
    """Refuse to serve other machines without authentication, unless that was asked for.

    Raises InvalidInput that says what to do.
    """
    if not settings.api_keys and not settings.insecure and not is_loopback(settings.host):
        raise InvalidInput(
            f"host is {settings.host!r}, which other machines can reach, and there are no api_keys: set "
            "RUNYARD_API_KEYS=key=owner:write, or listen on 127.0.0.1, or say --insecure if everybody who "
            "reaches this server may do everything",
            field="host",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def describe() -> list[Row]:
    """The settings table, in the order in which the settings are defined."""
    defaults = Settings()
    return [
        Row(
            name,
            environment_of(name),
            flag_of(name),
            _shown(getattr(defaults, name)),
            _description(kind),
        )
        for name, kind in _kinds().items()
    ]


def markdown_table() -> str:
    """The settings table as Markdown, as it stands in the documentation."""
    lines = ["| setting | environment | flag | default | meaning |", "|---|---|---|---|---|"]
    for row in describe():
        cells = [f"`{row.name}`", f"`{row.environment}`", row.flag and f"`{row.flag}`", f"`{row.default}`"]
        lines.append("| " + " | ".join([*cells, row.meaning]) + " |")
    return "\n".join(lines) + "\n"


def environment_of(name: str) -> str:
    """The environment variable of a setting."""
    return f"RUNYARD_{name.upper()}"


def flag_of(name: str) -> str:
    """The flag of a setting: agents are the arguments, and keys are no business of a command line."""
    if name == "agents":
        return "TARGET ..."
    # Command lines can be read by every user of the machine.
    return "" if name in SECRET else f"--{name.replace('_', '-')}"


def parse_api_keys(text: str | Sequence[Any], source: str) -> tuple[ApiKey, ...]:
    """Keys from `key=owner:scope` pieces (scope `read` or `write`; without it `write`) or tables of a file.

    Raises InvalidInput that says which piece is wrong without repeating it.
    """
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()] if isinstance(text, str) else text
    keys: list[ApiKey] = []
    for number, piece in enumerate(pieces, start=1):
        fields = _split_key(piece) if isinstance(piece, str) else piece
        try:
            key = msgspec.convert(fields, ApiKey)
        except msgspec.ValidationError:
            key = None
        if key is None or not key.key or not key.owner or any(c.isspace() or c < "!" for c in key.key):
            raise InvalidInput(
                f"api_keys (from {source}), key {number}: must be key=owner:scope, with scope read or write",
                field="api_keys",
            )
        if any(key.key == other.key for other in keys):
            raise InvalidInput(
                f"api_keys (from {source}), key {number}: the same key stands there twice", field="api_keys"
            )
        keys.append(key)
    return tuple(keys)


def parse_webhook_secrets(text: str | Sequence[Any], source: str) -> tuple[Secret, ...]:
    """Secrets from texts, or from one text with commas between them.

    Raises InvalidInput that says which one is wrong without repeating it.
    """
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()] if isinstance(text, str) else text
    secrets: list[Secret] = []
    for number, piece in enumerate(pieces, start=1):
        try:
            secrets.append(parse_secret(piece if isinstance(piece, str) else ""))
        except InvalidInput as error:
            raise InvalidInput(
                f"webhook_secrets (from {source}), secret {number}: {error.message}", field="webhook_secrets"
            ) from None
    return tuple(secrets)


def _split_key(piece: str) -> dict[str, str]:
    # From the right, because keys are often base64 and end with "=".
    key, _, principal = piece.rpartition("=")
    owner, colon, scope = principal.rpartition(":")
    return {"key": key, "owner": owner, "scope": scope} if colon else {"key": key, "owner": principal}


def _kinds() -> dict[str, inspect.Metadata]:
    """Name and type of every setting; the type carries limits and meaning."""
    info = inspect.type_info(Settings)
    assert isinstance(info, inspect.StructType)
    return {field.name: field.type for field in info.fields if isinstance(field.type, inspect.Metadata)}


def _description(kind: inspect.Metadata) -> str:
    schema = cast("dict[str, str] | None", kind.extra_json_schema)  # pyright: ignore[reportUnknownMemberType]
    return (schema or {}).get("description", "")


def _types() -> dict[str, Any]:
    """The annotation of every setting, with its limits."""
    return get_type_hints(Settings, include_extras=True)


def _convert(name: str, kind: inspect.Metadata, value: Any, source: str, *, strict: bool) -> Any:
    """The value of a setting, from a value of the file (strict) or from the text of a flag or a variable."""
    if name == "api_keys":
        if not isinstance(value, str | list):
            raise InvalidInput(f"api_keys (from {source}): must be a list of keys", field="api_keys")
        return parse_api_keys(cast("str | list[Any]", value), source)
    if name == "webhook_secrets":
        if not isinstance(value, str | list):
            raise InvalidInput(f"webhook_secrets (from {source}): must be a list of secrets", field=name)
        return parse_webhook_secrets(cast("str | list[Any]", value), source)
    inner = kind.type.types[0] if isinstance(kind.type, inspect.UnionType) else kind.type  # the other is None
    readable: Any = value
    if isinstance(value, str) and not strict:
        match inner:
            case inspect.VarTupleType():
                readable = [piece.strip() for piece in value.split(",") if piece.strip()]
            case inspect.BoolType():
                readable = {"yes": True, "on": True, "no": False, "off": False}.get(value.lower(), value)
            case _ if value == "null":
                strict = True  # Or it would be nothing instead of a name.
            case _:
                pass
    try:
        converted = msgspec.convert(readable, _types()[name], strict=strict)
        if not isinstance(converted, float) or math.isfinite(converted):
            if name == "webhook_allow":
                _check_allowed(cast("tuple[str, ...]", converted), source)
            return converted
    except msgspec.ValidationError:
        pass
    raise InvalidInput(f"{name} is {value!r} (from {source}): must be {_allowed(inner)}", field=name)


def _check_allowed(entries: tuple[str, ...], source: str) -> None:
    try:
        parse_allowed(entries)
    except InvalidInput as error:
        raise InvalidInput(f"webhook_allow (from {source}): {error.message}", field="webhook_allow") from None


def _allowed(kind: inspect.Type) -> str:
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values):
            return "one of " + ", ".join(str(value) for value in values)
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            if kind.gt is not None:
                return f"{noun} above {kind.gt}"
            return f"{noun} from {kind.ge} to {kind.le}" if kind.le is not None else f"{noun}, {kind.ge} or more"
        case inspect.VarTupleType():
            return "a list of texts"
        case _:
            return "a text"


def _shown(value: object) -> str:
    match value:
        case None | ():
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _read_file(cwd: Path, config: Path | None) -> tuple[dict[str, Any], str, Path]:
    """The values of the file, its name for messages, and its folder."""
    path = cwd / (config or CONFIG_FILE)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if config is None:
            return {}, "", cwd
        raise InvalidInput(f"config is {str(config)!r}: there is no such file", field="config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"config is {str(path)!r}: cannot be read ({error})", field="config") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"config is {str(path)!r}: is not TOML ({error})", field="config") from None
    known = list(_kinds())
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"settings are {', '.join(known)}"
            raise InvalidInput(f"{key!r} (from {path.name}) is not a setting: {hint}", field=key)
    return values, path.name if config is None else str(config), path.parent


def _from_folder(name: str, value: Any, folder: Path) -> Any:
    """Paths of the file, read as relative to its folder."""
    if name == "agents":
        return tuple(_target_from_folder(target, folder) for target in value)
    if name == "database" and value.startswith(SQLITE):
        path = value.removeprefix(SQLITE)
        return value if not path or Path(path).is_absolute() else f"{SQLITE}{folder / path}"
    return value


def _target_from_folder(target: str, folder: Path) -> str:
    path, _, _ = target.partition(":")
    is_path = path.endswith(".py") or "/" in path or path in (".", "..") or (folder / path).is_dir()
    return f"{folder / path}{target[len(path) :]}" if is_path else target


if __name__ == "__main__":
    print(markdown_table(), end="")
