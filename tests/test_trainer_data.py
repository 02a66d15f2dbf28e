"""The prompts that a real TRL trainer's data sets give, and what of them the training data holds too."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from datasets import Dataset, IterableDataset
from transformers import Trainer, TrainingArguments
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from divmon.errors import InputError
from divmon.options import MonitorOptions
from divmon.prompt import Prompt
from divmon.prompts import PromptSet
from divmon.sampling.render import Renderer
from divmon.trainer import data
from divmon.trainer.choice import choose_prompts, with_trainer_settings
from divmon.trainer.data import eval_prompts, overlap
from divmon.trainer.tokens import Marks
from tests.tiny import (
    CHAT_TEMPLATE,
    HELD_OUT,
    QUESTIONS,
    dpo_dataset,
    grpo_dataset,
    held_out_chats,
    length_reward,
    sft_dataset,
    tiny_llama,
    tiny_tokenizer,
)

COMMON: dict[str, Any] = {
    "max_steps": 1,
    "per_device_train_batch_size": 4,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "disable_tqdm": True,
}
OPTIONS = MonitorOptions(num_prompts=32, max_new_tokens=8)
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|system|>be kind<eos>{{ '\n' }}{% endif %}{% for m in messages %}"
    "<|{{ m['role'] }}|>{{ '\n' }}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<eos>"
    "{% endgeneration %}{% else %}{{ m['content'] }}<eos>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{{ '\n' }}{% endif %}"
)


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def system(content):
    return {"role": "system", "content": content}


SINGLE = [[user(text)] for text in HELD_OUT]
MULTI = [[user(text), assistant("it is old"), user("and the wind?")] for text in HELD_OUT]
SYSTEM = [[system("be short"), *turns] for turns in MULTI]
FORMS = {"single": SINGLE, "multi": MULTI, "system": SYSTEM}


def messages(prompts):
    return Dataset.from_list([{"messages": [*turns, assistant("it is five")]} for turns in prompts])


def pairs(questions):
    return Dataset.from_list([{"prompt": text, "completion": " it is five"} for text in questions])


def sft(tmp_path, evaluation, train=None, tokenizer=None, **settings):
    return SFTTrainer(
        model=tiny_llama(),
        args=SFTConfig(output_dir=str(tmp_path), **(COMMON | settings)),
        train_dataset=sft_dataset() if train is None else train,
        eval_dataset=evaluation,
        processing_class=tokenizer or tiny_tokenizer(),
    )


def dpo(tmp_path, evaluation, train=None, **settings):
    return DPOTrainer(
        model=tiny_llama(),
        ref_model=tiny_llama(),
        args=DPOConfig(output_dir=str(tmp_path), **(COMMON | settings)),
        train_dataset=dpo_dataset() if train is None else train,
        eval_dataset=evaluation,
        processing_class=tiny_tokenizer(),
    )


def grpo(tmp_path, evaluation, train=None, **settings):
    return GRPOTrainer(
        model=tiny_llama(),
        args=GRPOConfig(output_dir=str(tmp_path), num_generations=4, **(COMMON | settings)),
        reward_funcs=length_reward,
        train_dataset=grpo_dataset() if train is None else train,
        eval_dataset=evaluation,
        processing_class=tiny_tokenizer(),
    )


def plain_trainer(tmp_path, evaluation, train=None):
    return Trainer(
        model=tiny_llama(),
        args=TrainingArguments(output_dir=str(tmp_path), **COMMON),
        train_dataset=train,
        eval_dataset=evaluation,
        processing_class=tiny_tokenizer(),
    )


def ids_of(prompts, tokenizer=None):
    renderer = Renderer(tokenizer or tiny_tokenizer())
    return {renderer.render(prompt).token_ids for prompt in prompts}


def templated(conversations, tokenizer=None, **settings):
    tokenizer = tokenizer or tiny_tokenizer()
    return {
        tuple(tokenizer.apply_chat_template(turns, add_generation_prompt=True, **settings)["input_ids"])
        for turns in conversations
    }


class TestReadable:
    @pytest.mark.parametrize("form", FORMS)
    def test_sft_messages(self, form, tmp_path, caplog):
        found = choose_prompts(sft(tmp_path, messages(FORMS[form])), OPTIONS, None)
        assert found.source == "eval_dataset"
        assert ids_of(found) == templated(FORMS[form])
        assert "divmon" not in caplog.text

    def test_sft_tools(self, tmp_path):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = "{% for t in tools or [] %}[{{ t['name'] }}]{% endfor %}" + CHAT_TEMPLATE
        tools = [{"name": "clock"}]
        rows = [{"messages": [user(text), assistant("it is")], "tools": tools} for text in HELD_OUT]
        trainer = sft(tmp_path, Dataset.from_list(rows), tokenizer=tokenizer)
        assert ids_of(choose_prompts(trainer, OPTIONS, None), tokenizer) == templated(SINGLE, tokenizer, tools=tools)

    @pytest.mark.parametrize("settings", [{}, {"remove_unused_columns": False}, {"max_length": 12}])
    def test_sft_prompt_and_completion(self, settings, tmp_path):
        rows = [{"prompt": turns, "completion": [assistant("it is five")]} for turns in SINGLE]
        trainer = sft(tmp_path, Dataset.from_list(rows), **settings)
        assert ids_of(choose_prompts(trainer, OPTIONS, None)) == templated(SINGLE)

    def test_plain_prompts_are_not_templated(self, tmp_path):
        trainer = sft(tmp_path, pairs(HELD_OUT), pairs(QUESTIONS))
        expected = {tuple(tiny_tokenizer()(text)["input_ids"]) for text in HELD_OUT}
        assert ids_of(choose_prompts(trainer, OPTIONS, None)) == expected
        for row, text in zip(trainer.eval_dataset, HELD_OUT, strict=True):
            size = row["labels"].count(-100)
            assert tuple(row["input_ids"][:size]) == tuple(tiny_tokenizer()(text)["input_ids"])

    def test_dpo(self, tmp_path):
        explicit = choose_prompts(dpo(tmp_path, dpo_dataset(HELD_OUT)), OPTIONS, None)
        assert ids_of(explicit) == templated(SINGLE)
        pairs = [
            {"chosen": [*turns, assistant("it is five")], "rejected": [*turns, assistant("what?")]} for turns in MULTI
        ]
        trainer = dpo(tmp_path, Dataset.from_list(pairs))
        implicit = choose_prompts(trainer, OPTIONS, None)
        assert ids_of(implicit) == templated(MULTI) == {tuple(ids) for ids in trainer.eval_dataset["prompt_ids"]}
        only_ids = eval_prompts(trainer.eval_dataset.select_columns(["prompt_ids"]), 32, Renderer(tiny_tokenizer()))
        assert ids_of(only_ids) == templated(MULTI)
        unprepared = eval_prompts(Dataset.from_list(pairs), 32, Renderer(tiny_tokenizer()))
        assert ids_of(unprepared) == templated(MULTI)

    def test_plain_dpo(self, tmp_path):
        rows = Dataset.from_list([{"prompt": text, "chosen": " old", "rejected": " five"} for text in HELD_OUT])
        trainer = dpo(tmp_path, rows)
        found = choose_prompts(trainer, OPTIONS, None)
        assert ids_of(found) == {tuple(ids) for ids in trainer.eval_dataset["prompt_ids"]}

    def test_grpo(self, tmp_path):
        assert ids_of(choose_prompts(grpo(tmp_path, grpo_dataset(HELD_OUT)), OPTIONS, None)) == templated(SINGLE)
        plain = grpo(tmp_path, Dataset.from_dict({"prompt": HELD_OUT}))
        found = choose_prompts(plain, OPTIONS, None)
        assert ids_of(found) == {tuple(tiny_tokenizer()(text)["input_ids"]) for text in HELD_OUT}

    def test_the_trainers_own_arguments(self, tmp_path):
        trainer = grpo(tmp_path, None, chat_template_kwargs={"a": 1})
        trainer.chat_template, trainer.tools = "other", [length_reward]
        taken = with_trainer_settings(OPTIONS, trainer)
        assert (taken.chat_template_kwargs, taken.chat_template, taken.tools) == ({"a": 1}, "other", (length_reward,))
        own = MonitorOptions(chat_template="x", chat_template_kwargs={"b": 2}, tools=(len,))
        assert with_trainer_settings(own, trainer) == own

    def test_a_dictionary_gives_a_task_a_name(self, tmp_path):
        sets = {"sea": messages(SINGLE[:4]), "one": grpo_dataset(["one?"]), "more": messages(MULTI)}
        found = choose_prompts(sft(tmp_path, {k: v for k, v in sets.items() if k != "one"}), OPTIONS, None)
        assert [(task, sum(p.task == task for p in found)) for task in found.tasks] == [("sea", 4), ("more", 5)]
        shared = choose_prompts(grpo(tmp_path, sets), MonitorOptions(num_prompts=6, max_new_tokens=8), None)
        assert [sum(p.task == task for p in shared) for task in ("sea", "one", "more")] == [3, 1, 2]
        own = Dataset.from_list([{"prompt": text, "task": text} for text in HELD_OUT])
        assert eval_prompts({"a": own}, 5, Renderer(tiny_tokenizer())).tasks == ("a",)
        assert eval_prompts({"a": own, "b": None}, 5, Renderer(tiny_tokenizer())).tasks == ("a",)

    def test_a_stream(self, tmp_path):
        trainer = sft(tmp_path, messages(MULTI).to_iterable_dataset())
        assert ids_of(choose_prompts(trainer, OPTIONS, None)) == templated(MULTI)

        def endless():
            while True:
                yield {"messages": [user("what of the cat?"), assistant("it is old")]}

        assert len(eval_prompts(IterableDataset.from_generator(endless), 3, Renderer(tiny_tokenizer()))) == 1

    def test_lists_and_torch_data_sets(self, tmp_path):
        class Rows(torch.utils.data.Dataset):
            def __len__(self):
                return len(HELD_OUT)

            def __getitem__(self, index):
                return {"input_ids": torch.tensor(tokens[index][0]), "labels": torch.tensor(tokens[index][1])}

        class Stream(torch.utils.data.IterableDataset):
            def __iter__(self):
                yield from rows

        rows = [{"prompt": turns} for turns in SINGLE]
        tokens = []
        for prompt in sorted(templated(SINGLE)):
            # Padded on the left, masked there and in the prompt.
            tokens.append(([*prompt, 7, 1], [-100] * len(prompt) + [7, 1]))
        padded = [
            {"input_ids": torch.tensor([0, 0, *ids]), "attention_mask": torch.tensor([0, 0] + [1] * len(ids))}
            for ids, _ in tokens
        ]
        for evaluation in (rows, Rows(), Stream(), padded):
            found = choose_prompts(plain_trainer(tmp_path, evaluation), OPTIONS, None)
            assert ids_of(found) == templated(SINGLE), evaluation
        formatted = Dataset.from_list([{"input_ids": ids, "labels": labels} for ids, labels in tokens])
        found = choose_prompts(plain_trainer(tmp_path, formatted.with_format("torch")), OPTIONS, None)
        assert ids_of(found) == templated(SINGLE)

    def test_spread_and_at_most_four_times_as_many(self):
        rows = Dataset.from_dict({"prompt": [str(i) for i in range(100)]})
        found = eval_prompts(rows, 5, Renderer(tiny_tokenizer()))
        assert [prompt.text for prompt in found][:5] == ["0", "20", "40", "60", "80"]
        assert len(found) == 20
        few = eval_prompts(rows.select(range(3)), 5, Renderer(tiny_tokenizer()))
        assert sorted(prompt.text for prompt in few) == ["0", "1", "2"]

    @pytest.mark.parametrize(
        "rows",
        [
            Dataset.from_dict({"text": [f"{text} it is old" for text in HELD_OUT]}),
            Dataset.from_dict({"messages": [[assistant("it is old")], [assistant("it is five")]]}),
        ],
        ids=["text", "answers"],
    )
    def test_no_prompts_means_the_bundled_ones(self, rows, tmp_path, caplog):
        found = choose_prompts(sft(tmp_path, rows), OPTIONS, None)
        assert found.source == "bundled"
        assert "the evaluation set holds no prompts that can be told from answers, so the bundled" in caplog.text

    def test_text_in_the_templates_form(self, tmp_path):
        tokenizer = tiny_tokenizer()
        text = [tokenizer.apply_chat_template([*t, assistant("it is")], tokenize=False) for t in MULTI]
        trainer = sft(tmp_path, Dataset.from_dict({"text": text}))
        assert ids_of(choose_prompts(trainer, OPTIONS, None)) == templated(MULTI)

    def test_other_data_sets_and_none(self, tmp_path, caplog):
        numbers = Dataset.from_dict({"x": [1, 2]})
        for evaluation in (numbers, [1, 2], [], Dataset.from_dict({"input_ids": [[], []]}), [{"labels": 1}]):
            assert choose_prompts(plain_trainer(tmp_path, evaluation), OPTIONS, None).source == "bundled"
        assert caplog.text.count("divmon: the evaluation set holds no prompts") == 5
        caplog.clear()
        options = MonitorOptions(num_prompts=4, max_new_tokens=8)
        assert choose_prompts(sft(tmp_path, None), options, None).prompts[1:] == PromptSet.bundled(4).prompts[1:]
        assert "evaluation set" not in caplog.text

    def test_rows_without_words_are_passed_over(self, tmp_path):
        rows = Dataset.from_dict({"prompt": ["", " \n", *HELD_OUT]})
        assert {prompt.text for prompt in choose_prompts(grpo(tmp_path, rows), OPTIONS, None)} == set(HELD_OUT)


class TestTokensOnly:
    """Packed sets keep nothing but ids, labels and, unless wrapped, lengths."""

    @pytest.mark.parametrize("template", [CHAT_TEMPLATE, CHATML], ids=["plain", "chatml"])
    @pytest.mark.parametrize("strategy", ["bfd", "bfd_split", "wrapped"])
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("answers_only", [False, True])
    def test_packed_chats(self, answers_only, form, strategy, template, tmp_path):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = template
        trainer = sft(
            tmp_path,
            messages(FORMS[form]),
            tokenizer=tokenizer,
            packing=True,
            packing_strategy=strategy,
            assistant_only_loss=answers_only,
            max_length=128,
        )
        names = {"input_ids", "labels"} | ({"seq_lengths"} if strategy != "wrapped" else set())
        assert set(trainer.eval_dataset.column_names) == names
        found = choose_prompts(trainer, OPTIONS, None)
        assert found.source == "eval_dataset"
        expected = templated(FORMS[form], tokenizer)
        if strategy == "wrapped" and form == "multi" and template == CHAT_TEMPLATE:
            # Nothing tells a second question from the first of another conversation: each is a prompt.
            expected = templated([*SINGLE, [user("and the wind?")]], tokenizer)
        if strategy == "wrapped":
            # A conversation that the end of a row cuts may have lost its last question.
            cut = templated([turns[: 1 + (form == "system")] for turns in FORMS[form]], tokenizer)
            assert ids_of(found, tokenizer) <= expected | cut
            assert len(ids_of(found, tokenizer) & expected) >= 2
        else:
            assert ids_of(found, tokenizer) == expected

    @pytest.mark.parametrize("strategy", ["bfd", "wrapped"])
    @pytest.mark.parametrize("chat", [False, True])
    def test_packed_prompts_and_completions(self, chat, strategy, tmp_path):
        if chat:
            # Longer completions than their last turn: only the labels tell where the prompt ends.
            after = [assistant("it is old"), user("really?"), assistant("it is five")]
            rows = Dataset.from_list([{"prompt": turns, "completion": after} for turns in SINGLE])
            train, expected = rows, templated(SINGLE)
        else:
            rows, train = pairs(HELD_OUT), pairs(QUESTIONS)
            expected = {tuple(tiny_tokenizer()(text)["input_ids"]) for text in HELD_OUT}
        trainer = sft(tmp_path, rows, train, packing=True, packing_strategy=strategy, max_length=256)
        found = ids_of(choose_prompts(trainer, OPTIONS, None))
        if strategy == "bfd":
            assert found == expected
        elif chat:
            # Each question begins a conversation of its own there, and the second ones are not masked.
            assert expected <= found <= expected | templated([[user("really?")]])
        else:
            # The first of a row may have lost its beginning.
            assert found < expected
            assert len(found) == len(expected) - 1

    def test_what_was_cut_off_is_no_prompt(self, tmp_path):
        rows = messages([[user("tell me " * 40)], [user("what of the sea?")]])
        for settings in ({}, {"assistant_only_loss": True}):
            for strategy in ("bfd", "bfd_split"):
                trainer = sft(tmp_path, rows, packing=True, packing_strategy=strategy, max_length=24, **settings)
                found = choose_prompts(trainer, OPTIONS, None)
                assert ids_of(found) == templated([[user("what of the sea?")]])

    def test_eval_packing(self, tmp_path):
        off = sft(tmp_path, messages(MULTI), packing=True, eval_packing=False, max_length=64)
        assert "messages" in off.eval_dataset.column_names
        assert ids_of(choose_prompts(off, OPTIONS, None)) == templated(MULTI)
        on = sft(tmp_path, messages(MULTI), packing=False, eval_packing=True, max_length=64)
        assert "messages" not in on.eval_dataset.column_names
        assert ids_of(choose_prompts(on, OPTIONS, None)) == templated(MULTI)

    def test_a_packed_stream(self, tmp_path):
        trainer = sft(tmp_path, messages(MULTI).to_iterable_dataset(), packing=True, max_length=128)
        assert ids_of(choose_prompts(trainer, OPTIONS, None)) == templated(MULTI)

    def test_settings_that_cannot_reach_tokens_are_said(self, tmp_path, caplog):
        trainer = sft(tmp_path, messages(SINGLE), packing=True, max_length=64)
        choose_prompts(trainer, MonitorOptions(max_new_tokens=8, system_prompt="be kind"), None)
        assert "system_prompt and chat_template_kwargs do not reach the prompts" in caplog.text

    def test_a_think_block_that_only_the_model_is_given(self):
        """The template opens the block for the model and strips it from answers (DeepSeek R1)."""
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = CHAT_TEMPLATE.replace(
            "{{ message['content'] }}<eos>", "{{ message['content'].split('</think>')[-1] }}<eos>"
        ).replace("<|assistant|>{% endif %}", "<|assistant|><think>\n{% endif %}")
        conversations = [[*turns, assistant("it is five")] for turns in SINGLE]
        rows = [tokenizer.apply_chat_template(turns) for turns in conversations]
        assert all(tokenizer.convert_tokens_to_ids("<think>") not in row["input_ids"] for row in rows)
        rows = [{"input_ids": row["input_ids"]} for row in rows]
        found = eval_prompts(Dataset.from_list(rows), 8, Renderer(tokenizer))
        assert ids_of(found, tokenizer) == templated(SINGLE, tokenizer)

    def test_a_template_whose_question_opens_the_answer(self):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = (
            "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }} <|assistant|>{% else %}"
            "{{ m['content'] }}<eos>{% endif %}{% endfor %}"
        )
        rows = [{"input_ids": ids} for ids in templated([[*t, assistant("it is five")] for t in MULTI], tokenizer)]
        found = eval_prompts(Dataset.from_list(rows), 8, Renderer(tokenizer))
        assert ids_of(found, tokenizer) == templated(MULTI, tokenizer)

    def test_a_template_that_ends_a_conversation(self):
        """Phi 3 writes an end token where no answer is opened."""
        tokenizer = tiny_tokenizer()
        ending = "<|assistant|>{% else %}<eos>{% endif %}"
        tokenizer.chat_template = CHAT_TEMPLATE.replace("<|assistant|>{% endif %}", ending)
        assert Marks.of(Renderer(tokenizer)) == Marks.of(Renderer(tiny_tokenizer()))

    def test_a_template_of_parts(self):
        """A multimodal processor's template may read nothing but parts; TRL gives it those."""
        tokenizer = tiny_tokenizer(chat=False)
        template = CHAT_TEMPLATE.replace("{{ message['content'] }}", "{{ message['content'][0]['text'] }}")
        processor = type("Processor", (), {"tokenizer": tokenizer, "chat_template": template})()
        assert Marks.of(Renderer(processor)) == Marks.of(Renderer(tiny_tokenizer()))

    def test_marks(self):
        tokenizer = tiny_tokenizer()
        marks = Marks.of(Renderer(tokenizer))
        answer, first, opening = (tokenizer.convert_tokens_to_ids(f"<|{r}|>") for r in ("assistant", "user", "system"))
        assert marks == Marks((answer,), (answer,), ((opening,), (first,)))
        assert Marks.of(Renderer(tiny_tokenizer(chat=False))) == Marks()
        assert Marks.of(Renderer(tokenizer, chat_template="{{ 1 // 0 }}")) == Marks()
        assert Marks.of(Renderer(tokenizer, chat_template="{{ messages | length }}")) == Marks()


class TestOverlap:
    MIXED = (*HELD_OUT[:3], "  Tell me\nABOUT the sea", QUESTIONS[1])
    DROPPED = "2 of 5 prompts also stand in the training data ({} training rows) and are dropped"

    def check(self, trainer, caplog, rows, given=None):
        caplog.clear()
        found = choose_prompts(trainer, OPTIONS, given)
        assert self.DROPPED.format(rows) in caplog.text
        return found

    def test_other_case_and_white_space(self, tmp_path, caplog):
        prompts = [[user(text)] for text in self.MIXED]
        found = self.check(sft(tmp_path, messages(prompts)), caplog, "16 of 16")
        assert {prompt.plain_text for prompt in found} == set(HELD_OUT[:3])
        found = self.check(dpo(tmp_path, dpo_dataset(self.MIXED)), caplog, "8 of 8")
        assert {prompt.plain_text for prompt in found} == set(HELD_OUT[:3])
        found = self.check(grpo(tmp_path, grpo_dataset(self.MIXED)), caplog, "8 of 8")
        assert {prompt.plain_text for prompt in found} == set(HELD_OUT[:3])
        given = PromptSet.of(self.MIXED)
        assert len(self.check(sft(tmp_path, None), caplog, "16 of 16", given)) == 3

    def test_a_system_turn_makes_no_difference(self, tmp_path, caplog):
        prompts = [[system("be short"), user(text)] for text in self.MIXED]
        assert len(self.check(sft(tmp_path, messages(prompts)), caplog, "16 of 16")) == 3

    @pytest.mark.parametrize("strategy", ["bfd", "wrapped"])
    def test_a_training_set_of_tokens(self, strategy, tmp_path, caplog):
        prompts = [[user(text)] for text in self.MIXED]
        settings = {"packing": True, "packing_strategy": strategy, "max_length": 512}
        for own in (True, False):
            trainer = sft(tmp_path, messages(prompts), eval_packing=own, **settings)
            rows = len(trainer.train_dataset)
            caplog.clear()
            found = choose_prompts(trainer, OPTIONS, None)
            assert f"2 of 5 prompts also stand in the training data ({rows} of {rows} training rows)" in caplog.text
            assert ids_of(found) == templated(SINGLE[:3])

    def test_prompts_of_tokens_and_training_rows_of_words(self, tmp_path, caplog):
        prompts = [[user(text)] for text in self.MIXED]
        trainer = sft(tmp_path, messages(prompts), packing=False, eval_packing=True, max_length=512)
        assert ids_of(self.check(trainer, caplog, "16 of 16")) == templated(SINGLE[:3])

    def test_running_text_is_searched_for_whole_words(self, tmp_path, caplog):
        text = [f"Q: {question}\nA: it is old" for question in QUESTIONS]
        train = Dataset.from_dict({"text": text})
        given = PromptSet.of(
            [*self.MIXED[:3], QUESTIONS[1], "Tell me About the  sea", "tell me about the se", "ell me"]
        )
        caplog.clear()
        found = choose_prompts(sft(tmp_path, None, train), OPTIONS, given)
        assert "2 of 7 prompts" in caplog.text
        assert len(found) == 5

    def test_a_part_of_a_training_prompt_is_not_the_same(self, tmp_path, caplog):
        given = PromptSet.of(["tell me about the", "sea", "tell"])
        for settings in ({}, {"packing": True, "max_length": 64}):
            assert choose_prompts(sft(tmp_path, None, **settings), OPTIONS, given) == given
        assert "also stand" not in caplog.text

    def test_all_are_kept_if_all_would_go(self, tmp_path, caplog):
        found = choose_prompts(sft(tmp_path, sft_dataset()), OPTIONS, None)
        assert len(found) == 8
        assert "every prompt also stands in the training data (16 of 16 training rows); they are kept" in caplog.text

    def test_a_streamed_training_set_is_not_read(self, tmp_path, caplog):
        trainer = sft(tmp_path, messages([[user(text)] for text in self.MIXED]))

        class Untouchable(torch.utils.data.IterableDataset):
            def __iter__(self):
                raise AssertionError("read")

        trainer.train_dataset = Untouchable()
        assert len(choose_prompts(trainer, OPTIONS, None)) == 5
        stream = sft_dataset().to_iterable_dataset()
        found = overlap(PromptSet.of(QUESTIONS), stream, Renderer(tiny_tokenizer()))
        assert (found.keys, found.scanned) == (frozenset(), "training set streamed, not scanned")

    def test_lists_and_odd_training_sets(self):
        prompts, renderer = PromptSet.of(QUESTIONS[:2]), Renderer(tiny_tokenizer())
        key = prompts.prompts[0].key
        rows = [{"prompt": QUESTIONS[0].upper()}, {"messages": None}, None]
        assert overlap(prompts, rows, renderer) == data.Overlap(frozenset([key]), "2 of 3 training rows")
        tokens = [{"input_ids": torch.tensor(sorted(templated([[user(QUESTIONS[0])]]))[0] + (7,))}]
        assert overlap(prompts, tokens, renderer).keys == {key}
        assert overlap(prompts, None, renderer).scanned == "no training set"
        for odd in ([], [1], Dataset.from_dict({"x": [1]}), Dataset.from_list([])):
            assert not overlap(prompts, odd, renderer).keys

    def test_fifty_thousand_rows_take_seconds(self, monkeypatch):
        count = 50_000
        chats = [[user(f"tell me about {i}"), assistant("it is very old " * 20)] for i in range(count)]
        tokens = [list(range(100))] * count
        train = Dataset.from_dict({"messages": chats, "input_ids": tokens, "labels": tokens})
        prompts = PromptSet.of(["tell me  ABOUT 49999", "tell me about 30000", "what"])
        started = time.perf_counter()
        found = overlap(prompts, train, Renderer(tiny_tokenizer()))
        assert time.perf_counter() - started < 10
        assert found.keys == {prompt.key for prompt in prompts.prompts[:2]}
        assert found.scanned == "50000 of 50000 training rows"
        monkeypatch.setattr(data, "OVERLAP_ROWS", 40_000)
        capped = overlap(prompts, train, Renderer(tiny_tokenizer()))
        assert (len(capped.keys), capped.scanned) == (1, "40000 of 50000 training rows")

    def test_token_rows_are_limited(self, monkeypatch):
        train = Dataset.from_dict({"input_ids": [list(range(100))] * 500})
        prompts, renderer = PromptSet.of(["what"]), Renderer(tiny_tokenizer())
        monkeypatch.setattr(data, "OVERLAP_SEARCHED_ROWS", 120)
        assert overlap(prompts, train, renderer).scanned == "120 of 500 training rows"
        monkeypatch.setattr(data, "OVERLAP_SEARCHED_TOKENS", 1000)
        assert overlap(prompts, train, renderer).scanned == "11 of 500 training rows"


class TestFitting:
    def test_long_prompts_are_dropped_and_counted(self, tmp_path, caplog):
        given = PromptSet.of(["tell me", "x" * 600, "y" * 505, "z" * 400])
        found = choose_prompts(sft(tmp_path, None), OPTIONS, given)
        assert [prompt.text[0] for prompt in found] == ["t", "z"]
        assert (
            "2 prompts are dropped: with their completions they are longer than the model's context of 512"
            in caplog.text
        )

    @pytest.mark.parametrize("options", [{"max_new_tokens": 512}, {"max_new_tokens": 8, "thinking": "full"}])
    def test_none_fits(self, options, tmp_path):
        with pytest.raises(
            InputError, match=r"No prompt and its completion fit .* of 512 tokens: lower max_new_tokens"
        ):
            choose_prompts(sft(tmp_path, None), MonitorOptions(**options), PromptSet.of(["tell me"]))

    def test_the_last_that_fits(self, tmp_path):
        prompt = Prompt(id="0", token_ids=(9,) * 504)
        assert len(choose_prompts(sft(tmp_path, None), OPTIONS, PromptSet((prompt,)))) == 1

    def test_num_prompts(self, tmp_path, caplog):
        found = choose_prompts(sft(tmp_path, held_out_chats()), MonitorOptions(num_prompts=2, max_new_tokens=8), None)
        assert len(found) == 2

    def test_the_tokenizer_and_random_states_stay(self, tmp_path):
        trainer = sft(tmp_path, messages(SINGLE), packing=True, max_length=64)
        tokenizer = trainer.processing_class
        tokenizer.backend_tokenizer.enable_truncation(max_length=5)
        tokenizer.backend_tokenizer.enable_padding(pad_id=0, pad_token="<pad>")
        before = tokenizer.backend_tokenizer.to_str(), dict(vars(tokenizer)), torch.get_rng_state()
        assert len(choose_prompts(trainer, OPTIONS, None)) == 5
        assert (tokenizer.backend_tokenizer.to_str(), dict(vars(tokenizer))) == before[:2]
        assert torch.equal(torch.get_rng_state(), before[2])
