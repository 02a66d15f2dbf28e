"""The ledger: killed at every byte, read while written, resumed, moved aside."""

import dataclasses
import gzip
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from divmon.errors import InputError
from divmon.ledger import Ledger
from divmon.measurement import SCHEMA
from tests.records import measurement

RUN = {"schema": SCHEMA, "kind": "run", "run_id": "r1", "step": 0}


def lines(ledger):
    return ledger.path.read_bytes().splitlines()


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "out" / "divmon")


@pytest.fixture
def started(ledger):
    """A ledger with the start of a run."""
    ledger.append(RUN)
    return ledger


# --- appending and tearing -------------------------------------------------------------------------------


def test_nothing_there(ledger, tmp_path):
    assert list(ledger.records()) == []
    assert ledger.read() is None
    assert ledger.move_aside() is None
    assert not ledger.folder.exists()
    with pytest.raises(InputError, match=r"No divmon ledger in .*: expected divmon/measurements\.jsonl there"):
        Ledger.of(tmp_path)


def test_found_from_the_output_folder_its_own_and_the_file(started, tmp_path):
    for path in (tmp_path / "out", started.folder, started.path, str(tmp_path / "out")):
        assert Ledger.of(path).path == started.path


@pytest.mark.parametrize("terminated", [True, False], ids=["newline", "no newline"])
def test_killed_at_every_byte_of_the_last_record(ledger, terminated):
    records = [RUN, {"schema": 1, "kind": "gap", "step": 3, "error": "é 日"}, {"kind": "gap", "step": 4, "error": "ü"}]
    for record in records:
        ledger.append(record)
    whole = ledger.path.read_bytes()
    first = len(b"\n".join(whole.split(b"\n")[:2])) + 1  # where the last record begins
    for end in range(first, len(whole) + 1):
        ledger.path.write_bytes(whole[:end] + (b"\n" if terminated else b""))
        left = list(ledger.records())
        # All bytes but the newline make the last record whole.
        assert left == (records if end >= len(whole) - 1 else records[:2])
        ledger.append({"kind": "gap", "step": 5})
        assert list(ledger.records()) == [*left, {"kind": "gap", "step": 5}]
        assert all(json.loads(line) for line in lines(ledger) if line)


def test_killed_within_the_only_record(ledger):
    ledger.append(RUN)
    whole = ledger.path.read_bytes()
    for end in range(len(whole) - 1):
        ledger.path.write_bytes(whole[:end])
        assert ledger.read() is None
        ledger.append(RUN)
        assert ledger.path.read_bytes() == whole


def test_a_tail_of_zeros_is_torn(started):
    with started.path.open("ab") as file:
        file.write(bytes(100_000))
    assert len(list(started.records())) == 1
    started.append({"kind": "gap", "step": 1})
    assert len(list(started.records())) == 2


def test_a_torn_line_longer_than_a_block(started):
    before = started.path.read_bytes()
    with started.path.open("ab") as file:
        file.write(b'{"x":"' + b"y" * 200_000)
    started.append({"kind": "gap", "step": 1})
    assert started.path.read_bytes() == before + b'{"kind":"gap","step":1}\n'


def test_a_long_last_line_is_kept(started):
    started.append({"kind": "gap", "step": 1, "error": "y" * 200_000})
    started.append({"kind": "gap", "step": 2})
    assert [record.get("step") for record in started.records()] == [0, 1, 2]


@pytest.mark.parametrize("broken", [b"{", b"[1]", b"3", b"\xff", b'{"schema": "x"}', b'{"a": 1}{"b": 2}'])
def test_a_broken_line_in_the_middle_is_named(started, broken):
    started.path.write_bytes(started.path.read_bytes() + broken + b"\n" + started.path.read_bytes())
    with pytest.raises(InputError, match=r"measurements\.jsonl, line 2: not a record .*; mend or remove it"):
        list(started.records())


def test_a_newer_schema_is_refused(started):
    started.append({"schema": SCHEMA + 1, "kind": "measurement"})
    with pytest.raises(InputError, match=rf"line 2: schema {SCHEMA + 1}, this divmon reads up to {SCHEMA}: upgrade"):
        started.read()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"kind": "measurement", "schema": 1}, "line 2: Not a divmon measurement"),
        ({"kind": "gap"}, "line 2: no 'step'"),
        ({"kind": "resume", "step": "x"}, "line 3: "),
        ({"kind": "run"}, "line 2: no 'run_id'"),
    ],
)
def test_a_line_that_lacks_what_its_kind_must_have_is_named(started, record, words):
    if record["kind"] == "resume":
        started.append(measurement().to_json())
    started.append(record)
    with pytest.raises(InputError, match=words):
        started.read()


def test_kinds_of_a_later_divmon_are_passed_over(started):
    started.append({"kind": "note", "schema": 1})
    assert started.read().run_id == "r1"


def test_edited_on_windows(started):
    started.append(measurement().to_json())
    data = started.path.read_bytes().replace(b"\n", b"\r\n")
    started.path.write_bytes(b"\xef\xbb\xbf" + data + b"\r\n")
    assert started.read().measurements == (measurement(),)
    started.append({"kind": "gap", "step": 2})
    assert len(list(started.records())) == 3


def test_read_while_it_is_written(ledger):
    code = (
        "import sys\nfrom divmon.ledger import Ledger\nledger = Ledger(sys.argv[1])\n"
        "for step in range(150): ledger.append({'kind': 'gap', 'step': step, 'error': 'x' * 20000})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(ledger.folder)]) as writer:
        seen = 0
        while writer.poll() is None:
            steps = [record["step"] for record in ledger.records()]
            assert steps == list(range(len(steps)))
            assert len(steps) >= seen
            seen = len(steps)
    assert writer.returncode == 0
    assert len(list(ledger.records())) == 150


# --- what may be written ---------------------------------------------------------------------------------


def test_objects_that_json_does_not_know(ledger):
    ledger.append(
        {
            "path": Path("a/b"),
            "numpy": [np.float32(0.5), np.int64(3), np.bool_(True), np.float64("nan")],
            "not finite": [math.nan, math.inf, 1.0],
            "tuple": (1, 2),
            "half a pair": "\ud800",
            3: None,
            "function": len,
        }
    )
    (line,) = lines(ledger)
    assert json.loads(line.decode("utf-8")) == {
        "path": "a/b",
        "numpy": [0.5, 3, True, None],
        "not finite": [None, None, 1.0],
        "tuple": [1, 2],
        "half a pair": "\ud800",
        "3": None,
        "function": str(len),
    }


def test_text_with_newlines_stays_in_its_line(ledger):
    text = "a\nb\r\n\u2028\x85c"
    ledger.append({"kind": "gap", "error": text})
    assert [record["error"] for record in ledger.records()] == [text]


# --- runs, resumes, baselines ----------------------------------------------------------------------------


def at(step, **changes):
    return measurement(step=step, **changes)


def test_measurements_by_step_with_the_first_as_baseline(started):
    for step in (0, 20, 10):
        started.append(at(step).to_json())
    started.append({"kind": "gap", "step": 30, "error": "no memory"})
    run = started.read()
    assert [m.step for m in run.measurements] == [0, 10, 20]
    assert (run.run_id, run.baseline) == ("r1", at(0))
    assert [gap["step"] for gap in run.gaps] == [30]
    assert run.start["kind"] == "run"


def test_resuming_passes_over_the_abandoned_branch(started):
    for step in (0, 10, 20, 30):
        started.append(at(step, epoch=1.0).to_json())
    started.append({"kind": "gap", "step": 40, "error": "e"})
    started.append({"kind": "gap", "step": 5, "error": "e"})
    before = len(lines(started))
    started.append({"kind": "resume", "run_id": "r1", "step": 15})
    assert [m.step for m in started.read().measurements] == [0, 10]
    started.append(at(20, epoch=2.0).to_json())
    started.append({"kind": "resume", "run_id": "r1", "step": 20})
    started.append(at(30, epoch=3.0).to_json())
    run = started.read()
    assert [(m.step, m.epoch) for m in run.measurements] == [(0, 1.0), (10, 1.0), (20, 2.0), (30, 3.0)]
    assert [gap["step"] for gap in run.gaps] == [5]
    assert run.baseline == at(0, epoch=1.0)
    assert len(lines(started)) == before + 4  # nothing is taken out of the file


def test_a_baseline_of_another_model_comes_first(started):
    base = at(0, kind="baseline", run_id="other")
    started.append(base.to_json())
    started.append(at(0).to_json())
    run = started.read()
    assert run.baseline == base
    assert run.measurements == (at(0),)


def test_the_newest_run_counts(started):
    started.append(at(0).to_json())
    started.append(RUN | {"run_id": "r2"})
    run = started.read()
    assert (run.run_id, run.baseline, run.measurements, run.gaps) == ("r2", None, (), ())


def test_a_step_measured_twice_has_the_later_value(started):
    started.append(at(10, epoch=1.0).to_json())
    started.append(at(10, epoch=2.0).to_json())
    assert [m.epoch for m in started.read().measurements] == [2.0]


# --- moving aside ----------------------------------------------------------------------------------------


def test_moved_aside_twice_nothing_is_lost(ledger):
    places = []
    for number in range(3):
        ledger.append(RUN | {"number": number})
        ledger.write_completions(ledger.completions_path(0), [{"number": number}])
        places.append(ledger.move_aside())
        assert ledger.read() is None
    assert [place.name for place in places] == ["r1", "r1-2", "r1-3"]
    for number, place in enumerate(places):
        assert next(Ledger(place).records())["number"] == number
        assert Ledger(place).completions_path(0).is_file()
    assert ledger.move_aside() is None


def test_completions_without_a_ledger_are_moved_too(ledger):
    ledger.write_completions(ledger.completions_path(0), [])
    assert ledger.move_aside().name == "unnamed"
    assert not ledger.completions_path(0).exists()


def test_a_broken_ledger_can_be_moved_aside(ledger):
    ledger.folder.mkdir(parents=True)
    ledger.path.write_bytes(b"junk\n{}\n")
    assert (ledger.move_aside() / ledger.path.name).read_bytes() == b"junk\n{}\n"


@pytest.mark.parametrize("run_id", ["../../x", "/abs", "a/b", "..", "x" * 999, "a\nb"])
def test_a_run_id_is_no_path(ledger, run_id):
    ledger.append(RUN | {"run_id": run_id})
    target = ledger.move_aside()
    assert target.parent == ledger.folder / "earlier"
    assert target.resolve().parent == target.parent.resolve()
    assert (target / ledger.path.name).is_file()


# --- completions -----------------------------------------------------------------------------------------


def test_completions_are_compressed_lines(ledger):
    path = ledger.completions_path(7)
    rows = [{"task": "", "input_id": "0", "prompt": "é", "outputs": ["a\nb", "\ud800"], "entropy": [math.nan, 0.5]}]
    ledger.write_completions(path, rows)
    assert path.name == "step-00000007.jsonl.gz"
    (line,) = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
    assert json.loads(line) == rows[0] | {"entropy": [None, 0.5]}
    assert ledger.completions_path(7, "baseline") != path


def test_completions_are_whole_or_not_there(ledger):
    def broken():
        yield {"prompt": "new"}
        raise OSError("no space left")

    path = ledger.completions_path(0)
    for before in (None, [{"prompt": "old"}]):
        if before:
            ledger.write_completions(path, before)
        with pytest.raises(OSError, match="no space"):
            ledger.write_completions(path, broken())
        assert path.exists() == bool(before)
        assert [file.name for file in path.parent.iterdir()] == [path.name] * bool(before)
    assert json.loads(gzip.decompress(path.read_bytes())) == {"prompt": "old"}


def test_a_measurement_comes_back_as_it_was(started):
    whole = measurement(step=3)
    started.append(whole.to_json())
    assert started.read().measurements == (whole,)
    assert dataclasses.asdict(started.read().measurements[0]) == dataclasses.asdict(whole)
