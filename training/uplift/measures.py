"""How well a score ranks customers by what a treatment changes, on a trial of two arms; and what a policy is worth.

Ranking measures have scikit-uplift's meaning and its order of ties (later rows first); a test compares them with it.
Policy values: IPS and SNIPS (Horvitz and Thompson 1952; Swaminathan and Joachims 2015), DR (Dudík et al. 2011).
"""

import numpy as np


def uplift_at(score: np.ndarray, treated: np.ndarray, y: np.ndarray, share: float) -> float:
    """Mean outcome of treated minus that of control among the int(share n) customers with the highest score."""
    top = _order(score)[: int(len(score) * share)]
    chosen, outcome = treated[top] > 0, y[top]
    if not chosen.any() or chosen.all():
        return float("nan")
    return float(outcome[chosen].mean() - outcome[~chosen].mean())


def qini_coefficient(score: np.ndarray, treated: np.ndarray, y: np.ndarray) -> float:
    """Area of the Qini curve above the straight line over that of the best order; 0 is random. Outcomes 0/1."""
    best = _qini_area(y * treated - y * (1 - treated), treated, y)
    return _qini_area(score, treated, y) / best


def uplift_coefficient(score: np.ndarray, treated: np.ndarray, y: np.ndarray) -> float:
    """Area of the uplift curve above the straight line over that of the best order (AUUC); 0 is random. Outcomes 0/1."""
    few_control_hits = ((y == 1) & (treated == 0)).sum() <= ((y == 0) & (treated == 1)).sum()
    best = 2 * (y == treated) + (treated if few_control_hits else y)
    return _uplift_area(score, treated, y) / _uplift_area(best, treated, y)


def qini_area(score: np.ndarray, treated: np.ndarray, y: np.ndarray) -> float:
    """Area between the Qini curve and the straight line over n x n_treated, any outcome: outcome gained per treated."""
    return _qini_area(score, treated, y) / (len(y) * float(treated.sum()))


def policy_value(
    policy: np.ndarray, arm: np.ndarray, y: np.ndarray, propensity: np.ndarray, mean: np.ndarray
) -> tuple[float, float, float]:
    """IPS, SNIPS and DR value per customer of taking arm `policy` (n,) where `arm` (n,) was taken.

    `propensity` (n,): chance of arm `policy`; `mean` (n, A): expected outcomes, from other customers.
    """
    match = (arm == policy) / propensity
    expected = mean[np.arange(len(y)), policy]
    ips = match @ y / len(y)
    return float(ips), float(ips / match.mean()), float((expected + match * (y - expected)).mean())


def _order(score: np.ndarray) -> np.ndarray:
    return np.argsort(score, kind="stable")[::-1]


def _cumulated(score: np.ndarray, treated: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows, treated rows, outcomes of treated and of control from the highest score down, at each distinct score."""
    order = _order(score)
    hit, who = y[order], treated[order]
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    sums = (np.cumsum(values)[last] for values in (who, hit * who, hit * (1 - who)))
    return (last + 1.0, *sums)


def _qini_area(score: np.ndarray, treated: np.ndarray, y: np.ndarray) -> float:
    n, n_treated, gained, of_control = _cumulated(score, treated, y)
    n_control = n - n_treated
    scaled = of_control * np.divide(n_treated, n_control, out=np.zeros_like(n), where=n_control != 0)
    return _above_line(n, gained - scaled)


def _uplift_area(score: np.ndarray, treated: np.ndarray, y: np.ndarray) -> float:
    n, n_treated, gained, of_control = _cumulated(score, treated, y)
    n_control = n - n_treated
    rate = np.divide(gained, n_treated, out=np.zeros_like(n), where=n_treated != 0)
    rate -= np.divide(of_control, n_control, out=np.zeros_like(n), where=n_control != 0)
    return _above_line(n, rate * n)


def _above_line(n: np.ndarray, curve: np.ndarray) -> float:
    n, curve = np.append(0.0, n), np.append(0.0, curve)
    return float(np.trapezoid(curve, n) - n[-1] * curve[-1] / 2)
