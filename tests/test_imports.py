"""Importing divmon is fast and does nothing; the layers import one way."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import divmon

ROOT = Path(divmon.__file__).parent
HEAVY = ("torch", "transformers", "trl", "peft", "sentence_transformers", "wandb", "matplotlib", "datasets", "scipy")

# From the bottom: a module imports from its own layer and those above it in this list ("Data flows one way").
LAYERS = [
    ["divmon.errors", "divmon.protocols"],
    ["divmon.checks", "divmon.visible", "divmon.fingerprint", "divmon.shape", "divmon.quiet", "divmon.figures"],
    [
        "divmon.text",
        "divmon.provenance",
        "divmon.formats",
        "divmon.generations",
        "divmon.stats",
        "divmon.sandbox",
        "divmon.tinyworld",
    ],
    ["divmon.prompt", "divmon.metrics", "divmon.encoders", "divmon.smollm2", "divmon.verifiers", "divmon.judge"],
    ["divmon.prompts", "divmon.tasks"],
    ["divmon.sampling", "divmon.scoring", "divmon.rewards", "divmon.nearness"],
    [
        "divmon.measurement",
        "divmon.comparison",
        "divmon.options",
        "divmon.scored",
        "divmon.facts",
        "divmon.lent_encoders",
    ],
    [
        "divmon.alerts",
        "divmon.frames",
        "divmon.verification",
        "divmon.soundness",
        "divmon.quality.decomposition",
        "divmon.quality.words",
    ],
    ["divmon.summary", "divmon.ledger", "divmon.logged", "divmon.reading", "divmon.shown", "divmon.notebook"],
    ["divmon.showing"],
    ["divmon.loaded"],
    ["divmon.side_by_side"],
    ["divmon.monitor", "divmon.plots", "divmon.lineage"],
    ["divmon.recording", "divmon.lineage_report", "divmon.lineage_table", "divmon.sinks", "divmon.quality"],
    ["divmon.report", "divmon.workspace"],
    ["divmon.api", "divmon.trainer"],
    ["divmon.callback", "divmon.launched"],
    ["divmon.recipes"],
    ["divmon.evaluation"],
    ["divmon.cli"],
]
# (who, whom): who must not import whom, at any depth.
FORBIDDEN = [
    ("divmon.metrics", "divmon.trainer"),
    ("divmon.metrics", "divmon.sampling"),
    ("divmon.metrics", "divmon.callback"),
    ("divmon.metrics", "divmon.encoders"),
    ("divmon.scoring", "divmon.sampling"),
    ("divmon.scoring", "divmon.encoders"),
    ("divmon.sampling", "divmon.metrics"),
    ("divmon.sampling", "divmon.scoring"),
    ("divmon.sampling", "divmon.trainer"),
    ("divmon.sampling", "divmon.measurement"),
    ("divmon.encoders", "divmon.metrics"),
    ("divmon.encoders", "divmon.sampling"),
    ("divmon.measurement", "divmon.sampling"),
    ("divmon.ledger", "divmon.monitor"),
    ("divmon.monitor", "divmon.trainer"),
    ("divmon.monitor", "divmon.ledger"),
    ("divmon.scored", "divmon.sampling"),
]


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def imported(module, everywhere=True):
    """What a module imports: with ``everywhere`` inside functions too, but never under TYPE_CHECKING."""
    found, stack = set(), list(SOURCES[module].body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from divmon import stats` means the module divmon.stats; `from divmon.stats import mean` divmon.stats.
            found |= {name if name in SOURCES else node.module for name in names}
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            stack.extend(ast.iter_child_nodes(node))
    return found


def within(module, package):
    return module == package or module.startswith(f"{package}.")


def layer(module):
    """The number of its layer; a module named beside its package has a place of its own."""
    found = {package: n for n, packages in enumerate(LAYERS) for package in packages if within(module, package)}
    assert found, f"give {module} a place in LAYERS"
    return found[max(found, key=len)]


GRAPH = {module: {name for name in imported(module) if within(name, "divmon")} for module in SOURCES}
INSIDE = [module for module in SOURCES if module not in ("divmon", "divmon.__main__")]


def test_the_walk_found_the_package():
    assert len(SOURCES) > 40
    assert sum(map(len, GRAPH.values())) > 80


@pytest.mark.parametrize("module", INSIDE)
def test_layers_import_one_way(module):
    above = [name for name in GRAPH[module] if name != "divmon" and layer(name) > layer(module)]
    assert not above, f"{module} imports {above} from layers above its own"


@pytest.mark.parametrize(("who", "whom"), FORBIDDEN)
def test_parts_that_know_nothing_of_each_other(who, whom):
    reached, stack = set(), [module for module in INSIDE if within(module, who)]
    assert stack
    while stack:
        module = stack.pop()
        if module not in reached and module != "divmon":
            reached.add(module)
            stack.extend(GRAPH[module])
    assert not [module for module in reached if within(module, whom)]


def test_there_are_no_cycles():
    done, path = set(), []

    def visit(module):
        assert module not in path, f"cycle: {' -> '.join([*path[path.index(module) :], module])}"
        if module in done:
            return
        path.append(module)
        for name in GRAPH[module] - {"divmon"}:
            # A package's front door is loaded by its own parts, and hands out lazily.
            if not within(module, name):
                visit(name)
        path.pop()
        done.add(module)

    for module in INSIDE:
        visit(module)


def test_only_the_command_line_speaks_to_a_terminal():
    for module in INSIDE:
        names = imported(module)
        if not within(module, "divmon.cli"):
            assert not [name for name in names if within(name, "typer") or within(name, "click")], module
            assert "rich.console" not in names or module == "divmon.sinks.console", module


def test_nothing_but_the_command_line_prints():
    for module, tree in SOURCES.items():
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        prints = [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]
        assert within(module, "divmon.cli") or not prints, module


@pytest.mark.parametrize("module", SOURCES)
def test_nothing_is_configured_at_import(module):
    """No environment, no logging set-up, no seeds, no warnings filter, no path hacks at a module's top level."""
    banned = ("os.environ", "os.getenv", "logging.basicConfig", "simplefilter", "filterwarnings", "sys.path", "seed(")
    banned += ("set_verbosity", "torch.set_", "print(", "use(")
    for node in SOURCES[module].body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
            if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
                continue
            text = "" if isinstance(getattr(node, "value", None), ast.Constant) else ast.unparse(node)
            assert not [word for word in banned if word in text], text


def test_importing_is_fast_quiet_and_light():
    code = """if True:
        import json, logging, os, random, sys, time, warnings
        before = dict(os.environ), list(sys.path), list(warnings.filters), list(logging.root.handlers)
        state = random.getstate()
        started = time.perf_counter()
        import divmon
        names = [divmon.DivmonError, divmon.InputError, divmon.Ledger, divmon.Measurement, divmon.Prompt]
        seconds = time.perf_counter() - started
        after = dict(os.environ), list(sys.path), list(warnings.filters), list(logging.root.handlers)
        assert before == after
        assert state == random.getstate()
        print(json.dumps([seconds, list(sys.modules)]))
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    seconds, modules = json.loads(result.stdout)  # the only thing on stdout
    assert not set(HEAVY) & set(modules)
    assert seconds < 2


@pytest.mark.parametrize("module", ["divmon.cli", "divmon.scored", "divmon.api", "divmon.reading", "divmon.plots"])
def test_light_modules_stay_light(module):
    if module == "divmon.plots":
        assert not [name for name in imported(module, everywhere=False) if within(name, "matplotlib")]
    code = f"import sys, json, {module}; print(json.dumps(list(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(json.loads(result.stdout))


def test_public_names():
    assert set(divmon.__all__) <= set(dir(divmon))
    for name in divmon.__all__:
        assert getattr(divmon, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        divmon.nothing  # noqa: B018
