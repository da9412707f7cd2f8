import hashlib
import hmac
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from pipelines.core.errors import ConfigError, StorageError
from pipelines.core.privacy import PseudonymKey, load_key

SECRET = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTMARKET_KEY", raising=False)


def test_a_pseudonym_is_hmac_sha256_of_the_user_id() -> None:
    key = PseudonymKey(bytes.fromhex(SECRET))
    expected = hmac.new(bytes.fromhex(SECRET), "Ünal".encode(), "sha256").hexdigest()
    assert key.pseudonym("Ünal") == expected
    inner, outer = key.pads
    assert hashlib.sha256(outer + hashlib.sha256(inner + "Ünal".encode()).digest()).hexdigest() == expected


def test_the_key_file_is_made_once_with_mode_0600(tmp_path: Path) -> None:
    first = load_key(tmp_path / "root")
    path = tmp_path / "root" / "key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(tmp_path / "root") == first
    assert len(first.secret) == 32


def test_two_roots_have_two_keys(tmp_path: Path) -> None:
    assert load_key(tmp_path / "a") != load_key(tmp_path / "b")


def test_first_runs_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        keys = pool.map(load_key, [tmp_path / "root"] * 8)
    assert len({key.secret for key in keys}) == 1


def test_what_a_killed_first_run_left_aside_is_deleted(tmp_path: Path) -> None:
    (tmp_path / ".key.new").write_text("half")
    load_key(tmp_path)
    assert not (tmp_path / ".key.new").exists()


def test_the_environment_comes_first_and_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTMARKET_KEY", SECRET)
    assert load_key(tmp_path / "root").secret == bytes.fromhex(SECRET)
    assert not (tmp_path / "root").exists()


def test_a_key_file_that_others_may_read_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    load_key(tmp_path)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(StorageError, match=f"others may read the pseudonym key; run: chmod 600 {tmp_path / 'key'}"):
        load_key(tmp_path)


@pytest.mark.parametrize("text", ["", "short", SECRET.upper(), SECRET + "00", "my secret word"])
def test_a_malformed_key_is_refused_without_being_shown(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTMARKET_KEY", text)
    with pytest.raises(ConfigError, match="expected 64 lower-case hex digits") as caught:
        load_key(tmp_path)
    assert not text or text not in str(caught.value)


def test_no_repr_shows_the_secret() -> None:
    key = PseudonymKey(bytes.fromhex(SECRET))
    shown = f"{key!r} {key} {os.fspath(Path('x'))}"
    assert SECRET not in shown
    assert repr(key.secret) not in shown
