"""Erasure: nothing of the person is left in any byte, nobody else's row changes, and the person stays out."""

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines import accounting
from pipelines.core.config import load_machine, load_shop
from pipelines.core.errors import LockedError, WrongUseError
from pipelines.core.privacy import PseudonymKey
from pipelines.core.storage import Store
from pipelines.core.tables import TABLES
from pipelines.erase import open_erasure, request, run_request
from pipelines.keep_out import load_ledger
from tests.byte_search import search

NIGHTS = ("2026-03-01", "2026-03-02", "2026-03-03")
FIRST, SECOND, THIRD = NIGHTS
KEY = PseudonymKey(bytes.fromhex("5e" * 32))


def names(user: str) -> tuple[str, str, str]:
    """The id, the pseudonym, and what session ids of ours begin with."""
    return user, KEY.pseudonym(user), KEY.pseudonym(user)[:16]


@pytest.fixture(scope="module")
def person(finished: Any) -> str:
    """Who stands in the most tables: sent to, answering, with a line that was quarantined or held back."""
    users = [f"c{number:07d}" for number in range(60)]
    kinds = {user: {kind_of(name) for name in search(finished.root, *names(user))} for user in users}
    return max(users, key=lambda user: (len(kinds[user]), user))


def kind_of(name: str) -> str:
    """Table or folder of a path: "raw/raw_events", "landing/2026-03-01" -> "landing"."""
    parts = name.split("/")
    return "/".join(parts[1:3]) if parts[1] in ("raw", "clean", "features", "decisions", "reports") else parts[1]


@pytest.fixture
def full(finished: Any, person: str, tmp_path: Path) -> Any:
    """A copy of the finished store with traces of the person beside the tables, as faults leave them."""
    return planted(finished, person, tmp_path / "root")


def planted(finished: Any, person: str, root: Path) -> Any:
    market = finished.copy(root)
    market.landing = None
    folder, key = market.folder, KEY.pseudonym(person)
    traces = {
        "raw/failing_rows/events-2026-03-02.csv": f'rule,user_key,query\r\nr,{key},"two\nlines"\r\nr,{"0" * 64},kept\r\n',
        "raw/failing_rows/raw_events-2026-03-02.csv": f'rule,raw_text\r\nr,"{{""user_id"":""{person}""}}"\r\n',
        "logs/clean.log": f"a line\nConversion Error: {person}\nanother line\n",
        "runs/20260302T000000-00000000.json": json.dumps(
            {"error": f"events broke a rule, e.g. {key}", "night": SECOND}
        ),
        f"reports/audits/{SECOND}/validations/events.html": f"<td>{key[:16]}-2026-03-02-1</td>",
        "checkpoints/behaviour/0123456789abcdef/train.bin": f"{key} of a training that was killed",
        "landing/.2026-03-04.partial/events.jsonl": f'{{"user_id":"{person}"}}\n',
    }
    for name, text in traces.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return market


def erased(market: Any, person: str, **how: Any) -> Any:
    """The certificate."""
    done = market.warm("erase", "--shop", "tiny", "--user", person, "--json", **how)
    assert done.code == 0, done.err
    return done.json


@pytest.fixture(scope="module")
def calm(finished: Any, person: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """An undisturbed erasure, the steps that it took beside it: the store after it, and its certificate."""
    folder = tmp_path_factory.mktemp("calm")
    market = planted(finished, person, folder / "root")
    certificate = erased(market, person, trace=folder / "steps")
    return market, certificate


def rows(market: Any) -> Iterator[tuple[str, Any]]:
    for path in sorted(market.folder.rglob("part-*.parquet")):
        yield path.relative_to(market.folder).as_posix(), pq.ParquetFile(path).read()


def test_no_byte_of_the_store_tells_of_the_person_afterwards(full: Any, person: str) -> None:
    before = {kind_of(name) for name in search(full.root, *names(person))}
    assert before >= {
        "raw/raw_events", "raw/raw_deliveries", "raw/failing_rows", "clean/events", "clean/deliveries",
        "features/sessions", "features/user_profiles", "features/segments", "features/channel_response",
        "decisions/campaign_plan", "decisions/plan_export", "reports/audits", "landing", "logs", "runs", "checkpoints",
    }  # fmt: skip
    done = full.warm("erase", "--shop", "tiny", "--user", person)
    assert done.code == 0, done.err
    assert search(full.root, *names(person)) == {}
    assert not any(name in done.out + done.err for name in names(person))
    assert full.litter() == []
    assert (full.folder / "logs" / "clean.log").read_text() == "a line\nanother line\n"
    kept = (full.folder / "raw" / "failing_rows" / "events-2026-03-02.csv").read_bytes()
    assert kept == f"rule,user_key,query\r\nr,{'0' * 64},kept\r\n".encode()


def test_the_certificate_counts_what_was_erased_and_names_nobody(calm: tuple[Any, Any], full: Any, person: str) -> None:
    market, certificate = calm
    counted = dict.fromkeys(TABLES, 0)
    for name, table in rows(full):
        if "user_key" in table.column_names:
            found = pc.sum(pc.equal(table["user_key"], KEY.pseudonym(person))).as_py() or 0
            counted[name.split("/")[1]] += found
    of_tables = {name: n for name, n in certificate["rows"].items() if counted.get(name)}
    assert of_tables == {name: n for name, n in counted.items() if n}
    assert certificate["rows"]["plan_export"] > 0
    assert certificate["files"] == {
        "audit_pages": 1, "failing_rows": 2, "landing_lines": certificate["files"]["landing_lines"], "leftovers": 2,
        "log_lines": 1, "run_records": 1,
    } | {name: n for name, n in certificate["files"].items() if name == "simulator_lines"}  # fmt: skip
    raw = sum(n for name, n in certificate["rows"].items() if name.startswith("raw_"))
    assert certificate["files"]["landing_lines"] == raw > 20
    file = market.folder / "erasure" / "certificates" / f"{certificate['certificate']}.json"
    assert json.loads(file.read_text()) == certificate
    assert file.stat().st_mode & 0o777 == 0o600
    assert list((market.folder / "erasure" / "requests").iterdir()) == []


def test_everybody_elses_rows_stay_as_they_were_in_their_order(full: Any, calm: tuple[Any, Any], person: str) -> None:
    after, key = dict(rows(calm[0])), KEY.pseudonym(person)
    before = dict(rows(full))
    assert after.keys() == before.keys()
    for name, table in before.items():
        if "user_key" in table.column_names:
            assert after[name].equals(table.filter(pc.not_equal(table["user_key"], key))), name
        elif "raw_text" in table.column_names:
            is_mine = pc.or_(pc.match_substring(table["raw_text"], person), pc.match_substring(table["raw_text"], key))
            assert after[name].equals(table.filter(pc.invert(is_mine))), name
        else:
            assert after[name].equals(table), name


def test_nothing_is_stale_and_no_night_is_made_or_decided_anew(calm: tuple[Any, Any], tmp_path: Path) -> None:
    market = calm[0].copy(tmp_path / "root")
    market.landing = None
    assert market.stale() == {}
    done = market.night(THIRD)
    assert done.code == 0, done.err
    assert done.err.count("up to date") == 7  # models: nothing to do
    assert market.published() == calm[0].published()


def test_lines_read_go_on_adding_up_and_are_what_judging_the_rest_anew_counts(
    calm: tuple[Any, Any], tmp_path: Path
) -> None:
    market = calm[0].copy(tmp_path / "root")
    market.landing = None
    store = Store(market.root, "tiny")
    tables = ("events", "quarantine", "reviews", "messages", "deliveries", "outcomes", "feed_quarantine", "segments")

    def told() -> dict[str, Any]:
        found = {
            f"{table}/{night}": store.manifest(table, date.fromisoformat(night)) for table in tables for night in NIGHTS
        }
        return {name: (m.rows, m.counts) for name, m in found.items() if m}

    cut = told()
    for night in NIGHTS:
        accounting.of_arrival(store, date.fromisoformat(night))
        accounting.of_night(store, date.fromisoformat(night))
    for night in NIGHTS:
        assert market.night(night, "--force").code == 0
    again = told()
    for name in cut:
        if not name.startswith("segments"):
            assert again[name] == cut[name], name
    plan = store.manifest("campaign_plan", date.fromisoformat(THIRD))
    assert plan
    assert plan.rows == plan.counts["rows"]


def test_old_files_that_land_again_bring_nobody_back(
    calm: tuple[Any, Any], finished: Any, person: str, tmp_path: Path
) -> None:
    market = calm[0].copy(tmp_path / "root")
    market.landing = None
    for night in NIGHTS:
        for path in (finished.landing / night).iterdir():
            shutil.copy(path, market.folder / "landing" / night / path.name)
    assert any("landing" in name for name in search(market.root, *names(person)))
    done = market.night(THIRD)
    assert done.code == 0, done.err
    assert search(market.root, *names(person)) == {}
    assert market.published() == calm[0].published()


def test_the_next_night_of_a_shop_that_knows_nothing_of_it_holds_nothing_of_the_person(
    calm: tuple[Any, Any], person: str, tmp_path: Path
) -> None:
    market = calm[0].copy(tmp_path / "root")
    market.landing = None
    for night in ("2026-03-04", "2026-03-05"):
        assert market.night(night).code == 0
    assert search(market.root, *names(person)) == {}
    store = Store(market.root, "tiny")
    nights = [date(2026, 3, day) for day in (4, 5)]
    manifests = [store.manifest(f"raw_{feed}", night) for feed in ("events", "deliveries") for night in nights]
    assert sum(m.counts.get("erased", 0) for m in manifests if m) > 0


def test_lines_in_a_file_of_another_name_and_folder_are_dropped_and_counted(
    calm: tuple[Any, Any], finished: Any, person: str, tmp_path: Path
) -> None:
    market = calm[0].copy(tmp_path / "root")
    landing = tmp_path / "elsewhere"
    shutil.copytree(market.folder / "landing", landing, ignore=shutil.ignore_patterns(".state"))
    key = KEY.pseudonym(person)
    event = {"event_type": "view", "item_id": "i1", "occurred_at": "2026-03-03T10:00:00Z"}
    lines = [
        json.dumps({"user_id": person} | event),
        json.dumps({"user_id": "c0000059"} | event),
        json.dumps({"user_id": "c0000059"} | event | {"item_id": person}),  # of somebody else, whatever it is about
        f'{{"user_id" : "{person}", broken',
        f"{person};view;cut off",
        json.dumps({"user_id": "c0000059", "query": f"/mail?to={key}"} | event),
    ]
    (landing / THIRD / "events-again.jsonl").write_text("\n".join(lines) + "\n")
    done = market.warm("night", "--shop", "tiny", "--date", THIRD, "--landing", str(landing))
    assert done.code == 0, done.err
    store = Store(market.root, "tiny")
    manifest = store.manifest("raw_events", date.fromisoformat(THIRD))
    assert manifest
    assert manifest.counts == {"erased": 4}
    kept = {path.name for path in landing.rglob("events-again*")}
    assert kept == {"events-again.jsonl"}  # what lies outside the store is not ours to change
    assert (landing / THIRD / "events-again.jsonl").read_text().count(person) == 4


def test_an_unknown_person_is_told_as_such_certified_and_kept_out_all_the_same(
    finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = finished.copy(tmp_path / "root")
    monkeypatch.setenv("NIGHTMARKET_KEY", KEY.secret.hex())
    before = market.published()
    done = market.warm("erase", "--shop", "tiny", "--user", "nobody-7")
    assert done.code == 0, done.err
    assert "nothing: the store held nothing of them" in done.out
    assert market.published() == before
    ledger = load_ledger(Store(market.root, "tiny"))
    assert ledger
    assert ledger.knows("nobody-7")
    assert ledger.knows(KEY.pseudonym("nobody-7"))
    assert not ledger.knows("nobody-8")
    text = (market.folder / "erasure" / "ledger.json").read_text()
    assert KEY.pseudonym("nobody-7")[:8] not in text
    certificate = json.loads(next((market.folder / "erasure" / "certificates").iterdir()).read_text())
    assert (certificate["rows"], certificate["files"], certificate["models"]) == ({}, {}, [])


def one_of_each(steps: list[str]) -> list[str]:
    """Of every kind of step, whatever the table or night, the first and the last."""
    kinds: dict[str, list[str]] = {}
    for step in dict.fromkeys(steps):
        if "fcntl.flock" not in step and ".locks" not in step:
            kinds.setdefault(re.sub(r"\d{4}-\d\d-\d\d|[a-z_]+(?=/|$)|[0-9a-f]{16}", "", step), []).append(step)
    chosen = {step for found in kinds.values() for step in (found[0], found[len(found) // 2], found[-1])}
    return [step for step in dict.fromkeys(steps) if step in chosen]


def test_killed_at_any_kind_of_step_it_is_finished_by_the_same_call(
    calm: tuple[Any, Any], finished: Any, person: str, tmp_path: Path
) -> None:
    expected, certificate = calm
    steps = one_of_each((expected.root.with_name("steps")).read_text().splitlines())
    assert any("exchange" in step for step in steps)
    market, n_killed = planted(finished, person, tmp_path / "0"), 0
    for n, step in enumerate(steps):
        done = market.warm("erase", "--shop", "tiny", "--user", person, kill=step)
        n_killed += done.code == -signal.SIGKILL
        assert done.code in (0, -signal.SIGKILL), done.err
        if done.code == 0:
            market = planted(finished, person, tmp_path / str(n + 1))
    assert n_killed > len(steps) // 2
    told = erased(market, person)
    assert market.published() == expected.published()
    assert market.stale() == {}
    assert search(market.root, *names(person)) == {}
    assert {name: told[name] for name in ("rows", "files")} == {name: certificate[name] for name in ("rows", "files")}
    for path in (expected.folder / "landing").rglob("*.gz"):
        assert (
            market.folder / "landing" / path.relative_to(expected.folder / "landing")
        ).read_bytes() == path.read_bytes()


def test_an_interrupted_erasure_is_finished_before_anything_else_is_written(
    finished: Any, person: str, tmp_path: Path
) -> None:
    market = finished.copy(tmp_path / "root")
    stop = "import os, signal, pipelines.erase as e\ne.erase_exports = lambda *a: os.kill(os.getpid(), signal.SIGKILL)"
    assert market.warm("erase", "--shop", "tiny", "--user", person, setup=stop).code == -signal.SIGKILL
    done = market.night(THIRD)
    assert done.code == 1
    name = json.loads((market.folder / "erasure" / "journal.json").read_text())["request"]
    assert f"nightmarket erase --shop tiny --request {name}" in done.complaint
    assert market.warm("erase", "--shop", "tiny", "--user", "nobody-7", "--json").code == 0
    assert {path.stem for path in (market.folder / "erasure" / "certificates").iterdir()} >= {name}
    assert search(market.root, *names(person)) == {}


@pytest.fixture
def inside(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Contexts of a copy of the store, in this process."""
    market = finished.copy(tmp_path / "root")
    for name, value in market.environment.items():
        monkeypatch.setenv(name, value)
    return lambda: open_erasure(load_shop("tiny"), load_machine())


@pytest.mark.parametrize("busy", ["night-2026-03-03", "train-effect", "landing", "erasure"])
def test_while_a_night_a_training_or_an_erasure_runs_it_is_refused(inside: Callable[[], Any], busy: str) -> None:
    context = inside()
    name = request(["c0000001"], context.store)
    other = inside().store
    with other.lock(busy, wait=False), pytest.raises(LockedError, match=f"{busy}: process .* wait for it to end"):
        run_request(name, context)
    with other.staging(), pytest.raises(LockedError):
        run_request(name, context)
    assert run_request(name, context)["rows"]


def test_a_request_holds_the_ids_unseen_until_it_is_carried_out_once(inside: Callable[[], Any]) -> None:
    context = inside()
    name = request(["c0000001", " c0000002 ", ""], context.store)
    assert request(["c0000002", "c0000001"], context.store) == name
    path = context.store.folder / "erasure" / "requests" / name
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    first = run_request(name, context)
    assert not path.exists()
    assert first["customers_asked"] == 2
    assert run_request(name, context) == first


@pytest.mark.parametrize("ids", [[], [" "], ["two words"], ["a\x00b"], ["x" * 300]])
def test_what_can_be_no_id_is_refused_and_not_shown(inside: Callable[[], Any], ids: list[str]) -> None:
    with pytest.raises(WrongUseError) as refused:
        request(ids, inside().store)
    assert not any(one.strip() and one in str(refused.value) for one in ids)


@pytest.mark.parametrize("name", ["../../key", "0123", "0123456789ABCDEF", "0123456789abcdef"])
def test_only_the_name_of_a_request_that_waits_is_taken(inside: Callable[[], Any], name: str) -> None:
    with pytest.raises(WrongUseError):
        run_request(name, inside())


def test_ids_come_on_standard_input_and_the_request_is_carried_out_by_its_name(
    finished: Any, person: str, tmp_path: Path
) -> None:
    market = finished.copy(tmp_path / "root")
    feed = tmp_path / "ids"
    feed.write_text(f"{person}\n\n")
    done = market.cold(
        "erase", "--shop", "tiny", "--user", "-", "--later", prefix=("sh", "-c", f'exec "$@" < {feed}', "sh")
    )
    assert done.code == 0, done.err
    name = done.out.strip()
    assert person not in done.out + done.err
    assert market.warm("erase", "--shop", "tiny").code == 2
    done = market.warm("erase", "--shop", "tiny", "--request", name, "--json")
    assert done.code == 0, done.err
    assert done.json["certificate"] == name
    assert search(market.root, *names(person)) == {}


def test_models_that_learnt_from_the_person_show_no_byte_of_them_and_are_marked(finished: Any, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(finished.conf, conf)
    with (conf / "shops" / "tiny.yaml").open("a") as file:
        file.write("models: {tasks: [value], judged_nights: 1, valid_nights: 1}\n")
    market = replace(finished.copy(tmp_path / "root"), conf=conf, landing=None)
    done = market.night("2026-03-04", setup="import pipelines.learn as learn\nlearn.is_due = lambda *a: False")
    assert done.code == 0, done.err
    done = market.cold("train", "value", "--shop", "tiny", "--json")
    assert done.code == 0, done.err
    shown = [pa.ipc.open_file(path).read_all() for path in market.root.rglob("rows.arrow")]
    keys = {key for table in shown for key in table["user_key"].to_pylist()}
    person = next(user for user in (f"c{n:07d}" for n in range(60)) if KEY.pseudonym(user) in keys)
    before = search(market.root, *names(person))
    assert {name.rpartition("/")[2] for name in before if name.startswith("mlflow/")} >= {
        "rows.arrow", "input_example.json", "serving_input_example.json",
    }  # fmt: skip
    done = market.warm("erase", "--shop", "tiny", "--user", person, "--json")
    assert done.code == 0, done.err
    assert search(market.root, *names(person)) == {}
    assert {(one["name"], one["alias"]) for one in done.json["models"]} == {
        ("tiny-value", ""), ("tiny-value", "challenger"),
    }  # fmt: skip
    again = market.cold("promote", "value", "--shop", "tiny", "--json")
    assert again.code == 0, again.err
    assert again.json["verdict"] == "kept"
    assert any("learnt from a customer who was erased" in reason for reason in again.json["reasons"])
