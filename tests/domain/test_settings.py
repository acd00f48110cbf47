"""Settings: where they come from, what they refuse, and that the documentation tells the truth about them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runyard.errors import InvalidInput
from runyard.outbound.signing import parse_secret
from runyard.settings import (
    ApiKey,
    Settings,
    check_exposure,
    check_processes,
    check_role,
    describe,
    flag_of,
    load_settings,
    markdown_table,
    resolve_settings,
    without_password,
)

ROOT = Path(__file__).parents[2]
START, END = "<!-- settings -->", "<!-- /settings -->"


def refusal(**arguments: Any) -> str:
    """The message of the error that loading ends with."""
    given: dict[str, Any] = {"flags": {}, "environ": {}, "cwd": Path("/nowhere"), **arguments}
    with pytest.raises(InvalidInput) as caught:
        load_settings(**given)
    return caught.value.message


def write(folder: Path, text: str) -> Path:
    path = folder / "runyard.toml"
    path.write_text(text)
    return path


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    assert load_settings({}, {}, tmp_path) == Settings()


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, "port = 1\nmax_runs = 1\nagent_threads = 1\n")
    environ = {"RUNYARD_PORT": "2", "RUNYARD_MAX_RUNS": "2"}
    found = resolve_settings({"port": "3", "host": None}, environ, tmp_path)
    assert (found.settings.port, found.settings.max_runs, found.settings.agent_threads) == (3, 2, 1)
    sources = [found.sources[name] for name in ("port", "max_runs", "agent_threads", "host")]
    assert sources == ["--port", "RUNYARD_MAX_RUNS", "runyard.toml", "default"]


def test_every_setting_is_read_from_all_its_places(tmp_path: Path) -> None:
    """Guards against a setting that is listed but not read."""
    other: dict[str, Any] = {
        name: _other(name, default) for name, default in msgspec.structs.asdict(Settings()).items()
    }
    assert [row.name for row in describe()] == list(other)
    for row in describe():
        text = other[row.name]
        assert text != str(getattr(Settings(), row.name))
        by_variable = getattr(load_settings({}, {row.environment: text}, tmp_path), row.name)
        by_flag = getattr(load_settings({row.name: text}, {}, tmp_path), row.name)
        assert by_variable == by_flag != getattr(Settings(), row.name), row.name


def _other(name: str, default: Any) -> str:
    """A value of the same kind that is not the default, as text."""
    special = {
        "database": "sqlite:////data/other.db",
        "synchronous": "normal",
        "workers": "0",
        "processes": "3",
        "root": "langgraph",
        "thread_retention_strategy": "keep_latest",
        "log_format": "json",
        "log_level": "error",
        "api_keys": "secret=mia:read",
        "webhook_secrets": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    if name in special:
        return special[name]
    if isinstance(default, bool):
        return "yes"
    return str(default + 1) if isinstance(default, int | float) else "other"


def test_lists_are_separated_by_commas_in_a_variable(tmp_path: Path) -> None:
    found = load_settings({}, {"RUNYARD_CORS_ORIGINS": "https://a.example, https://b.example,"}, tmp_path)
    assert found.cors_origins == ("https://a.example", "https://b.example")


def test_an_empty_variable_counts_as_absent(tmp_path: Path) -> None:
    assert load_settings({}, {"RUNYARD_PORT": ""}, tmp_path).port == 8000


def test_paths_in_the_file_are_relative_to_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    (folder / "agents").mkdir(parents=True)
    write(
        folder,
        'agents = [".", "agents", "one.py:ask", "package.module:name"]\ndatabase = "sqlite:///data/my.db"\n',
    )
    found = load_settings({}, {}, tmp_path, Path("app/runyard.toml"))
    assert found.agents == (
        str(folder),
        str(folder / "agents"),
        f"{folder / 'one.py'}:ask",
        "package.module:name",
    )
    assert found.database_path == folder / "data" / "my.db"


def test_paths_of_flags_stay_as_they_are_said(tmp_path: Path) -> None:
    found = load_settings({"agents": ("examples/",), "database": "sqlite:///here.db"}, {}, tmp_path)
    assert found.agents == ("examples/",)
    assert found.database_path == Path("here.db")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("port", "abc", "a whole number from 0 to 65535"),
        ("port", "65536", "a whole number from 0 to 65535"),
        ("max_runs", "0", "a whole number, 1 or more"),
        ("heartbeat", "0", "a number above 0"),
        ("heartbeat", "inf", "a number above 0"),
        ("cancel_grace", "-1", "a number, 0 or more"),
        ("insecure", "maybe", "true or false"),
        ("synchronous", "off", "one of full, normal"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed_and_where_it_came_from(
    name: str, value: str, allowed: str
) -> None:
    variable = f"RUNYARD_{name.upper()}"
    assert refusal(environ={variable: value}) == f"{name} is {value!r} (from {variable}): must be {allowed}"


def test_the_file_is_strict_about_types(tmp_path: Path) -> None:
    write(tmp_path, 'port = "8000"')
    expected = "port is '8000' (from runyard.toml): must be a whole number from 0 to 65535"
    assert refusal(cwd=tmp_path) == expected


def test_an_unknown_key_of_the_file_is_named_with_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "max_run = 3")
    assert refusal(cwd=tmp_path) == "'max_run' (from runyard.toml) is not a setting: did you mean max_runs?"


def test_a_file_that_is_named_must_exist_and_be_toml(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(cwd=tmp_path, config=Path("absent.toml"))
    write(tmp_path, "port = = 1")
    assert "is not TOML" in refusal(cwd=tmp_path)


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    write(tmp_path, "port = 9000")
    environ = {"RUNYARD_CONFIG": str(tmp_path / "runyard.toml")}
    assert load_settings({}, environ, Path("/nowhere")).port == 9000


@pytest.mark.parametrize("url", ["mysql://db/runs", "sqlite://", "sqlite:///", "sqlite:///:memory:", "my.db"])
def test_a_database_that_is_no_file_is_refused(url: str) -> None:
    assert refusal(flags={"database": url}) == (
        f"database is {url!r}: must be sqlite:/// and the path of a file, such as sqlite:///.runyard/runyard.db, or "
        "the postgresql:// URL of a PostgreSQL database (from --database)"
    )


@pytest.mark.parametrize("url", ["postgresql://db/runs", "postgres://mia:secret@db:5433/runs?sslmode=require"])
def test_a_postgresql_database_is_shared(url: str) -> None:
    settings = load_settings({"database": url}, {}, Path("/nowhere"))
    assert settings.shared
    assert "secret" not in without_password(url)
    assert "db" in without_password(url)
    check_role(msgspec.structs.replace(settings, workers=0))


def test_nobody_is_left_to_execute_runs_beside_a_file() -> None:
    with pytest.raises(InvalidInput, match=r"workers is 0, but database is .* takes a PostgreSQL database"):
        check_role(Settings(workers=0))


def test_agents_run_in_a_process_of_their_own_where_several_servers_share_a_database() -> None:
    shared = "postgresql://db/runs"
    assert [
        Settings(**given).agent_processes
        for given in (
            {},
            {"processes": 2},
            {"database": shared},
            {"database": shared, "processes": 0},
            {"database": shared, "in_process": True},
            {"database": shared, "in_process": True, "processes": 0},
        )
    ] == [0, 2, 1, 0, 0, 0]


def test_agents_run_in_one_place() -> None:
    message = refusal(flags={"in_process": True}, environ={"RUNYARD_PROCESSES": "2"})
    assert message == (
        "in_process is true (from --in-process), and processes is 2 (from RUNYARD_PROCESSES): agents run in the "
        "server's own process, or in others; take one of the two away"
    )
    with pytest.raises(InvalidInput, match="in_process is true, and processes is 1: "):
        check_processes(Settings(in_process=True, processes=1))


@pytest.mark.parametrize("value", ["null", "none", "-1", "65", "1.5"])
def test_processes_are_a_number(value: str) -> None:
    assert refusal(flags={"processes": value}) == (
        f"processes is {value!r} (from --processes): must be a whole number from 0 to 64"
    )


def test_keys_have_an_owner_and_a_scope(tmp_path: Path) -> None:
    environ = {"RUNYARD_API_KEYS": "abc==mia:read, def=noah ,"}
    assert load_settings({}, environ, tmp_path).api_keys == (
        ApiKey("abc=", "mia", "read"),
        ApiKey("def", "noah", "write"),
    )


def test_keys_of_the_file_are_texts_or_tables(tmp_path: Path) -> None:
    write(tmp_path, 'api_keys = ["abc=mia:read", {key = "def", owner = "noah"}]')
    assert load_settings({}, {}, tmp_path).api_keys == (
        ApiKey("abc", "mia", "read"),
        ApiKey("def", "noah", "write"),
    )


@pytest.mark.parametrize("second", ["s3cret", "s3cret=", "=mia", "s3cret=mia:admin", "s3 cret=mia", "s3cret=mia:"])
def test_a_wrong_key_is_refused_without_being_repeated(second: str) -> None:
    message = refusal(environ={"RUNYARD_API_KEYS": f"good=mia,{second}"})
    assert message == ("api_keys (from RUNYARD_API_KEYS), key 2: must be key=owner:scope, with scope read or write")


def test_a_key_that_stands_there_twice_is_refused() -> None:
    assert "stands there twice" in refusal(environ={"RUNYARD_API_KEYS": "k=mia,k=noah"})


def test_a_key_is_not_shown_in_representations() -> None:
    assert "s3cret" not in repr(Settings(api_keys=(ApiKey("s3cret", "mia"),)))


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_secrets_of_webhooks_keep_their_order_and_are_not_shown(tmp_path: Path) -> None:
    other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    write(tmp_path, f'webhook_secrets = ["{other}", "{SECRET}"]')
    of_file = load_settings({}, {}, tmp_path)
    of_variable = load_settings({}, {"RUNYARD_WEBHOOK_SECRETS": f"{other}, {SECRET},"}, tmp_path)
    assert of_file.webhook_secrets == of_variable.webhook_secrets == (parse_secret(other), parse_secret(SECRET))
    assert "whsec_M" not in repr(of_file)
    assert "whsec_C" not in repr(of_file)
    assert flag_of("webhook_secrets") == ""


@pytest.mark.parametrize("value", ['"whsec_s3cret"', "1", "[1]", '["whsec_s3cret"]', "true"])
def test_a_wrong_secret_of_the_file_is_refused_without_being_repeated(tmp_path: Path, value: str) -> None:
    write(tmp_path, f"webhook_secrets = {value}")
    message = refusal(cwd=tmp_path)
    assert message.startswith("webhook_secrets (from runyard.toml)")
    assert "s3cret" not in message


def test_where_webhooks_may_go_is_checked_at_once(tmp_path: Path) -> None:
    found = load_settings({"webhook_allow": "127.0.0.1, *.internal"}, {}, tmp_path)
    assert found.webhook_allow == ("127.0.0.1", "*.internal")
    message = refusal(flags={"webhook_allow": "127.0.0.1,10.0.0.1/8"})
    assert message.startswith("webhook_allow (from --webhook-allow): '10.0.0.1/8' must be an address (10.1.2.3), ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.1"])
def test_loopback_is_served_without_keys(host: str) -> None:
    check_exposure(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "example.com"])
def test_other_addresses_take_keys_or_insecure(host: str) -> None:
    with pytest.raises(InvalidInput, match="--insecure"):
        check_exposure(Settings(host=host))
    check_exposure(Settings(host=host, insecure=True))
    check_exposure(Settings(host=host, api_keys=(ApiKey("k", "mia"),)))


def test_every_setting_says_what_it_means() -> None:
    assert [row.name for row in describe() if not row.meaning.endswith(".")] == []


def test_the_settings_tables_of_the_documentation_are_those_of_the_code() -> None:
    with_table = [path for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")] if START in path.read_text()]
    assert ROOT / "docs" / "settings.md" in with_table
    for path in with_table:
        table = path.read_text().split(START)[1].split(END)[0].strip()
        assert table == markdown_table().strip(), f"{path.name}: python -m runyard.settings prints the table"


def test_the_examples_of_the_documentation_are_valid(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    examples = [block.split("```")[0] for block in text.split("```toml\n")[1:]]
    assert examples
    for example in examples:
        assert tomllib.loads(example)
        write(tmp_path, example)
        load_settings({}, {}, tmp_path)
