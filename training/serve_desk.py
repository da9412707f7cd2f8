"""What MLflow runs to serve a shop's desk: this file is saved with it (models from code, no pickle).

    nightmarket answer --shop demo --save FOLDER
    mlflow models serve -m FOLDER --env-manager local --host 127.0.0.1 --port 5002

It answers POST /invocations with {"dataframe_split": {"columns": ["conversation_id", "turns", "today"], "data": [...]}}: `turns` all
that the customer wrote so far, a JSON list of texts, `today` the shop's day, YYYY-MM-DD. One answer per row; the desk remembers
nothing between them. The environment that serves is one with this project installed.
"""

import json
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pandas as pd
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc import PythonModel, PythonModelContext, save_model
from mlflow.types import ColSpec, DataType, Schema

from pipelines.core.errors import WrongUseError
from training.language.desk import CONVERSATION, TODAY, TURNS, Desk

_FILE: Final = "desk.json"
_TEXTS: Final = (CONVERSATION, "answer", "intent", "state")
_REQUIREMENTS: Final = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "scikit-learn")


class ServedDesk(PythonModel):
    """A desk, pandas in and pandas out."""

    def load_context(self, context: PythonModelContext) -> None:
        self._desk = Desk.from_json(json.loads(Path(context.artifacts["desk"]).read_text())).open()

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """n rows of conversations -> n answers. Raises WrongUseError for turns that are no JSON list of texts."""
        rows = zip(*(model_input[name] for name in (CONVERSATION, TURNS, TODAY)), strict=True)
        return pd.DataFrame(
            [self._desk.answer(str(one), turns_of(turns), date.fromisoformat(day)) for one, turns, day in rows]
        )


def turns_of(text: str) -> list[str]:
    """The texts of a JSON list. Raises WrongUseError."""
    try:
        turns = json.loads(text)
    except ValueError as error:
        raise WrongUseError(f"turns: not JSON ({error}); expected a list of texts such as '[\"Hello\"]'") from None
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise WrongUseError(
            "turns: expected a JSON list of texts, all that the customer wrote so far, the oldest first"
        )
    return turns


def save(desk: Desk, folder: Path) -> None:
    """Writes the desk as an MLflow model into a folder that is not there yet. Raises WrongUseError where it is."""
    if folder.exists():
        raise WrongUseError(f"{folder}: is there already; name a new folder")
    asks = Schema([ColSpec(DataType.string, name) for name in (CONVERSATION, TURNS, TODAY)])
    told: list[Any] = [ColSpec(DataType.string, name) for name in _TEXTS]
    told += [ColSpec(DataType.double, "confidence"), ColSpec(DataType.boolean, "hand_over")]
    with TemporaryDirectory() as aside:
        file = Path(aside) / _FILE
        file.write_text(json.dumps(desk.to_json(), ensure_ascii=False, sort_keys=True))
        save_model(
            folder,
            python_model=str(Path(__file__)),
            artifacts={"desk": str(file)},
            signature=ModelSignature(inputs=asks, outputs=Schema(told)),
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _REQUIREMENTS],
        )


set_model(ServedDesk())
