"""Who is held out, and each customer's own random numbers: both stable hashes, so a rerun draws the same lots."""

import hashlib
from collections.abc import Sequence
from datetime import date

import numpy as np

_BITS = 53  # of a float's mantissa: every value is exact and below 1


def is_holdout(user_keys: Sequence[str], seed: int, percent: float) -> np.ndarray:
    """(n,) bool: sha256("seed:user_key") as a uniform number below percent / 100.

    The night plays no part: a customer stays in or out for as long as the seed stays, and a higher percentage only
    adds customers.
    """
    return hashed([f"{seed}:{key}" for key in user_keys]) < percent / 100


def night_draws(user_keys: Sequence[str], seed: int, night: date, n_draws: int = 3) -> np.ndarray:
    """(n, n_draws) independent uniform numbers in [0, 1) per customer, new every night; at most 4 draws."""
    return _uniforms([f"{seed}:{night.isoformat()}:{key}" for key in user_keys], n_draws)


def hashed(texts: list[str]) -> np.ndarray:
    """(n,) uniform numbers in [0, 1), a stable function of each text alone."""
    return _uniforms(texts, 1)[:, 0]


def night_generator(seed: int, night: date) -> np.random.Generator:
    """The night's one generator for lots that are drawn for the shop as a whole."""
    digest = hashlib.sha256(f"{seed}:{night.isoformat()}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def _uniforms(texts: list[str], n_draws: int) -> np.ndarray:
    """(n, n_draws) floats in [0, 1) from the first 8-byte words of sha256(text)."""
    if not 1 <= n_draws <= 4:
        raise ValueError(f"a digest holds 4 draws, not {n_draws}")
    digests = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
    words = np.frombuffer(digests, dtype=">u8").reshape(len(texts), 4)[:, :n_draws]
    return (words >> np.uint64(64 - _BITS)).astype(np.float64) / 2.0**_BITS
