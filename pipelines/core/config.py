"""Configuration: small frozen objects, unknown keys refused.

`load_shop("demo")` reads conf/shops/demo.yaml, `load_machine("local")` reads conf/local.yaml, `load_knowledge("demo")` what the
service desk knows, conf/knowledge/demo.yaml.
"""

import os
from pathlib import Path

from pipelines.core.errors import ConfigError
from pipelines.core.machine import Machine
from pipelines.core.servicing import Knowledge
from pipelines.core.settings import read_yaml
from pipelines.core.shop import Shop

PROJECT = Path(__file__).resolve().parents[2]


def load_shop(name: str, folder: Path | None = None) -> Shop:
    """The shop's configuration. Raises ConfigError with file, line, key and what is allowed."""
    folder = folder or shops_folder()
    path, known = folder / f"{name}.yaml", shop_names(folder)
    if name not in known:
        raise ConfigError(f"unknown shop '{name}': no {path}; known shops: {', '.join(known) or 'none'}; add that file")
    shop = read_yaml(path, Shop)
    if shop.shop != name:
        raise ConfigError(f"{path}: shop is '{shop.shop}' but the file is named '{name}'; make them equal")
    return shop


def shop_names(folder: Path | None = None) -> list[str]:
    """Shops that have a file in conf/shops/, sorted; the file itself may be broken. None where the folder cannot be read."""
    return sorted(path.stem for path in (folder or shops_folder()).glob("*.yaml"))


def require_shops() -> list[str]:
    """`shop_names`, of which there is at least one. Raises ConfigError that says why there is none."""
    names, why = shop_names(), "no file NAME.yaml"
    try:
        next(shops_folder().iterdir(), None)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    if not names:
        raise ConfigError(
            f"no shop in {shops_folder()} ({why}): expected conf/shops/NAME.yaml; add one or mend NIGHTMARKET_CONF"
        )
    return names


def shops_folder() -> Path:
    return Path(os.environ.get("NIGHTMARKET_CONF", PROJECT / "conf")) / "shops"


def load_knowledge(name: str, folder: Path | None = None) -> Knowledge:
    """What a service desk knows. Raises ConfigError with file, line, key and what is allowed."""
    folder = folder or Path(os.environ.get("NIGHTMARKET_CONF", PROJECT / "conf")) / "knowledge"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise ConfigError(
            f"service.knowledge: no {folder / name}.yaml; known there: {', '.join(known) or 'none'}; add that file"
        )
    return read_yaml(folder / f"{name}.yaml", Knowledge)


def load_machine(name: str = "local") -> Machine:
    """Where things run. NIGHTMARKET_MACHINE names another file than conf/local.yaml; NIGHTMARKET_MLFLOW_URI is the
    MLflow server that `nightmarket up` has started on a database of its own."""
    folder = Path(os.environ.get("NIGHTMARKET_CONF", PROJECT / "conf"))
    path = folder / f"{os.environ.get('NIGHTMARKET_MACHINE', name)}.yaml"
    if not path.is_file():
        raise ConfigError(f"no machine configuration {path}; NIGHTMARKET_MACHINE must name a file such as local.yaml")
    machine = read_yaml(path, Machine)
    uri = os.environ.get("NIGHTMARKET_MLFLOW_URI")
    return machine.model_copy(update={"mlflow_uri": uri}) if uri and not machine.mlflow_uri else machine
