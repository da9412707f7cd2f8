import numpy as np
import pytest
from scipy.sparse import csr_matrix

from training.language.few_labels import MIXED, NETWORK, PSEUDO, TASKS, Pool, Rows, fit, learn


def pool(n: int = 60) -> Pool:
    """Three classes, each around a vector of its own, with a word of its own; the copy has no words."""
    rng = np.random.default_rng(5)
    codes = np.arange(n) % 3
    vectors = (4 * np.eye(3)[codes] + rng.normal(0, 0.3, (n, 3))).astype(np.float32)
    rows = Rows(csr_matrix(np.eye(3)[codes]), vectors)
    other = vectors, (codes == 0).astype(np.int64)
    return Pool(rows, codes, 3, {"copies": Rows(csr_matrix((n, 3)), vectors)}, other)


@pytest.mark.parametrize("way", ["", "copies", PSEUDO, MIXED, NETWORK, TASKS])
def test_every_way_learns_what_is_easy_and_tells_chances(way: str) -> None:
    told = pool()
    found = learn(way, told, np.arange(12), np.random.default_rng(0)).chances(told.rows)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == told.codes).all()


@pytest.mark.parametrize("way", ["", "copies", PSEUDO, MIXED, NETWORK, TASKS])
def test_labels_of_rows_that_are_not_labelled_change_nothing(way: str) -> None:
    told = pool()
    hidden = Pool(told.rows, np.where(np.arange(60) < 12, told.codes, 0), 3, told.copies, told.other)
    one, two = (learn(way, some, np.arange(12), np.random.default_rng(1)).chances(told.rows) for some in (told, hidden))
    assert np.array_equal(one, two)


def test_a_class_without_a_label_gets_no_chance_and_one_class_alone_all() -> None:
    told = pool()
    two = np.flatnonzero(told.codes[:12] != 1)
    assert (fit(told.rows.take(two), told.codes[two], 3).chances(told.rows)[:, 1] == 0).all()
    assert fit(told.rows.take(two[:1]), told.codes[two[:1]], 3).chances(told.rows)[0].tolist() == [1, 0, 0]
