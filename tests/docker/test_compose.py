"""compose.yaml as compose itself reads it: least rights, no default password, nothing for others to reach."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.tools import COMPOSE, DOCKER, IMAGES, PINNED, environment, make_env, tool


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """docker/ in a project of its own, without anybody's .env."""
    return Path(shutil.copytree(DOCKER, tmp_path / "docker", ignore=shutil.ignore_patterns(".env")))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The services of both profiles as compose understands them: anchors merged, variables filled in."""
    compose = tool("docker-compose")
    folder = Path(shutil.copytree(DOCKER, tmp_path_factory.mktemp("compose") / "docker"))
    (folder / ".env").unlink(missing_ok=True)
    assert make_env(folder).returncode == 0
    command = [
        compose,
        "--file",
        folder / "compose.yaml",
        "--profile",
        "cpu",
        "--profile",
        "gpu",
        "config",
        "--format",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


def one_shots(services: dict[str, dict[str, Any]]) -> set[str]:
    """Services that others wait for to end."""
    needs = [need for service in services.values() for need in service.get("depends_on", {}).items()]
    return {name for name, need in needs if need["condition"] == "service_completed_successfully"}


def test_compose_starts_nothing_before_the_secrets_were_made(copied: Path) -> None:
    done = subprocess.run(
        [tool("docker-compose"), "--file", copied / "compose.yaml", "config", "--quiet"],
        capture_output=True, text=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode != 0
    assert "run python docker/make_env.py" in done.stderr


def test_every_secret_is_asked_for_and_every_one_asked_for_is_made(copied: Path) -> None:
    assert make_env(copied).returncode == 0
    text = re.sub(r"^\s*#.*$", "", COMPOSE.read_text(), flags=re.MULTILINE)
    asked = set(re.findall(r"(?<!\$)\$\{(\w+):\?run python docker/make_env\.py\}", text))
    assert asked == set(environment(copied / ".env")) - {"COMPOSE_PROFILES"}
    others = re.findall(r"(?<!\$)\$(?!\$)\{?\w*[^}\s]*", text)
    assert len(others) == len(re.findall(r":\?run python", text)), f"a variable without ':?' could be empty: {others}"


def test_no_secret_is_written_down_in_a_service(services: dict[str, dict[str, Any]]) -> None:
    told = re.compile(r"PASSWORD|SECRET|KEY|TOKEN|AUTH$|CONN$|_URL|_URI|BACKEND")
    raw = yaml.safe_load(COMPOSE.read_text())
    for name, service in raw["services"].items():
        for key, value in service.get("environment", {}).items():
            if told.search(key) and "://" not in str(value) and not key.endswith("FILE"):
                assert "${" in str(value), f"{name}: {key} is written down in compose.yaml: take it from docker/.env"
            assert not re.search(r"://[^/@$]*:[^/@$]+@", str(value)), f"{name}: {key} holds a password"


def test_every_image_is_pinned_by_version_and_by_digest_or_built_here(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if "build" in service:
            assert service["build"]["target"] in IMAGES, f"{name}: docker/Dockerfile has no target {service['build']}"
            assert re.fullmatch(r"nightmarket/(\w+):\d+\.\d+\.\d+", service["image"]), f"{name}: name its version"
        else:
            assert re.fullmatch(PINNED, service["image"]), (
                f"{name}: pin {service['image']} as name:version@sha256:digest"
            )


def test_every_service_runs_with_the_least_rights(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service.get("user", "")), f"{name}: set user to numbers, not root"
        assert service.get("cap_drop") == ["ALL"], f"{name}: cap_drop: [ALL]"
        assert not service.get("cap_add"), f"{name}: needs no capability"
        assert not service.get("privileged"), f"{name}: must not be privileged"
        assert service.get("security_opt") == ["no-new-privileges:true"], f"{name}: no-new-privileges"
        assert service.get("read_only") is True, f"{name}: read_only, with tmpfs or a volume for what it writes"
        for mount in service.get("volumes", []):
            assert mount["type"] == "volume" or mount.get("read_only"), f"{name}: {mount['source']} may be written to"
            assert "docker.sock" not in mount["source"], f"{name}: whoever has the engine's socket is root"


def test_only_this_machine_reaches_a_port(services: dict[str, dict[str, Any]]) -> None:
    published = {name: port for name, service in services.items() for port in service.get("ports", [])}
    assert {name: port["published"] for name, port in published.items()} == {
        "airflow-api": "8080", "mlflow": "5000", "s3": "8333"
    }  # fmt: skip
    assert {port["host_ip"] for port in published.values()} == {"127.0.0.1"}
    assert all(service.get("network_mode") is None for service in services.values())
    for name in ("postgres", "broker", "spark-master", "spark-worker"):
        assert set(services[name]["networks"]) == {"inside"}, f"{name} is nobody's business outside"


def test_every_service_says_whether_it_is_well_and_is_waited_for(services: dict[str, dict[str, Any]]) -> None:
    ends = one_shots(services)
    for name, service in services.items():
        if name in ends:
            assert service["restart"] == "no", f"{name} ends by itself: restart: 'no'"
        else:
            assert service.get("healthcheck", {}).get("test"), f"{name}: give it a healthcheck"
        for need, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if need in ends else "service_healthy"
            assert how["condition"] == wanted, f"{name}: wait for {need} until {wanted}"


def test_workers_know_neither_the_database_nor_the_key_of_its_connections(services: dict[str, dict[str, Any]]) -> None:
    for name in ("airflow-worker", "trainer-cpu", "trainer-gpu", "spark-worker"):
        assert not [key for key in services[name]["environment"] if re.search("FERNET|SQL_ALCHEMY|JWT|POSTGRES", key)]


def test_only_one_trainer_of_the_two_profiles_holds_the_graphics_card(services: dict[str, dict[str, Any]]) -> None:
    def queues(name: str) -> str:
        command: list[str] = services[name]["command"]
        return command[command.index("--queues") + 1]

    assert {name: queues(name) for name in services if "--queues" in (services[name]["command"] or [])} == {
        "airflow-worker": "default", "trainer-cpu": "gpu", "trainer-gpu": "gpu"
    }  # fmt: skip
    (device,) = services["trainer-gpu"].pop("deploy")["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    services["trainer-cpu"].pop("deploy", None)
    assert (services["trainer-gpu"].pop("profiles"), services["trainer-cpu"].pop("profiles")) == (["gpu"], ["cpu"])
    assert services["trainer-gpu"] == services["trainer-cpu"]


def test_the_clusters_configuration_is_one_that_the_program_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.core.config import load_machine

    shutil.copy(DOCKER / "cluster.yaml", tmp_path)
    monkeypatch.setenv("NIGHTMARKET_CONF", str(tmp_path))
    monkeypatch.setenv("NIGHTMARKET_MACHINE", "cluster")
    machine = load_machine()
    raw = yaml.safe_load(COMPOSE.read_text())["services"]
    assert machine.engine == "spark"
    assert machine.spark_master.removeprefix("spark://").split(":")[0] in raw
    assert machine.spark_conf["spark.driver.host"] in raw["airflow-worker"]["networks"]["inside"]["aliases"]
    assert machine.mlflow_uri
    assert machine.mlflow_uri.removeprefix("http://").split(":")[0] in raw
