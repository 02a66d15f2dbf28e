"""Prompts become the token ids that the trainer would give the model, and the tokenizer stays as it was."""

from __future__ import annotations

import copy
import json

import pytest
from tokenizers.processors import TemplateProcessing
from trl.data_utils import apply_chat_template

from divmon.errors import InputError
from divmon.prompt import Prompt
from divmon.sampling.render import Renderer, encode, tokenizer_of
from tests.tiny import CHAT_TEMPLATE, tiny_tokenizer

USER = {"role": "user", "content": "what is two plus three?"}
ANSWER = {"role": "assistant", "content": "it is five."}
SYSTEM = {"role": "system", "content": "be short"}
MORE = {"role": "user", "content": "and minus one?"}

TOOLS = "{% if tools %}[tools: {% for t in tools %}{{ t['function']['name'] }} {% endfor %}]{% endif %}"
MODE = "{% if mode is defined %}[{{ mode }}]{% endif %}"
THINKING = CHAT_TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>\n{% endif %}")
PARTS = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}"
    "{% endif %}{% endfor %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def weather(city: str) -> str:
    """The weather in a place.

    Args:
        city: The place.
    """
    return city


def with_bos(end: bool = False):
    """A tokenizer without a template that opens a text by itself, and may close it."""
    tokenizer = tiny_tokenizer(chat=False)
    tokenizer.bos_token = "<|system|>"
    pair = [("<|system|>", tokenizer.bos_token_id), ("<eos>", tokenizer.eos_token_id)]
    single = "<|system|> $A <eos>" if end else "<|system|> $A"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=pair)
    return tokenizer


def chat(*turns, **settings) -> Prompt:
    return Prompt(id="c", messages=tuple(turns), **settings)


class Processor:
    """As much of a multimodal processor as there has to be."""

    def __init__(self, template=None, own=None):
        self.tokenizer = tiny_tokenizer(chat=False)
        self.tokenizer.chat_template = own
        self.chat_template = template


class TestTemplate:
    @pytest.mark.parametrize(
        "turns",
        [[USER], [SYSTEM, USER], [SYSTEM, USER, ANSWER, MORE], [USER, {"role": "assistant", "content": "it is "}]],
    )
    def test_as_trl_applies_it(self, turns):
        tokenizer = tiny_tokenizer()
        expected = apply_chat_template({"prompt": turns}, tokenizer)["prompt"]
        rendered = Renderer(tokenizer).render(chat(*turns))
        assert rendered.text == expected
        assert list(rendered.token_ids) == tokenizer(expected, add_special_tokens=False)["input_ids"]

    def test_a_string_is_a_user_turn_unless_it_is_plain(self):
        tokenizer = tiny_tokenizer()
        assert Renderer(tokenizer).render(Prompt(id="0", text="hi")).text == "<|user|>hi\n<|assistant|>"
        assert Renderer(tokenizer).render(Prompt(id="0", text="hi", chat=False)).text == "hi"

    def test_the_templates_special_tokens_are_the_only_ones(self):
        tokenizer = with_bos()
        tokenizer.chat_template = CHAT_TEMPLATE
        ids = Renderer(tokenizer).render(chat(USER)).token_ids
        assert tokenizer.bos_token_id not in ids
        assert list(ids) == tokenizer.apply_chat_template([USER], add_generation_prompt=True)["input_ids"]

    def test_a_final_answer_is_continued(self):
        text = Renderer(tiny_tokenizer()).render(chat(USER, {"role": "assistant", "content": "it is"})).text
        assert text == "<|user|>what is two plus three?\n<|assistant|>it is"

    def test_arguments_system_prompt_and_tools_pass_through(self):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = TOOLS + MODE + CHAT_TEMPLATE
        schema = {"type": "function", "function": {"name": "clock"}}
        renderer = Renderer(tokenizer, None, {"mode": "fast"}, "be kind", (weather,))
        tail = "<|user|>what is two plus three?\n<|assistant|>"
        assert renderer.render(chat(USER)).text == f"[tools: weather ][fast]<|system|>be kind\n{tail}"
        own = chat(SYSTEM, USER, tools=(schema,), template_kwargs={"mode": "slow"})
        assert renderer.render(own).text == f"[tools: clock ][slow]<|system|>be short\n{tail}"
        assert Renderer(tokenizer).render(chat(USER)).text == tail

    def test_another_template(self):
        tokenizer = tiny_tokenizer(chat=False)
        assert Renderer(tokenizer).template is None
        assert Renderer(tokenizer, chat_template="Q: {{ messages[0]['content'] }}").render(chat(USER)).text == (
            "Q: what is two plus three?"
        )

    def test_several_templates(self):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = {"default": CHAT_TEMPLATE, "tool_use": TOOLS + CHAT_TEMPLATE, "rag": "rag"}
        tail = "<|user|>what is two plus three?\n<|assistant|>"
        assert Renderer(tokenizer).render(chat(USER)).text == tail
        assert Renderer(tokenizer, tools=(weather,)).render(chat(USER)).text == f"[tools: weather ]{tail}"
        assert Renderer(tokenizer, chat_template="rag").render(chat(USER)).text == "rag"

    @pytest.mark.parametrize(
        ("template", "settings"),
        [
            ("{{ raise_exception('no system turn') }}", {}),
            ("{{ messages[0].a.b }}", {}),
            ("{{ 1 // 0 }}", {}),
            ("{% if %}", {}),
            (CHAT_TEMPLATE, {"chat_template_kwargs": {"tokenize": True}}),
            (CHAT_TEMPLATE, {"tools": (lambda x: x,)}),
        ],
    )
    def test_a_template_that_refuses(self, template, settings):
        with pytest.raises(
            InputError, match=r"Prompt 'c': The chat template refuses a conversation \(\w+: .*Pass other prompts="
        ):
            Renderer(tiny_tokenizer(), chat_template=template, **settings).render(chat(SYSTEM, USER))


class TestPlain:
    def test_a_model_without_a_template(self):
        renderer = Renderer(tiny_tokenizer(chat=False))
        assert renderer.render(Prompt(id="0", text="tell me")).text == "tell me"
        assert renderer.render(chat(SYSTEM, USER)).text == "be short\n\nwhat is two plus three?"
        parts = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
        assert renderer.render(chat(parts)).text == "ab"
        system = Renderer(tiny_tokenizer(chat=False), system_prompt="be kind")
        assert system.render(Prompt(id="0", text="tell me")).text == "be kind\n\ntell me"

    @pytest.mark.parametrize("end", [False, True])
    def test_it_gets_the_tokenizers_own_first_token(self, end):
        tokenizer = with_bos(end)
        ids = Renderer(tokenizer).render(Prompt(id="0", text="tell me")).token_ids
        assert ids[0] == tokenizer.bos_token_id
        # An end token that the tokenizer appends would stop the answer before it begins.
        assert ids[-1] != tokenizer.eos_token_id
        assert tokenizer.decode(ids[1:]) == "tell me"
        assert encode(tokenizer, "a<eos>", special=True)[-1] == tokenizer.eos_token_id

    def test_nothing_left(self):
        for tokenizer in (tiny_tokenizer(chat=False), with_bos()):
            with pytest.raises(InputError, match="Prompt '0' is empty after tokenisation: remove it"):
                Renderer(tokenizer).render(Prompt(id="0", text=""))

    def test_tokens_stay(self):
        rendered = Renderer(tiny_tokenizer(), system_prompt="x").render(Prompt(id="0", token_ids=(7, 2, 9)))
        assert rendered.token_ids == (7, 2, 9)
        assert rendered.text == tiny_tokenizer().decode([7, 2, 9])


class TestThinking:
    TAIL = "<|user|>what is two plus three?\n<|assistant|>"

    @pytest.mark.parametrize(
        ("template", "thinking", "ending", "opened"),
        [
            (CHAT_TEMPLATE, None, "", False),
            (CHAT_TEMPLATE, "full", "", False),
            (CHAT_TEMPLATE, "suppress", "<think>\n</think>\n", False),
            (THINKING, None, "<think>\n", True),
            (THINKING, "full", "<think>\n", True),
            (THINKING, "suppress", "<think>\n</think>\n", False),
            (THINKING.replace("<think>\n", "<think>"), "suppress", "<think>\n</think>\n", False),
            # A template that already closed the block (Qwen 3 with enable_thinking=False).
            (THINKING.replace("<think>", "<think>\n\n</think>\n"), "suppress", "<think>\n\n</think>\n\n", False),
        ],
    )
    def test_the_block(self, template, thinking, ending, opened):
        tokenizer = tiny_tokenizer()
        renderer = Renderer(tokenizer, chat_template=template, thinking=thinking)
        rendered = renderer.render(chat(USER))
        assert rendered.text == self.TAIL + ending
        assert list(rendered.token_ids) == tokenizer(self.TAIL + ending)["input_ids"]
        assert rendered.think_opened is opened
        tokens = Prompt(
            id="t", token_ids=tuple(Renderer(tokenizer, chat_template=template).render(chat(USER)).token_ids)
        )
        again = renderer.render(tokens)
        assert (again.text, again.token_ids, again.think_opened) == (rendered.text, rendered.token_ids, opened)

    def test_without_a_template(self):
        rendered = Renderer(tiny_tokenizer(chat=False), thinking="suppress").render(Prompt(id="0", text="tell me "))
        assert rendered.text == "tell me "  # no generation prompt, so no block

    @pytest.mark.parametrize(
        ("begun", "opened"), [("<think>\ntwo and", True), ("<think>\ntwo\n</think>\nit is", False), ("it is", False)]
    )
    def test_a_continued_answer(self, begun, opened):
        prompt = chat(USER, {"role": "assistant", "content": begun})
        assert Renderer(tiny_tokenizer()).render(prompt).think_opened is opened
        if opened:
            text = Renderer(tiny_tokenizer(), thinking="suppress").render(prompt).text
            assert text.endswith("<think>\ntwo and\n</think>\n")

    def test_words_about_the_tags_do_not_open_a_block(self):
        prompt = Prompt(id="0", text="put your thoughts into <think> tags")
        assert not Renderer(tiny_tokenizer()).render(prompt).think_opened


class TestProcessor:
    def test_its_tokenizer_is_found(self):
        processor = Processor(CHAT_TEMPLATE)
        assert tokenizer_of(processor) is processor.tokenizer
        assert Renderer(processor).render(chat(USER)).text == TestThinking.TAIL
        assert Renderer(Processor()).render(chat(USER)).text == USER["content"]
        # Its own template comes first, as with TRL.
        assert Renderer(Processor(CHAT_TEMPLATE, own="other")).render(chat(USER)).text == TestThinking.TAIL
        assert Renderer(Processor(own=CHAT_TEMPLATE)).render(chat(USER)).text == TestThinking.TAIL

    def test_a_template_of_parts_gets_parts(self):
        parts = [{"type": "text", "text": "what is two "}, {"type": "text", "text": "plus three?"}]
        given = [USER, {"role": "user", "content": parts}]
        for processing_class, turns in ((Processor(PARTS), given), (Processor(CHAT_TEMPLATE), given)):
            for turn in turns:
                assert Renderer(processing_class).render(chat(turn)).text == TestThinking.TAIL
        tokenizer = tiny_tokenizer()
        for template in (CHAT_TEMPLATE, PARTS):
            tokenizer.chat_template = template
            assert Renderer(tokenizer).render(chat(given[1])).text == TestThinking.TAIL

    @pytest.mark.parametrize("given", [None, "gpt2", object()])
    def test_no_tokenizer(self, given):
        with pytest.raises(InputError, match="Expected a tokenizer or a processor that holds one, got "):
            Renderer(given).render(chat(USER))


class TestTheTokenizerIsLeftAlone:
    def state(self, tokenizer):
        return json.loads(tokenizer.backend_tokenizer.to_str()), {
            name: copy.deepcopy(value) for name, value in vars(tokenizer).items() if name != "_tokenizer"
        }

    @pytest.mark.parametrize("prepared", [False, True])
    def test_in_every_way_of_rendering(self, prepared, caplog):
        tokenizer = tiny_tokenizer()
        tokenizer.model_max_length = 4
        if prepared:
            tokenizer.backend_tokenizer.enable_truncation(max_length=5, stride=1, direction="left")
            tokenizer.backend_tokenizer.enable_padding(direction="left", pad_id=0, pad_token="<pad>", length=9)
        before = self.state(tokenizer)
        prompts = [
            chat(USER),
            Prompt(id="0", text="tell me about the sea", chat=False),
            Prompt(id="1", token_ids=(4, 5)),
        ]
        rendered = [Renderer(tokenizer, thinking="suppress").render(prompt) for prompt in prompts]
        with pytest.raises(InputError):
            Renderer(tokenizer, chat_template="{{ 1 // 0 }}").render(prompts[0])
        assert self.state(tokenizer) == before
        assert not caplog.text
        # Nor does what was set there reach the prompts.
        free = Renderer(tiny_tokenizer(), thinking="suppress")
        assert [item.token_ids for item in rendered] == [free.render(prompt).token_ids for prompt in prompts]
