"""A lineage from a CSV table."""

import json

import pytest

from divmon.cli import main
from divmon.errors import InputError
from divmon.lineage import attribute, paper_attribution, paper_checkpoints
from divmon.lineage_table import checkpoints_of_table


def table(tmp_path, text):
    path = tmp_path / "values.csv"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = """stage,metric,task,value
base,sbert,math,0.5
base,sbert,chat,0.4
think-sft,sbert,math,0.25
think-sft,sbert,chat,0.1
think-dpo,sbert,math,0.2
think-dpo,sbert,chat,0.1
"""


def test_parts_of_a_table(tmp_path):
    found = attribute(*checkpoints_of_table(table(tmp_path, GOOD)))["sbert"]["think"]
    assert found["math"]["sft"].percent == pytest.approx(-50)
    assert found["math"]["dpo"].percent == pytest.approx(-10)
    assert found["chat"]["retained"].percent == pytest.approx(25)
    assert found["average"]["sft"].percent == pytest.approx((-50 - 75) / 2)


def test_the_papers_tables_written_as_csv_give_the_same(tmp_path):
    base, checkpoints = paper_checkpoints()
    names = {"Think": "think-rl", "Instruct": "instruct-rl"}
    lines = ["stage,metric,task,value"]
    for label, values in [("base", base), *((names.get(c.label, c.label), c.values) for c in checkpoints)]:
        for metric, tasks in values.items():
            lines += [f"{label},{metric},{task},{float(value[0])!r}" for task, value in tasks.items()]
    found = attribute(*checkpoints_of_table(table(tmp_path, "\n".join(lines))))
    expected = paper_attribution()
    for metric in expected:
        for lineage in expected[metric]:
            for part, value in expected[metric][lineage]["average"].items():
                assert found[metric][lineage]["average"][part].percent == pytest.approx(value.percent)


def test_prompts_are_paired_whatever_their_order(tmp_path):
    text = "stage,metric,value,prompt\n" + "".join(f"base,ead,{0.5 + 0.01 * n},{n}\n" for n in range(20))
    text += "".join(f"sft,ead,{0.5 * (0.5 + 0.01 * n)},{n}\n" for n in reversed(range(20)))
    found = attribute(*checkpoints_of_table(table(tmp_path, text)))["ead"]["lineage"]["default"]["retained"]
    assert found.percent == pytest.approx(50)
    assert found.interval == pytest.approx((50, 50))  # exactly half of each prompt: no spread when paired


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got none"),
        ("stage,metric\n", "got stage, metric"),
        ("stage,metric,value,wert\n", "got stage, metric, value, wert"),
        ("stage,metric,value\nthink-sft,sbert,1\n", "expected rows of the stage 'base', got think-sft"),
        ("stage,metric,value\nbase,sbert,1\n", "the base alone"),
        ("stage,metric,value\nbase,bleu,1\n", "line 2: expected a metric of ead, sbert, nli, vendi, got 'bleu'"),
        ("stage,metric,value\nbase,sbert,much\n", "line 2: expected a number as value, got 'much'"),
        ("stage,metric,value\nbase,sbert,1\nbase,sbert,2\n", "line 3: this stage"),
        ("stage,metric,value\nbase,sbert,1\nfinal,sbert,2\n", "'final' tells no stage"),
        (GOOD.replace("think-dpo,sbert,chat,0.1\n", ""), "think-dpo has no rows of sbert, task 'chat'"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message.replace("(", "\\(")):
        checkpoints_of_table(table(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        checkpoints_of_table(tmp_path / "none.csv")


def test_the_command_reads_a_table(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["lineage", str(table(tmp_path, GOOD)), "--json"])
    assert stopped.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["attribution"]["sbert"]["think"]["average"]["retained"] == pytest.approx(32.5)


def test_a_table_stands_alone(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["lineage", str(table(tmp_path, GOOD)), "runs/think-sft"])
    assert stopped.value.code == 2
    assert "one table" in capsys.readouterr().err
