"""What MLflow runs to serve any of our models: this file is logged with the model (models from code, no pickle).

    mlflow models serve -m models:/demo-effect@champion --env-manager local --host 127.0.0.1 --port 5001

It answers POST /invocations with {"dataframe_split": {"columns": [...], "data": [...]}}, one prediction per row. The
environment that serves is one with this project installed, its bin folder on PATH (MLflow starts uvicorn by its name);
MLFLOW_TRACKING_URI names the store, sqlite:///<root>/mlflow/mlflow.db.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from training.task import task_of


class Served(PythonModel):
    """A task's model, pandas in and pandas out. The bundle holds it and an Arrow file of rows as it was fitted on."""

    def load_context(self, context: PythonModelContext) -> None:
        bundle = Path(context.artifacts["bundle"])
        self._schema = pa.ipc.open_file(bundle / "rows.arrow").schema
        task = task_of(json.loads((bundle / "model" / "model.json").read_text())["task"])
        self._model = task.load(bundle / "model")

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """n rows of features, columns missing or more than needed -> n rows of predictions."""
        return self._model.predict(to_arrow(model_input, self._schema)).to_pandas()


def to_arrow(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The table of this schema that a frame meant before JSON or pandas changed its types; missing columns are null."""
    columns = [
        pa.array(list(frame[field.name]), field.type, from_pandas=True)
        if field.name in frame
        else pa.nulls(len(frame), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


set_model(Served())
