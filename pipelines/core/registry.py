"""The registry: which version of a model is champion, which was before, and files that are those that were registered.

MLflow holds it: an SQLite store and artifacts under <root>/mlflow, or a server. A model is named `<shop>-<task>`. Each
version says in its tags where it comes from and what was decided about it. The alias `champion` moves in one step;
`previous_champion` and `promoted_night` on the version lead back to what scored on an earlier night.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlparse

from pipelines.core.errors import RegistryError
from pipelines.core.mlflow_client import is_refusal, open_client
from pipelines.core.storage import Store, file_hash

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
MODEL_FOLDER: Final = "artifacts/bundle/model"  # of a logged model: what the task saved and loads again
BASELINE_FOLDER: Final = "artifacts/bundle/baseline"  # the simple model that was fitted on the same examples
LINEAGE_FILE: Final = "artifacts/bundle/lineage.json"  # partition -> content hash, of all that was learnt from
RETRAIN: Final = "retrain"  # tag of a version that learnt from somebody who was erased since: it says which erasure
MAX_TEXT: Final = 5_000  # characters of a tag or description that every database behind MLflow takes


@dataclass(frozen=True)
class Version:
    """A registered version of a model."""

    name: str
    version: str
    run_id: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_sha256(self) -> str:
        return self.tags["content_sha256"]

    @property
    def kind(self) -> str:
        """What it is made of, such as "lightgbm"."""
        return self.tags.get("kind", "")

    @property
    def previous_champion(self) -> str | None:
        return self.tags.get("previous_champion") or None

    @property
    def judged_nights(self) -> tuple[date, ...]:
        """The nights held back from its training, on which it is judged."""
        return tuple(date.fromisoformat(text) for text in self.tags.get("judged_nights", "").split())

    def night(self, tag: str) -> date | None:
        """A tag that holds a night, such as promoted_night, trained_night, data_first or data_last."""
        text = self.tags.get(tag)
        return date.fromisoformat(text) if text else None

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


def folder_hash(folder: Path) -> str:
    """SHA-256 over paths and bytes of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


def training_digest(basis: str, lineage: Mapping[str, str]) -> str:
    """SHA-256 of all that decides a training: `basis` (settings, nights, code) and the partitions that were read."""
    return hashlib.sha256(json.dumps([basis, dict(sorted(lineage.items()))]).encode()).hexdigest()


class Registry:
    """The models of one shop. Every method raises RegistryError, one line, where the registry does not answer."""

    def __init__(self, shop: str, root: Path, uri: str | None) -> None:
        self.shop = shop
        self.root = root
        self.folder = root / "mlflow"
        self._database = self.folder / "mlflow.db"
        self.is_local = uri is None
        self.uri = uri or f"sqlite:///{self._database}"

    def name(self, task: str) -> str:
        return f"{self.shop}-{task}"

    # -- reading

    def versions(self, task: str, **tags: str) -> list[Version]:
        """Versions of the task's model that carry these tags, newest first."""
        if self.is_local and not self._database.exists():
            return []
        name = self.name(task)
        wanted = [f"name = '{name}'", *(f"tags.{key} = '{value}'" for key, value in tags.items())]
        with self.answering():
            found = self.client.search_model_versions(" and ".join(wanted), max_results=1_000)
        return sorted((_version(one) for one in found), key=lambda version: -int(version.version))

    def get(self, task: str, version: str) -> Version:
        """Raises RegistryError where there is no such version."""
        with self.answering():
            return _version(self.client.get_model_version(self.name(task), version))

    def aliased(self, task: str, alias: str) -> Version | None:
        """The version that carries the alias now."""
        if self.is_local and not self._database.exists():
            return None
        with self.answering():
            client = self.client
            from mlflow.exceptions import MlflowException

            try:
                return _version(client.get_model_version_by_alias(self.name(task), alias))
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model, no alias
                    return None
                raise

    def champion(self, task: str, night: date) -> Version | None:
        """The champion for a night: the newest of the chain of champions that was promoted by then. None: there is none."""
        if self.is_local and not self._database.exists():
            return None  # and MLflow's two seconds of import are saved
        version = self.aliased(task, CHAMPION)
        while version and (version.night("promoted_night") or date.max) > night:
            version = self.get(task, version.previous_champion) if version.previous_champion else None
        return version

    def file(self, version: Version, path: str) -> Path:
        """A file or folder of the logged model, on this machine. What a server sends is kept in <root>/mlflow/fetched."""
        with self.answering():
            uri = self.client.get_model_version_download_uri(version.name, version.version)
            parsed = urlparse(uri)
            if parsed.scheme in ("", "file"):
                found = Path(unquote(parsed.path)) / path
            else:
                found = self.folder / "fetched" / version.name / version.version / path
                if not found.exists():
                    found.parent.mkdir(parents=True, exist_ok=True)
                    from mlflow.artifacts import download_artifacts

                    with Store(self.root, "mlflow").staging() as staging:
                        got = Path(download_artifacts(artifact_uri=f"{uri}/{path}", dst_path=str(staging)))
                        with contextlib.suppress(FileExistsError):  # another process was first
                            got.rename(found)
        if not found.exists():
            raise RegistryError(f"{version}: {path} is missing in {uri}; restore it, or `nightmarket rollback`")
        return found

    def fetch(self, version: Version) -> Path:
        """The folder that the task saved. Raises RegistryError where its files are not those that were registered."""
        folder = self.file(version, MODEL_FOLDER)
        if folder_hash(folder) != version.content_sha256:
            if folder.is_relative_to(self.folder / "fetched"):
                shutil.rmtree(folder, ignore_errors=True)  # it may have changed here only: next time it is fetched anew
            raise RegistryError(
                f"{version}: the files in {folder} are not those that were registered (SHA-256 differs); "
                "restore them, or `nightmarket rollback` to the champion before"
            )
        return folder

    # -- writing

    def experiment(self, task: str) -> str:
        """Id of the experiment that holds the task's runs; made where it is missing."""
        with self.answering():
            found = self.client.get_experiment_by_name(self.name(task))
            if found:
                return str(found.experiment_id)
            place = str(self.folder / "artifacts") if self.is_local else None
            return str(self.client.create_experiment(self.name(task), artifact_location=place))

    def register(
        self, task: str, model_id: str, run_id: str, tags: Mapping[str, str], description: str, *, alias: str | None
    ) -> Version:
        """A new version from a logged model. Whoever registers looks first whether `training_digest` is there already."""
        name = self.name(task)
        with self.answering():
            client = self.client
            from mlflow.exceptions import MlflowException

            with contextlib.suppress(MlflowException):  # it is there; anything else shows at the next call
                client.create_registered_model(name, description=f"The {task} model of shop {self.shop}")
            made = _version(
                client.create_model_version(
                    name,
                    f"models:/{model_id}",
                    run_id,
                    tags={key: value[:MAX_TEXT] for key, value in tags.items()},
                    description=description[:MAX_TEXT],
                    model_id=model_id,
                )
            )
            if alias:
                client.set_registered_model_alias(name, alias, made.version)
        return made

    def tell(self, version: Version, tags: Mapping[str, str], description: str | None = None) -> None:
        """Sets tags and, if given, the description."""
        with self.answering():
            for key, value in tags.items():
                self.client.set_model_version_tag(version.name, version.version, key, value[:MAX_TEXT])
            if description is not None:
                self.client.update_model_version(version.name, version.version, description[:MAX_TEXT])

    @contextlib.contextmanager
    def deciding(self, task: str) -> Iterator[None]:
        """One promotion or rollback of a task at a time."""
        with Store(self.root, self.shop).lock(f"champion-{task}", wait=True):
            yield

    def crown(self, task: str, version: Version, before: Version | None, night: date) -> None:
        """Moves the alias `champion` in one step; called under `deciding`.

        The tags are written first: killed in between, the old champion stays and nothing points to the new one.
        Raises RegistryError where the champion is not `before` any more, the one that the version was compared with.
        """
        now = self.aliased(task, CHAMPION)
        if (now and now.version) != (before and before.version):
            raise RegistryError(
                f"{version} was compared with {before or 'no champion'}, but the champion is {now or 'none'} now; "
                "run promote again"
            )
        self.tell(version, {"promoted_night": night.isoformat(), "previous_champion": before.version if before else ""})
        with self.answering():
            self.client.set_registered_model_alias(version.name, CHAMPION, version.version)
            challenger = self.aliased(task, CHALLENGER)
            if challenger and challenger.version == version.version:
                self.client.delete_registered_model_alias(version.name, CHALLENGER)

    def dethrone(self, task: str, verdict: str) -> tuple[Version, Version]:
        """Gives the alias back to the champion before; called under `deciding`. Returns (restored, dethroned)."""
        now = self.aliased(task, CHAMPION)
        if now is None or now.previous_champion is None:
            raise RegistryError(f"{self.name(task)}: {now or 'no champion'} has no champion before it to roll back to")
        restored = self.get(task, now.previous_champion)
        self.tell(now, {"verdict": verdict})
        with self.answering():
            self.client.set_registered_model_alias(restored.name, CHAMPION, restored.version)
        return restored, now

    # -- MLflow

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client; makes the local store at its first use."""
        return open_client(self.uri, self.root, self._database if self.is_local else None)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Turns what MLflow, its database or the network refuses into one line."""
        try:
            yield
        except Exception as error:
            if not is_refusal(error):
                raise
            what = " ".join(str(error).partition("(Background on this error")[0].split())[:300]
            advice = (
                f"see that {self.folder} can be written and no other process holds it"
                if self.is_local
                else "is the server up? mlflow_uri in conf/local.yaml names it"
            )
            raise RegistryError(f"the model registry {self.uri} does not answer: {what}; {advice}") from error


def _version(found: Any) -> Version:
    return Version(found.name, str(found.version), found.run_id or "", found.description or "", dict(found.tags))
