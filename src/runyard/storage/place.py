"""The URL of a PostgreSQL database: what it may say, what it says, and how it is shown to people.

It is read before anything is opened. What the driver would take without a word and not do, or repeat with the password
in it, is refused here by its name.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec

from runyard.errors import InvalidInput, Unsupported

SCHEMES = ("postgresql", "postgres")
HIDDEN = "..."
"""What is shown instead of a password."""
PORT = 5432
TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LONGEST_NAME = 50
"""Of 63 bytes that PostgreSQL keeps of an application's name; what a connection is for comes behind it."""

_PASSED_ON = frozenset(
    {
        "host", "port", "user", "password", "dbname", "database", "passfile", "service",
        "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation",
        "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib",
    }
)  # fmt: skip
_OWN = frozenset({"application_name", "connect_timeout", "options", "search_path"})
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "passfile")
_SECRET = ("password", "sslpassword")
_OPTION = re.compile(r"(?:-c\s*|--)([A-Za-z_.][\w.-]*)=((?:\\.|\S)*)(?:\s+|$)")
_SET_BY_US = frozenset(
    {
        "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "default_transaction_isolation",
        "plan_cache_mode", "enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit",
    }
)  # fmt: skip


class Place(msgspec.Struct, frozen=True):
    """Where a database is."""

    dsn: str
    """For the driver; a password is in it."""
    shown: str
    """For people."""
    name: str | None
    """How our connections are to be named in the database's own lists, where the URL says."""
    timeout: float | None
    """Seconds that a connection may take, where the URL says."""
    session: dict[str, str]
    """What the URL sets for each session: PostgreSQL's own settings."""

    def named(self, name: str) -> str:
        """`name` is `runyard ROLE VERSION`, with what the connection is for behind a comma; the URL may have another
        beginning."""
        base, comma, purpose = name.partition(", ")
        return f"{(self.name or base)[:LONGEST_NAME]}{comma}{purpose}"

    def __repr__(self) -> str:
        # It may end up in logs and tracebacks; passwords must not.
        return f"Place({self.shown!r})"


class _Parts(NamedTuple):
    user: str
    hosts: str
    database: str
    said: dict[str, str]


def without_password(url: str) -> str:
    """A database's URL for people's eyes, whatever is wrong with it."""
    scheme, found, rest = url.partition("://")
    if not found or ("postgres" not in scheme and "@" not in rest):
        return url
    rest, asked, query = rest.partition("?")
    if "@" in query and "@" not in rest:
        query = HIDDEN  # of a password with a "?" in it
    who, at, where = rest.rpartition("@")
    if at:
        user, colon, _ = who.partition(":")
        rest = f"{user}{colon and ':' + HIDDEN}@{where}"
    else:
        # A password with an unwritten "#" or "/" has taken the "@" away from where it is looked for.
        rest = re.sub(r"^([^:/\[\]]*):(?!\d+(?:[,/]|$))[^/]*", rf"\1:{HIDDEN}", rest)
    query = re.sub(rf"(^|&)({'|'.join(_SECRET)})=[^&]*", rf"\1\2={HIDDEN}", query)
    return f"{scheme}://{rest}{asked}{query}"


def read(url: str) -> Place:
    """What a URL says.

    Raises:
        InvalidInput: it is no such URL, or says something wrong; the message has no password in it.
        Unsupported: it says something that is not done here.
    """
    parts = _parts(url)
    said = dict(parts.said)
    for name in said:
        if name in _SET_BY_US:
            raise Unsupported(f"database: {name} is a setting of Runyard's own for each connection", field="database")
        if name not in _PASSED_ON | _OWN:
            known = ", ".join(sorted(_PASSED_ON | _OWN))
            raise Unsupported(
                f"database: {name!r} is not known here; the URL's query may have {known}", field="database"
            )
    session = _session(said.pop("options", ""))
    if "search_path" in said:
        session["search_path"] = said.pop("search_path")
    name, timeout = said.pop("application_name", None), _seconds(said.pop("connect_timeout", None))
    _check_tls(said)
    _check_files(said)
    address = f"{parts.user}{parts.user and '@'}{parts.hosts}"
    dsn = f"postgresql://{address}/{parts.database}"
    return Place(
        dsn=dsn + (f"?{urlencode(said, quote_via=quote)}" if said else ""),
        shown=without_password(url),
        name=name,
        timeout=timeout,
        session=session,
    )


def _parts(url: str) -> _Parts:
    scheme, found, _ = url.partition("://")
    if not found or scheme not in SCHEMES:
        raise InvalidInput(f"database is {without_password(url)!r}: must begin with postgresql://", field="database")
    if "#" in url:
        raise InvalidInput("database: '#' has to be written %23 in a URL, in a password too", field="database")
    try:
        split = urlsplit(url)
    except ValueError as error:
        raise InvalidInput(f"database is {without_password(url)!r}: {error}", field="database") from None
    user, _, hosts = split.netloc.rpartition("@")
    if "@" in user:
        raise InvalidInput("database: '@' has to be written %40 in a user or a password", field="database")
    for host in hosts.split(",") if hosts else ():
        _check_port(host, split.path)
    said = dict(parse_qsl(split.query, keep_blank_values=True))
    ports = said.get("port", str(PORT))
    if not all(re.fullmatch(r"[0-9]{1,5}", port) for port in ports.split(",")):
        raise InvalidInput(f"database: port is {ports!r}, which is no port", field="database")
    return _Parts(user, hosts, split.path.removeprefix("/"), said)


def _check_port(host: str, path: str) -> None:
    _, colon, port = host.rpartition(":") if not host.endswith("]") else ("", "", "")
    if not colon or re.fullmatch(r"[0-9]{1,5}", port):
        return
    if "@" in path:
        raise InvalidInput("database: '/' has to be written %2F in a user or a password", field="database")
    # It may be a password, of a URL that has lost its "@".
    raise InvalidInput(
        "database: the port behind the host's ':' is no number; it is postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
        "with : / # @ of user and password written %3A %2F %23 %40",
        field="database",
    )


def _session(options: str) -> dict[str, str]:
    """Settings of `options`, which are `-c name=value` or `--name=value`."""
    found: dict[str, str] = {}
    rest = options.strip()
    while rest:
        match = _OPTION.match(rest)
        if match is None:
            raise Unsupported(
                f"database: options is {options!r}: must be -c name=value, as often as is needed", field="database"
            )
        name, value = match[1].replace("-", "_"), re.sub(r"\\(.)", r"\1", match[2])
        if name in _SET_BY_US:
            raise Unsupported(
                f"database: options has {name}, a setting of Runyard's own for each connection", field="database"
            )
        found[name] = value
        rest = rest[match.end() :]
    return found


def _seconds(text: str | None) -> float | None:
    """As libpq has it: whole seconds, 0 or less for no limit, of which there is one here nevertheless."""
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,6}", text):
        raise InvalidInput(f"database: connect_timeout is {text!r}: must be whole seconds", field="database")
    return float(text) if int(text) > 0 else None


def _check_tls(said: dict[str, str]) -> None:
    mode = said.get("sslmode")
    if mode is not None and mode not in TLS_MODES:
        raise InvalidInput(f"database: sslmode is {mode!r}: must be one of {', '.join(TLS_MODES)}", field="database")
    if said.get("sslrootcert") == "system":
        if said.setdefault("sslmode", "verify-full") != "verify-full":
            raise InvalidInput(
                f"database: sslrootcert is system, which everybody can get a certificate of, so sslmode has to be "
                f"verify-full, not {mode}",
                field="database",
            )
        file: str | None = ssl.get_default_verify_paths().cafile
        if not file:
            raise Unsupported(
                "database: sslrootcert is system, but no file of certificates is installed; name one", field="database"
            )
        said["sslrootcert"] = file
    if said.get("sslmode") in ("disable", "allow", "prefer", None):
        for name in ("sslrootcert", "sslcrl"):
            if name in said:
                raise InvalidInput(
                    f"database: {name} is there, but sslmode is {said.get('sslmode', 'prefer')}, with which nothing is "
                    "verified: add sslmode=verify-full (or verify-ca, or require)",
                    field="database",
                )


def _check_files(said: dict[str, str]) -> None:
    for name in _FILES:
        if name in said and not Path(said[name]).is_file():
            raise InvalidInput(f"database: {name} is {said[name]!r}: there is no such file", field="database")
