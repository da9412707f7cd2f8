"""Vectors that are kept from night to night in one file, by a key of what they were made of."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file


def kept_vectors(path: Path, made_by: str) -> dict[str, np.ndarray]:
    """Vectors by key; none where the file is missing, damaged or was made by another model."""
    try:
        with safe_open(path, framework="numpy") as file:
            told = file.metadata() or {}
            if told.get("made_by") != made_by:
                return {}
            return dict(zip(json.loads(told["keys"]), file.get_tensor("vectors"), strict=True))
    except (OSError, SafetensorError, KeyError, ValueError):
        return {}


def keep(path: Path, made_by: str, vectors: Mapping[str, np.ndarray]) -> None:
    """Writes them, one at least and all of one width, by one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.stack(list(vectors.values())).astype(np.float32)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({"vectors": rows}, partial, {"made_by": made_by, "keys": json.dumps(list(vectors))})
    partial.replace(path)
