"""A small trial of three arms whose true effects are known."""

import numpy as np

from training.uplift.trial import Trial

CHANCES = np.array([0.4, 0.3, 0.3])


def simulated(seed: int, n: int = 4_000, *, is_binary: bool = True) -> tuple[Trial, np.ndarray]:
    """Arm 1 helps where the first feature is high, arm 2 helps everyone a little; the true effects (n, 2)."""
    luck = np.random.default_rng(seed)
    x = luck.normal(size=(n, 4))
    effect = np.column_stack([0.15 + 0.15 * np.tanh(x[:, 0]), np.full(n, 0.1)])
    arm = luck.choice(3, size=n, p=CHANCES)
    mean = 0.25 + 0.08 * np.tanh(x[:, 1]) + np.where(arm > 0, effect[np.arange(n), np.maximum(arm, 1) - 1], 0.0)
    y = (luck.random(n) < mean).astype(np.float64)
    if not is_binary:
        y, effect = y * luck.gamma(2.0, 10.0, n), effect * 20
    return Trial.of(x, arm, y, CHANCES), effect
