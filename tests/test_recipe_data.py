"""Data of a stage: rows of files and generators, in the columns that the trainers read."""

from __future__ import annotations

import dataclasses
import json

import datasets
import pytest

from divmon.errors import InputError
from divmon.recipes.data import SMOKE_ROWS, StageData
from divmon.recipes.finish import rows_with
from divmon.recipes.recipe import load_recipe
from divmon.recipes.revisions import resolved_revisions
from divmon.recipes.sources import Source, with_rows
from tests.recipes import TRAINING, write_folder, write_recipe, write_rows


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "recipes", "base")


@pytest.fixture
def asked(monkeypatch):
    """A hub on which everything is at one commit; what it was asked for."""
    asked = []

    class Api:
        def repo_info(self, name, *, repo_type, revision, timeout):
            asked.append((repo_type, name, revision))
            return type("Info", (), {"sha": "e" * 40})

    monkeypatch.setattr("divmon.encoders.hub.hub_reachable", lambda: True)
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    return asked


def recipe_of(folder, sources, kind="sft", **settings):
    content = {"init_from": "base", "data": sources, kind: TRAINING | settings}
    if kind == "grpo":
        content["rewards"] = ["verifiable"]
    return load_recipe(write_recipe(folder, "stage", content))


def build(folder, sources, kind="sft", seed=0, smoke=False, **settings):
    return StageData(recipe_of(folder, sources, kind, **settings), seed, smoke=smoke).build()


def digest(folder, sources, seed=0, **options):
    return StageData(recipe_of(folder, sources), seed, **options).digest()


def chat(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


class TestRows:
    def test_sources_are_joined_and_shuffled_by_the_seed(self, folder):
        write_rows(folder / "a.jsonl", [{"text": f"a{n}"} for n in range(20)])
        write_rows(folder / "b.jsonl", [{"text": f"b{n}"} for n in range(20)])
        sources = [{"file": "a.jsonl"}, {"file": "b.jsonl"}]
        texts = build(folder, sources)["text"]
        assert sorted(texts) == sorted([f"a{n}" for n in range(20)] + [f"b{n}" for n in range(20)])
        assert list(build(folder, sources)["text"]) == list(texts)
        assert list(build(folder, sources, seed=1)["text"]) != list(texts)
        assert {text[0] for text in texts[:20]} == {"a", "b"}

    def test_a_cap_takes_a_sample_and_not_the_beginning(self, folder):
        write_rows(folder / "a.jsonl", [{"text": f"{n:03}"} for n in range(200)])
        texts = sorted(build(folder, [{"file": "a.jsonl", "rows": 20}])["text"])
        assert len(set(texts)) == 20
        assert texts != [f"{n:03}" for n in range(20)]
        assert len(build(folder, [{"file": "a.jsonl", "rows": 999}])) == 200

    def test_smoke_takes_few(self, folder):
        write_rows(folder / "a.jsonl", [{"text": f"{n:03}"} for n in range(200)])
        assert len(build(folder, [{"file": "a.jsonl"}], smoke=True)) == SMOKE_ROWS

    def test_columns_constants_and_chat(self, folder):
        write_rows(folder / "a.jsonl", [{"question": "2+2?", "answer": "4", "prompt": "old"}])
        source = {
            "file": "a.jsonl",
            "columns": {"prompt": "question", "ground_truth": "answer"},
            "constants": {"verifier": "math"},
            "chat": True,
        }
        rows = build(folder, [source], "grpo", num_generations=4)
        assert rows[0] == {
            "prompt": [{"role": "user", "content": "2+2?"}],
            "ground_truth": "4",
            "verifier": "math",
        }

    def test_columns_can_change_places(self):
        source = Source(file="x", columns={"a": "b", "b": "a"})
        assert rows_with(source, [{"a": 1, "b": 2}], "grpo") == [{"a": 2, "b": 1}]

    def test_only_what_the_trainer_reads_is_kept_but_rewards_get_all(self, folder):
        row = {"messages": chat("q", "a"), "prompt": "q", "source": "x", "n": 3}
        write_rows(folder / "a.jsonl", [row])
        # A prompt beside messages would make TRL look for a completion.
        assert build(folder, [{"file": "a.jsonl"}]).column_names == ["messages"]
        grpo = build(folder, [{"file": "a.jsonl"}], "grpo", num_generations=4)
        assert set(grpo.column_names) == set(row)

    def test_a_column_that_some_rows_lack(self, folder):
        write_rows(folder / "a.jsonl", [{"prompt": "1"}, {"prompt": "2", "verifier": "math", "ground_truth": "4"}])
        rows = {row["prompt"]: row["verifier"] for row in build(folder, [{"file": "a.jsonl"}], "grpo")}
        assert rows == {"1": None, "2": "math"}

    def test_thinking_is_stripped_from_assistant_turns_only(self, folder):
        turns = [
            {"role": "user", "content": "what is <think>x</think>?"},
            {"role": "assistant", "content": "<think>\nso\n</think>\n\nan element"},
            {"role": "user", "content": "go on"},
            {"role": "assistant", "content": "<think>never closed"},
        ]
        write_rows(folder / "a.jsonl", [{"messages": turns}])
        found = build(folder, [{"file": "a.jsonl", "strip_thinking": True}])[0]["messages"]
        assert [turn["content"] for turn in found] == [
            "what is <think>x</think>?",
            "an element",
            "go on",
            "<think>never closed",
        ]

    def test_prompt_and_completion(self, folder):
        write_rows(folder / "a.jsonl", [{"prompt": "q", "completion": "<think>x</think>a"}])
        rows = build(folder, [{"file": "a.jsonl", "strip_thinking": True}])
        assert rows[0] == {"prompt": "q", "completion": "a"}

    def test_a_text_field_of_another_name(self, folder):
        write_rows(folder / "a.jsonl", [{"body": "x"}])
        assert build(folder, [{"file": "a.jsonl"}], dataset_text_field="body").column_names == ["body"]

    def test_a_mapping_of_the_hubs_rows(self, folder):
        rows = [
            {"messages": [*chat("q", "a"), {"role": "user", "content": "left open"}], "dataset_source": "s"},
            {"messages": chat("q", "a"), "dataset_source": "s", "id": "1"},
        ]
        write_rows(folder / "a.jsonl", rows)
        made = build(folder, [{"file": "a.jsonl", "mapping": "dolci-sft"}])
        assert [[turn["content"] for turn in row["messages"]] for row in made] == [["q", "a"]]  # one has no answer


class TestPairs:
    def test_a_text_prompt_beside_whole_conversations_is_taken_from_them(self, folder):
        write_rows(folder / "a.jsonl", [{"prompt": "q", "chosen": chat("q", "good"), "rejected": chat("q", "bad")}])
        assert build(folder, [{"file": "a.jsonl"}], "dpo").column_names == ["chosen", "rejected"]

    def test_a_text_prompt_beside_answers_becomes_a_turn(self, folder):
        answers = {key: [{"role": "assistant", "content": key}] for key in ("chosen", "rejected")}
        write_rows(folder / "a.jsonl", [{"prompt": "q", **answers}])
        row = build(folder, [{"file": "a.jsonl"}], "dpo")[0]
        assert row == {"prompt": [{"role": "user", "content": "q"}], **answers}

    def test_texts_stay_texts(self, folder):
        row = {"prompt": "q", "chosen": "good", "rejected": "bad"}
        write_rows(folder / "a.jsonl", [row | {"score": 3}])
        assert build(folder, [{"file": "a.jsonl"}], "dpo")[0] == row


class TestRefused:
    @pytest.mark.parametrize(
        ("row", "kind", "words"),
        [
            (
                {"message": [1]},
                "sft",
                r"sft needs the columns messages or prompt and completion or text.*messages: message",
            ),
            ({"prompt": "q"}, "dpo", r"dpo needs the columns chosen and rejected, the rows have prompt"),
            ({"prompts": "q"}, "grpo", r"Map it: columns: \{prompt: prompts\}"),
        ],
    )
    def test_missing_columns(self, folder, row, kind, words):
        write_rows(folder / "a.jsonl", [row])
        with pytest.raises(InputError, match=words):
            build(folder, [{"file": "a.jsonl"}], kind)

    def test_sources_of_different_kinds(self, folder):
        write_rows(folder / "a.jsonl", [{"text": "x"}])
        write_rows(folder / "b.jsonl", [{"messages": chat("q", "a")}])
        with pytest.raises(InputError, match=r"different columns \(messages; text\)"):
            build(folder, [{"file": "a.jsonl"}, {"file": "b.jsonl"}])

    def test_a_column_of_two_types(self, folder):
        write_rows(folder / "a.jsonl", [{"prompt": "1", "ground_truth": 4}, {"prompt": "2", "ground_truth": "four"}])
        with pytest.raises(InputError, match=r"file a\.jsonl do not make a table: a column must hold one type"):
            build(folder, [{"file": "a.jsonl"}], "grpo")

    def test_an_integer_that_no_table_holds(self, folder):
        write_rows(folder / "a.jsonl", [{"prompt": "1", "ground_truth": 2**70}])
        with pytest.raises(InputError, match=r"file a\.jsonl do not make a table.*OverflowError"):
            build(folder, [{"file": "a.jsonl"}], "grpo")

    def test_turns_that_are_none(self, folder):
        write_rows(folder / "a.jsonl", [{"messages": ["q", "a"]}])
        with pytest.raises(InputError, match=r"file a\.jsonl cannot be used .*expected turns .* in 'messages'"):
            build(folder, [{"file": "a.jsonl", "mapping": "dolci-sft"}])

    def test_sources_whose_columns_have_two_types(self, folder, tmp_path, monkeypatch):
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        (folder / "hub").mkdir()
        write_rows(folder / "hub" / "train.jsonl", [{"prompt": "1", "ground_truth": 4}])
        write_rows(folder / "a.jsonl", [{"prompt": "2", "ground_truth": "four"}])
        with pytest.raises(InputError, match=r"stage\.yaml, data: the sources do not go together"):
            build(folder, [{"dataset": "hub"}, {"file": "a.jsonl"}], "grpo")

    def test_a_fault_of_our_own_is_not_said_to_be_the_datas(self, folder, monkeypatch):
        def broken(*_):
            raise AttributeError("a slip of the pen")

        write_rows(folder / "a.jsonl", [{"text": "x"}])
        monkeypatch.setattr("divmon.recipes.data.rows_with", broken)
        with pytest.raises(AttributeError):
            build(folder, [{"file": "a.jsonl"}])

    def test_a_renamed_column_that_is_not_there(self, folder):
        write_rows(folder / "a.jsonl", [{"text": "x"}])
        with pytest.raises(InputError, match=r"stage\.yaml, data: file a\.jsonl .*the rows have no 'body', but text"):
            build(folder, [{"file": "a.jsonl", "columns": {"text": "body"}}])

    @pytest.mark.parametrize(
        ("text", "words"),
        [("{", r"a\.jsonl, line 1: not JSON"), ("3\n", r"line 1: expected an object"), ("", "no rows")],
    )
    def test_files_that_hold_no_rows(self, folder, text, words):
        (folder / "a.jsonl").write_text(text)
        with pytest.raises(InputError, match=words):
            build(folder, [{"file": "a.jsonl"}])

    def test_a_file_that_is_not_there(self, folder):
        with pytest.raises(InputError, match=r"stage\.yaml, data: cannot read .*a\.jsonl \(No such file"):
            build(folder, [{"file": "a.jsonl"}])

    def test_an_unknown_world_or_option(self, folder):
        with pytest.raises(InputError, match=r"world think-stf cannot be made .*think-sft"):
            build(folder, [{"world": "think-stf", "rows": 3}])
        with pytest.raises(InputError, match=r"world rl cannot be made .*'task'"):
            build(folder, [{"world": "rl", "rows": 3, "task": 1}], "grpo")


class TestDigest:
    def test_it_tells_rows_mappings_and_seeds_of_generators(self, folder):
        write_rows(folder / "a.jsonl", [{"text": "x"}, {"text": "y"}])
        first = digest(folder, [{"file": "a.jsonl"}])
        assert first == digest(folder, [{"file": "a.jsonl"}])
        (folder / "a.jsonl").write_text(json.dumps({"text": "x"}) + "\n\n" + '{"text":   "y"}\n')  # the same rows
        assert digest(folder, [{"file": "a.jsonl"}]) == first
        assert digest(folder, [{"file": "a.jsonl", "constants": {"a": 1}}]) != first
        write_rows(folder / "a.jsonl", [{"text": "x"}, {"text": "z"}])
        assert digest(folder, [{"file": "a.jsonl"}]) != first
        world = [{"world": "think-sft", "rows": 5}]
        assert digest(folder, world) == digest(folder, world)
        assert digest(folder, world) != digest(folder, world, seed=1)

    def test_of_a_hub_data_set_it_is_the_commit(self, folder):
        sources = [{"dataset": "allenai/x", "streaming": True, "rows": 5}]
        first = digest(folder, sources, revisions={"allenai/x": "a" * 40})
        assert digest(folder, sources, revisions={"allenai/x": "b" * 40}) != first

    def test_of_a_data_set_in_a_folder_it_is_what_the_files_hold(self, folder):
        (folder / "local").mkdir()
        rows = [{"text": f"{'x' * 1000} {n}"} for n in range(6000)]
        write_rows(folder / "local" / "train.jsonl", rows)
        first = digest(folder, [{"dataset": "local"}])
        assert digest(folder, [{"dataset": "local"}]) == first
        rows[3001] = {"text": rows[3001]["text"].replace("x", "y")}  # in the middle of a large file
        write_rows(folder / "local" / "train.jsonl", rows)
        assert digest(folder, [{"dataset": "local"}]) != first

    def test_a_run_folder_keeps_the_commit_that_it_began_with(self, folder, request):
        pinned, tagged = {"dataset": "a/y", "revision": "c" * 40}, {"dataset": "a/z", "revision": "v1"}
        recipe = recipe_of(folder, [{"dataset": "a/x"}, pinned, tagged])
        known = {"a/x": "b" * 40, "a/z@v0": "d" * 40}  # of another tag
        assert resolved_revisions(recipe, known) == {"a/x": "b" * 40, f"a/y@{'c' * 40}": "c" * 40}
        asked = request.getfixturevalue("asked")  # from here on there is a hub
        found = resolved_revisions(recipe, known)
        assert (found["a/x"], found["a/z@v1"]) == ("b" * 40, "e" * 40)
        assert asked == [("dataset", "a/z", "v1")]

    def test_and_so_it_is_with_a_hub_model(self, folder, asked):
        from divmon.recipes.models import weights_given

        recipe = load_recipe(write_recipe(folder, "hub", {"model": "a/m", "model_args": {"revision": "main"}}))
        found = resolved_revisions(recipe)
        assert (found, asked) == ({"model a/m@main": "e" * 40}, [("model", "a/m", "main")])
        assert resolved_revisions(recipe, {"model a/m@main": "f" * 40}) == {"model a/m@main": "f" * 40}
        assert len(asked) == 1
        assert weights_given(recipe, found).revision == "e" * 40
        assert weights_given(recipe).revision == "main"
        assert resolved_revisions(load_recipe(folder / "base.yaml")) == {}


class TestHub:
    """A folder that `load_dataset` reads stands in for the hub."""

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch):
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    @pytest.fixture
    def hub(self, folder):
        (folder / "hub").mkdir()
        rows = [{"messages": chat(f"q{n}", f"<think>t</think>a{n}"), "id": f"{n}", "source": "s"} for n in range(50)]
        write_rows(folder / "hub" / "train.jsonl", rows)
        return "hub"

    @pytest.mark.parametrize("streaming", [False, True])
    def test_capped(self, folder, hub, streaming):
        source = {"dataset": hub, "streaming": streaming, "rows": 20, "strip_thinking": True}
        data = build(folder, [source])
        assert len(data) == 20
        assert data.column_names == ["messages"]
        answers = sorted(int(row["messages"][1]["content"].removeprefix("a")) for row in data)
        assert len(set(answers)) == 20
        assert answers != list(range(20))
        assert build(folder, [source])["messages"] == data["messages"]

    def test_whole(self, folder, hub):
        data = build(folder, [{"dataset": hub, "strip_thinking": True}])
        assert len(data) == 50
        assert data[0]["messages"][1]["content"].startswith("a")

    def test_streamed_to_the_end_together_with_a_file(self, folder, hub):
        write_rows(folder / "a.jsonl", [{"messages": chat("x", "y")}])
        data = build(folder, [{"dataset": hub, "streaming": True}, {"file": "a.jsonl"}])
        assert isinstance(data, datasets.IterableDataset)
        assert len(list(data)) == 51

    def test_a_mapping_leaves_rows_out_before_the_cap(self, folder, hub):
        rows = [{"messages": chat(f"q{n}", "a" if n % 2 else ""), "dataset_source": "s"} for n in range(50)]
        write_rows(folder / "hub" / "train.jsonl", rows)
        source = {"dataset": hub, "mapping": "dolci-sft"}
        assert len(build(folder, [source])) == 25
        assert len(build(folder, [source | {"rows": 20, "streaming": True}])) == 20

    @pytest.mark.parametrize("streaming", [False, True])
    @pytest.mark.parametrize("kept", [range(1000, 1010), range(10)])
    def test_a_batch_of_which_no_row_is_left(self, folder, hub, streaming, kept):
        """``datasets`` maps a thousand rows at a time."""
        rows = [{"messages": chat(f"q{n}", "a" if n in kept else ""), "dataset_source": "s"} for n in range(2100)]
        write_rows(folder / "hub" / "train.jsonl", rows)
        data = list(build(folder, [{"dataset": hub, "mapping": "dolci-sft", "streaming": streaming}]))
        assert sorted(row["messages"][0]["content"] for row in data) == sorted(f"q{n}" for n in kept)

    def test_what_is_not_there(self, folder):
        with pytest.raises(InputError, match=r"stage\.yaml, data: dataset nobody/nothing cannot be loaded"):
            build(folder, [{"dataset": "nobody/nothing"}])


def test_rows_of_a_file_can_stand_in_for_a_sources_own(folder):
    write_rows(folder / "fixture.jsonl", [{"messages": chat("q", "<think>t</think>a"), "source": "s"}])
    source = {"dataset": "allenai/x", "name": "n", "revision": "r", "streaming": True, "rows": 5}
    recipe = recipe_of(folder, [source | {"strip_thinking": True}])
    data = (with_rows(recipe.data[0], folder / "fixture.jsonl"),)
    made = StageData(dataclasses.replace(recipe, data=data), 0).build()
    assert made["messages"] == [chat("q", "a")]
