"""`langgraph.json`: which graphs there are, where their code is, the environment that it wants, and what it says about
the server. Nothing here needs LangGraph, so that a server without agents can read it, too."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from runyard.runtime.load import Found, bad_target, import_file, import_module, named
from runyard.vectors import MAX_DIMS

Minutes = Annotated[float, Meta(gt=0, le=5_256_000_000)]
_TEMPLATE = re.compile(r"\$\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ \t!-~]*[!-~])?")
_THEIRS = frozenset({
    "accept", "connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive", "te",
    "trailer", "transfer-encoding", "upgrade", "user-agent",
})  # fmt: skip
"""Headers that say how a webhook is sent."""
HttpPath = Annotated[str, Meta(pattern="^/[^?#]*$|^$")]


class Graph(msgspec.Struct):
    """A graph with more than its place."""

    path: str
    description: str | None = None


class ItemTtl(msgspec.Struct):
    """How long items of the store are kept of which nobody says so; times are minutes."""

    default_ttl: Minutes | None = None
    refresh_on_read: bool = True
    sweep_interval_minutes: Minutes | None = None


class StoreIndex(msgspec.Struct):
    """Searches by meaning: `embed` names what makes vectors of `dims` numbers of texts, a function or an `Embeddings`
    object (`path/to/file.py:name` or `package.module:name`), or a provider's model (`openai:text-embedding-3-small`);
    `fields` are the paths of the texts in items, by default `$`, each item as a whole."""

    embed: Annotated[str, Meta(pattern="^.+:.+$")]
    dims: Annotated[int, Meta(ge=1, le=MAX_DIMS)]
    fields: list[str] | None = None


class Store(msgspec.Struct):
    """The store."""

    index: StoreIndex | None = None
    ttl: ItemTtl | None = None


class ThreadTtl(msgspec.Struct):
    """How long threads are kept on which nothing happens; times are minutes."""

    strategy: Literal["delete", "keep_latest"] = "delete"
    default_ttl: Minutes | None = None
    sweep_interval_minutes: Minutes | None = None


class Checkpointer(msgspec.Struct):
    """The states of threads."""

    ttl: ThreadTtl | None = None


class Cors(msgspec.Struct):
    """Which pages of other origins may call the server, and how."""

    allow_origins: list[str] = []
    allow_origin_regex: str | None = None
    allow_methods: list[str] | None = None
    allow_headers: list[str] | None = None
    allow_credentials: bool = False
    expose_headers: list[str] = []
    max_age: Annotated[int, Meta(ge=0)] = 600


HeaderName = Annotated[str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]


class Headers(msgspec.Struct):
    """Which headers of requests come into the configuration of runs; `*` in a name stands for any characters. Both
    spellings have been the vendor's."""

    includes: list[HeaderName] = []
    excludes: list[HeaderName] = []
    include: list[HeaderName] = []
    exclude: list[HeaderName] = []


class Http(msgspec.Struct):
    """What is served beside and around the graphs. `app` names an ASGI app of the user."""

    app: str | None = None
    cors: Cors | None = None
    configurable_headers: Headers | None = None
    mount_prefix: HttpPath | None = None
    enable_custom_route_auth: bool = False
    disable_assistants: bool = False
    disable_threads: bool = False
    disable_runs: bool = False
    disable_store: bool = False
    disable_meta: bool = False
    disable_mcp: bool = False
    disable_a2a: bool = False
    disable_ui: bool = False
    disable_webhooks: bool = False
    middleware_order: Literal["middleware_first", "auth_first"] | None = None

    @property
    def disabled(self) -> frozenset[str]:
        """The groups of paths that are not to be served."""
        names = ("assistants", "threads", "runs", "store", "meta", "mcp", "a2a", "ui")
        return frozenset(name for name in names if getattr(self, f"disable_{name}"))


class AuthCache(msgspec.Struct):
    """For how many seconds, and by which headers, somebody is known whom `authenticate` has let in."""

    cache_keys: list[HeaderName] = []
    ttl_seconds: Annotated[float, Meta(ge=0, le=31_536_000)] | None = None
    max_size: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


Requirements = list[dict[str, list[str]]]


class OpenApi(msgspec.Struct):
    """What the served documents say of who may ask, as OpenAPI has it. `paths`: path -> method -> requirements."""

    schemes: dict[str, dict[str, Any]] = msgspec.field(
        name="securitySchemes", default_factory=dict[str, dict[str, Any]]
    )
    security: Requirements | None = None
    paths: dict[str, dict[str, Requirements]] = {}


class Auth(msgspec.Struct):
    """Who may do what: `path` names an `Auth` object of LangGraph's SDK."""

    path: str
    disable_studio_auth: bool | None = None
    cache: AuthCache | None = None
    openapi: OpenApi | None = None


class WebhookUrls(msgspec.Struct):
    """Where webhooks may go. `*.example.com` among the domains is any name below that one."""

    require_https: bool = False
    allowed_domains: list[str] = []
    allowed_ports: list[Annotated[int, Meta(ge=1, le=65535)]] = []
    max_url_length: Annotated[int, Meta(ge=1)] | None = None
    disable_loopback: bool | None = None


class Webhooks(msgspec.Struct):
    """Messages about the ends of runs. What `${{ env.NAME }}` stands for in `headers` is in the environment, under a
    name that begins with `env_prefix`."""

    env_prefix: Annotated[str, Meta(min_length=1)] = "LG_WEBHOOK_"
    url: WebhookUrls = msgspec.field(default_factory=WebhookUrls)
    headers: dict[str, str] = {}


class Manifest(msgspec.Struct):
    """What is obeyed of it. `graphs`: id -> `path/to/file.py:name` or `package.module:name`, or an object with that
    under `path`; `dependencies`: folders whose code can be imported; `env`: a file of NAME=value lines, or the
    values."""

    graphs: dict[str, str | Graph] = {}
    dependencies: list[str] = []
    env: str | dict[str, str | int | float | bool] = {}
    store: Store | None = None
    checkpointer: Checkpointer | None = None
    http: Http | None = None
    auth: Auth | None = None
    webhooks: Webhooks | None = None


def is_manifest(target: str) -> bool:
    """Whether a target names such a file."""
    return target.endswith(".json")


def read(target: str, path: Path) -> tuple[Manifest, dict[str, Any]]:
    """The file of a target, and all that stands in it.

    Raises:
        InvalidInput: it cannot be read, or what stands in it does not fit.
    """
    try:
        text = path.read_bytes()
        manifest = msgspec.json.decode(text, type=Manifest)
    except OSError as error:
        raise bad_target(target, f"{path} cannot be read ({error.strerror})") from None
    except msgspec.MsgspecError as error:
        raise bad_target(target, f"{path}: {error}") from None
    return manifest, msgspec.json.decode(text)


def agents_in(target: str, path: Path) -> list[Found]:
    """The graphs that the file lists. Puts its environment and folders in place for the whole process.

    Raises:
        InvalidInput: it cannot be read, or one of its graphs cannot be found.
    """
    manifest, _ = read(target, path)
    folder = path.resolve().parent
    put_in_place(target, folder, manifest)
    return [_graph(target, folder, id, value) for id, value in manifest.graphs.items()]


def put_in_place(target: str, folder: Path, manifest: Manifest) -> None:
    """Gives the process the environment that the file wants, and the folders that its code imports from.

    Raises:
        InvalidInput: a file or a folder is not there.
    """
    _set_environment(target, folder, manifest.env)
    for dependency in manifest.dependencies:
        place = folder / dependency
        if dependency.startswith(".") or place.is_dir():
            _make_importable(target, place)


def _graph(target: str, folder: Path, id: str, value: str | Graph) -> Found:
    where, description = (value, None) if isinstance(value, str) else (value.path, value.description)
    module, name = _module_of(target, folder, f"graphs.{id}", where)
    return named(target, module, name, id, description)


def object_at(target: str, folder: Path, key: str, where: str) -> Any:
    """What `path/to/file.py:name` or `package.module:name` names; `key` is where the file says so.

    Raises:
        InvalidInput: it is not there.
    """
    module, name = _module_of(target, folder, key, where)
    try:
        return getattr(module, name)
    except AttributeError:
        raise bad_target(target, f"{key}: {module.__file__} has no {name}") from None


def webhook_headers(target: str, asked: Webhooks) -> dict[str, str]:
    """The headers that go with every webhook, with what the environment has for them, by their names in lower case.

    Raises:
        InvalidInput: one cannot be sent; the message never holds its value.
    """
    found: dict[str, str] = {}
    for name, text in asked.headers.items():
        key = f"webhooks.headers.{name}"
        if not _HEADER.fullmatch(name):
            raise bad_target(target, f"{key} is no name of a header")
        if name.lower() in _THEIRS or name.lower().startswith("webhook-"):
            raise bad_target(target, f"{key} is a header that every webhook has already: give it another name")
        value = _TEMPLATE.sub(lambda match, key=key: _from_environment(target, key, match[1], asked.env_prefix), text)
        if not _HEADER_VALUE.fullmatch(value):
            raise bad_target(target, f"{key} is empty, or holds what a header cannot: a line break, or beyond ASCII")
        found[name.lower()] = value
    return found


def _from_environment(target: str, key: str, name: str, prefix: str) -> str:
    if not name.startswith(prefix):
        raise bad_target(target, f"{key} names {name}, which does not begin with {prefix} (webhooks.env_prefix)")
    value = os.environ.get(name)
    if value is None:
        raise bad_target(target, f"{key} names {name}, which the environment does not have")
    return value


def _module_of(target: str, folder: Path, key: str, where: str) -> tuple[Any, str]:
    place, colon, name = where.rpartition(":")
    if not colon:
        raise bad_target(target, f"{key} is {where!r}: must be path/to/file.py:name or package.module:name")
    if not place.endswith(".py"):
        return import_module(target, place, folder), name
    file = (folder / place).resolve()
    if not file.is_file():
        raise bad_target(target, f"{key}: {file} does not exist")
    return import_file(target, file), name


def _set_environment(target: str, folder: Path, env: str | dict[str, Any]) -> None:
    """What the environment has already wins, as everywhere."""
    if isinstance(env, dict):
        values = {name: str(value) for name, value in env.items()}
    else:
        file = folder / env
        if not file.is_file():
            raise bad_target(target, f"env names {file}, which does not exist")
        values = _lines(file.read_text())
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _lines(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            values[name.strip()] = value[1:-1] if quoted else value.partition(" #")[0].rstrip()
    return values


def _make_importable(target: str, place: Path) -> None:
    """Puts a folder, and its `src` where it has one, on the path of imports."""
    if not place.is_dir():
        raise bad_target(target, f"dependencies names {place}, which is no folder")
    for folder in (place, place / "src"):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
