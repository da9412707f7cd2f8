"""Seeded randomness of the demo shop: uniforms that are pure functions of their keys, and generators for bulk draws.

`uniform` hashes (seed, stream, keys) with splitmix64, so that a customer's draw on a night is the same number whatever
else was drawn before it: common random numbers, which make outcomes under different strategies comparable.
"""

import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_TWO_TO_MINUS_53 = 2.0**-53


def uniform(seed: int, stream: str, *keys: ArrayLike) -> Floats:
    """Uniforms strictly inside (0, 1), shape of the broadcast keys (at least one dimension). Keys are whole numbers."""
    state = _mix(np.array([seed ^ (zlib.crc32(stream.encode()) << 20)], dtype=np.int64).astype(np.uint64))
    for key in keys:
        state = _mix(state ^ _mix(np.atleast_1d(np.asarray(key, dtype=np.int64)).astype(np.uint64)))
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) * _TWO_TO_MINUS_53


def normal(seed: int, stream: str, *keys: ArrayLike) -> Floats:
    """Standard normals by the Box-Muller method from two uniforms of the same keys."""
    radius = np.sqrt(-2.0 * np.log(uniform(seed, stream + "/radius", *keys)))
    return radius * np.cos(2.0 * np.pi * uniform(seed, stream + "/angle", *keys))


def generator(seed: int, stream: str, night: int) -> np.random.Generator:
    """A generator of its own for one stream of one night (its ordinal): streams never share numbers."""
    return np.random.default_rng([seed, zlib.crc32(stream.encode()), night])


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + np.exp(-x))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014); array arithmetic wraps modulo 2**64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
