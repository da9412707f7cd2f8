"""Models that learnt from erased customers: told in the certificate, marked for training anew, their example rows taken out.

By lineage: a model learnt from somebody if a partition that it was trained on held rows of that person. The champion goes
on serving until a model that has not seen them takes its place (pipelines/train.py, pipelines/promote.py).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pipelines.core.registry import CHALLENGER, CHAMPION, LINEAGE_FILE, RETRAIN, Registry
from pipelines.core.storage import ABSENT
from pipelines.erase_journal import Change, Journal
from pipelines.stage import Context
from pipelines.train import SOURCES, registry_of

ALIASES: Final = (CHALLENGER, CHAMPION)
EXAMPLES: Final = "model_example_rows"
_ARROW: Final = "artifacts/bundle/rows.arrow"
_JSON: Final = ("input_example.json", "serving_input_example.json")


def mark_models(context: Context, certificate: str, journal: Journal, staging: Path) -> list[dict[str, str]]:
    """Marks all versions that learnt from a partition that rows were erased from: [{name, version, alias}].

    Raises RegistryError where the registry does not answer.
    """
    registry = registry_of(context)
    cut = set(journal.hashes)
    found = []
    for task in SOURCES:
        aliases = {one.version: alias for alias in ALIASES if (one := registry.aliased(task, alias))}
        for version in registry.versions(task):
            if not _learnt_from(registry.file(version, LINEAGE_FILE), cut):
                continue
            if RETRAIN not in version.tags:
                registry.tell(version, {RETRAIN: f"erasure {certificate}"})
            alias = aliases.get(version.version, "")
            found.append({"name": version.name, "version": version.version, "alias": alias})
        if not registry.is_local:
            _empty_on_server(registry, task, cut, staging)
    # Also models that a killed training logged and never registered.
    for bundle in sorted((registry.folder / "artifacts").glob("**/artifacts/bundle")):
        if (bundle / "lineage.json").is_file() and _learnt_from(bundle / "lineage.json", cut):
            for path, text in _emptied(bundle.parents[1]):
                journal.note(path.relative_to(registry.root).as_posix(), Change(EXAMPLES, 1))
                aside = staging / "example"
                aside.write_bytes(text)
                aside.replace(path)
    return found


def _learnt_from(lineage: Path, cut: set[str]) -> bool:
    """By name: a partition that was cut before has another hash, and held these customers all the same."""
    told: dict[str, str] = json.loads(lineage.read_text())
    return not cut.isdisjoint(name for name, digest in told.items() if digest != ABSENT)


def _emptied(model: Path) -> Iterator[tuple[Path, bytes]]:
    """The files of a logged model that show rows as examples, and what they are without: the same columns, no row."""
    import pyarrow as pa

    arrow = model / _ARROW
    if arrow.is_file():
        with pa.ipc.open_file(arrow) as file:
            schema, n_rows = file.schema, file.read_all().num_rows
        if n_rows:
            out = pa.BufferOutputStream()
            with pa.ipc.new_file(out, schema) as empty:
                empty.write_table(schema.empty_table())
            yield arrow, out.getvalue().to_pybytes()
    for path in (model / name for name in _JSON):
        if path.is_file():
            told: dict[str, Any] = json.loads(path.read_text())
            rows = told.get("dataframe_split", told)
            if rows["data"]:
                rows["data"] = []
                yield path, json.dumps(told).encode()


def _empty_on_server(registry: Registry, task: str, cut: set[str], staging: Path) -> None:
    """The same for a task's models behind MLflow's server: example files are fetched aside, emptied and sent back."""
    from mlflow.artifacts import download_artifacts

    with registry.answering():
        client = registry.client
        experiment = client.get_experiment_by_name(registry.name(task))
        if experiment is None:
            return
        found = client.search_logged_models([experiment.experiment_id])
        models = list(found)
        while found.token:
            found = client.search_logged_models([experiment.experiment_id], page_token=found.token)
            models += found
        for model in models:
            folder = staging / "models" / model.model_id
            listed = [
                *client.list_logged_model_artifacts(model.model_id),
                *client.list_logged_model_artifacts(model.model_id, str(Path(LINEAGE_FILE).parent)),
            ]
            for name in {file.path for file in listed} & {LINEAGE_FILE, _ARROW, *_JSON}:
                target = (folder / name).parent
                download_artifacts(artifact_uri=f"{model.artifact_location}/{name}", dst_path=str(target))
            lineage = folder / LINEAGE_FILE
            if lineage.exists() and not _learnt_from(lineage, cut):
                continue
            emptied = list(_emptied(folder))
            for path, text in emptied:
                path.write_bytes(text)
            if emptied:
                client.log_model_artifacts(model.model_id, str(folder))
