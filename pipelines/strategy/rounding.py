"""Unbiased rounding: from expected to whole numbers of customers, with limits that keep holding.

The flight of the cube method (Deville and Tille, Biometrika 91, 2004) on a table whose rows keep their sums: a random
walk without drift that moves shares of customers between the cells of rows, along directions that leave every limit's
total as it is, until cells are whole. No drift means that each cell's expectation is exactly its starting value.
"""

from collections.abc import Callable, Iterator

import numpy as np

_WHOLE = 1e-12  # closer to a whole number than this is whole

Coin = Callable[[float], bool]  # True with the given probability


class _Cell:
    """A cell of the table that is not whole yet: its share above the floor and its use of each limit."""

    __slots__ = ("column", "row", "share", "use")

    def __init__(self, row: int, column: int, share: float, use: list[float]) -> None:
        self.row, self.column, self.share, self.use = row, column, share, use


def round_unbiased(expected: np.ndarray, weights: tuple[np.ndarray, ...], coin: Coin) -> np.ndarray:
    """(g, j) int64: whole numbers with mean `expected`, each its floor or ceiling, rows' sums kept.

    expected: (g, j) not negative, rows add up to whole numbers. weights: limits, each (g, j) not negative, use of one
    unit in a cell. Limit number k of n ends less than (n - k) x its largest weight above its expectation (k from 0):
    a limit is given up when no more than n - k directions are left, and a row with d directions can add no more than
    d of its cells' largest weight.
    """
    floor = np.floor(expected + _WHOLE)
    share = expected - floor
    result = floor.astype(np.int64)
    scales = [float(weight.max(initial=0)) or 1.0 for weight in weights]
    n_kept = len(weights)
    pool: list[list[_Cell]] = []
    rows = _open_rows(share, weights, scales)
    while True:
        # A row of k open cells has k - 1 directions: from its first cell to each other one.
        directions = [(row[0], cell) for row in pool for cell in row[1:]][: n_kept + 1]
        if len(directions) <= n_kept:
            row = next(rows, None)
            if row is not None:
                pool.append(row)
            elif directions:
                n_kept = len(directions) - 1
            else:
                break
            continue
        _step(directions, len(weights) - n_kept, coin)
        pool = [_settle(row, result) for row in pool]
        pool = [row for row in pool if row]
    return result


def _open_rows(share: np.ndarray, weights: tuple[np.ndarray, ...], scales: list[float]) -> Iterator[list[_Cell]]:
    is_open = share > _WHOLE
    for row in np.flatnonzero(is_open.any(axis=1)):
        columns = np.flatnonzero(is_open[row])
        use = np.empty((len(columns), len(weights)))
        for k, (weight, scale) in enumerate(zip(weights, scales, strict=True)):
            use[:, k] = weight[row, columns] / scale
        values = zip(columns.tolist(), share[row, columns].tolist(), use.tolist(), strict=True)
        yield [_Cell(int(row), *value) for value in values]


def _settle(row: list[_Cell], result: np.ndarray) -> list[_Cell]:
    """The cells of the row that are still open; a last one is whole but for floating point, as rows' sums are."""
    still = [cell for cell in row if _WHOLE < cell.share < 1 - _WHOLE]
    if len(still) == len(row):
        return row
    if len(still) == 1:
        still = []
    for cell in row:
        if cell not in still and cell.share > 0.5:
            result[cell.row, cell.column] += 1
    return still


def _step(directions: list[tuple[_Cell, _Cell]], n_given_up: int, coin: Coin) -> None:
    """One move that leaves the limits as they are and makes at least one cell whole."""
    matrix = [[b - a for a, b in zip(x.use[n_given_up:], y.use[n_given_up:], strict=True)] for x, y in directions]
    moves: dict[_Cell, float] = {}
    for (source, target), amount in zip(directions, _null_vector(matrix), strict=True):
        if amount:
            moves[source] = moves.get(source, 0.0) - amount
            moves[target] = moves.get(target, 0.0) + amount
    up = down = float("inf")
    for cell, move in moves.items():
        if move > 0:
            up, down = min(up, (1 - cell.share) / move), min(down, cell.share / move)
        elif move < 0:
            up, down = min(up, -cell.share / move), min(down, (cell.share - 1) / move)
    length = up if coin(down / (up + down)) else -down
    for cell, move in moves.items():
        cell.share += length * move


def _null_vector(columns: list[list[float]]) -> list[float]:
    """A vector v other than 0, largest entry about 1, with sum of v[k] * columns[k] = 0; more columns than entries.

    Gaussian elimination in plain floats: the same bits on every machine, and faster than a library on so few numbers.
    """
    reduced: list[tuple[int, list[float], list[float]]] = []  # pivot entry, reduced column, its mix of columns
    for k, column in enumerate(columns):
        rest = list(column)
        mix = [0.0] * len(columns)
        mix[k] = 1.0
        for pivot, base, base_mix in reduced:
            factor = rest[pivot] / base[pivot]
            if factor:
                rest = [r - factor * b for r, b in zip(rest, base, strict=True)]
                mix = [m - factor * b for m, b in zip(mix, base_mix, strict=True)]
            rest[pivot] = 0.0
        pivot = max(range(len(rest)), key=lambda i: abs(rest[i]), default=-1)
        if pivot < 0 or abs(rest[pivot]) < _WHOLE:
            largest = max(abs(m) for m in mix)
            return [m / largest for m in mix]
        reduced.append((pivot, rest, mix))
    raise ValueError("as many independent columns as columns: no null vector")
