"""``divmon recipe``: list, show, run and check recipes of post-training stages."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from divmon.cli.terminal import printable
from divmon.errors import DivmonError, InputError

app = typer.Typer(
    help="Post-training stages as YAML files: a lineage with one command.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Trees = Annotated[list[Path], typer.Argument(help="Recipe files, or folders: all recipes under them.")]
Folders = Annotated[list[Path], typer.Argument(help="Recipe files, or folders: their own recipes, not those below.")]


@app.command("list")
def list_(paths: Trees) -> None:
    """One line a recipe: its name, what it trains, what it goes on from, and what it is."""
    from divmon.recipes.recipe import load_recipes

    rows = [("recipe", "trains", "from", "")]
    recipes = load_recipes(paths, below=True)
    several = len({recipe.folder for recipe in recipes}) > 1
    for recipe in recipes:
        origin = recipe.init_from or recipe.model or "random weights"
        rows.append((recipe.label if several else recipe.name, recipe.trainer or "-", origin, recipe.description))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print(printable_line("  ".join([*cells, row[3]])))


@app.command("show")
def show(
    paths: Trees,
    output_dir: Annotated[Path | None, typer.Option(help="Say what is complete there.")] = None,
    seed: Annotated[int, typer.Option(help="The seed that it would run with.")] = 0,
    smoke: Annotated[bool, typer.Option("--smoke", help="As a smoke run.")] = False,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="As trained without shipped copies.")] = False,
) -> None:
    """What would run: the recipe as given, what the runner adds, and the stages it goes on from."""
    from divmon.recipes.recipe import load_recipes
    from divmon.recipes.show import shown

    texts = shown(load_recipes(paths, below=True), output_dir, seed=seed, smoke=smoke, from_scratch=from_scratch)
    print("\n".join(text.rstrip() + "\n" for text in texts), end="")


@app.command("run")
def run(
    paths: Folders,
    output_dir: Annotated[Path, typer.Option(help="Where the run folders go, one a stage.")],
    seed: Annotated[int, typer.Option(help="Seed of weights, data and training.")] = 0,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Two short steps a stage: does everything work? Its numbers mean nothing.")
    ] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train what the recipes have a trained copy of.")
    ] = False,
    report_to: Annotated[str | None, typer.Option(help="A reporting integration, such as wandb.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run the named stages again though they are complete.")
    ] = False,
) -> None:
    """Run stages in order, with those they go on from; complete ones are skipped, interrupted ones resumed."""
    from divmon.cli.recipe_progress import reporter
    from divmon.recipes.options import RunOptions
    from divmon.recipes.recipe import load_recipes
    from divmon.recipes.run import run_recipes

    recipes = load_recipes(paths)
    options = RunOptions(output_dir, seed, smoke, from_scratch, report_to, force)
    first = os.environ.get("RANK", "0") == "0"
    with reporter() as shown:
        if smoke and first:
            shown.note("Smoke run: two short steps a stage, to see that everything works. Its numbers mean nothing.")
        try:
            stages = run_recipes(recipes, options, shown)
        except DivmonError:
            if first:
                raise
            raise typer.Exit(2) from None  # the first process says it
        if first:
            shown.note(_done(stages, output_dir))


def _done(stages: list[Any], output_dir: Path) -> str:
    from divmon.lineage import stage_of

    named = []
    for stage in stages:
        try:
            stage_of(stage.name)
        except InputError:
            continue
        named.append(stage)
    counts = {1: "The stage is complete.", 2: "Both stages are complete."}
    text = counts.get(len(stages), f"All {len(stages)} stages are complete.")
    if not named:
        return text
    folders = " ".join(str(output_dir / stage.name) for stage in named)
    return f"{text} What each did to diversity: divmon lineage {folders}"


@app.command("check")
def check(paths: Trees) -> None:
    """Prove that recipes work, short of training: configs, data mapping, template, a step of a shrunken model."""
    from divmon.recipes.check import check_recipes
    from divmon.recipes.recipe import load_recipes

    recipes = load_recipes(paths, below=True)
    findings = check_recipes(recipes, progress=lambda text: print(printable(text), file=sys.stderr, flush=True))
    width = max(len(f"{finding.recipe} {finding.check}") for finding in findings)
    for finding in findings:
        label = f"{finding.recipe} {finding.check}".ljust(width)
        print(printable_line(f"{'ok  ' if finding.ok else 'FAIL'}  {label}  {finding.detail}"))
    failed = [finding for finding in findings if not finding.ok]
    print(f"{len(findings) - len(failed)} of {len(findings)} checks passed.")
    if failed:
        raise typer.Exit(1)


def printable_line(text: str) -> str:
    """``text`` as one line that cannot steer a terminal, its columns kept."""
    return "".join(char if char.isprintable() else printable(char) or " " for char in text).rstrip()
