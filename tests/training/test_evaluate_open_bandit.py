"""Open Bandit: what is read, that obp's numbers come out of the real files, and what is said of a small made-up campaign."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipelines.core.errors import NoDataError
from training import evaluate_open_bandit as module
from training.evaluate_open_bandit import BEST, IGNORE, OURS, feedback, learnt_policy, obp_values, run
from training.open_bandit import CAMPAIGNS, read_impressions, thompson, usual_model

REAL = Path(__file__).parents[3] / "shared" / "data" / "open-bandit"
N, RATES = 900, np.array([0.02, 0.3, 0.3, 0.3])
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason="the Open Bandit files are not there")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three campaigns of four items: a random log, and one of a policy that shows items 3, 2 and 1; item 0 does not sell."""
    root = tmp_path_factory.mktemp("bandit")
    rng = np.random.default_rng(6)
    head = "timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1," + ",".join(
        f"user-item_affinity_{k}" for k in range(4)
    )
    for campaign in CAMPAIGNS:
        for behaviour in ("random", "bts"):
            folder = root / behaviour / campaign
            folder.mkdir(parents=True)
            lines = ["," + head]
            for i in rng.permutation(N):  # files are not in the order of time
                item = int(rng.integers(4)) if behaviour == "random" else 3 - i % 3
                click, user = int(rng.random() < RATES[item]), "ab"[i % 2]
                seen = ",".join("1.0" if k == i % 7 else "0.0" for k in range(4))
                moment, chance = (
                    f"2019-11-24 00:{i // 60:02}:{i % 60:02}.5+00:00",
                    0.25 if behaviour == "random" else 1.0,
                )
                lines.append(f"{i},{moment},{item},{i % 3 + 1},{click},{chance},{user},c,{seen}")
            (folder / f"{campaign}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
            (folder / "item_context.csv").write_text(
                ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n"
                + "".join(f"{k},{k},{k / 10},x{k % 2},y,z{k}\n" for k in range(4))
            )
    prior = {"alpha": [2.0, 5.0, 10.0, 30.0], "beta": [98.0, 95.0, 90.0, 70.0]}
    (root / "prior_bts.yaml").write_text(yaml.safe_dump(dict.fromkeys(CAMPAIGNS, prior)))
    return root


def test_impressions_are_read_by_time_with_positions_and_items_counted_from_nought(data: Path) -> None:
    log = read_impressions(data, "random", "men")
    assert len(log) == N
    assert log.position[:4].tolist() == [0, 1, 2, 0]
    assert log.user.ravel()[:4].tolist() == [0, 1, 0, 1]  # first levels are left out, and so is a single one
    assert log.items.tolist() == [[0, 0, 0, 0], [1, 0, 1, 0.1], [0, 0, 2, 0.2], [1, 0, 3, 0.3]]
    assert log.affinity[7].tolist() == [1, 0, 0, 0]
    assert set(log.propensity) == {0.25}


def test_thompson_shows_the_best_item_first_and_each_item_once(data: Path) -> None:
    dist = thompson(data, "all", 5_000)
    assert dist.sum(axis=0) == pytest.approx([1, 1, 1])
    assert (dist.sum(axis=1) <= 1).all()
    assert dist[3, 0] > 0.99
    assert dist.argmax(axis=0).tolist() == [3, 2, 1]


def test_the_usual_model_predicts_nothing_where_a_position_was_never_clicked(data: Path) -> None:
    log = read_impressions(data, "random", "men")
    log.click[log.position == 1] = 0
    found = usual_model(log, 100.0)
    assert (found[log.position == 1] == 0).all()
    assert found[log.position == 0].mean() == pytest.approx(RATES.mean(), abs=0.06)


def test_a_learnt_policy_shows_what_sells_and_sees_no_click_of_the_judged_half(data: Path) -> None:
    log = read_impressions(data, "random", "women")
    train, judged = log.take(np.arange(450)), log.take(np.arange(450, 900))
    policy = learnt_policy(train, judged)
    assert policy.sum(axis=1) == pytest.approx(np.ones(450))
    assert policy.mean(axis=0).argmin() == 0
    assert policy.mean(axis=0)[0] < 0.1
    judged.click[:] = 1 - judged.click
    np.testing.assert_array_equal(learnt_policy(train, judged), policy)


def test_the_judgement_has_every_estimator_and_a_verdict_on_the_learnt_policy(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "thompson", lambda folder, campaign: thompson(folder, campaign, 2_000))
    found = run(data, n_resamples=2)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found["metrics"]) == {f"{campaign}_relative_error" for campaign in CAMPAIGNS}
    assert set(found["baselines"]) == set(found["paired"]) == {BEST, IGNORE, "ours on obp's model"}
    for campaign in CAMPAIGNS:
        errors = found["estimators"][campaign]
        assert found["obp_best"][campaign] in errors
        assert found["metrics"][f"{campaign}_relative_error"]["value"] == pytest.approx(errors[OURS])
        assert errors[OURS] < errors[IGNORE]  # the policy shows what sells: here it pays to look at it
        told = found["policies"][campaign]
        assert told["verdict"] == ("recommended" if told["why"].endswith("above both") else "refused")


def test_a_missing_or_strange_file_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=r"random/men/men.csv.gz: .*expected a file of the Open Bandit data"):
        read_impressions(tmp_path, "random", "men")
    with pytest.raises(NoDataError, match=r"prior_bts.yaml: .*expected the Beta priors of campaign 'men'"):
        thompson(tmp_path, "men")
    folder = tmp_path / "random" / "men"
    folder.mkdir(parents=True)
    (folder / "men.csv.gz").write_bytes(gzip.compress(b",timestamp,item_id\n0,2019,1\n"))
    with pytest.raises(NoDataError, match="no column position, click, propensity_score in 1 rows"):
        read_impressions(tmp_path, "random", "men")


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (
            "propensity_score",
            "0.0",
            "is 0.0; expected the chance of what was shown, above 0 and at most 1 .1 rows are so",
        ),
        ("propensity_score", "", "propensity_score of impression 7 is nan; expected the chance"),
        ("click", "2", "click of impression 7 is 2; expected 0 or 1"),
        ("position", "4", "position of impression 7 is 4; expected 1 to 3"),
        ("item_id", "9", "item_id of impression 7 is 9; expected an item from 0 to 3"),
    ],
)
def test_an_impression_that_cannot_be_is_named(data: Path, tmp_path: Path, column: str, value: str, told: str) -> None:
    folder = tmp_path / "random" / "men"
    shutil.copytree(data / "random" / "men", folder)
    head, *rows = gzip.decompress((folder / "men.csv.gz").read_bytes()).decode().splitlines()
    at = next(i for i, row in enumerate(rows) if row.startswith("7,"))
    cells = rows[at].split(",")
    cells[head.split(",").index(column)] = value
    rows[at] = ",".join(cells)
    (folder / "men.csv.gz").write_bytes(gzip.compress("\n".join([head, *rows]).encode()))
    with pytest.raises(NoDataError, match=told):
        read_impressions(tmp_path, "random", "men")


@needs_data
def test_obp_s_published_estimates_come_out_of_the_real_files() -> None:
    """peers/open_bandit.csv, campaign men: value_full of ips and dm, and the relative error of ips over 30 resamples."""
    log, dist = read_impressions(REAL, "random", "men"), thompson(REAL, "men", 200_000)
    truth = float(read_impressions(REAL, "bts", "men").click.mean())
    whole = obp_values(feedback(log, dist.T[log.position], usual_model(log, 100.0)))
    assert truth == 0.0069
    assert whole["ips"] == pytest.approx(0.0045426788, rel=0.01)  # a fifth of the published simulations
    assert whole["dm"] == pytest.approx(0.0042628683, rel=0.01)
    errors = []
    for b in range(30):
        one = log.resampled(b)
        errors.append(abs(feedback(one, dist.T[one.position]).weight @ one.click / len(one) - truth) / truth)
    assert np.mean(errors) == pytest.approx(0.3325376, rel=0.01)
