"""Talking to a server: where it is, who calls, and what to tell people when it does not work."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from ap_client import ApiClient

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_URL = "http://127.0.0.1:8000"
# More than any command opens at once, so that no stream waits for another one's connection.
CONNECTIONS = 32


class Failed(click.ClickException):
    """Something did not work; the message says what to do next."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {self.message}", err=True)


def with_server(function: Callable[Concatenate[ApiClient, P], R]) -> Callable[..., Any]:
    """Give a command `--url` and `--api-key`, and call it with a client of that server.

    Errors of the client become sentences with exit code 1 (2 where the request itself makes no sense).
    """

    @click.option(
        "--url",
        envvar="RUNYARD_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="The server to talk to.",
    )
    @click.option("--api-key", envvar="RUNYARD_API_KEY", default=None, show_envvar=True, help="The key to call with.")
    @functools.wraps(function)
    def command(*args: Any, url: str, api_key: str | None, **kwargs: Any) -> R:
        with connected(url, api_key) as client:
            return function(client, *args, **kwargs)

    return command


@contextmanager
def connected(url: str, api_key: str | None = None) -> Generator[ApiClient]:
    """A client of the server at that URL, whose errors become sentences. Raises Failed."""
    from ap_client import ApiClient, ApiException, ApiTypeError, ApiValueError, Configuration

    if "://" not in url:
        url = f"http://{url}"
    # A person looks on: that no server answers is told at once.
    configuration = Configuration(host=url, access_token=api_key, retries=0)
    configuration.connection_pool_maxsize = CONNECTIONS
    try:
        with ApiClient(configuration) as client:
            yield client
    except ApiException as error:
        raise Failed(explain(error, url)) from error
    except (ApiTypeError, ApiValueError) as error:
        raise click.UsageError(str(error)) from error


def explain(error: Any, url: str) -> str:
    """An error of the client as a sentence that says what to do next."""
    if error.status == 0:
        return f"no server answers at {url} ({error.reason}); start one with: runyard serve examples/"
    message = getattr(error.data, "message", None) or error.body or error.reason
    if error.status == 401:
        return f"{message} (--api-key or RUNYARD_API_KEY names the key to call with)"
    if not getattr(error.data, "code", None):
        return f"{url} answered {error.status} {error.reason}: is it a Runyard server?"
    return str(message)


def json_text(text: str, name: str) -> Any:
    """The value of an option that holds JSON; `-` reads standard input, `@FILE` a file.

    Raises click.BadParameter that names the option.
    """
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            with open(text[1:], encoding="utf-8") as file:
                text = file.read()
        return json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"cannot be read ({error})", param_hint=name) from None
    except ValueError as error:
        raise click.BadParameter(
            f"{shortened(text)} is not JSON ({error}); a text is written with quotes: '\"like this\"'",
            param_hint=name,
        ) from None


def shortened(text: str, width: int = 60) -> str:
    """A text on one line, cut where it is longer than `width`."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
