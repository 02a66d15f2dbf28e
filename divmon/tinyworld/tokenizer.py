"""The tiny world's own tokenizer and chat template."""

from __future__ import annotations

import re
from typing import Any

from divmon.tinyworld.rows import dataset
from divmon.tinyworld.stages import ASSISTANT, END, USER
from divmon.tinyworld.words import HELD_OUT_MARKS, HELD_OUT_TOPICS, MARKS, TOPICS

PAD = "<|pad|>"

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}"
    f"{{{{- '{ASSISTANT}\\n' }}}}"
    "{%- generation %}"
    f"{{{{- message['content'] + '{END}' }}}}"
    "{%- endgeneration %}"
    "{{- '\\n' }}"
    "{%- else %}"
    f"{{{{- '{USER}\\n' + message['content'] + '{END}\\n' }}}}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    f"{{{{- '{ASSISTANT}\\n' }}}}"
    "{%- endif %}"
)


def train_tokenizer(vocab_size: int = 1024, documents: int = 20_000, seed: int = 0) -> Any:
    """Train the byte-level BPE on the corpus without its topics and marks.

    Topics and marks then fall into several pieces, the held-out ones like all others, so that naming a topic is always
    a matter of copying.

    Args:
        vocab_size: Tokens, the special ones included.
        documents: Documents of the corpus to learn from.
        seed: Their seed.

    Returns:
        A ``PreTrainedTokenizerFast``; the same arguments give the same tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    hidden = "|".join((*TOPICS, *HELD_OUT_TOPICS, *MARKS, *HELD_OUT_MARKS))
    hide = re.compile(rf"\b(?:{hidden})\b|<\|\w+\|>", re.IGNORECASE)
    texts = [hide.sub("", row["text"]) for row in dataset("corpus", documents, seed)]
    texts += [" " + " ".join(str(number) for number in range(100))] * 200
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, END, USER, ASSISTANT]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, padding_side="left")
    # Not special: they must survive skip_special_tokens, or nothing can tell chain from answer.
    wrapped.add_tokens(["<think>", "</think>"])
    wrapped.add_special_tokens({"additional_special_tokens": [USER, ASSISTANT]})
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped
