"""docker/ as far as it can be judged without an engine: compose itself reads the file, hadolint the Dockerfile, a real
PostgreSQL the roles, and what each image runs is imported with nothing but what it carries."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.postgres import Postgres

PROJECT = Path(__file__).resolve().parents[1]
DOCKER = PROJECT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = DOCKER / "compose.yaml"
IMAGES = ("spark", "airflow", "training")
PINNED = re.compile(r"[\w./-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}")
# What each image is started with, and what its processes import then.
RUNS = {
    "spark": ("spark_jobs.clean", "spark_jobs.features", "training.predict", "pyspark.worker"),
    "airflow": ("pipelines.cli", "pipelines.night", "great_expectations", "mlflow.server", "airflow.__main__"),
    "training": ("training.fit", "training.judge", "training.tasks.behaviour", "training.tasks.effect", "training.tasks.value"),
}  # fmt: skip


def tool(name: str) -> str:
    """A program that the development requirements bring, or one on PATH."""
    found = shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if found is None:
        pytest.skip(f"{name} is not installed (requirements-dev.txt)")
    return found


def make_env(copy: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, copy / "make_env.py", *options], capture_output=True, text=True)


def environment(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


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
            assert PINNED.fullmatch(service["image"]), f"{name}: pin {service['image']} as name:version@sha256:digest"
    outside = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("FROM") and ":" in line]
    assert outside
    for image in outside:
        assert PINNED.fullmatch(image), f"Dockerfile: pin {image}"


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


def test_the_secrets_file_is_its_owners_only_new_every_time_and_never_written_over(tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(DOCKER, tmp_path / name / "docker")) for name in ("one", "two")]
    found = []
    for copy, options in zip(copies, ((), ("--gpu",)), strict=True):
        (copy / ".env").unlink(missing_ok=True)
        assert make_env(copy, *options).returncode == 0
        assert (copy / ".env").stat().st_mode & 0o777 == 0o600
        found.append(environment(copy / ".env"))
    assert [values.pop("COMPOSE_PROFILES") for values in found] == ["cpu", "gpu"]
    secrets = [value for values in found for value in values.values()]
    assert len(set(secrets)) == len(secrets)
    assert min(map(len, secrets)) >= 20
    for values in found:
        Fernet(values["AIRFLOW_FERNET_KEY"])
        assert len(bytes.fromhex(values["NIGHTMARKET_KEY"])) == 32

    before = (copies[0] / ".env").read_bytes()
    again = make_env(copies[0])
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert "is there already" in again.stderr
    assert (copies[0] / ".env").read_bytes() == before


def test_no_secret_can_reach_git_or_an_image() -> None:
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "docker/.env"], cwd=PROJECT)
    assert ignored.returncode == 0
    lines = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "the build context is what .dockerignore names, and nothing else"
    named = {line[1:] for line in lines if line.startswith("!")}
    assert not [name for name in named if name in ("docker", ".") or "env" in name]


def test_everything_that_an_image_copies_is_there_and_in_the_build_context() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    context = {path.relative_to(PROJECT) for line in lines if line.startswith("!") for path in PROJECT.glob(line[1:])}
    sources = re.findall(r"^COPY (?!--from)(\S+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    assert len(sources) == len(re.findall(r"^COPY", DOCKERFILE, flags=re.MULTILINE))
    for source in map(Path, sources):
        assert (PROJECT / source).exists(), f"docker/Dockerfile copies {source}, which is not there"
        assert context & {source, *source.parents}, f"docker/Dockerfile copies {source}: name it in .dockerignore"


def test_every_image_ends_as_an_ordinary_user() -> None:
    stages = re.split(r"^FROM .* AS (\w+)$", DOCKERFILE, flags=re.MULTILINE)[1:]
    ends = {
        name: re.findall(r"^USER (\S+)$", text, flags=re.MULTILINE)[-1:]
        for name, text in zip(stages[::2], stages[1::2], strict=True)
    }
    assert ends == {"base": [], **{name: ["10001:10001"] for name in IMAGES}}


def test_hadolint_finds_no_fault_in_the_dockerfile() -> None:
    done = subprocess.run([tool("hadolint"), DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", sorted(DOCKER.rglob("*.sh")), ids=lambda path: path.name)
def test_shell_scripts_can_be_read_and_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", script]).returncode == 0


def test_sparks_secret_goes_into_a_file_of_its_owner_and_not_on(tmp_path: Path) -> None:
    told = 'cat "$SPARK_CONF_DIR/spark-defaults.conf"; stat -c "mode %a" "$SPARK_CONF_DIR" "$SPARK_CONF_DIR"/*; env; exit 7'
    command = [DOCKER / "spark" / "with_secret.sh", "sh", "-c", told]
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env={**environment, "SPARK_SECRET": "knock-knock"})
    assert done.returncode == 7
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines if "authenticate" in line] == [
        ["spark.authenticate", "true"], ["spark.authenticate.secret", "knock-knock"]
    ]  # fmt: skip
    assert {"mode 700", "mode 600"} <= set(lines)
    assert done.stdout.count("knock-knock") == 1
    without = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert without.returncode not in (0, 7)
    assert "SPARK_SECRET" in without.stderr


def test_missing_buckets_are_made_and_those_that_are_there_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        store = boto3.client("s3")
        store.create_bucket(Bucket="mlflow")
        store.put_object(Bucket="mlflow", Key="kept", Body=b"")
        for _ in range(2):
            subprocess.run([sys.executable, DOCKER / "make_buckets.py", "landing", "mlflow"], check=True)
        assert {bucket["Name"] for bucket in store.list_buckets()["Buckets"]} == {"landing", "mlflow"}
        assert store.list_objects_v2(Bucket="mlflow")["KeyCount"] == 1
    finally:
        server.stop()


def pins(path: Path) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    return dict(line.split("==") for line in lines if line)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_the_very_versions_that_the_project_is_tested_with(image: str) -> None:
    ours, theirs = pins(DOCKER / "requirements" / f"{image}.txt"), pins(PROJECT / "requirements.txt")
    differ = {name: (ours[name], theirs[name]) for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
    assert not differ, f"(image, project) differ: {differ}; run `make requirements`"
    asked = [
        Requirement(line.split("#")[0])
        for line in (DOCKER / "requirements" / f"{image}.in").read_text().splitlines()
        if line.split("#")[0].strip() and not line.startswith("-r")
    ]
    for requirement in asked:
        assert requirement.specifier.contains(ours[requirement.name]), f"{image}.txt: {requirement}"


@pytest.mark.parametrize("image", IMAGES)
def test_the_versions_of_an_image_suit_each_other_and_none_is_missing(image: str) -> None:
    """As pip would ask; what is not installed here cannot be asked, and is then in no other image or test either."""
    import importlib.metadata as metadata

    here = pins(DOCKER / "requirements" / f"{image}.txt")
    unknown = []
    for name, version in here.items():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            unknown.append(name)
            continue
        for text in found.requires or []:
            need = Requirement(text)
            if need.marker and not need.marker.evaluate({**default_environment(), "extra": ""}):
                continue
            key = re.sub(r"[-_.]+", "-", need.name).lower()
            if key in ("pip", "setuptools"):  # every environment of Python 3.11 has them
                continue
            assert key in here, f"{image}.txt: {name} needs {need.name}: run `make requirements`"
            assert need.specifier.contains(here[key], prereleases=True), f"{image}.txt: {name} {version} needs {need}"
    assert len(unknown) < len(here) / 4, f"too little of {image}.txt is installed to judge it: {unknown}"


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_runs_can_be_imported_with_nothing_but_what_it_carries(image: str) -> None:
    code = """
import importlib, importlib.metadata, re, sys
from importlib.machinery import PathFinder

carried, modules = set(sys.argv[1].split(",")), sys.argv[2].split(",")
missing = {
    top
    for top, names in importlib.metadata.packages_distributions().items()
    if not any(re.sub("[-_.]+", "-", name).lower() in carried for name in names)
}

class Image(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in missing else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Image
for module in modules:
    importlib.import_module(module)
"""
    names = pins(DOCKER / "requirements" / f"{image}.txt")
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(names), ",".join(RUNS[image])],
        cwd=PROJECT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["airflow.providers.celery.executors.celery_executor", "asyncpg", "psycopg2"])
def test_what_only_the_cluster_needs_can_be_imported_in_the_pinned_version(module: str) -> None:
    """Celery 5.7 satisfies what Airflow's provider asks for, and lacks what it imports."""
    import importlib.metadata as metadata

    package = {"asyncpg": "asyncpg", "psycopg2": "psycopg2-binary"}.get(module, "celery")
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    assert version == pins(DOCKER / "requirements" / "airflow.txt")[package]
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_the_training_image_carries_torch() -> None:
    heavy = {
        image: {"torch", "transformers"} & pins(DOCKER / "requirements" / f"{image}.txt").keys() for image in IMAGES
    }
    assert heavy == {"spark": set(), "airflow": set(), "training": {"torch", "transformers"}}


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


def test_postgres_gets_a_role_for_each_program_that_cannot_look_into_the_other(postgres: Postgres) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    for database in ("airflow", "mlflow"):  # those of the fixture, to be made anew by the script
        postgres.sql(f"DROP DATABASE {database}")
    secrets = {"airflow": "o'ne $1 \\ \"", "mlflow": "two"}
    try:
        done = subprocess.run(
            [postgres.bin / "psql", "--host", "127.0.0.1", "--port", str(postgres.port), "--username", "nightmarket",
             "--dbname", "postgres", "--no-psqlrc", "--file", DOCKER / "postgres" / "roles.sql"],
            capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "PGPASSWORD": postgres.password,
                 **{f"{name.upper()}_DB_PASSWORD": secret for name, secret in secrets.items()}},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for role in secrets:
            for database in ("airflow", "mlflow", "postgres"):
                where = {"host": "127.0.0.1", "port": postgres.port, "dbname": database}
                if role == database:
                    with (
                        psycopg2.connect(**where, user=role, password=secrets[role]) as opened,
                        opened.cursor() as cursor,
                    ):
                        cursor.execute("CREATE TABLE its_own AS SELECT 1 AS n")
                    opened.close()
                else:
                    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
                        psycopg2.connect(**where, user=role, password=secrets[role])
    finally:
        for name in secrets:
            postgres.sql(f"DROP DATABASE IF EXISTS {name}")
            postgres.sql(f"DROP ROLE IF EXISTS {name}")
            postgres.sql(f"CREATE DATABASE {name}")
