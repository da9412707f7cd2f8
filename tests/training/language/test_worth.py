import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.language.worth import doubt_of, likeness, nearest, worth_asking

UNSURE, SURE = [0.5, 0.5], [1.0, 0.0]


def test_doubt_is_what_the_margin_leaves() -> None:
    assert np.allclose(doubt_of(np.array([UNSURE, SURE, [0.7, 0.3]])), [1.0, 0.0, 0.6])


def test_one_of_many_alike_is_asked_before_an_outlier_and_then_the_outlier_before_its_twins() -> None:
    vectors = np.array([[0, 1], [1, 0], [1, 0], [1, 0]], np.float32)
    assert worth_asking(np.array([UNSURE] * 4), vectors, vectors[:0], 2).tolist() == [1, 0]


def test_what_is_labelled_already_need_not_be_asked_again() -> None:
    vectors = np.array([[0, 1], [1, 0], [1, 0], [1, 0]], np.float32)
    assert worth_asking(np.array([UNSURE] * 4), vectors, vectors[1:2], 1).tolist() == [0]


def test_what_the_model_is_unsure_of_comes_first_among_strangers() -> None:
    chances = np.array([SURE, UNSURE, SURE])
    assert worth_asking(chances, np.eye(3, dtype=np.float32), np.zeros((0, 3), np.float32), 1).tolist() == [1]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 4), st.integers(1, 15), st.integers(0, 1000))
def test_the_lazy_choice_is_the_greedy_one(m: int, k: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    told = rng.normal(size=(m + k, 5)).astype(np.float32)
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    chances = rng.dirichlet(np.ones(3), size=m)
    found = worth_asking(chances, told[:m], told[m:], n)
    assert len(found) == len(set(found.tolist())) == min(m, n)
    doubt, alike, covered = doubt_of(chances) + 0.05, likeness(told[:m], told[:m]), nearest(told[:m], told[m:])
    for at in found.tolist():
        gains = np.maximum(alike - covered, 0) @ doubt
        assert gains[at] >= gains.max() - 1e-4
        covered = np.maximum(covered, alike[at])
