"""The scorer: golden values end to end, one pass of each encoder, validity, errors."""

import math

import numpy as np
import pytest

from divmon.errors import InputError
from divmon.metrics import METRICS, ead, nli, sbert, vendi
from divmon.protocols import ModelIdentity
from divmon.scoring import Scorer, ScoringSettings
from divmon.stats import retained

SIZE = 1000


def unit(text):
    """A unit vector that depends on the text only."""
    row = np.random.default_rng([0, *text.encode()]).normal(size=6)
    return row / np.linalg.norm(row)


class FakeEncoder:
    identity = ModelIdentity("fake encoder", None, "path")

    def __init__(self):
        self.calls = []

    def encode(self, texts):
        self.calls.append(list(texts))
        return np.array([unit(text) for text in texts], dtype=np.float32)


class FakeNli:
    identity = ModelIdentity("fake nli", None, "path")

    def __init__(self):
        self.calls = []

    def probabilities(self, pairs):
        self.calls.append(list(pairs))
        rows = [np.random.default_rng([*a.encode(), 0, *b.encode()]).random(3) for a, b in pairs]
        return np.array([row / row.sum() for row in rows])


def make(**settings):
    encoder, classifier = FakeEncoder(), FakeNli()
    return Scorer(ScoringSettings(vocab_size=SIZE, **settings), encoder, classifier), encoder, classifier


GROUPS = [
    ["A cat. It sat.", "A dog! It ran.", "A cat. It sat."],
    ["One\ntwo", "three", "A dog! It ran.", "four. five."],
    ["six", "seven eight"],
]


def test_golden_values(golden_groups, expected, minilm):
    protocol = expected["protocol"]
    settings = ScoringSettings(metrics=("ead", "sbert", "vendi"), vocab_size=protocol["ead_vocab_size"])
    scores = Scorer(settings, minilm).score(golden_groups)
    for name, key in {"ead": "ead", "sbert": "sbert_minilm", "vendi": "vendi_minilm"}.items():
        tolerance = protocol["tolerance"][name]
        np.testing.assert_allclose(scores.per_prompt[name], expected[key]["per_prompt"], rtol=0, atol=tolerance)
        assert scores.across[name] == pytest.approx(expected[key]["across"], abs=tolerance)
    # One completion of prompt 4 is a repeat.
    assert (scores.validity.completions, scores.validity.repeated) == (256, 1 / 256)
    assert (scores.validity.empty, scores.validity.unclosed, scores.validity.unmeasured_prompts) == (0, 0, 0)


def test_golden_nli(golden_groups, expected, tiny_nli):
    # Four prompts for time, three of which (6, 7, 10) have completions that end in white space: stripping an
    # answer without think block changes their values by up to 1e-3.
    chosen = [0, 6, 7, 10]
    scorer = Scorer(ScoringSettings(metrics=("nli",), nli_pairs="all"), nli=tiny_nli)
    scores = scorer.score([golden_groups[k] for k in chosen])
    golden = [expected["nli_tiny"]["per_prompt"][k] for k in chosen]
    tolerance = expected["protocol"]["tolerance"]["nli"]
    np.testing.assert_allclose(scores.per_prompt["nli"], golden, rtol=0, atol=tolerance)


def test_values_are_those_of_the_metrics():
    scores = make()[0].score(GROUPS)
    with_across = [*GROUPS, [group[0] for group in GROUPS]]
    embeddings = [np.array([unit(text) for text in group]) for group in with_across]
    reference = {
        "ead": ead(with_across, SIZE),
        "sbert": sbert(embeddings),
        "nli": nli(with_across, FakeNli()),
        "vendi": vendi(embeddings),
    }
    assert list(scores.per_prompt) == list(scores.across) == list(METRICS)
    for name, values in reference.items():
        assert scores.per_prompt[name].shape == (3,)
        np.testing.assert_allclose(scores.per_prompt[name], values[:-1], atol=1e-6)  # the encoder is float32
        assert scores.across[name] == pytest.approx(values[-1], abs=1e-6)
    assert np.isfinite(reference["nli"]).all()


def test_each_encoder_is_called_once_and_for_distinct_texts():
    scorer, encoder, classifier = make()
    scorer.score(GROUPS)
    assert [sorted(texts) for texts in encoder.calls] == [sorted({text for group in GROUPS for text in group})]
    assert len(classifier.calls) == 1
    assert len(set(classifier.calls[0])) == len(classifier.calls[0])


def test_equal_input_gives_equal_scores_and_retains_everything():
    scorer = make(nli_pairs=1)[0]
    first, second = scorer.score(GROUPS), scorer.score(GROUPS)
    for name in METRICS:
        assert retained(second.per_prompt[name], first.per_prompt[name]).fraction == 1.0
        assert retained(second.per_prompt[name], first.per_prompt[name]).interval == (1.0, 1.0)
    assert (first.across, first.validity) == (second.across, second.validity)


def test_only_what_was_asked_for_is_computed():
    scorer, encoder, classifier = make(metrics=("vendi", "ead"))
    scores = scorer.score(GROUPS)
    assert list(scores.per_prompt) == list(scores.across) == ["vendi", "ead"]
    assert (len(encoder.calls), classifier.calls) == (1, [])
    assert Scorer(ScoringSettings(metrics=("ead",), vocab_size=5)).score(GROUPS).per_prompt.keys() == {"ead"}
    nothing = Scorer(ScoringSettings(metrics=())).score(GROUPS)
    assert (nothing.per_prompt, nothing.across, nothing.validity.completions) == ({}, {}, 9)


def test_reasoning_is_not_scored():
    plain = make()[0].score([["yes", "no way"], ["x", "y"]])
    thinking = make()[0].score(
        [["<think>a</think>yes", "<think>bb b</think>\nno way"], ["<think></think>x", "<think>\n</think>\ny"]]
    )
    opened = make()[0].score([["a</think>yes", "b</think>no way"], ["</think>x", "</think>y"]], opened_in_prompt=True)
    for scores in (thinking, opened):
        assert scores.across == plain.across
        for name in METRICS:
            assert scores.per_prompt[name].tolist() == plain.per_prompt[name].tolist()
        assert scores.validity.mean_length_words == 5 / 4


def test_keep_think_scores_the_reasoning():
    texts = ["<think>a b</think>yes", "<think>c"]
    kept = make(keep_think=True)[0].score([texts])
    assert kept.per_prompt["ead"].tolist() == ead([texts], SIZE).tolist()
    assert (kept.validity.unclosed, kept.validity.unmeasured_prompts) == (1, 0)


HOLES = [
    ["<think>never", "one", " ", "two", "one"],  # two kinds of no answer, one repeat: answers one, two, one
    ["<think>x</think>", "alone"],  # an empty answer: one answer
    ["", "<think>y"],  # none
    [],
    ["three", "four five six"],
]


def test_no_answer_is_dropped_and_counted():
    scores = make()[0].score(HOLES)
    for name in METRICS:
        assert np.isnan(scores.per_prompt[name]).tolist() == [False, True, True, True, False]
    clean = make()[0].score([["one", "two", "one"], ["three", "four five six"]])
    for name in METRICS:
        np.testing.assert_allclose(scores.per_prompt[name][[0, 4]], clean.per_prompt[name], atol=1e-12)
    # Across prompts: the first answers that exist.
    first = [["one", "alone", "three"]]
    assert scores.across["ead"] == ead(first, SIZE)[0]
    validity = scores.validity
    assert (validity.completions, validity.unclosed, validity.empty) == (11, 2, 3)
    assert validity.repeated == pytest.approx(1 / 11, abs=1e-12)  # the second "one"
    assert validity.unmeasured_prompts == 3
    # one, two, one, alone, three: a word each; four five six: 3. 8 words in 6 answers
    assert validity.mean_length_words == pytest.approx(8 / 6, abs=1e-12)


def test_unclosed_keep_scores_every_completion():
    scores = make(unclosed="keep")[0].score(HOLES)
    texts = [["<think>never", "one", "", "two", "one"], ["", "alone"], ["", "<think>y"], [], HOLES[4]]
    np.testing.assert_array_equal(scores.per_prompt["ead"], ead(texts, SIZE))
    assert np.isnan(scores.per_prompt["sbert"]).tolist() == [False, False, False, True, False]
    validity = scores.validity
    assert (validity.completions, validity.unclosed, validity.empty, validity.unmeasured_prompts) == (11, 2, 3, 1)


def test_repeats_are_counted_within_a_prompt_only():
    # Prompt 0: the 2nd and 3rd "a"; "a" of prompt 1 is new there: 2 of 5
    validity = make()[0].score([["a", "a", "a"], ["a", "b"]]).validity
    assert validity.repeated == pytest.approx(2 / 5, abs=1e-12)


def test_unclosed_because_the_prompt_opened_the_block():
    groups = [["thinking on", "done</think>answer"]]
    assert make()[0].score(groups).validity.unclosed == 0
    assert make()[0].score(groups, opened_in_prompt=True).validity.unclosed == 1


@pytest.mark.parametrize("groups", [[], [[]], [["", " "]], [["one"]]])
def test_nothing_to_measure(groups):
    scorer, encoder, classifier = make()
    scores = scorer.score(groups)
    for name in METRICS:
        assert scores.per_prompt[name].shape == (len(groups),)
        assert np.isnan(scores.per_prompt[name]).all()
        assert math.isnan(scores.across[name])
    assert len(encoder.calls) == (groups == [["one"]])
    assert classifier.calls == []
    assert scores.validity.unmeasured_prompts == len(groups)
    assert math.isnan(scores.validity.repeated) == (not any(groups))
    assert math.isnan(scores.validity.mean_length_words) == (groups != [["one"]])


# errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"metrics": ("ead", "bleu")}, r"Unknown metrics \['bleu'\]: choose from ead, sbert, nli, vendi"),
        ({"metrics": ("ead", "ead")}, "named twice"),
        ({"nli_pairs": 0}, "nli_pairs of at least 1 or 'all', got 0"),
        ({"nli_pairs": "some"}, "nli_pairs of at least 1 or 'all', got 'some'"),
        ({"unclosed": "lose"}, "unclosed to be 'drop' or 'keep', got 'lose'"),
        ({"seed": -1}, "seed that is not negative, got -1"),
    ],
)
def test_settings_out_of_range(settings, match):
    with pytest.raises(InputError, match=match):
        ScoringSettings(**settings)


@pytest.mark.parametrize(
    ("metric", "match"),
    [
        ("ead", "EAD needs vocab_size: pass tokenizer.vocab_size, or leave out 'ead'"),
        ("sbert", "'sbert' needs a sentence encoder"),
        ("vendi", "'vendi' needs a sentence encoder"),
        ("nli", "'nli' needs an NLI classifier"),
    ],
)
def test_a_metric_without_what_it_needs(metric, match):
    with pytest.raises(InputError, match=match):
        Scorer(ScoringSettings(metrics=(metric,)), None, None)


@pytest.mark.parametrize("groups", ["text", ["text"], [["a"], [{"role": "assistant", "content": "a"}]]])
def test_groups_must_be_lists_of_strings(groups):
    with pytest.raises(InputError, match="Expected a list of strings for each prompt, got"):
        make()[0].score(groups)


@pytest.mark.parametrize("rows", [np.eye(2), np.ones(9)])
def test_an_encoder_that_gives_another_number_of_rows(rows, monkeypatch):
    scorer, encoder, _ = make()
    monkeypatch.setattr(encoder, "encode", lambda texts: rows)
    with pytest.raises(InputError, match="embeddings, one a text, got shape"):
        scorer.score(GROUPS)


def test_an_encoder_that_does_not_normalise(monkeypatch):
    scorer, encoder, _ = make()
    monkeypatch.setattr(encoder, "encode", lambda texts: np.ones((len(texts), 4)))
    with pytest.raises(InputError, match="unit length, got a row of length 2: normalise"):
        scorer.score(GROUPS)
