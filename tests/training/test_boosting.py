from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.errors import TrainingError
from training.boosting import Data, Encoding, encoding_of, fit_boosted, load_booster, save_booster
from training.task import Fitting

ONE, TWO = Fitting(threads=1), Fitting(threads=2)


def data(n: int = 600, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    x[rng.random(x.shape) < 0.2] = np.nan
    return Data(x, (np.nan_to_num(x[:, 0]) + rng.normal(size=n) > 0).astype(np.float64))


def test_texts_become_places_the_most_frequent_first_and_unknown_ones_are_missing() -> None:
    rows = pa.table({"n": [1, 2, None], "flag": [True, False, None], "town": ["Delft", "Ghent", "Ghent"]})
    encoding = encoding_of(rows, ["n", "flag", "absent"], ["town"])
    assert encoding == Encoding(("n", "flag", "absent"), {"town": ("Ghent", "Delft")})
    assert encoding == Encoding.from_json(encoding.to_json())
    nan = np.nan
    np.testing.assert_array_equal(encoding.matrix(rows), [[1, 1, nan, 1], [2, 0, nan, 0], [nan, nan, nan, 0]])
    unknown = pa.table({"town": ["Lille", None]})
    assert np.isnan(encoding.matrix(unknown)).all()


def test_the_number_of_threads_changes_no_prediction() -> None:
    one, two = (fit_boosted(data(), data(seed=1), how, objective="binary") for how in (ONE, TWO))
    assert one.num_trees() == two.num_trees() > 1
    np.testing.assert_array_equal(one.predict(data().x), two.predict(data().x))


def test_training_stops_where_later_nights_stop_gaining_and_tells_the_curve() -> None:
    told: list[float] = []
    how = Fitting(threads=1, log=lambda values, step: told.append(values["click_valid_binary_logloss"]))
    booster = fit_boosted(data(), data(seed=1), how, objective="binary", rounds=300, patience=10, label="click_")
    assert booster.num_trees() == int(np.argmin(told)) + 1 < 300


def test_what_is_saved_is_loaded_to_the_last_bit(tmp_path: Path) -> None:
    booster = fit_boosted(data(), None, ONE, objective="binary", rounds=5)
    save_booster(booster, tmp_path / "model.txt")
    np.testing.assert_array_equal(load_booster(tmp_path / "model.txt").predict(data().x), booster.predict(data().x))


@pytest.mark.parametrize("text", ["", "tree\n", "not a model", None])
def test_a_damaged_model_is_one_clear_line(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "model.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TrainingError, match=r"model\.txt: no readable LightGBM model") as refused:
        load_booster(path)
    assert "\n" not in str(refused.value)


def test_a_model_that_was_cut_is_refused(tmp_path: Path) -> None:
    save_booster(fit_boosted(data(), None, ONE, objective="binary", rounds=5), tmp_path / "model.txt")
    text = (tmp_path / "model.txt").read_text()
    (tmp_path / "model.txt").write_text(text[: len(text) // 2])
    with pytest.raises(TrainingError, match="was cut"):
        load_booster(tmp_path / "model.txt")


def test_features_that_are_all_missing_are_fine() -> None:
    x = np.full((100, 2), np.nan)
    booster = fit_boosted(Data(x, np.arange(100) % 4 == 0), None, ONE, objective="binary", rounds=3)
    np.testing.assert_allclose(booster.predict(x), 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (np.ones(10), "all 10 examples have the class 1"),
        (np.array([]), "0 rows"),
        (np.array([0, 1, np.nan]), "1 values that are no numbers"),
    ],
)
def test_a_target_that_teaches_nothing_is_one_clear_line(y: np.ndarray, told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        fit_boosted(Data(np.zeros((len(y), 1)), y), None, ONE, objective="binary")
