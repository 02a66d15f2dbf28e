"""A language model as judge: which of two answers is better, how good one is, what of a checklist it meets.

For answers that no verifier can check. Two parts: a `ChatModel` turns messages into a reply (`OpenAIChat` asks any
server that speaks OpenAI's chat API: OpenAI, vLLM, llama.cpp, Ollama); a `Judge` asks it, reads verdicts and remembers
them. The client needs no package beside Python's own, so there is no extra to install.

A judge's verdicts are opinions: they lean towards long answers and towards answers of the judge's own kind, and a
policy trained on them learns what the judge likes. What is judged is untrusted, see `divmon.judge.verdict`.
"""

from divmon.judge.chat import ChatModel, JudgeError, Message, OpenAIChat
from divmon.judge.judge import Judge, Preference

__all__ = ["ChatModel", "Judge", "JudgeError", "Message", "OpenAIChat", "Preference"]
