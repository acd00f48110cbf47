"""The URL of a PostgreSQL database: what it may say, that what it may not is refused by name, and that no password is
ever told."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from runyard.errors import InvalidInput, Unsupported
from runyard.settings import Settings, load_settings, without_password
from runyard.storage.place import read

SECRET = "hunter2"
NOT_TO_BE_TOLD = "hunter"


def refusal(url: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(url)
    assert caught.value.metadata["field"] == "database"
    return caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://mia:hunter2@db:5433/runs",
        "postgres://mia:hunter2@[::1]:5433/runs?sslmode=require",
        "postgresql://mia:hunter2@one,two:5433/runs?target_session_attrs=read-write",
        "postgresql://mia@db/runs?password=hunter2",
        "postgresql://db/runs?sslpassword=hunter2&sslmode=require",
        "postgresql://mia:hunter%402@db/runs",
        "postgresql:///runs?host=/run/postgresql&password=hunter2",
    ],
)
def test_a_password_goes_to_the_driver_and_nowhere_else(url: str) -> None:
    place = read(url)
    assert NOT_TO_BE_TOLD in place.dsn
    settings = Settings(database=url)
    for told in (place.shown, repr(place), repr(settings), str(settings), without_password(url)):
        assert NOT_TO_BE_TOLD not in told
    assert "runs" in place.shown


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://mia:hunter#2@db/runs", "'#' has to be written %23"),
        ("postgresql://mia:hunter/2@db/runs", "'/' has to be written %2F"),
        ("postgresql://mia:hunter@2@db/runs", "'@' has to be written %40"),
        ("postgresql://mia:hunter?2@db/runs", "the port behind the host's ':' is no number"),
        ("postgresql://mia:hunter", "the port behind the host's ':' is no number"),
        ("postgresql://mia:hunter2@db:543x/runs", "the port behind the host's ':' is no number"),
        ("postgresql://mia:hunter2@[::1/runs", "Invalid IPv6 URL"),
        ("postgresql+asyncpg://mia:hunter2@db/runs", "must begin with postgresql://"),
        ("postgresql://mia:hunter2@db/runs?port=x", "port is 'x', which is no port"),
        ("postgresql://mia:hunter2@db/runs?sslmod=require", "'sslmod' is not known here"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, told: str) -> None:
    assert told in refusal(url)
    assert NOT_TO_BE_TOLD not in refusal(url)
    assert NOT_TO_BE_TOLD not in repr(Settings(database=url))
    with pytest.raises(InvalidInput) as caught:
        load_settings({}, {"RUNYARD_DATABASE": url}, Path("/nowhere"))
    assert NOT_TO_BE_TOLD not in caught.value.message
    assert caught.value.message.endswith("(from RUNYARD_DATABASE)")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("keepalives=1", "'keepalives' is not known here; the URL's query may have application_name, "),
        ("statement_timeout=5", "statement_timeout is a setting of Runyard's own"),
        ("options=-c%20jit%3Don", "options has jit, a setting of Runyard's own"),
        ("options=nonsense", "options is 'nonsense': must be -c name=value"),
        ("connect_timeout=soon", "connect_timeout is 'soon': must be whole seconds"),
        ("sslmode=on", "sslmode is 'on': must be one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("sslmode=verify-full&sslrootcert=/absent", "sslrootcert is '/absent': there is no such file"),
        ("passfile=/absent", "passfile is '/absent': there is no such file"),
        ("sslrootcert=/dev/null", "sslrootcert is there, but sslmode is prefer, with which nothing is verified"),
        ("sslmode=prefer&sslcrl=x", "sslcrl is there, but sslmode is prefer"),
        ("sslmode=require&sslrootcert=system", "sslmode has to be verify-full, not require"),
    ],
)
def test_what_is_not_done_is_refused_by_name(query: str, told: str) -> None:
    assert told in refusal(f"postgresql://db/runs?{query}")


def test_what_a_session_is_to_have_is_read() -> None:
    place = read(
        "postgresql://db/runs?application_name=mine&connect_timeout=3&search_path=yard"
        "&options=-c%20work_mem%3D8MB%20--maintenance-work-mem%3D9MB%20-ctemp_buffers%3D1%5C%20MB"
    )
    assert place.session == {
        "work_mem": "8MB", "maintenance_work_mem": "9MB", "temp_buffers": "1 MB", "search_path": "yard",
    }  # fmt: skip
    assert (place.name, place.timeout, place.dsn) == ("mine", 3.0, "postgresql://db/runs")


@pytest.mark.parametrize(("text", "seconds"), [("3", 3.0), ("0", None), ("-1", None)])
def test_no_limit_is_none(text: str, seconds: float | None) -> None:
    assert read(f"postgresql://db/runs?connect_timeout={text}").timeout == seconds


def test_connections_are_named_by_role_and_purpose_or_as_the_url_says() -> None:
    assert read("postgresql://db/runs").named("runyard api 1.0, hints") == "runyard api 1.0, hints"
    assert read("postgresql://db/runs?application_name=blue").named("runyard api 1.0, hints") == "blue, hints"
    assert len(read(f"postgresql://db/runs?application_name={'n' * 200}").named("runyard, reader")) < 63


def test_the_systems_certificates_are_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    class Paths:
        cafile: Any = "/etc/hosts"

    monkeypatch.setattr(ssl, "get_default_verify_paths", Paths)
    place = read("postgresql://db/runs?sslrootcert=system")
    assert "sslrootcert=%2Fetc%2Fhosts" in place.dsn
    assert "sslmode=verify-full" in place.dsn
    Paths.cafile = None
    with pytest.raises(Unsupported, match="no file of certificates is installed"):
        read("postgresql://db/runs?sslrootcert=system")


def test_names_with_special_letters_arrive_as_they_were_written() -> None:
    place = read("postgresql://mi%40a:hunter%2F2@db/my%20runs?sslmode=require")
    assert place.dsn == "postgresql://mi%40a:hunter%2F2@db/my%20runs?sslmode=require"


@pytest.mark.parametrize("path", ["sqlite:///a.db", "sqlite:////data/a@b.db", "my.db"])
def test_a_file_is_shown_as_it_is(path: str) -> None:
    assert without_password(path) == path
