"""The job that fits and scores for the closed loop."""

from pathlib import Path

import pytest

from pipelines.core.config import load_shop
from pipelines.core.errors import NoDataError
from training.answer_loop import Answers


def test_a_fit_without_campaigns_says_so(tmp_path: Path) -> None:
    request = {"fit": "plan", "root": str(tmp_path), "train": ["2026-03-04"], "valid": ["2026-03-05"]}
    with pytest.raises(NoDataError, match="nothing was delivered in 1 nights"):
        Answers(load_shop("demo"), 1).answer(request)
