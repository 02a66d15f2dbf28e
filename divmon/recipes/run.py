"""Running a lineage: every stage in order, each trained, saved and measured, or found complete."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from divmon.errors import InputError, near_miss
from divmon.launched import connected
from divmon.quiet import quiet_libraries
from divmon.recipes.configs import build_config, check_sections, lora_config
from divmon.recipes.options import RunOptions
from divmon.recipes.plan import Plan, Stage, order
from divmon.recipes.progress import Reporter, Silent
from divmon.recipes.recipe import Recipe
from divmon.recipes.stage import StageRunner
from divmon.recipes.trainer import rewards


def run_recipes(recipes: Sequence[Recipe], options: RunOptions, reporter: Reporter | None = None) -> list[Stage]:
    """Run recipes and what they go on from; every process of a launcher calls this.

    Args:
        recipes: The recipes, in any order.
        options: Everything else.
        reporter: Shows the run.

    Returns:
        The stages, in the order in which they ran or were found complete.

    Raises:
        InputError: For a recipe that cannot work, before anything runs where that can be told.
        StageError: If a stage fails; the stages before it stay complete, and running again goes on.
    """
    processes = connected(_patience(recipes))
    if processes.index or reporter is None:
        reporter = Silent()
    stages = order(recipes, options.output_dir.resolve(), from_scratch=options.from_scratch)
    plan = Plan(stages, options.seed, options.smoke)
    with quiet_libraries():
        for stage in stages:
            _check(stage, options)
        processes.decide(lambda: [plan.content_hash(stage) for stage in stages])  # reads files, makes rows
        for stage in stages:
            StageRunner(stage, plan, options, processes, reporter).run()
    return stages


def _check(stage: Stage, options: RunOptions) -> None:
    """Refuse at once what could not run an hour later."""
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    if not stage.trains:
        check_sections(stage.recipe)
        return
    config = build_config(
        stage.recipe, stage.folder, seed=options.seed, report_to=options.report_to, smoke=options.smoke
    )
    for name in config.report_to or ():
        if name not in INTEGRATION_TO_CALLBACK:  # the trainer says so too, after its parents have run
            where = "--report-to" if options.report_to is not None else f"{stage.recipe.path}, report_to"
            raise InputError(f"{where}: unknown integration {name!r}: {near_miss(name, INTEGRATION_TO_CALLBACK)}")
    lora_config(stage.recipe)
    if stage.recipe.rewards:
        rewards(stage.recipe)


def _patience(recipes: Sequence[Recipe]) -> datetime.timedelta:
    """How long one process waits for another: the longest ``ddp_timeout`` of the recipes, else transformers' own."""
    given = [found for recipe in recipes if isinstance(found := recipe.settings.get("ddp_timeout"), int)]
    return datetime.timedelta(seconds=max(given, default=1800))
