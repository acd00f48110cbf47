"""The composition root: settings -> adapters -> engine -> API; and the process around them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec
import uvicorn

from runyard.api import app as api_app
from runyard.api.auth import Keys
from runyard.api.authorization.admit import admitting
from runyard.api.authorization.authority import Authority
from runyard.api.authorization.remembered import MOST, Remembered
from runyard.api.context import ApiContext
from runyard.api.custom import Custom
from runyard.api.embedding import Embedding
from runyard.api.gate import LOOPBACK_HOSTS, Cors
from runyard.api.indexed import IndexedItems
from runyard.api.inside import inside
from runyard.api.langgraph import crons
from runyard.api.lifespan import lifespan
from runyard.api.openapi import security
from runyard.api.posted import posted
from runyard.clock import Clock
from runyard.connections import guarded
from runyard.crons import Cron
from runyard.databases import Adapters, postgres_adapters, sqlite_adapters
from runyard.deployment import Deployment, deployment, report, settled, sources
from runyard.doorway import Doorway
from runyard.engine import Engine, Terms
from runyard.errors import InvalidInput, Unavailable, Unsupported
from runyard.lifecycle import CreateRun
from runyard.logs import configure_logging
from runyard.outbound.guard import parse_allowed
from runyard.outbound.http import HttpOutbound
from runyard.runs import Run
from runyard.runtime.channel import ThreadHost
from runyard.runtime.contract import Host, LoadedAgent
from runyard.runtime.load import load_targets
from runyard.runtime.packets import Setup
from runyard.runtime.processes import ProcessHost
from runyard.settings import Settings, check_processes, check_role, is_loopback
from runyard.sockets import Sockets
from runyard.telemetry import Spans, say

BACKLOG = 4096
"""Connections that may wait to be taken."""
WORKER: api_app.Faces = {"": api_app.HEALTH}
"""What a worker offers."""
STRAGGLERS = 2.0
"""Seconds that connections have to end after the drain, before they are cut."""


class App:
    """The server as an ASGI app with lifespan: run it, mount it, or test it."""

    def __init__(
        self,
        engine: Engine,
        api: ApiContext,
        offered: api_app.Faces | None = None,
        custom: Custom | None = None,
        asked: Deployment = Deployment(),
    ) -> None:
        self.engine = engine
        self.ended = True
        """Once it is closed: whether all code of agents had ended."""
        self._custom = custom
        self._custom_place = asked.app_place
        self._asgi = api_app.build(api, lambda _: self.running(), offered, custom, asked.prefix)
        # LangGraph's own clients ask from inside, whatever is offered outside.
        engine.serve_inside = inside(api, lambda own: api_app.LANGGRAPH.build(own).app)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._asgi(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The time in which it serves. What the user's own app opens is there before any run executes, and after.

        Raises:
            Unavailable: another server holds the database, or the user's app does not start.
        """
        async with AsyncExitStack() as stack:
            if self._custom is not None:
                state = await stack.enter_async_context(lifespan(self._custom.app, self._custom_place))
                self._custom.state.update(state)
            await self.engine.start()
            try:
                yield
            finally:
                self.ended = await self.engine.close()


def create_app(
    settings: Settings | None = None,
    *,
    agents: Sequence[LoadedAgent] | None = None,
    clock: Clock | None = None,
    tracer_provider: Any = None,
) -> App:
    """The server as an ASGI app, to be run by any ASGI server, mounted in another app, or tested.

    Agents are those of `settings.agents`, and those given as objects made by `@agent`; where `settings.workers` is 0,
    they are those that workers publish. On a PostgreSQL database those of `settings.agents` run in a process of their
    own, unless `settings` says otherwise or there are objects too, which only this process has. A host app must run the
    app's lifespan: starting opens the database, stopping drains. `tracer_provider` is an OpenTelemetry one, for the
    spans of this app; it turns traces on.

    Raises:
        InvalidInput: a target that cannot be loaded, a default agent that is none of them, agents as objects for
            processes of their own, or traces without the extra that they need.
    """
    settings = settings or Settings()
    check_processes(settings)
    if agents and settings.processes:
        raise Unsupported(
            f"processes is {settings.processes}, but agents were given as objects, which other processes do not have: "
            "name them by settings.agents (targets), or set processes to 0",
            field="processes",
        )
    if agents:
        settings = msgspec.structs.replace(settings, processes=0)
    offered = api_app.faces(settings.root)
    return _app(settings, _host(settings), agents or (), clock or Clock(), tracer_provider, offered)


def _app(
    settings: Settings,
    host: Host,
    agents: Sequence[LoadedAgent],
    clock: Clock,
    tracer_provider: Any,
    offered: api_app.Faces,
) -> App:
    check_role(settings)
    files = sources(settings.agents, Path.cwd())
    report(files)
    asked = deployment(files, serves=offered != WORKER)
    settings = settled(settings, asked)
    found = [*load_targets(settings.agents, Path.cwd()), *agents] if settings.workers else []
    loaded = {agent.agent.agent_id: agent for agent in found}
    if len(loaded) < len(found):
        raise InvalidInput("two agents have the same id: give one of them another with @agent(id=...)", field="agents")
    if isinstance(host, ProcessHost):
        host.expect({agent_id: agent.agent.version for agent_id, agent in loaded.items()})
    spans = _spans(settings, tracer_provider)
    adapters = _adapters(settings, _role(settings, offered))

    async def cron_wish(cron: Cron) -> CreateRun:
        return await crons.wish(api, cron)

    async def cron_made(cron: Cron, run: Run) -> None:
        await crons.made(api, cron, run)

    engine = Engine(
        storage=adapters.storage,
        hints=adapters.hints,
        host=host,
        outbound=_outbound(settings, asked),
        render=posted,
        cron_wish=cron_wish,
        cron_made=cron_made,
        clock=clock,
        agents=loaded,
        terms=_terms(settings, asked),
        version=version("runyard"),
        spans=spans,
        index=asked.index,
    )
    authority = None if asked.auth is None else _authority(settings, asked, clock)
    hosts = settings.allowed_hosts or (LOOPBACK_HOSTS if is_loopback(settings.host) else ())
    api = ApiContext(
        verbs=engine.verbs,
        streams=engine.streams,
        storage=engine.storage,
        items=IndexedItems(engine.storage, None if asked.index is None else Embedding(asked.index)),
        inspection=engine.inspection,
        catalog=engine.catalog,
        timetable=engine.timetable,
        ready=engine.readiness,
        metrics=engine.exposition,
        slots=lambda: (engine.worker.executing, engine.worker.free),
        keys=Keys(settings.api_keys, beside_auth=authority is not None),
        authority=authority,
        security=_security(settings, asked),
        cors=_cors(settings, asked),
        disabled=asked.disabled,
        lasting=asked.lasting,
        copied=asked.copied,
        allowed_hosts=hosts,
        max_body_bytes=settings.max_body_bytes,
        body_timeout=settings.body_timeout,
        heartbeat=settings.heartbeat,
        version=version("runyard"),
        spans=spans,
    )
    admit = admitting(api, api_app.LANGGRAPH.words) if asked.custom_route_auth else None
    custom = None if asked.app is None else Custom(asked.app, admit)
    return App(engine, api, offered, custom, asked)


def _authority(settings: Settings, asked: Deployment, clock: Clock) -> Authority:
    cache = asked.auth_cache
    remembered = None
    if cache is not None and cache.cache_keys and cache.ttl_seconds:
        remembered = Remembered(cache.cache_keys, cache.ttl_seconds, cache.max_size or MOST, clock.now)
    return Authority(asked.auth, asked.auth_place, settings.max_body_bytes, remembered)


def _security(settings: Settings, asked: Deployment) -> bytes:
    """What the served documents say of who may ask; nothing where `langgraph.json` says nothing of that."""
    said = asked.auth_openapi
    if said is None:
        return b""
    return security(said.schemes, said.security, said.paths, keys=bool(settings.api_keys))


def _cors(settings: Settings, asked: Deployment) -> Cors:
    cors = asked.cors or Cors()
    return msgspec.structs.replace(cors, origins=(*settings.cors_origins, *cors.origins))


Role = Literal["serve", "api", "worker"]


def _role(settings: Settings, offered: api_app.Faces) -> Role:
    """What the server is to those who look at a shared database's connections."""
    if offered.get("") is api_app.HEALTH:
        return "worker"
    return "serve" if settings.workers else "api"


def _adapters(settings: Settings, role: Role) -> Adapters:
    if settings.shared:
        return postgres_adapters(
            settings.database,
            role,
            connections=settings.database_connections,
            statement_timeout=settings.database_statement_timeout,
        )
    return sqlite_adapters(settings.database_path, settings.synchronous)


LEASE = 6.0
"""Seconds of a lease where agents' code runs in processes of its own."""
LEASE_IN_PROCESS = 60.0
"""Seconds of a lease where agents' code runs in the server's own process: it may let nothing else run for a while."""


def _terms(settings: Settings, asked: Deployment) -> Terms:
    settings = msgspec.structs.replace(
        settings, lease=settings.lease or (LEASE if settings.agent_processes else LEASE_IN_PROCESS)
    )
    terms = msgspec.convert(settings, Terms, from_attributes=True)
    return msgspec.structs.replace(terms, works=settings.workers > 0, lasting=asked.lasting, webhooks=asked.webhooks)


def _host(settings: Settings) -> Host:
    """Where the agents run."""
    if not (settings.agent_processes and settings.workers):
        return ThreadHost(settings.agent_threads)
    setup = Setup(
        targets=settings.agents,
        folder=str(Path.cwd()),
        path=sys.path.copy(),
        threads=settings.agent_threads,
        log_format=settings.log_format,
        log_level=settings.log_level,
        traces=settings.traces,
        version=version("runyard"),
    )
    return ProcessHost(settings.agent_processes, setup)


def _outbound(settings: Settings, asked: Deployment) -> HttpOutbound:
    return HttpOutbound(
        user_agent=f"Runyard/{version('runyard')}",
        allowed=parse_allowed(settings.webhook_allow),
        secrets=settings.webhook_secrets,
        timeout=settings.webhook_timeout,
        redirects=settings.webhook_redirects,
        https_only=settings.webhook_https_only or asked.webhook_https_only,
        bounds=asked.webhook_bounds,
        headers=asked.webhook_headers,
    )


def _spans(settings: Settings, provider: Any) -> Spans | None:
    if not settings.traces and provider is None:
        return None
    try:
        from runyard.traces import Traces

        return Traces(version("runyard"), provider)
    except ImportError as error:
        raise Unsupported(
            f"traces is on, but {error.name} is not installed: pip install 'runyard[otel]', or turn traces off",
            field="traces",
        ) from None


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or Ctrl-C; the exit code.

    Raises:
        RunyardError: the server cannot start; the message says why, and what to do.
    """
    return _serve_faces(settings, api_app.faces(settings.root))


def work(settings: Settings) -> int:
    """Executes runs, and answers for its health only, until SIGTERM or Ctrl-C; the exit code.

    Raises:
        RunyardError: the worker cannot start; the message says why, and what to do.
    """
    if not settings.shared:
        raise InvalidInput(
            f"database is {settings.database!r}, which one server alone uses: a worker beside it takes a PostgreSQL "
            "database; `runyard serve` executes runs itself",
            field="database",
        )
    if not settings.workers:
        raise InvalidInput("workers is 0: a worker that executes nothing has nothing to do", field="workers")
    # Nobody distributes requests to it.
    return _serve_faces(msgspec.structs.replace(settings, drain_notice=0.0), WORKER)


def _serve_faces(settings: Settings, offered: api_app.Faces) -> int:
    configure_logging(settings.log_format, settings.log_level)
    listening = _listen(settings.host, settings.port)
    try:
        return _serve_on(listening, settings, offered)
    finally:
        listening.close()


def _serve_on(listening: socket.socket, settings: Settings, offered: api_app.Faces) -> int:
    host = _host(settings)
    if isinstance(host, ProcessHost):
        host.spawn()
    with Doorway(listening, BACKLOG):
        app = _app(settings, host, (), Clock(), None, offered)
    if not app.engine.verbs.agents and settings.workers:
        raise InvalidInput("there is no agent to serve; name some: runyard serve examples/", field="agents")
    _spare_collections()
    _allow_connections()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        started, ended = runner.run(_serve(app, listening, settings))
        if not ended:
            # Threads of agents that do not stop would keep the interpreter from exiting.
            logging.shutdown()
            sys.stderr.flush()
            os._exit(0)
    return 0 if started else 1


async def _serve(app: App, listening: socket.socket, settings: Settings) -> tuple[bool, bool]:
    server = _Server(
        _uvicorn_config(app, settings),
        app.engine,
        notice=settings.drain_notice,
        programs_read=settings.log_format == "json",
    )
    async with app.running():
        await server.serve([listening])
    return server.started, app.ended


def _spare_collections() -> None:
    """What was made until now lives as long as the process, and most of what a request makes dies with it: cyclic
    collections need be neither frequent nor large."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


OPEN_FILES = 65_536
"""How many files, most of them connections, a server may have open where the system permits."""
UNSENT_BYTES = 131_072
"""Bytes that the system takes for a connection ahead of what its client takes: without a bound it grows to megabytes
for each slow reader. What is on its way does not count."""


def _allow_connections() -> None:
    """Each connection is an open file, and shells allow a thousand where the system would allow more."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        except (OSError, ValueError):
            pass  # then it is as many as before


def _listen(host: str, port: int) -> socket.socket:
    """The socket to serve on, taken before anything else is: a server that nobody could reach changes nothing.

    Raises:
        Unavailable: the address cannot be listened on.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.set_inheritable(True)
        if sys.platform == "linux":  # connections have it from the socket that they came in by
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    except OSError as error:
        raise Unavailable(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another with --host and --port"
        ) from None
    return listening


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _uvicorn_config(app: App, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=guarded(settings.body_timeout),
        ws=Sockets,
        ws_max_size=settings.max_body_bytes,
        ws_per_message_deflate=False,  # a frame costs more to compress than to send
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on the client's address or scheme
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(STRAGGLERS),
    )


class _Server(uvicorn.Server):
    """Uvicorn that drains the engine between closing its doors and waiting for open connections, so that streams end
    with a clean last event instead of being cut; a second signal ends the process at once."""

    def __init__(self, config: uvicorn.Config, engine: Engine, *, notice: float, programs_read: bool) -> None:
        """`notice`: seconds for which it says that it is about to close its doors."""
        super().__init__(config)
        self._engine = engine
        self._notice = notice
        self._programs_read = programs_read
        """Standard error holds log lines for programs, and nothing else."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            agents = sorted(self._engine.verbs.agents) or ["no agents of its own"]
            if self._programs_read:
                say("serving", url=self._address(), agents=agents)
            else:
                print(f"Runyard is ready on {self._address()} with {', '.join(agents)}", file=sys.stderr, flush=True)

    def _address(self) -> str:
        listening = self.servers[0].sockets[0].getsockname()
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"http://{host}:{listening[1]}"

    async def shutdown(self, sockets: Any = None) -> None:
        self._engine.announce_stop()
        await asyncio.sleep(self._notice)
        for server in self.servers:
            server.close()
        await self._engine.drain()
        await super().shutdown(sockets)
        # Uvicorn would raise the signal again, and the process would end as killed by it instead of with 0.
        self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.should_exit:
            os._exit(1)
        super().handle_exit(sig, frame)
