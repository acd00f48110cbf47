"""The files of `deploy/`: whatever they say to Runyard is understood, and what they say of it is so."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from runyard.api import app as api_app
from runyard.cli import COMMANDS, cli
from runyard.server import STRAGGLERS
from runyard.settings import Settings, check_exposure, check_role, describe, load_settings
from runyard.worker import STOPPING

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
EXAMPLE_ENV = dict(re.findall(r"^([A-Z_]+)=(.+)$", (DEPLOY / "example.env").read_text(), re.MULTILINE))
BEHIND_THE_DRAIN = 10.0
"""Seconds that are left to what is done after it, at least: code that is told to stop, connections that end."""
UNDERSTOOD_BY_THE_DRIVER = {"PGPASSWORD"}


def of_kind(kind: str) -> dict[str, Any]:
    return {each["metadata"]["name"]: each for each in KUBERNETES if each["kind"] == kind}


class Started(NamedTuple):
    """One of our processes, as a file starts it."""

    name: str
    arguments: list[str]
    environment: dict[str, str]


def of_compose() -> Iterator[Started]:
    for name, service in COMPOSE["services"].items():
        if service["image"] == "runyard":
            given = {key: re.sub(r"\$\{(\w+).*?\}", lambda m: EXAMPLE_ENV[m[1]], value)
                     for key, value in service["environment"].items()}  # fmt: skip
            yield Started(f"compose {name}", service["command"], given)


def of_kubernetes() -> Iterator[Started]:
    (secret,), (config,) = of_kind("Secret").values(), of_kind("ConfigMap").values()
    for name, deployment in of_kind("Deployment").items():
        container = container_of(deployment)
        given = dict(config["data"])
        for each in container["env"]:
            reference = each["valueFrom"]["secretKeyRef"]
            assert reference["name"] == secret["metadata"]["name"]
            given[each["name"]] = secret["stringData"][reference["key"]]
        yield Started(name, container["args"], given)


def container_of(deployment: Any) -> Any:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


STARTED = [*of_compose(), *of_kubernetes()]


def settings_of(started: Started, tmp_path: Path) -> Settings:
    """What a process would make of its arguments and variables."""
    authority = tmp_path / "authority.pem"
    authority.touch()
    given = {name: value.replace("/etc/runyard/authority.pem", str(authority)) for name, value in
             started.environment.items()}  # fmt: skip
    word, *arguments = started.arguments
    assert word in COMMANDS
    command = cli.get_command(None, word)  # pyright: ignore
    assert command is not None
    flags = command.make_context(word, arguments).params
    return load_settings({**flags, "agents": flags["targets"]}, given, Path("/nowhere"))


@pytest.mark.parametrize("started", STARTED, ids=[each.name for each in STARTED])
def test_what_is_started_understands_its_flags_and_variables(started: Started, tmp_path: Path) -> None:
    known = {row.environment for row in describe()} | UNDERSTOOD_BY_THE_DRIVER
    assert [name for name in started.environment if name not in known] == []
    settings = settings_of(started, tmp_path)
    check_exposure(settings)
    check_role(settings)
    assert settings.shared
    assert settings.workers == (0 if started.arguments[0] == "serve" else 1)
    assert "password" not in settings.database
    copied = re.findall(r"^COPY .* (\S+)/$", DOCKERFILE, re.MULTILINE)
    assert set(settings.agents) <= set(copied)


def test_both_files_start_servers_and_workers() -> None:
    started = [(each.name.partition(" ")[0].partition("-")[0], each.arguments[0]) for each in STARTED]
    assert sorted(started) == [("compose", "serve"), ("compose", "worker"), ("runyard", "serve"), ("runyard", "worker")]


def test_who_is_stopped_gets_the_time_that_a_drain_takes(tmp_path: Path) -> None:
    assert STOPPING + STRAGGLERS < BEHIND_THE_DRAIN
    by_name = {each.name: settings_of(each, tmp_path) for each in STARTED}
    for name, service in COMPOSE["services"].items():
        if service["image"] == "runyard":
            seconds = float(service["stop_grace_period"].removesuffix("s"))
            settings = by_name[f"compose {name}"]
            assert seconds >= settings.drain_notice + settings.drain_grace + BEHIND_THE_DRAIN, name
    for name, deployment in of_kind("Deployment").items():
        settings = by_name[name]
        seconds = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert seconds >= settings.drain_notice + settings.drain_grace + BEHIND_THE_DRAIN, name
        if deployment["spec"]["template"]["metadata"]["labels"]["part"] == "api":
            # Endpoints are told of a pod that goes, and by the probe, before it shuts its doors.
            probe = container_of(deployment)["readinessProbe"]
            assert settings.drain_notice > probe["periodSeconds"] * probe["failureThreshold"]


def test_probes_ask_what_is_answered_without_a_key(tmp_path: Path) -> None:
    health = {path for path, _ in api_app.HEALTH.table} - {"/metrics"}
    ports = {each.name: settings_of(each, tmp_path).port for each in STARTED}
    for name, deployment in of_kind("Deployment").items():
        container = container_of(deployment)
        assert container["ports"] == [{"name": "http", "containerPort": ports[name]}]
        probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {probe["path"] for probe in probes.values()} <= health
        assert probes["liveness"]["path"] == "/ok", "a server is not to be killed because its database is away"
        assert probes["readiness"]["path"] == "/ready"
        assert {probe["port"] for probe in probes.values()} == {"http"}
    for name, service in COMPOSE["services"].items():
        if service["image"] == "runyard":
            asked = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", " ".join(service["healthcheck"]["test"]))
            assert asked is not None
            assert (int(asked[1]), asked[2]) == (ports[f"compose {name}"], "/ready")
            assert service["depends_on"].keys() <= COMPOSE["services"].keys()


def test_one_of_each_stays_while_nodes_are_emptied() -> None:
    deployments = list(of_kind("Deployment").values())
    budgets = list(of_kind("PodDisruptionBudget").values())
    for deployment in deployments:
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        (budget,) = [each for each in budgets if each["spec"]["selector"]["matchLabels"] == labels]
        assert 0 < budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]
    (service,) = of_kind("Service").values()
    assert [service["spec"]["selector"]] == [
        each["spec"]["template"]["metadata"]["labels"] for each in deployments if "api" in each["metadata"]["name"]
    ]


def test_files_that_are_named_are_mounted() -> None:
    (secret,) = of_kind("Secret").values()
    named = re.findall(r"sslrootcert=(\S+)/(\S+)", secret["stringData"]["database"])
    assert named
    for deployment in of_kind("Deployment").values():
        pod = deployment["spec"]["template"]["spec"]
        volumes = {each["name"]: each for each in pod["volumes"]}
        mounts = {each["mountPath"]: volumes[each["name"]] for each in container_of(deployment)["volumeMounts"]}
        for folder, file in named:
            (item,) = mounts[folder]["secret"]["items"]
            assert item["path"] == file
            assert item["key"] in secret["stringData"]


def test_nothing_runs_as_root() -> None:
    (uid,) = re.findall(r"useradd --uid (\d+)", DOCKERFILE)
    assert re.findall(r"^USER (\w+)", DOCKERFILE, re.MULTILINE)[-1] == "runyard"
    for deployment in of_kind("Deployment").values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == int(uid)
        confined = container_of(deployment)["securityContext"]
        assert (confined["allowPrivilegeEscalation"], confined["readOnlyRootFilesystem"]) == (False, True)
        assert container_of(deployment)["resources"].keys() == {"requests", "limits"}


def test_the_image_is_made_of_what_is_here_with_the_pinned_versions() -> None:
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+)$", DOCKERFILE, re.M) for name in line.split()[:-1]
    ]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    (extras,) = re.findall(r"\[([a-z,]+)\]'$", DOCKERFILE, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    (script,) = re.findall(r"^RUN sed -n '(.+)' requirements.lock > constraints.txt$", DOCKERFILE, re.MULTILINE)
    lock = ROOT / "requirements.lock"
    made = subprocess.run(["sed", "-n", script, str(lock)], capture_output=True, text=True, check=True).stdout
    assert len(made.splitlines()) == len(re.findall(r"^\S+==", lock.read_text(), re.MULTILINE))
    assert "sha256" not in made
    assert (ROOT / "deploy" / COMPOSE["x-runyard"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / COMPOSE["x-runyard"]["build"]["dockerfile"]).is_file()


def test_variables_of_compose_are_those_of_the_example() -> None:
    assert set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text())) == set(EXAMPLE_ENV)
