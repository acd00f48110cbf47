"""To whom nothing may be sent: the rules about URLs and addresses. Pure; names are resolved elsewhere.

An address may be sent to when it is global unicast, or when the setting `webhook_allow` names it. What is allowed is
listed, what is refused is the rest: a new kind of special address is refused until somebody thinks about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from runyard.errors import InvalidInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 65536

METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192",
                     "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::a9fe:a9fe"))
)  # fmt: skip
"""Where clouds hand credentials to whoever asks from inside. Only an entry of that very address allows one."""

_GLOBAL_6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")

_SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), kind)
    for text, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "private"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "wrapped"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "private"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "wrapped"),  # IPv4-compatible
        ("::ffff:0:0:0/96", "wrapped"),  # IPv4-translated
        ("64:ff9b:1::/48", "wrapped"),  # NAT64 of a network's own: where its IPv4 address stands is not known here
        ("2001::/32", "wrapped"),  # Teredo
        ("2002::/16", "wrapped"),  # 6to4
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("2001::/23", "reserved"),
        ("2620:4f:8000::/48", "reserved"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
"""The special-purpose addresses of both registries, and what each is called; the first that fits counts."""

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?P<fragment>#.*)?", re.DOTALL
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_ALLOWED_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


class Target(msgspec.Struct, frozen=True):
    """A URL, taken apart once: whoever sends uses these pieces, so that nobody reads the text in another way.

    `host` is a lower-case name, or an address as `address` has it.
    """

    scheme: str
    host: str
    port: int
    path: str
    """Path and query, as the request line has them."""
    address: Address | None = None
    """The host, where it is an address."""

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


_PORTS = {"http": 80, "https": 443}


class Allowed(msgspec.Struct, frozen=True):
    """What the setting `webhook_allow` names beyond global unicast addresses."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()
    below: tuple[str, ...] = ()
    """Ends of names, with their dot: `*.example.com` is `.example.com`."""

    def has_name(self, host: str) -> bool:
        return host in self.names or host.endswith(self.below)

    def has_address(self, address: Address) -> bool:
        address = _unmapped(address)
        named = (network for network in self.networks if address in network)
        return any(network.num_addresses == 1 or address not in METADATA for network in named)


class Bounds(msgspec.Struct, frozen=True):
    """Where a `langgraph.json` lets messages go, of all that nothing else is against. Without names, and without ports,
    any are as good as others."""

    names: frozenset[str] = frozenset()
    below: tuple[str, ...] = ()
    """Ends of names, as `Allowed` has them."""
    ports: frozenset[int] = frozenset()
    longest: int = MAX_URL
    """Characters of a URL."""

    def check(self, target: Target, url: str) -> None:
        """Refuses what is out of bounds. Raises InvalidInput."""
        if len(url) > self.longest:
            raise _refused(f"has {len(url)} characters; allowed: {self.longest} (webhooks.url.max_url_length)")
        if (self.names or self.below) and not (target.host in self.names or target.host.endswith(self.below)):
            raise _refused(f"has host {target.host}, which is not among webhooks.url.allowed_domains of langgraph.json")
        if self.ports and target.port not in self.ports:
            raise _refused(f"has port {target.port}, which is not among webhooks.url.allowed_ports of langgraph.json")


def parse_domains(entries: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Hosts, and ends of names: `*.example.com` is any name below that one.

    Raises InvalidInput that names the entry.
    """
    names: set[str] = set()
    below: list[str] = []
    for entry in entries:
        text = entry.removesuffix(".").lower()
        name = text.removeprefix("*.")
        if name != text and _is_name(name):
            below.append(f".{name}")
            continue
        try:
            names.add(_host(text)[0])
        except InvalidInput:
            raise InvalidInput(
                f"{entry!r} must be a host (hooks.example.com) or *. and a name for all below it", code="bad_target"
            ) from None
    return frozenset(names), tuple(below)


def parse_allowed(entries: Iterable[str]) -> Allowed:
    """The allowed addresses, networks and names.

    Raises InvalidInput that names the entry.
    """
    networks: list[Network] = []
    names: set[str] = set()
    below: list[str] = []
    for entry in entries:
        text = entry.removesuffix(".").lower()
        try:
            networks.append(ip_network(text))
        except ValueError:
            name = text.removeprefix("*.")
            if not _is_name(name):
                raise InvalidInput(
                    f"{entry!r} must be an address (10.1.2.3), a network (10.1.0.0/16, fd12:3456::/32), a name "
                    "(hooks.example.com) or *. and a name for all below it",
                    field="webhook_allow",
                ) from None
            if name == text:
                names.add(name)
            else:
                below.append(f".{name}")
    return Allowed(tuple(networks), frozenset(names), tuple(below))


def parse_url(url: str, *, https_only: bool = False) -> Target:
    """A URL that a message may be sent to, taken apart; what its address may be is not looked at.

    Raises InvalidInput that says what is wrong with it.
    """
    if not 1 <= len(url) <= MAX_URL:
        raise _refused(f"has {len(url)} characters; allowed: 1 to {MAX_URL}")
    if not _ALLOWED_CHARACTERS.fullmatch(url) or _BAD_ESCAPE.search(url):
        raise _refused("holds a character that a URL cannot; percent-encode its path, write its host in punycode")
    match = _URL.fullmatch(url)
    scheme = "" if match is None else match["scheme"].lower()
    if match is None or scheme not in _PORTS or (https_only and scheme != "https"):
        raise _refused(f"must begin with {'https://' if https_only else 'http:// or https://'}")
    if match["fragment"] is not None:
        raise _refused("has a fragment (#...), which is never sent; leave it out")
    authority = match["authority"]
    if "@" in authority:
        raise _refused("has user information (user@), which is not sent; put a token into its path or query")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or not parts["host"]:
        raise _refused("must have a host and, if any, a port from 1 to 65535")
    port = _PORTS[scheme] if parts["port"] is None else int(parts["port"])
    if not 1 <= port <= 65535:
        raise _refused(f"has port {port}; allowed: 1 to 65535")
    host, address = _host(parts["host"])
    target = match["target"]
    return Target(scheme, host, port, target if target.startswith("/") else f"/{target}", address)


def _host(text: str) -> tuple[str, Address | None]:
    """A host in its one spelling. An address has to be written in the usual way: what resolvers make of other ways
    (`127.1`, `0x7f000001`, `2130706433`) differs."""
    if text.startswith("["):
        try:
            address = IPv6Address(text[1:-1])
        except ValueError:
            raise _refused(f"has host {text}, which is no IPv6 address") from None
        if address.scope_id is not None:
            raise _refused(f"has host {text} with a zone, which means something on one machine only")
        return str(address), address
    host = text.removesuffix(".").lower()
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            four = IPv4Address(text)
        except ValueError:
            raise _refused(f"has host {text}; an IPv4 address is written as four decimal numbers") from None
        return str(four), four
    if not _is_name(host):
        raise _refused(f"has host {text!r}, which is no host name")
    return host, None


def _is_name(text: str) -> bool:
    return len(text) <= 253 and all(map(_LABEL.fullmatch, text.split(".")))


def check(target: Target, allowed: Allowed) -> None:
    """Refuses what the URL's text alone says is out of bounds: addresses, and the names of this machine.

    Raises InvalidInput.
    """
    kind: str | None = None
    if target.address is not None:
        kind = forbidden([target.address], target.host, allowed)
    elif _is_localhost(target.host) and not allowed.has_name(target.host):
        loopback: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
        kind = None if any(map(allowed.has_address, loopback)) else "loopback"
    if kind is not None:
        raise _refused(f"has host {target.host}, a {kind} address; only the setting webhook_allow can allow that")


def forbidden(addresses: Iterable[Address], host: str, allowed: Allowed) -> str | None:
    """What is wrong with the addresses of a host, in a word; None when it may be sent to. One bad address is enough:
    which of them would be taken is nobody's promise."""
    for address in addresses:
        kind = kind_of(address)
        if kind is None or allowed.has_address(address):
            continue
        if kind != "metadata" and allowed.has_name(host):
            continue
        return kind
    return None


def kind_of(address: Address) -> str | None:
    """What is special about an address; None for global unicast. What wraps an IPv4 address is as special as that."""
    real = _unmapped(address)
    if isinstance(real, IPv6Address) and real in _NAT64:
        real = IPv4Address(int(real) & 0xFFFFFFFF)
    if real in METADATA:
        return "metadata"
    for network, kind in _SPECIAL:
        if real in network:
            return kind
    return "reserved" if isinstance(real, IPv6Address) and real not in _GLOBAL_6 else None


def _unmapped(address: Address) -> Address:
    """An IPv4-mapped address is the IPv4 address, to every operating system."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _refused(what: str) -> InvalidInput:
    return InvalidInput(f"webhook {what}", field="webhook")
