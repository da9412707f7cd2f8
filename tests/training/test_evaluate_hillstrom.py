"""The judgement of the effect model: what is read, what is compared with whom, and the peers' own figures."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.errors import NoDataError
from training.evaluate_hillstrom import MENS, judging_means, run, summary
from training.hillstrom import ARMS, FILE, MASKS, PEERS, read_hillstrom, read_masks
from training.hillstrom_peers import COLUMNS, POLICIES, POLICY_COLUMNS, RANKING, RANKING_COLUMNS, read_peers
from training.uplift.measures import policy_value

SHARED = Path(__file__).parents[3] / "shared" / "data" / "hillstrom"
HEAD = "recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend"
N = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six hundred customers, two splits, and two peers that have all columns."""
    luck, lines, found = np.random.default_rng(0), [HEAD], tmp_path_factory.mktemp("hillstrom")
    for at in range(N):
        womens, arm = int(luck.integers(2)), ARMS[at % 3]
        visit = int(luck.random() < 0.2 + 0.3 * (arm == ARMS[2]) * womens + 0.2 * (arm == ARMS[1]))
        spend = visit * round(float(luck.gamma(2, 20)), 2) if luck.random() < 0.5 else 0
        zips, by = ("Rural", "Surburban", "Urban")[at % 3], ("Web", "Phone", "Multichannel")[at // 3 % 3]
        lines.append(f"{at % 12},2) $100 - $200,{100 + at % 90},1,{womens},{zips},0,{by},{arm},{visit},{visit},{spend}")
    (found / FILE).write_bytes(gzip.compress("\n".join(lines).encode()))
    (found / PEERS).mkdir()
    masks = ["seed0,seed1", *(f"{at // 3 % 2},{at // 6 % 2}" for at in range(N))]
    (found / PEERS / MASKS).write_bytes(gzip.compress("\n".join(masks).encode()))
    tasks, goals = sorted({task for task, _ in RANKING_COLUMNS.values()}), POLICY_COLUMNS.values()
    ranking = ["seed,task,learner,u10,u30,qini,uauc"]
    ranking += [f"{seed},{task},{who},{value},{value},{value},{value}" for seed in (0, 1) for task in tasks
                for who, value in (("good", 0.5), ("poor", 0.1), ("history-rank", 0.9))]  # fmt: skip
    policies = ["seed,obj,policy,dr"]
    policies += [f"{seed},{goal},{who},{value}" for seed in (0, 1) for goal in goals
                 for who, value in (("good", 0.5), ("poor", 0.6), ("always-Mens", 0.7))]  # fmt: skip
    (found / PEERS / RANKING).write_bytes(gzip.compress("\n".join(ranking).encode()))
    (found / PEERS / POLICIES).write_bytes(gzip.compress("\n".join(policies).encode()))
    return found


def test_a_judgement_has_every_column_beside_every_baseline(folder: Path) -> None:
    result = run(folder, n_splits=2)
    assert set(COLUMNS) <= set(result["metrics"])
    assert set(result["metrics"]) == set(result["docs"])
    assert {"best peer", "best single peer", "always mens", "always womens", "never", "random", "past spend"} == set(
        result["baselines"]
    )
    assert result["best_single_peer"] == "good"
    assert result["best_peers"]["mens_visit_qini"] == "history-rank"
    ours, theirs = result["metrics"]["policy_visit"]["value"], result["baselines"]["best peer"]["policy_visit"]["value"]
    assert theirs == pytest.approx(0.7)
    assert result["paired"]["best peer"]["policy_visit"]["value"] == pytest.approx(ours - theirs)
    assert ours > result["baselines"]["never"]["policy_visit"]["value"]


def test_what_is_counted_is_counted_right(folder: Path) -> None:
    peers = read_peers(folder, 2)
    best = {column: peers.columns[column][peers.best(column)] for column in COLUMNS}
    ours = {column: best[column] + np.array([0.0, 0.1]) for column in COLUMNS}
    ours[COLUMNS[0]] = best[COLUMNS[0]] - np.array([0.2, 0.21])
    always = {"policy_spend_less_cost_dollars": ours["policy_spend_less_cost_dollars"] - np.array([0.0, 1.0])}
    counts = summary({"ours": ours, "always mens": always}, peers)["counts"]
    assert counts["at_or_above_best_peer"] == len(COLUMNS) - 1
    assert counts["below_best_peer_by_more_than_one_paired_sd"] == [COLUMNS[0]]
    assert counts["splits_spend_less_cost_above_always_mens"] == 1


def test_what_is_missing_or_wrong_is_said_in_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=FILE[:20]):
        read_hillstrom(tmp_path)
    text = gzip.decompress((folder / FILE).read_bytes()).decode()
    (tmp_path / FILE).write_bytes(gzip.compress(text.replace("Womens E-Mail", "Kids E-Mail").encode()))
    with pytest.raises(NoDataError, match="arm Kids E-Mail is unknown"):
        read_hillstrom(tmp_path)
    (tmp_path / FILE).write_bytes(gzip.compress(text.replace("newbie", "novice").encode()))
    with pytest.raises(NoDataError, match="no column newbie"):
        read_hillstrom(tmp_path)
    with pytest.raises(NoDataError, match="expected 0/1 for each of 7 customers"):
        read_masks(folder, 7)
    shutil.copytree(folder / PEERS, tmp_path / PEERS)
    lines = gzip.decompress((folder / PEERS / RANKING).read_bytes()).decode().splitlines()
    (tmp_path / PEERS / RANKING).write_bytes(gzip.compress("\n".join(lines[:-1]).encode()))
    with pytest.raises(NoDataError, match="one row for each of 2 splits"):
        read_peers(tmp_path, 2)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("spend", "", "spend of customer 5 is missing; expected a number: mend the file"),
        ("history", "much", "history of customer 5 is 'much'; expected a number"),
        ("history_segment", "dear", "history_segment of customer 5 is 'd'; expected a number"),
        ("visit", "2", "visit of customer 5 is 2; expected 0 or 1"),
    ],
)
def test_a_cell_that_cannot_be_is_named(folder: Path, tmp_path: Path, column: str, value: str, told: str) -> None:
    _with_cell(folder, tmp_path, column, value)
    with pytest.raises(NoDataError, match=told):
        read_hillstrom(tmp_path)


def test_a_return_lowers_the_spend_and_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _with_cell(folder, tmp_path, "spend", "-20")
    assert read_hillstrom(tmp_path).spend[4] == -20
    assert "1 customers spent less than 0; they count as returns" in capsys.readouterr().err


def _with_cell(folder: Path, to: Path, column: str, value: str) -> None:
    """The trial of `folder` with another value in one cell of the fifth customer."""
    lines = gzip.decompress((folder / FILE).read_bytes()).decode().splitlines()
    cells = lines[5].split(",")
    cells[HEAD.split(",").index(column)] = value
    lines[5] = ",".join(cells)
    (to / FILE).write_bytes(gzip.compress("\n".join(lines).encode()))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the Hillstrom trial is not here")
def test_peers_and_the_judge_of_policies_are_those_of_the_definitions() -> None:
    peers = read_peers(SHARED, 20)
    best = {column: float(peers.columns[column][peers.best(column)].mean()) for column in COLUMNS}
    assert best["womens_visit_qini"] == pytest.approx(0.0646, abs=1e-4)
    assert best["mens_visit_uplift_at_10"] == pytest.approx(0.1320, abs=1e-4)
    assert best["mens_spend_uplift_at_10_dollars"] == pytest.approx(1.94, abs=5e-3)
    assert best["policy_spend_less_cost_dollars"] == pytest.approx(1.450, abs=1e-3)
    told = read_hillstrom(SHARED)
    assert np.bincount(told.arm).tolist() == [21_306, 21_307, 21_387]
    test = read_masks(SHARED, len(told.arm))[:, 0]
    for column, y in (("policy_visit", told.visit), ("policy_spend_dollars", told.spend)):
        mean = judging_means(told.x, told.arm, y, ~test, is_class=column == "policy_visit")
        policy, chance = np.full(int(test.sum()), MENS), np.full(int(test.sum()), 1 / 3)
        dr = policy_value(policy, told.arm[test], y[test], chance, mean)[2]
        assert dr == pytest.approx(float(peers.columns[column]["always-Mens"][0]), rel=2e-3)
