"""The paper's fifteen tasks: what each is, and its prompts.

``divmon tasks`` lists them. ``DiversityCallback(prompts="gsm8k")`` and ``prompts="gsm8k,ifeval"`` sample theirs, and
``PromptSet.of_tasks`` takes more options.
"""

from divmon.tasks.catalogue import TASKS
from divmon.tasks.load import Loaded, asked_for, is_task, load_tasks, names_tasks, task_of
from divmon.tasks.task import Task

__all__ = ["TASKS", "Loaded", "Task", "asked_for", "is_task", "load_tasks", "names_tasks", "task_of"]
