"""Where the server is and how to talk to it."""

import base64
import copy
import logging
import os
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from ap_client.exceptions import ApiValueError
from ap_client.retry import DEFAULT_RETRIES, Backoff

_SHARED_BY_COPIES = frozenset({"logger", "logger_file_handler", "logger_stream_handler", "refresh_api_key_hook"})


class Configuration:
    """Settings of a client.

    `host` is the server's URL (default `http://localhost`). `access_token` is sent as a bearer token; without
    one, `username` and `password` are sent as basic authentication. `api_key` is sent as `X-API-Key`, or as
    `Authorization` where it stands under that name, behind its `api_key_prefix` if it has one.

    Of TLS: `verify_ssl`, `ssl_ca_cert` (file), `ca_cert_data` (PEM text or DER bytes), `cert_file` and
    `key_file`, `assert_hostname` (False to skip), `tls_server_name`. Of connections:
    `connection_pool_maxsize`, `proxy`, `proxy_headers`, `socket_options`.

    `retries`: how often a call is sent again that failed in a way that may pass and that may be repeated (5 unless
    given; 0 sends everything once, creations without a key of their own). `backoff` says how long it waits between.
    """

    _default: ClassVar["Configuration | None"] = None

    def __init__(
        self,
        host: str | None = None,
        api_key: dict[str, str] | None = None,
        api_key_prefix: dict[str, str] | None = None,
        username: str | None = None,
        password: str | None = None,
        access_token: str | None = None,
        server_index: int | None = None,
        server_variables: dict[str, str] | None = None,
        server_operation_index: dict[int, int] | None = None,
        server_operation_variables: dict[int, dict[str, str]] | None = None,
        ignore_operation_servers: bool = False,
        ssl_ca_cert: str | None = None,
        retries: int | None = None,
        ca_cert_data: str | bytes | None = None,
        *,
        debug: bool | None = None,
    ) -> None:
        self._host: str | None = host
        self.server_index: int | None = 0 if server_index is None and host is None else server_index
        self.server_variables = server_variables or {}
        self.server_operation_index = server_operation_index or {}
        self.server_operation_variables = server_operation_variables or {}
        self.ignore_operation_servers = ignore_operation_servers
        self.temp_folder_path: str | None = None
        self.api_key = api_key or {}
        self.api_key_prefix = api_key_prefix or {}
        self.refresh_api_key_hook: Callable[[Configuration], None] | None = None
        self.username = username
        self.password = password
        self.access_token = access_token
        self.logger = {"package_logger": logging.getLogger("ap_client")}
        self.logger_stream_handler: logging.StreamHandler[Any] | None = None
        self.logger_file_handler: logging.FileHandler | None = None
        self._logger_file: str | None = None
        self.logger_format = "%(asctime)s %(levelname)s %(message)s"
        self.debug = bool(debug)
        self.verify_ssl = True
        self.ssl_ca_cert = ssl_ca_cert
        self.ca_cert_data = ca_cert_data
        self.cert_file: str | None = None
        self.key_file: str | None = None
        self.assert_hostname: bool | None = None
        self.tls_server_name: str | None = None
        self.connection_pool_maxsize = (os.cpu_count() or 1) * 5
        self.proxy: str | None = None
        self.proxy_headers: Mapping[str, str] | None = None
        self.safe_chars_for_path_param = ""
        self.retries = retries
        self.backoff = Backoff()
        self.client_side_validation = True
        self.socket_options: list[tuple[Any, ...]] | None = None
        self.datetime_format = "%Y-%m-%dT%H:%M:%S.%f%z"
        self.date_format = "%Y-%m-%d"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Loggers and hooks are shared, everything else is copied.
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            shared = name in _SHARED_BY_COPIES
            made.__dict__[name] = value if shared else copy.deepcopy(value, memo)
        return made

    @classmethod
    def set_default(cls, default: "Configuration | None") -> None:
        """Make this the configuration that a client takes when it gets none."""
        cls._default = default

    @classmethod
    def get_default(cls) -> "Configuration":
        """The configuration that a client takes when it gets none."""
        if cls._default is None:
            cls._default = Configuration()
        return cls._default

    @classmethod
    def get_default_copy(cls) -> "Configuration":
        """The earlier name of `get_default`; it is no copy, as it never was."""
        return cls.get_default()

    @property
    def host(self) -> str:
        """The URL of the server."""
        if self._host is not None:
            return self._host
        return self.get_host_from_settings(self.server_index, variables=self.server_variables)

    @host.setter
    def host(self, value: str) -> None:
        self._host = value
        self.server_index = None

    def host_at(self, index: int) -> str:
        """The URL for one request, without a slash at its end: `host`, or another of `get_host_settings`."""
        url = self.host if index == 0 else self.get_host_from_settings(index)
        return url.rstrip("/")

    @property
    def retries_at_most(self) -> int:
        """How often a call is sent again: `retries`, or what holds where it is not given."""
        return DEFAULT_RETRIES if self.retries is None else self.retries

    @property
    def debug(self) -> bool:
        """Whether the loggers of this package are on level DEBUG."""
        return self._debug

    @debug.setter
    def debug(self, value: bool) -> None:
        self._debug = value
        if value:
            for logger in self.logger.values():
                logger.setLevel(logging.DEBUG)

    @property
    def logger_format(self) -> str:
        """How a line in `logger_file` is written, as `logging.Formatter` takes it."""
        return self._logger_format

    @logger_format.setter
    def logger_format(self, value: str) -> None:
        self._logger_format = value
        self.logger_formatter = logging.Formatter(value)

    @property
    def logger_file(self) -> str | None:
        """The path of a file that the loggers of this package write to as well; None for none."""
        return self._logger_file

    @logger_file.setter
    def logger_file(self, value: str | None) -> None:
        if self.logger_file_handler is not None:
            for logger in self.logger.values():
                logger.removeHandler(self.logger_file_handler)
            self.logger_file_handler.close()
            self.logger_file_handler = None
        self._logger_file = value
        if value:
            self.logger_file_handler = logging.FileHandler(value)
            self.logger_file_handler.setFormatter(self.logger_formatter)
            for logger in self.logger.values():
                logger.addHandler(self.logger_file_handler)

    def get_api_key_with_prefix(self, identifier: str, alias: str | None = None) -> str | None:
        """An API key as a header would hold it, or None when there is none of that identifier."""
        if self.refresh_api_key_hook is not None:
            self.refresh_api_key_hook(self)
        key = self.api_key.get(identifier, self.api_key.get(alias) if alias is not None else None)
        prefix = self.api_key_prefix.get(identifier)
        return f"{prefix} {key}" if key and prefix else key

    def get_basic_auth_token(self) -> str:
        """The value of an `Authorization` header for `username` and `password`."""
        pair = f"{self.username or ''}:{self.password or ''}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def auth_settings(self) -> dict[str, dict[str, Any]]:
        """The credentials to send: what they are called -> where they go."""
        if self.refresh_api_key_hook is not None:
            self.refresh_api_key_hook(self)
        found: dict[str, dict[str, Any]] = {}
        for identifier in tuple(self.api_key):
            key = "Authorization" if identifier.lower() == "authorization" else "X-API-Key"
            value = self.get_api_key_with_prefix(identifier)
            found[identifier] = {"in": "header", "key": key, "type": "api_key", "value": value}
        header = {"in": "header", "key": "Authorization"}
        if self.access_token is not None:
            found["bearer"] = {**header, "type": "bearer", "value": f"Bearer {self.access_token}"}
        elif self.username is not None:
            found["basic"] = {**header, "type": "basic", "value": self.get_basic_auth_token()}
        return found

    def get_host_settings(self) -> list[dict[str, Any]]:
        """The hosts that the protocol's document names: one."""
        return [{"url": "http://localhost", "description": "No description provided"}]

    def get_host_from_settings(
        self,
        index: int | None,
        variables: Mapping[str, str] | None = None,
        servers: list[dict[str, Any]] | None = None,
    ) -> str:
        """The URL of the index-th host. Raises ApiValueError when there are not so many."""
        known = self.get_host_settings() if servers is None else servers
        place = index or 0
        if not 0 <= place < len(known):
            raise ApiValueError(f"host index {place} is out of range: there are {len(known)} hosts")
        url: str = known[place]["url"]
        for name, spec in known[place].get("variables", {}).items():
            url = url.replace("{" + name + "}", str((variables or {}).get(name, spec["default_value"])))
        return url

    def to_debug_report(self) -> str:
        """What to put into a bug report."""
        return f"Python SDK Debug Report:\nOS: {sys.platform}\nPython Version: {sys.version}\nHost: {self.host}"

    def tls(self) -> ssl.SSLContext | bool:
        """How to verify the server: True for the HTTP library's own way."""
        special = self.ssl_ca_cert or self.ca_cert_data or self.cert_file or not self.verify_ssl
        if not special and self.assert_hostname is not False:
            return True
        context = ssl.create_default_context(cafile=self.ssl_ca_cert, cadata=self.ca_cert_data)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        if not self.verify_ssl or self.assert_hostname is False:
            context.check_hostname = False
        if not self.verify_ssl:
            context.verify_mode = ssl.CERT_NONE
        return context
