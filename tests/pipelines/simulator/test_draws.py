"""Seeded randomness: pure in its keys, spread evenly, streams apart."""

import numpy as np

from pipelines.simulator.catalogue import N_BRANDS, N_CHOICES, N_KINDS
from pipelines.simulator.draws import normal, uniform
from pipelines.simulator.words import CATEGORIES


def test_a_draw_depends_on_its_keys_alone() -> None:
    everyone = uniform(7, "luck", 739_000, np.arange(1000))
    np.testing.assert_array_equal(uniform(7, "luck", 739_000, np.array([5, 999])), everyone[[5, 999]])


def test_another_seed_stream_night_or_order_of_keys_gives_other_numbers() -> None:
    base = uniform(7, "luck", 1, np.arange(500))
    others = [
        uniform(8, "luck", 1, np.arange(500)),
        uniform(7, "bad luck", 1, np.arange(500)),
        uniform(7, "luck", 2, np.arange(500)),
        uniform(7, "luck", np.arange(500), 1),
    ]
    for other in others:
        assert (other == base).sum() <= 1  # of the last one, 1 meets 1
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.15


def test_uniforms_are_spread_evenly_and_never_touch_the_ends() -> None:
    u = uniform(7, "spread", np.arange(100_000))
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    chi2 = float(((counts - 5000) ** 2 / 5000).sum())
    assert chi2 < 43.8  # 99.9% of 19 degrees of freedom
    assert u.min() > 0
    assert u.max() < 1


def test_normals_have_mean_zero_and_unit_variance() -> None:
    z = normal(7, "bell", np.arange(100_000))
    assert abs(z.mean()) < 0.015
    assert abs(z.std() - 1) < 0.01


def test_every_shelf_has_as_many_words_as_the_catalogue_draws_from() -> None:
    for shelf in CATEGORIES:
        assert (len(shelf.kinds), len(shelf.brands)) == (N_KINDS, N_BRANDS)
        for kind in shelf.kinds:
            assert min(len(kind.features), len(kind.materials), len(kind.sizes)) >= N_CHOICES
            for english, chinese in (kind.noun, *kind.features, *kind.materials, *kind.uses):
                assert english.isascii()
                assert english
                assert chinese
