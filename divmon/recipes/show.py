"""What would run, as YAML: the recipe as given, what the runner adds, where it starts from and what is there of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from divmon.measurement import to_plain
from divmon.recipes.configs import check_sections, monitor_settings, resolved_settings
from divmon.recipes.document import read_yaml
from divmon.recipes.plan import Plan, Stage, order
from divmon.recipes.recipe import Recipe
from divmon.recipes.state import read_state

NOWHERE = Path("OUTPUT_DIR")


def shown(
    recipes: Sequence[Recipe],
    output_dir: Path | None = None,
    *,
    seed: int = 0,
    smoke: bool = False,
    from_scratch: bool = False,
) -> list[str]:
    """A YAML document for each recipe.

    Args:
        recipes: The recipes.
        output_dir: Where their run folders would be; given, the documents say what is there.
        seed: As it would be run with.
        smoke: Likewise.
        from_scratch: Likewise.

    Raises:
        InputError: As running would, as far as it can be told without the model.
    """
    if output_dir is None:  # then recipes of one name, from several folders, share no run folder
        runs = [order([recipe], NOWHERE, from_scratch=from_scratch) for recipe in recipes]
    else:
        runs = [order(recipes, output_dir.resolve(), from_scratch=from_scratch)]
    documents: dict[Path, str] = {}
    for stages in runs:
        plan = Plan(stages, seed, smoke)
        documents |= {stage.recipe.path: _shown(stage, plan, output_dir is not None) for stage in stages if stage.named}
    return [documents[recipe.path] for recipe in recipes]


def _shown(stage: Stage, plan: Plan, look: bool) -> str:
    recipe = stage.recipe
    check_sections(recipe)
    document: dict[str, Any] = {"recipe": recipe.name, "chain": [member.name for member in stage.chain]}
    if look:
        document["status"] = _status(stage, plan)
    document["given"] = read_yaml(recipe.path)[1]
    added: dict[str, Any] = {}
    if stage.trains:
        settings = resolved_settings(recipe, stage.folder, seed=plan.seed, smoke=plan.smoke)
        missing = object()
        given = recipe.settings
        added[str(recipe.trainer)] = {k: v for k, v in settings.items() if given.get(k, missing) != v}
    monitor = monitor_settings(recipe, smoke=plan.smoke)
    beside = {key: value for key, value in monitor.items() if recipe.monitor.get(key) != value}
    if stage.measures_itself:
        beside["measured"] = "once, at the end" if stage.trains else "once; nothing is trained"
    beside["baseline"] = str(stage.root.folder) if stage.root is not stage else "its own first measurement"
    added["monitor"] = beside
    document["added by the runner"] = added
    head = f"# {recipe.path}\n"
    return head + yaml.safe_dump(_plain(document), explicit_start=True, sort_keys=False, allow_unicode=True, width=110)


def _status(stage: Stage, plan: Plan) -> str:
    status, state = plan.status(stage), read_state(stage.folder)
    if status == "absent":
        return f"not run yet in {stage.folder}"
    if status == "changed":
        return f"{stage.folder} would be moved aside and run again: {plan.what_changed(stage)}"
    if status == "complete":
        return f"complete in {stage.folder}: {state.get('summary', '')}"
    return f"begun in {stage.folder}, not complete: it would go on"


def _plain(value: Any) -> Any:
    """For YAML: paths as text, and everything else as JSON would have it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return to_plain(value)
