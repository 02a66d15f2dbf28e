"""The four metrics: golden values, naive versions, arithmetic by hand, degenerate input, errors."""

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from divmon.errors import InputError
from divmon.metrics import METRICS, ead, nli, sbert, vendi
from divmon.protocols import ModelIdentity

WORDS = ["red", "blue.", "a", "the", "cat\n", "dog", "3.5", "No!", "is it?", "."]


class FakeNli:
    """Probabilities out of a table of rules; remembers what it was asked."""

    identity = ModelIdentity("fake", None, "path")

    def __init__(self, rule=None):
        self.rule = rule or self.hashed
        self.calls = []

    @staticmethod
    def hashed(premise, hypothesis):
        """Some fixed probabilities that differ by direction."""
        raw = np.random.default_rng([*premise.encode(), 0, *hypothesis.encode()]).random(3)
        return raw / raw.sum()

    def probabilities(self, pairs):
        self.calls.append(list(pairs))
        return np.array([self.rule(premise, hypothesis) for premise, hypothesis in pairs])


def random_groups(seed, prompts=20):
    """Prompts of 2 to 6 completions, with repeats and empty ones."""
    rng = np.random.default_rng(seed)
    groups = []
    for _ in range(prompts):
        group = [" ".join(rng.choice(WORDS, rng.integers(0, 25))) for _ in range(rng.integers(2, 7))]
        if rng.random() < 0.5:
            group[-1] = group[0]
        groups.append(group)
    return groups


def random_units(seed, count, dimension=8):
    rows = np.random.default_rng(seed).normal(size=(count, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# Golden values -------------------------------------------------------------------------------------------


def first_answers(groups):
    return [group[0] for group in groups]


def test_golden_ead(golden_groups, expected):
    size, tolerance = expected["protocol"]["ead_vocab_size"], expected["protocol"]["tolerance"]["ead"]
    values = ead([*golden_groups, first_answers(golden_groups)], size)
    np.testing.assert_allclose(values[:-1], expected["ead"]["per_prompt"], rtol=0, atol=tolerance)
    assert values[-1] == pytest.approx(expected["ead"]["across"], abs=tolerance)


def test_golden_sbert_and_vendi(golden_groups, expected, minilm):
    groups = [*golden_groups, first_answers(golden_groups)]
    ends = np.cumsum([len(group) for group in groups])[:-1]
    embeddings = np.split(minilm.encode([text for group in groups for text in group]), ends)
    for name, metric in (("sbert", sbert), ("vendi", vendi)):
        values, golden = metric(embeddings), expected[f"{name}_minilm"]
        tolerance = expected["protocol"]["tolerance"][name]
        np.testing.assert_allclose(values[:-1], golden["per_prompt"], rtol=0, atol=tolerance)
        assert values[-1] == pytest.approx(golden["across"], abs=tolerance)


def test_golden_nli(golden_groups, expected, tiny_nli):
    values = nli(golden_groups, tiny_nli, pairs="all")
    tolerance = expected["protocol"]["tolerance"]["nli"]
    np.testing.assert_allclose(values, expected["nli_tiny"]["per_prompt"], rtol=0, atol=tolerance)


# EAD -----------------------------------------------------------------------------------------------------


def naive_ead(group, vocab_size, max_n=5):
    """EAD in exact fractions, written from the formula."""
    total = Fraction(0)
    for n in range(1, max_n + 1):
        grams = []
        for text in group:
            words = "".join(c for c in text if c not in ".\n").split()
            for start in range(len(words)):
                if start + n <= len(words):
                    grams.append(" ".join(words[start : start + n]))
        if grams:
            chance = 1 - Fraction(vocab_size - 1, vocab_size) ** len(grams)
            total += min(Fraction(1), len(set(grams)) / (vocab_size * chance))
    return float(total / max_n)


@pytest.mark.parametrize(("vocab_size", "max_n"), [(2, 1), (7, 3), (50_304, 5), (10**6, 2)])
def test_ead_equals_the_naive_version(vocab_size, max_n):
    groups = random_groups(vocab_size)
    reference = [naive_ead(group, vocab_size, max_n) for group in groups]
    np.testing.assert_allclose(ead(groups, vocab_size, max_n), reference, rtol=0, atol=1e-12)


def test_ead_by_hand():
    # "a b a" and "a b", V = 10.
    # n = 1: a b a a b: U = 2, T = 5: 2 / (10 (1 - .9^5)) = 2 / 4.0951
    # n = 2: ab ba ab:  U = 2, T = 3: 2 / (10 (1 - .9^3)) = 2 / 2.71
    # n = 3: aba:       U = 1, T = 1: 1 / (10 (1 - .9))   = 1
    # n = 4, 5: T = 0, so 0
    value = ead([["a b a", "a b"]], 10)[0]
    assert value == pytest.approx((2 / 4.0951 + 2 / 2.71 + 1) / 5, abs=1e-12)


def test_ead_is_clipped_at_one():
    # U = T = 3, V = 3: 3 / (3 (1 - (2/3)^3)) = 27 / 19 > 1
    assert ead([["a b", "c"]], 3, max_n=1)[0] == 1.0


def test_ead_ngrams_do_not_cross_completions():
    # Bigrams: "a b", "c d", all distinct, T = 2; crossing would add "b c": 2 / (10 (1 - .81)) = 1.05, so 1
    # Trigrams: none within a completion of two words.
    assert ead([["a b", "c d"]], 10, max_n=3)[0] == pytest.approx((1 + 1 + 0) / 3, abs=1e-12)


def test_ead_of_identical_completions_is_about_one_over_k():
    text = " ".join(f"w{k}" for k in range(50))
    assert ead([[text] * 8], 50_304)[0] == pytest.approx(1 / 8, rel=0.01)


def test_ead_of_empty_completions_is_zero():
    assert ead([["", " . \n"]], 100).tolist() == [0.0]


def test_ead_vocab_size_too_small():
    with pytest.raises(InputError, match="vocab_size of at least 2, got 1"):
        ead([["a", "b"]], 1)


def test_ead_max_n_too_small():
    with pytest.raises(InputError, match="max_n of at least 1, got 0"):
        ead([["a", "b"]], 10, max_n=0)


# SBERT and Vendi -----------------------------------------------------------------------------------------


def naive_sbert(rows):
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    cosines = [sum(a * b for a, b in zip(rows[i], rows[j], strict=True)) for i, j in pairs]
    return 1 - sum(cosines) / len(cosines)


def naive_vendi(rows):
    """From the singular values of the rows, whose squares are the eigenvalues of the Gram matrix."""
    weights = np.linalg.svd(rows / math.sqrt(len(rows)), compute_uv=False) ** 2
    return math.exp(-sum(w * math.log(w) for w in weights if w > 1e-15))


def test_sbert_and_vendi_equal_the_naive_versions():
    rng = np.random.default_rng(3)
    embeddings = []
    for seed in range(30):
        rows = random_units(seed, rng.integers(2, 7), dimension=int(rng.integers(2, 12)))
        embeddings.append(rows[rng.integers(0, len(rows), len(rows))])  # with repeats
    np.testing.assert_allclose(sbert(embeddings), [naive_sbert(r) for r in embeddings], rtol=0, atol=1e-12)
    np.testing.assert_allclose(vendi(embeddings), [naive_vendi(r) for r in embeddings], rtol=0, atol=1e-10)


def test_sbert_by_hand():
    # Pairs of (1,0), (0,1), (.6,.8): cosines 0, .6, .8: 1 - 1.4 / 3
    rows = np.array([[1, 0], [0, 1], [0.6, 0.8]])
    assert sbert([rows])[0] == pytest.approx(1 - 1.4 / 3, abs=1e-12)


def test_vendi_by_hand():
    # Cosine c: G / 2 has eigenvalues (1 + c) / 2 and (1 - c) / 2; c = .6: .8 and .2
    rows = np.array([[1, 0], [0.6, 0.8]])
    assert vendi([rows])[0] == pytest.approx(0.8**-0.8 * 0.2**-0.2, abs=1e-12)


def test_vendi_examples_of_the_package():
    # Published in vendi-score's README: cosines .9, 0, 0 give 2.1573; points 0, 0, 10, 10, 20, 20 under the
    # kernel exp(-|a - b|) give 2.9999. A Cholesky factor has unit rows with the given cosines.
    first = np.array([[1, 0, 0], [0.9, math.sqrt(0.19), 0], [0, 0, 1]])
    points = np.array([0, 10, 20])
    second = np.repeat(np.linalg.cholesky(np.exp(-np.abs(points[:, None] - points))), 2, axis=0)
    np.testing.assert_allclose(vendi([first, second]), [2.1573, 2.9999], atol=1e-4)


@pytest.mark.parametrize("count", [2, 3, 16])
def test_sbert_and_vendi_extremes(count):
    same, orthogonal = [np.tile(random_units(0, 1, 32), (count, 1))], [np.eye(count)]
    assert vendi(same)[0] == pytest.approx(1, abs=1e-12)
    assert vendi(orthogonal)[0] == pytest.approx(count, abs=1e-12)
    assert sbert(same)[0] == pytest.approx(0, abs=1e-12)
    assert sbert(orthogonal)[0] == pytest.approx(1, abs=1e-12)
    for rows in (same[0], orthogonal[0]):
        assert 1 <= vendi([rows])[0] <= count


def test_two_groups_of_repeats_are_two_modes():
    # Vendi counts modes: 3 + 3 equal completions of two orthogonal kinds are 2; SBERT: 9 of 15 pairs differ.
    rows = np.repeat(np.eye(2), 3, axis=0)
    assert vendi([rows])[0] == pytest.approx(2, abs=1e-12)
    assert sbert([rows])[0] == pytest.approx(9 / 15, abs=1e-12)


def test_sbert_of_opposite_vectors_is_two():
    assert sbert([np.array([[1.0, 0.0], [-1.0, 0.0]])]).tolist() == [2.0]


def test_rounding_of_single_precision_does_not_show():
    rows = np.tile(random_units(1, 1, 384), (16, 1)).astype(np.float32) * np.float32(1.0005)
    assert sbert([rows])[0] == pytest.approx(0, abs=1e-14)
    assert vendi([rows])[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("metric", [sbert, vendi])
@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (np.array([[1.0, 0.0], [0.0, 1.1]]), "unit length, got a row of length 1.1: normalise"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), "unit length, got a row of length 0"),
        (np.array([[2.0, 0.0]]), "unit length, got a row of length 2"),
        (np.array([[1.0, np.nan]]), "NaN or infinity"),
        (np.array([[1.0, np.inf], [1.0, 0.0]]), "NaN or infinity"),
        (np.array([1.0, 0.0]), r"array \(K, D\), got shape \(2,\)"),
        (np.ones((1, 1, 1)), r"array \(K, D\), got shape \(1, 1, 1\)"),
    ],
)
def test_embeddings_that_are_not_unit_rows(metric, rows, match):
    with pytest.raises(InputError, match=match):
        metric([np.eye(2), rows])


# NLI -----------------------------------------------------------------------------------------------------


def naive_nli(group, rule, pairs="all", seed=0):
    """Pair by pair, without merging or sorting anything."""
    scores = []
    for i in range(len(group)):
        for j in range(i + 1, len(group)):
            aligned = list(zip(split_reference(group[i]), split_reference(group[j]), strict=False))
            if pairs != "all" and len(aligned) > pairs:
                rng = np.random.default_rng([seed, i, j, len(aligned)])
                aligned = [aligned[k] for k in rng.choice(len(aligned), pairs, replace=False)]
            for a, b in aligned:
                there, back = rule(a, b), rule(b, a)
                scores.append((there[0] - there[2] + back[0] - back[2]) / 2)
    return 1 - sum(scores) / len(scores) if scores else math.nan


def split_reference(text):
    """Sentence splitting by a loop over characters."""
    sentences, current, k = [], "", 0
    while k < len(text):
        end = k
        while end < len(text) and text[end] in ".!?":
            end += 1
        if text[k] == "\n" or (end > k and end < len(text) and text[end].isspace()):
            sentences, current, k = [*sentences, current], "", max(end, k + 1)
        elif end > k:
            current, k = current + text[k:end], end
        else:
            current, k = current + text[k], k + 1
    return [s.strip() for s in [*sentences, current] if s.strip()]


@pytest.mark.parametrize(("pairs", "seed"), [("all", 0), (1, 0), (3, 0), (3, 7), (50, 0)])
def test_nli_equals_the_naive_version(pairs, seed):
    groups = [*random_groups(5), ["", "a b"], ["\n"] * 3]
    reference = [naive_nli(group, FakeNli.hashed, pairs, seed) for group in groups]
    assert sum(map(math.isnan, reference)) >= 2
    np.testing.assert_allclose(nli(groups, FakeNli(), pairs, seed), reference, rtol=0, atol=1e-12)


def test_nli_by_hand():
    # "A. B." and "C. D. E.": A meets C, "B." meets D, "E." meets nothing; "X" meets A and C.
    # A/C: .7 - .1 there, .1 - .3 back: mean .2;   "B."/D: 0 - .9 there, 0 - .7 back: mean -.8
    # A/X: 0 both ways;   C/X: .4 both ways;       1 - (.2 - .8 + 0 + .4) / 4 = 1.05
    table = {
        ("A", "C"): (0.7, 0.2, 0.1),
        ("C", "A"): (0.1, 0.6, 0.3),
        ("B.", "D"): (0.0, 0.1, 0.9),
        ("D", "B."): (0.0, 0.3, 0.7),
        ("A", "X"): (0.0, 1.0, 0.0),
        ("X", "A"): (0.0, 1.0, 0.0),
        ("C", "X"): (0.4, 0.6, 0.0),
        ("X", "C"): (0.4, 0.6, 0.0),
    }
    classifier = FakeNli(lambda a, b: table[a, b])
    assert nli([["A. B.", "C. D. E.", "X"]], classifier)[0] == pytest.approx(1.05, abs=1e-12)


@pytest.mark.parametrize(
    ("probabilities", "value"), [((1, 0, 0), 0.0), ((0, 1, 0), 1.0), ((0, 0, 1), 2.0), ((0.5, 0, 0.5), 1.0)]
)
def test_nli_extremes(probabilities, value):
    classifier = FakeNli(lambda a, b: probabilities)
    assert nli([["A. B.", "C. D."], ["x", "x"]], classifier).tolist() == [value, value]


def test_nli_asks_once_for_each_distinct_ordered_pair():
    classifier = FakeNli()
    nli([["a", "b", "a"], ["b", "a"], ["a", "a"], ["c", "d"]], classifier)
    assert len(classifier.calls) == 1
    asked = classifier.calls[0]
    assert len(asked) == len(set(asked))
    assert set(asked) == {("a", "b"), ("b", "a"), ("a", "a"), ("c", "d"), ("d", "c")}


def test_nli_scores_identical_sentences_too():
    # A classifier that finds a sentence neutral to itself is believed.
    assert nli([["a", "a"]], FakeNli(lambda a, b: (0, 1, 0))).tolist() == [1.0]


def test_nli_takes_the_same_positions_every_time_and_others_under_another_seed():
    texts = [" ".join(f"{name}{k}." for k in range(20)) for name in "pq"]

    def asked(seed):
        classifier = FakeNli()
        nli([texts], classifier, pairs=3, seed=seed)
        return classifier.calls[0]

    assert len(asked(0)) == 6
    assert asked(0) == asked(0)
    assert asked(0) != asked(1)


def test_nli_does_not_touch_the_global_generator():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    nli([["a. b. c. d. e. f.", "g. h. i. j. k. l."]], FakeNli(), pairs=2)
    assert (np.random.get_state()[1] == before).all()


def test_nli_does_not_depend_on_other_prompts():
    groups = random_groups(9)
    together = nli(groups, FakeNli())
    alone = [nli([group], FakeNli())[0] for group in groups]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)


def test_nli_without_anything_to_score_does_not_call_the_classifier():
    classifier = FakeNli()
    assert np.isnan(nli([["", " "], ["a"], []], classifier)).all()
    assert classifier.calls == []


@pytest.mark.parametrize("pairs", [0, -1, "most"])
def test_nli_pairs_out_of_range(pairs):
    with pytest.raises(InputError, match="pairs of at least 1 or 'all'"):
        nli([["a", "b"]], FakeNli(), pairs=pairs)


def test_nli_seed_out_of_range():
    with pytest.raises(InputError, match="seed that is not negative, got -1"):
        nli([["a", "b"]], FakeNli(), seed=-1)


def test_nli_classifier_of_another_shape():
    with pytest.raises(InputError, match=r"shape \(2, 3\), got \(2, 2\)"):
        nli([["a", "b"]], FakeNli(lambda a, b: (0.5, 0.5)))


def test_nli_classifier_that_gives_nan():
    with pytest.raises(InputError, match="classifier gave NaN"):
        nli([["a", "b"]], FakeNli(lambda a, b: (math.nan, 0, 0)))


# All four ------------------------------------------------------------------------------------------------


def test_names():
    assert METRICS == ("ead", "sbert", "nli", "vendi")


def test_no_prompts_give_an_array_of_length_zero():
    for values in (ead([], 10), sbert([]), vendi([]), nli([], FakeNli())):
        assert values.shape == (0,)
        assert values.dtype == np.float64


def test_fewer_than_two_completions_give_nan():
    for values in (ead([[], ["a b"], ["a b", "c"]], 10), nli([[], ["a b"], ["a b", "c"]], FakeNli())):
        assert np.isnan(values).tolist() == [True, True, False]
        assert values.dtype == np.float64
    for metric in (sbert, vendi):
        values = metric([np.empty((0, 4)), np.array([]), np.eye(4)[:1], np.eye(4)])
        assert np.isnan(values).tolist() == [True, True, True, False]
        assert values.dtype == np.float64


def test_metrics_do_not_depend_on_the_order_of_completions():
    groups, embeddings = random_groups(11), [random_units(k, 5) for k in range(5)]
    turned = [group[::-1] for group in groups]
    assert ead(turned, 100).tolist() == ead(groups, 100).tolist()
    np.testing.assert_allclose(nli(turned, FakeNli(), "all"), nli(groups, FakeNli(), "all"), rtol=0, atol=1e-12)
    for metric in (sbert, vendi):
        np.testing.assert_allclose(metric([e[::-1] for e in embeddings]), metric(embeddings), atol=1e-12)


def test_importing_the_metrics_loads_nothing_heavy():
    code = (
        "import sys, divmon.metrics, divmon.stats, divmon.scoring, divmon.text\n"
        "print(sorted({'torch', 'transformers', 'sklearn', 'scipy', 'vendi_score'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
