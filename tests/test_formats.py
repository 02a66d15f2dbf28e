"""Completions in the forms that tools write: lm-eval's samples, lighteval's details, TRL's logs, folders of them."""

import gzip
import io
import json
import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divmon.errors import InputError
from divmon.formats import FORMATS
from divmon.formats.file import File
from divmon.formats.record import NoTextError, text_of
from divmon.generations import Generations, read_generations
from tests.test_cli import EAD, refused, run  # noqa: F401  (a fixture)

DATE = "2026-03-01T12-30-00.123456"


def lines(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


def parquet(path, rows, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def read(*paths, **options):
    """(task, id, completions) of each prompt."""
    return [(r.task, r.input_id, list(r.outputs)) for r in read_generations(paths, **options)]


# --- lm-eval ---------------------------------------------------------------------------------------------


def sample(doc_id, prompt, repeats, filter="none", **changes):
    """A sample as lm_eval/evaluator.py makes it and loggers/evaluation_tracker.py writes it."""
    return {
        "doc_id": doc_id,
        "doc": {"question": prompt, "answer": "#### 4"},
        "target": "4",
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["Q:"], "do_sample": True}}},
        "resps": [repeats],
        "filtered_resps": [text[-1:] for text in repeats],
        "filter": filter,
        "metrics": ["exact_match"],
        "doc_hash": "0" * 64,
        "prompt_hash": "1" * 64,
        "target_hash": "2" * 64,
        "exact_match": 1.0,
    } | changes


def choice(doc_id):
    """A multiple-choice sample: a request for each choice, its likelihood as text in place of completions."""
    arguments = {f"gen_args_{k}": {"arg_0": "Q: 1?", "arg_1": f" {k}"} for k in range(2)}
    return sample(doc_id, "", [], arguments=arguments, resps=[[["-1.5", "True"]], [["-2.5", "False"]]], acc=1.0)


def test_lm_eval_samples(tmp_path):
    questions = [("What is 2 + 2?", ["It is 4", "four: 4"]), ("And 3 + 1?", ["4", "4"])]
    written = [sample(k, *pair, filter=f) for f in ("strict-match", "flexible") for k, pair in enumerate(questions)]
    path = lines(tmp_path / f"samples_gsm8k_cot_{DATE}.jsonl", *written)
    assert read(path) == [("gsm8k_cot", "0", questions[0][1]), ("gsm8k_cot", "1", questions[1][1])]
    assert read_generations(path)[0].prompt == "What is 2 + 2?"
    assert Generations.find(path).format.name == "lm-eval"
    assert Generations.find(path).steps == ()


def test_lm_eval_samples_of_several_files_are_grouped_by_task_and_prompt(tmp_path):
    one = lines(tmp_path / f"samples_a_{DATE}.jsonl", sample(0, "p", ["x"]), sample(1, "q", ["y"]))
    other = lines(tmp_path / "samples_a_2026-03-02T12-30-00.000001.jsonl", sample(7, "q", ["z"]), sample(8, "r", ["w"]))
    third = lines(tmp_path / f"samples_b_{DATE}.jsonl", sample(0, "p", ["v"]))
    expected = [("a", "0", ["x"]), ("a", "1", ["y", "z"]), ("a", "8", ["w"]), ("b", "0", ["v"])]
    assert read(one, other, third) == expected
    assert sorted(read(tmp_path)) == expected
    assert read(one, tmp_path / "." / one.name) == [expected[0], ("a", "1", ["y"])]  # one file, named twice


def test_lm_eval_samples_in_the_older_form(tmp_path):
    older = sample(3, "", ["a", "b"], arguments=[["the prompt", {"until": []}]])
    del older["filter"]
    path = lines(tmp_path / "samples_x.jsonl", older)
    assert read(path) == [("x", "3", ["a", "b"])]
    assert read_generations(path)[0].prompt == "the prompt"


def test_lm_eval_chats_and_prompts_that_open_a_think_block(tmp_path):
    chat = [{"role": "user", "content": "hi"}]
    path = lines(
        tmp_path / "samples_x.jsonl",
        sample(0, chat, ["a"]),
        sample(1, "<|user|>hi<|assistant|><think>\n", ["why</think>b"]),
        sample(2, chat, ["c"]),
    )
    records = read_generations(path)
    assert [(record.outputs, record.think_opened) for record in records] == [
        (("a", "c"), False),
        (("why</think>b",), True),
    ]
    assert json.loads(records[0].prompt) == chat


def test_lm_eval_tasks_scored_by_likelihood(tmp_path):
    path = lines(tmp_path / f"samples_arc_{DATE}.jsonl", choice(0), choice(1))
    rolling = sample(0, "", [], arguments={"gen_args_0": {"arg_0": "a text"}}, resps=[["-123.4"]])
    for likelihood in (path, lines(tmp_path / "more" / "samples_wiki.jsonl", rolling)):
        with pytest.raises(NoTextError, match=r"samples_.*line 1: .*scored by likelihood"):
            read_generations(likelihood)
    lines(tmp_path / f"samples_gsm8k_{DATE}.jsonl", sample(0, "p", ["x", "y"]))
    assert read(tmp_path / f"samples_gsm8k_{DATE}.jsonl", path) == [("gsm8k", "0", ["x", "y"])]


def test_lm_eval_documents_of_several_requests(tmp_path):
    arguments = {f"gen_args_{k}": {"arg_0": f"turn {k}", "arg_1": {}} for k in range(2)}
    path = lines(tmp_path / "samples_x.jsonl", sample(5, "", [], arguments=arguments, resps=[["a", "b"], ["c", "d"]]))
    assert read(path) == [("x", "5.0", ["a", "b"]), ("x", "5.1", ["c", "d"])]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"resps": []}, "resps: expected a list of completions for each request, got '\\[\\]'"),
        ({"resps": "text"}, "resps: expected a list"),
        ({"resps": ["text"]}, "resps: expected a list"),
        ({"resps": [["a"], ["b"]]}, "as many arguments as resps, got 1 and 2"),
        ({"arguments": None}, "arguments: expected the prompt and the settings"),
        ({"arguments": [[]]}, "arguments: expected the prompt and the settings"),
        ({"arguments": {"gen_args_0": "p"}}, "arguments: expected the prompt and the settings"),
        ({"resps": [[1.5]]}, "scored by likelihood"),
    ],
)
def test_lm_eval_samples_of_another_shape(tmp_path, change, match):
    path = lines(tmp_path / "samples_x.jsonl", sample(0, "p", ["a"]), sample(1, "q", ["a"]) | change)
    with pytest.raises(InputError, match=f"line 2: .*{match}"):
        list(FORMATS["lm-eval"].records(File.at(path)))


# --- lighteval -------------------------------------------------------------------------------------------


def detail(query, texts, place=0, **response):
    """A detail as lighteval's info_loggers.py makes it (dataclasses Doc and ModelResponse) since 0.11."""
    return {
        "doc": {
            "query": query,
            "choices": ["4"],
            "gold_index": [0],
            "instruction": None,
            "images": None,
            "specific": {"split": "test"},
            "unconditioned_query": None,
            "original_query": query,
            "id": str(place),
            "task_name": "gsm8k|0",
            "fewshot_samples": [],
            "sampling_methods": ["GENERATIVE"],
            "generation_size": 256,
            "stop_sequences": ["Question="],
            "use_logits": False,
            "num_samples": len(texts),
        },
        "model_response": {
            "input": f"<|user|>{query}<|assistant|>",
            "input_tokens": [1, 2, 3],
            "text": texts,
            "output_tokens": [[4, 5] for _ in texts],
            "text_post_processed": None,
            "reasonings": [None for _ in texts],
            "logprobs": [],
            "argmax_logits_eq_gold": [],
            "logits": None,
            "truncated_tokens_count": 0,
            "padded_tokens_count": 0,
        }
        | response,
        "metric": {"extractive_match": 1.0},
    }


def older_detail(prompt, predictions):
    """A detail of lighteval before 0.11."""
    return {
        "choices": [],
        "cont_tokens": [[4, 5] for _ in predictions],
        "example": prompt.rpartition("\n")[2],
        "full_prompt": prompt,
        "gold": ["4"],
        "gold_index": [],
        "input_tokens": [[1, 2]],
        "instruction": "",
        "metrics": {"qem": 1.0},
        "num_asked_few_shots": 0,
        "num_effective_few_shots": 0,
        "padded": [0],
        "pred_logits": [],
        "predictions": predictions,
        "specifics": None,
        "truncated": [0],
    }


def saved(path, details):
    """Write as lighteval's EvaluationTracker does."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = Dataset.from_list(details)
    dataset.select_columns(sorted(dataset.column_names)).to_parquet(str(path))
    return path


def test_lighteval_details(tmp_path):
    path = tmp_path / f"details_gsm8k|0_{DATE}.parquet"
    saved(path, [detail("2 + 2?", ["4", "four"]), detail("3 + 1?", ["4", "4"], 1), detail("2 + 2?", ["5"], 2)])
    assert Generations.find(path).format.name == "lighteval"
    assert read(path) == [("gsm8k|0", "0", ["4", "four", "5"]), ("gsm8k|0", "1", ["4", "4"])]
    assert read(path.parent) == read(path)


def test_lighteval_prompts_that_open_a_think_block_and_chats(tmp_path):
    opened = [detail("q", ["why</think>4"], input="<|user|>q<|assistant|><think>\n"), detail("r", ["4"], 1)]
    path = saved(tmp_path / "details_x.parquet", opened)
    assert [record.think_opened for record in read_generations(path)] == [True, False]
    chats = saved(tmp_path / "details_y.parquet", [detail("q", ["a", "b"], input=[{"role": "user", "content": "q"}])])
    assert [(r.outputs, r.think_opened) for r in read_generations(chats)] == [(("a", "b"), False)]


def test_lighteval_details_in_the_older_form(tmp_path):
    written = [older_detail("Add.\n2 + 2?", ["4", 'it\'s "4"\n']), older_detail("Add.\n3 + 1?", ["4"])]
    path = saved(tmp_path / f"details_lighteval|gsm8k|0_{DATE}.parquet", written)
    expected = [("lighteval|gsm8k|0", "1", ["4", 'it\'s "4"\n']), ("lighteval|gsm8k|0", "2", ["4"])]
    assert read(path) == expected
    # Before February 2025 each field was turned into its text.
    as_text = [{name: str(value) for name, value in each.items()} for each in written]
    assert read(saved(tmp_path / "older" / path.name, as_text)) == expected


def test_lighteval_tasks_scored_by_likelihood(tmp_path):
    newer = saved(tmp_path / "details_a.parquet", [detail("q", [], logprobs=[-1.0, -2.0])])
    older = saved(tmp_path / "details_b.parquet", [older_detail("q", [[-1.0, -2.0], [-3.0, -1.0]])])
    texts = saved(tmp_path / "details_c.parquet", [older_detail("q", [-1.5]) | {"predictions": "[-1.5, 2]"}])
    for path in (newer, older, texts):
        with pytest.raises(NoTextError, match=f"{path.name}: no completions: the task is scored by likelihood"):
            read_generations(path)
    written = saved(tmp_path / "details_d.parquet", [detail("q", ["a", "b"])])
    assert read(newer, older, written) == read(written)


def test_lighteval_details_of_another_shape(tmp_path):
    mixed = saved(tmp_path / "details_a.parquet", [older_detail("q", ["a"]) | {"predictions": "['a', 1]"}])
    with pytest.raises(InputError, match=r"row 1: predictions: expected a list of completions, got .\['a', 1\]"):
        read_generations(mixed)
    prose = saved(tmp_path / "details_b.parquet", [older_detail("q", ["a"]) | {"predictions": "[" * 9999}])
    with pytest.raises(InputError, match="predictions: expected a list"):
        read_generations(prose)
    flat = parquet(tmp_path / "details_c.parquet", [{"doc": "text", "model_response": "text"}])
    with pytest.raises(InputError, match="row 1: expected the structures doc, with query, and model_response"):
        read_generations(flat)


def test_a_prediction_in_text_form_is_not_run(tmp_path):
    trap = f"[str(__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch())]"
    path = saved(tmp_path / "details_a.parquet", [older_detail("q", ["a"]) | {"predictions": trap}])
    with pytest.raises(InputError, match="expected a list of completions"):
        read_generations(path)
    assert not (tmp_path / "ran").exists()


# --- TRL -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grpo_run(tmp_path_factory):
    """The output folder of a real GRPO run that logs its completions."""
    from tests.test_callback import grpo

    folder = tmp_path_factory.mktemp("grpo")
    grpo(folder, max_steps=2, log_completions=True, num_completions_to_print=1).train()
    return folder


def test_trl_logs_of_a_real_run(grpo_run):
    found = Generations.find(grpo_run)
    assert (found.format.name, found.steps) == ("trl", (1, 2))
    assert [file.path.name for file in found.files] == ["completions_00001.parquet", "completions_00002.parquet"]
    written = pq.read_table(found.files[-1].path).to_pylist()
    records = found.read()
    # Four generations a prompt; a chat of one user's turn, and of the completion the assistant's text counts.
    assert [len(record.outputs) for record in records] == [4] * len(records)
    assert sum(len(record.outputs) for record in records) == len(written)
    assert [text for record in records for text in record.outputs] == [
        row["completion"][0]["content"] for row in written
    ]
    assert json.loads(records[0].prompt) == written[0]["prompt"]
    assert {record.step for record in records} == {2}
    assert [record.input_id for record in records] == [str(number + 1) for number in range(len(records))]
    assert found.read(1) != records
    assert read_generations(grpo_run, step=1) == found.read(1)


def test_trl_logs_on_the_command_line(run, grpo_run):  # noqa: F811
    status, out, err = run("score", grpo_run, "--step", "all", *EAD)
    assert (status, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("│ ")] == ["1", "2"]
    assert "Read 2 files, TRL completion logs." in out
    assert "Read 2 files, TRL completion logs, step 1." in run("score", grpo_run, "--step", "1", *EAD)[1]
    document = json.loads(run("score", grpo_run, "--step", "all", "--json", *EAD)[1])
    assert [each["step"] for each in document["steps"]] == [1, 2]
    last = json.loads(run("score", grpo_run / "completions", "--json", *EAD)[1])
    assert last["step"] == 2
    assert {name: last[name] for name in document["steps"][1]} == document["steps"][1]
    assert last["provenance"]["format"] == "trl"
    first = json.loads(run("score", grpo_run, "--step", "1", "--json", *EAD)[1])
    assert first["metrics"] == document["steps"][0]["metrics"]
    refused(run("score", grpo_run, "--step", "3", *EAD), "No completions of step 3: there are those of 1, 2")
    refused(run("score", grpo_run, "--step", "best", *EAD), "--step: expected a number, 'last' or 'all', got 'best'")


def logged(step, prompt, completion):
    return {"step": step, "prompt": prompt, "completion": completion, "reward_len": 0.5, "advantage": -0.1}


def test_trl_logs_of_texts_and_of_several_steps_in_a_file(tmp_path):
    rows = [logged(step, prompt, f"{prompt}{step}{k}") for step in (10, 20) for prompt in "pq" for k in range(2)]
    path = parquet(tmp_path / "completions.parquet", [*rows, logged(20, "p", "p202")], row_group_size=2)
    assert Generations.find(path).steps == (10, 20)
    assert read(path) == [("", "1", ["p200", "p201", "p202"]), ("", "2", ["q200", "q201"])]
    assert read(path, step=10) == [("", "1", ["p100", "p101"]), ("", "2", ["q100", "q101"])]


def test_trl_completions_with_tool_calls_and_parts(tmp_path):
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [{"name": "add"}]},
        {"role": "tool", "content": "4", "tool_calls": None},
        {"role": "assistant", "content": "It is 4.", "tool_calls": None},
    ]
    path = parquet(tmp_path / "c.parquet", [logged(1, [{"role": "user", "content": "2 + 2?"}], turns)] * 2)
    (record,) = read_generations(path)
    assert record.outputs == ("\nIt is 4.",) * 2
    assert text_of([{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}], "x") == "a"


def test_trl_logs_without_rows_and_of_another_shape(tmp_path):
    columns = pa.schema([("step", pa.int64()), ("prompt", pa.string()), ("completion", pa.string())])
    pq.write_table(pa.Table.from_pylist([], columns), tmp_path / "completions_00000.parquet")
    with pytest.raises(InputError, match="holds no record: expected parquet with step, prompt, completion"):
        read_generations(tmp_path)
    parquet(tmp_path / "completions_00001.parquet", [logged(1, "p", "a")])
    assert read(tmp_path) == [("", "1", ["a"])]
    broken = parquet(tmp_path / "x" / "a.parquet", [logged("one", "p", "a")])
    with pytest.raises(InputError, match="No completions of step 1: TRL completion logs without steps"):
        read_generations(broken, step=1)
    with pytest.raises(InputError, match=r"row 1: expected a whole number as step, got 'one'"):
        read_generations(broken)
    with pytest.raises(InputError, match="row 1: completion: expected text, got 'None'"):
        read_generations(parquet(tmp_path / "x" / "b.parquet", [logged(1, "p", None)]))


# --- divmon's own records --------------------------------------------------------------------------------


def own(step, outputs, key="k", run_id="r1", **changes):
    """A row of `divmon.recording.completion_rows`."""
    return {
        "task": "",
        "input_id": key,
        "key": key,
        "prompt": "p",
        "outputs": outputs,
        "think_opened": False,
        "step": step,
        "run_id": run_id,
    } | changes


def ledger(folder, *steps, run_id="r1"):
    for step in steps:
        path = folder / "completions" / f"step-{step:08d}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [own(step, [f"{key}{step}", "x"], key, run_id) for key in "ab"]
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return folder


def test_a_run_of_divmon_has_steps(tmp_path):
    ledger(tmp_path / "divmon", 0, 10, 5)
    lines(tmp_path / "divmon" / "measurements.jsonl", {"schema": 1, "kind": "run", "run_id": "r1"})
    lines(tmp_path / "divmon" / "completions" / "baseline-00000000.jsonl", own(0, ["other"], run_id="r0"))
    found = Generations.find(tmp_path)
    assert (found.format.name, found.steps, found.passed_over) == ("jsonl", (0, 5, 10), 1)
    assert read(tmp_path) == [("", "a", ["a10", "x"]), ("", "b", ["b10", "x"])]
    assert read(tmp_path, step=5)[0] == ("", "a", ["a5", "x"])
    with pytest.raises(InputError, match="No completions of step 7: there are those of 0, 5, 10"):
        read_generations(tmp_path, step=7)


def test_completions_of_two_runs_are_not_mixed(tmp_path):
    ledger(tmp_path / "divmon", 0, 5)
    ledger(tmp_path / "divmon" / "earlier" / "r0", 5, run_id="r0")
    with pytest.raises(InputError, match=r"one model or run, got those of r0, r1: name the folder of one"):
        read_generations(tmp_path)
    assert len(read(tmp_path / "divmon" / "completions")) == 2
    assert len(read(tmp_path, step=0)) == 2


def test_a_think_block_that_the_prompt_opened(run, tmp_path):  # noqa: F811
    row = own(0, ["why</think>a b", "still thinking"], think_opened=True)
    validity = json.loads(run("score", lines(tmp_path / "a.jsonl", row), "--json", *EAD)[1])["validity"]
    assert (validity["unclosed"], validity["mean_length_words"]) == (1, 2)


def test_others_fields_of_such_names_mean_nothing(tmp_path):
    rows = [{"outputs": ["a", "b"], "step": step, "correct": "yes"} for step in (1, 2)]
    path = lines(tmp_path / "a.jsonl", *rows)
    assert Generations.find(path).steps == ()
    assert [(r.step, r.correct) for r in read_generations(path)] == [(None, None)] * 2


# --- files and folders -----------------------------------------------------------------------------------


def test_lines_are_prompts_even_where_two_are_equal(tmp_path):
    path = lines(tmp_path / "a.jsonl", *[{"outputs": ["a", "b"]}] * 2)
    assert [record.input_id for record in read_generations(path)] == ["1", "2"]
    assert len(read(path, lines(tmp_path / "b.jsonl", {"outputs": ["c"]}))) == 3


def test_a_folder_of_two_forms_wants_a_choice(tmp_path):
    parquet(tmp_path / "completions" / "completions_00001.parquet", [logged(1, "p", text) for text in "ab"])
    ledger(tmp_path / "divmon", 1)
    with pytest.raises(
        InputError, match=r"1 of TRL completion logs \(trl\) and 1 of JSON lines \(jsonl\): choose with"
    ):
        read_generations(tmp_path)
    assert read(tmp_path, form="trl") == [("", "1", ["a", "b"])]
    assert len(read(tmp_path, form="jsonl")) == 2
    with pytest.raises(InputError, match=r"holds no completions \(passed over: .*completions_00001"):
        read_generations(tmp_path, form="lighteval")


def test_folders_of_two_models_are_not_mixed(tmp_path):
    for model in ("org__one", "org__two"):
        lines(tmp_path / model / f"samples_x_{DATE}.jsonl", sample(0, "p", [model]))
    with pytest.raises(InputError, match=r"one model or run, got those of org__one, org__two: name"):
        read_generations(tmp_path)
    assert read(tmp_path / "org__one", tmp_path / "org__two") == [("x", "0", ["org__one", "org__two"])]


def test_what_is_passed_over_in_a_folder(tmp_path):
    lines(tmp_path / f"samples_x_{DATE}.jsonl", sample(0, "p", ["a"]))
    lines(tmp_path / ".cache" / "samples_y.jsonl", sample(0, "p", ["hidden"]))
    lines(tmp_path / "other.jsonl", {"text": "no completions", "outputs": None, "samples": 5})
    (tmp_path / "torn.jsonl").write_text("{")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    (tmp_path / "results.json").write_text("{}")
    parquet(tmp_path / "data.parquet", [{"question": "q"}])
    found = Generations.find(tmp_path)
    assert ([file.path.name for file in found.files], found.passed_over) == ([f"samples_x_{DATE}.jsonl"], 5)
    assert read(tmp_path) == [("x", "0", ["a"])]


@pytest.mark.parametrize("name", ["torn.parquet", "torn2.parquet"])
def test_torn_parquet_is_one_sentence(run, tmp_path, name):  # noqa: F811
    whole = parquet(
        tmp_path / "whole.parquet", [logged(1, "p" * 5000, "a" * 5000)] * 50, compression="none"
    ).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[:-9] if name == "torn.parquet" else whole[:200] + b"\xff" * 4000 + whole[4200:])
    refused(run("score", path, *EAD), name)


def test_parquet_of_another_kind_names_what_was_expected(run, tmp_path):  # noqa: F811
    path = parquet(tmp_path / "data.parquet", [{"question": "q", "answer\x1b[31m": "a"}])
    result = run("score", path, *EAD)
    refused(result, "expected parquet with doc and model_response", "step, prompt, completion", "got question, answer")
    assert "\x1b" not in result[2]
    for form, words in {"trl": "got no step and no prompt", "lighteval": "got question", "jsonl": "not"}.items():
        refused(run("score", path, "--format", form, *EAD), words)
    assert "Unknown format 'lmeval': did you mean 'lm-eval'?" in run("score", path, "--format", "lmeval", *EAD)[2]
    text = lines(tmp_path / "a.jsonl", {"outputs": ["a"]})
    refused(run("score", text, "--format", "trl", *EAD), "a.jsonl: no sound parquet file")
    refused(run("score", text, "--format", "lm-eval", *EAD), "line 1: resps: expected a list")
    refused(run("score", text, "--step", "all", *EAD), "--step all: JSON lines without steps")
    refused(run("score", text, "--step", "4", *EAD), "No completions of step 4: JSON lines without steps")


def test_steps_and_files_without_are_not_mixed(tmp_path):
    ledger(tmp_path, 1)
    lines(tmp_path / "more.jsonl", {"outputs": ["a"]})
    with pytest.raises(InputError, match=r"more\.jsonl is of no optimizer step, unlike others"):
        read_generations(tmp_path)


def test_names_that_name_nothing(tmp_path):
    with pytest.raises(InputError, match="got an empty name"):
        read_generations("")
    with pytest.raises(InputError, match="got an empty name"):
        read_generations([])
    with pytest.raises(InputError, match=r"Cannot read .*gone: No such file"):
        read_generations([lines(tmp_path / "a.jsonl", {"outputs": ["a"]}), tmp_path / "gone"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no completions: expected .*lm-eval.*lighteval.*TRL.*JSON lines"):
        read_generations(tmp_path / "empty")


def test_a_folder_of_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr("divmon.generations._MOST_FILES", 2)
    for name in "abc":
        lines(tmp_path / f"{name}.jsonl", {"outputs": ["a"]})
    with pytest.raises(InputError, match="has over 2 files: name a narrower folder"):
        read_generations(tmp_path)


@pytest.mark.parametrize("kind", ["lines", "parquet"])
def test_a_pipe_is_read_once(tmp_path, kind):
    fifo, whole = tmp_path / "pipe", io.BytesIO()
    os.mkfifo(fifo)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([logged(1, "p", text) for text in "ab"]), whole)
    else:
        whole.write(gzip.compress(json.dumps({"outputs": ["a", "b"]}).encode()))
    writer = threading.Thread(target=fifo.write_bytes, args=[whole.getvalue()], daemon=True)
    writer.start()
    assert read(fifo) == [("", "1", ["a", "b"])]
    writer.join(10)


def test_deeply_nested_prompts(tmp_path):
    for depth in (200, 900, 99999):
        nested = b'{"outputs": ["a"], "prompt": ' + b"[" * depth + b"1" + b"]" * depth + b"}"
        path = tmp_path / f"{depth}.jsonl"
        path.write_bytes(nested)
        try:
            assert read(path) == [("", "1", ["a"])]
        except InputError as error:
            assert "line 1: nested too deeply" in str(error)  # noqa: PT017


def test_parquet_is_read_a_part_at_a_time_and_only_the_columns_that_count(tmp_path):
    path, groups, rows = tmp_path / "big.parquet", 24, 64
    schema = pa.schema([(name, pa.string()) for name in ("prompt", "completion", "junk")] + [("step", pa.int64())])
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for group in range(groups):
            texts = [os.urandom(2048).hex() for _ in range(rows)]
            columns = {"prompt": ["p"] * rows, "completion": texts, "junk": texts[::-1], "step": [group % 2] * rows}
            writer.write_table(pa.table(columns, schema))
    before, most, count = pa.total_allocated_bytes(), 0, 0
    for row in File.at(path).rows(["completion", "step"]):
        most = max(most, pa.total_allocated_bytes() - before)
        count += 1
        assert set(row) == {"completion", "step"}
    assert count == groups * rows
    assert most < path.stat().st_size / 4


def test_readers_are_one_a_format():
    assert list(FORMATS) == ["lm-eval", "lighteval", "trl", "jsonl"]
    for name, form in FORMATS.items():
        assert form.name == name
        assert form.parquet == ("parquet" in form.expected)
    assert Path(FORMATS["trl"].title)
