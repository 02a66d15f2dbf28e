"""The saved view of a W&B project: what divmon logged, in the order in which a person needs it.

The view names keys only, no runs, so that it fits every project where divmon has logged.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from divmon.errors import InputError, import_optional, in_a_line
from divmon.metrics import AXES, METRICS, NAMES
from divmon.sinks.wandb_rows import STEP
from divmon.sinks.wandb_values import TABLE, interval_keys, retained_keys, validity_key, within_key

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

NAME = "divmon"
_EXTRA = "workspace"


def workspace(entity: str, project: str, name: str = NAME) -> Workspace:
    """The view, not yet saved.

    Sections: the loss beside the retained fractions; the four metrics and what of them is retained, each with its 95%
    interval; accuracy and the parts of the loss, where prompts have a verifier; whether the completions are sound; the
    completions; the metrics by category.

    Args:
        entity: The user or team that the project belongs to.
        project: The project.
        name: What the view is called.

    Raises:
        MissingDependencyError: If wandb-workspaces is not installed.
        InputError: For a name that W&B does not take.
    """
    spaces, panels = _libraries()

    def lines(title: str, keys: Sequence[str], unit: str | None = None) -> Any:
        return panels.LinePlot(title=title, x=STEP, y=list(keys), title_x="optimizer step", title_y=unit)

    def section(title: str, plots: Sequence[Any], columns: int, rows: int, is_open: bool = True) -> Any:
        for place, plot in enumerate(plots):
            plot._id = "-".join([*title.lower().replace("%", "").split(), str(place)])  # a random one otherwise
        return spaces.Section(
            name=title,
            panels=list(plots),
            is_open=is_open,
            layout_settings=spaces.SectionLayoutSettings(columns=columns, rows=rows),
            panel_settings=spaces.SectionPanelSettings(x_axis=STEP),
        )

    means = {metric: f"train/divmon/{metric}" for metric in METRICS}
    shares = ("truncated", "empty", "unclosed", "repeated")
    sections = [
        section(
            "Loss and diversity",
            [
                lines("Loss", ["train/loss"]),
                lines("Retained of the baseline", [f"{key}_retained" for key in means.values()], "1 = as before"),
            ],
            columns=2,
            rows=1,
        ),
        section(
            "Diversity with 95% intervals",
            [lines(f"{NAMES[metric]} ({AXES[metric]})", [means[metric], *interval_keys(metric)]) for metric in METRICS],
            columns=4,
            rows=1,
        ),
        section(
            "Retained with 95% intervals",
            [
                lines(
                    f"{NAMES[metric]} retained",
                    [f"{means[metric]}_retained", *retained_keys(metric)],
                    "1 = as before",
                )
                for metric in METRICS
            ],
            columns=4,
            rows=1,
        ),
        section(
            "Is it only wrong answers going away",
            [
                lines("Accuracy (with a verifier)", ["train/divmon/accuracy", *interval_keys("accuracy")]),
                *(
                    lines(title, [f"train/divmon/{key}", *interval_keys(key)], "of SBERT since the baseline")
                    for title, key in (
                        ("Lost among right answers too", "sbert_genuine"),
                        ("Wrong answers going away", "sbert_quality_control"),
                    )
                ),
            ],
            columns=3,
            rows=1,
        ),
        section(
            "Are the completions sound",
            [
                lines("Uncertainty of the model", [validity_key("entropy")], "nats a token"),
                lines("Likelihood under the base (PEFT)", [validity_key("base_logprob")], "nats a token"),
                lines("More likely than under the base (PEFT)", [validity_key("base_gap")], "nats a token"),
                lines("Share of completions", [validity_key(share) for share in shares]),
                lines("Length", [validity_key("mean_length")], "tokens"),
                lines("Prompts without a value", [validity_key("unmeasured")]),
            ],
            columns=4,
            rows=2,
        ),
        section("Completions", [panels.WeavePanelSummaryTable(table_name=TABLE)], columns=1, rows=1),
        section(
            "By category",
            [
                panels.LinePlot(
                    title=f"{NAMES[metric]} by category",
                    x=STEP,
                    metric_regex=f"^{within_key('.*', metric)}$",
                    title_x="optimizer step",
                )
                for metric in METRICS
            ],
            columns=4,
            rows=1,
            is_open=False,
        ),
    ]
    try:
        return spaces.Workspace(
            entity=entity,
            project=project,
            name=name,
            sections=sections,
            settings=spaces.WorkspaceSettings(x_axis=STEP, group_by_prefix="first"),
        )
    except ValueError as error:  # pydantic's; the name is all that can be wrong
        raise InputError(f"--name: W&B takes no emoji or symbols in a view's name, got {name!r}.") from error


def specification(view: Workspace) -> dict[str, Any]:
    """What saving the view sends to W&B, but for the random name that W&B's library gives a new view."""
    model = view._to_model()
    spec = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {
        "entityName": model.entity,
        "projectName": model.project,
        "displayName": model.display_name,
        "type": "project-view",
        "spec": spec,
    }


def save(view: Workspace) -> str:
    """Save the view as a new one.

    Returns:
        Its address.

    Raises:
        InputError: If W&B is not to be reached, or refuses.
    """
    try:
        return str(view.save_as_new_view().url)
    except Exception as error:  # the network, the login, the server, W&B's library: all for the user to mend
        raise InputError(
            f"The view was not saved in {view.entity}/{view.project} ({in_a_line(error)}): log in (wandb login), check "
            "entity and project, or see what would be sent with --dry-run."
        ) from error


def _libraries() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its use of pydantic
        return (
            import_optional("wandb_workspaces.workspaces", _EXTRA),
            import_optional("wandb_workspaces.reports.v2", _EXTRA),
        )
