"""The pages of docs/: they build, their code runs, and their figures are what the code gives."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import pytest

from divmon import Ledger
from divmon.lineage import AVERAGE, paper_attribution, paper_checkpoints
from divmon.metrics import METRICS, NAMES
from tests.test_callback import SMALL, sft
from tests.test_notebook import FIRST, at

ROOT = Path(__file__).parent.parent
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
BLOCK = re.compile(r"```python[^\n]*\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def blocks(page):
    """Each block of Python of a page with the output that stands below it, or None."""
    return [(code, output or None) for code, output in BLOCK.findall(PAGES[page])]


def tables(page):
    """The tables of a page, each a list of rows of cells."""
    found = re.findall(r"(?:^\|.*\n)+", PAGES[page], flags=re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()] for text in found]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder with a recorded run, the current one."""
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(tmp_path / "runs" / "sft" / "divmon")
    ledger.append({"schema": 1, "kind": "run", "run_id": "r1", "step": 0, "options": {}})
    for made in (FIRST, at(5), at(10, 0.4)):
        ledger.append(made.to_json())
        row = {"prompt": "What now?", "outputs": [f"answer at {made.step}", "no"], "key": "0"}
        ledger.write_completions(ledger.completions_path(made.step), [row, row])
    return tmp_path


def run_blocks(page, capsys):
    """Run a page's Python from top to bottom; what each block printed, with what it should have."""
    names: dict = {"__name__": "docs"}
    printed = []
    for code, expected in blocks(page):
        capsys.readouterr()
        exec(compile(code, f"docs/{page}.md", "exec"), names)
        printed.append((capsys.readouterr().out, expected))
    return names, printed


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_the_code_runs_and_prints_what_the_page_says(page, runs, capsys):
    _, printed = run_blocks(page, capsys)
    for output, expected in printed:
        assert expected is None or output == expected


def test_there_is_code_in_these_pages():
    assert {page for page in PAGES if blocks(page)} == {"cost", "extending", "getting-started", "metrics", "seeing"}
    assert sum(len(blocks(page)) for page in PAGES) >= 12


def test_what_the_pages_show_of_a_run(runs, capsys):
    _, printed = run_blocks("getting-started", capsys)
    assert "EAD (lexical): 40% left" in printed[0][0]
    assert "What now? -> answer at 10" in printed[1][0]
    _, printed = run_blocks("seeing", capsys)
    assert printed[-1][0].splitlines() == ["0 0.5 1.5", "5 0.4 1.5", "10 0.2 1.5"]


@pytest.mark.usefixtures("fake_encoders")
def test_the_documented_sink_works(tmp_path, capsys, monkeypatch, runs):
    from divmon import DiversityCallback
    from divmon.sinks import base

    names, _ = run_blocks("extending", capsys)
    (entry,) = re.findall(r'`("ChangelogCallback": \(.*?\))`', PAGES["extending"])
    added = eval(f"{{{entry}}}")
    module = types.ModuleType(added["ChangelogCallback"][0])
    module.ChangelogSink = names["ChangelogSink"]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(base._OF_CALLBACK, "ChangelogCallback", added["ChangelogCallback"])
    reporting = names["ChangelogCallback"](str(tmp_path / "changes.md"))
    sft(tmp_path / "out", [reporting, DiversityCallback(every_n_steps=1, strict=True, **SMALL)], max_steps=1).train()
    lines = (tmp_path / "changes.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "- step 0: 100% of SBERT left, 0 alerts"
    assert len(lines) == 2


def test_a_metric_is_known_in_the_files_that_are_named():
    section = PAGES["extending"].split("## A metric")[1].split("\n## ")[0]
    files = re.findall(r"^\| `([\w/.]+)` \|", section, flags=re.MULTILINE)
    assert len(files) >= 5
    for file in files:
        assert re.search(r"\bvendi\b", (ROOT / file).read_text(encoding="utf-8")), file
    for name in re.findall(r"`(_?[A-Z][A-Z_]+)`", section):
        assert any(re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8")) for file in files), name


def test_files_and_commands_that_are_named_exist():
    from typer.main import get_command

    from divmon.cli import app

    commands = set(get_command(app).commands)
    for page, text in PAGES.items():
        for path in re.findall(r"`((?:divmon|examples|scripts|tests|benchmarks|recipes|demo)/[\w/.-]*)`", text):
            is_file = "." in path and "changelog" not in path  # others are logged keys, and the example's own
            assert (ROOT / path).exists() or not is_file, f"{page}: {path}"
        shell = "\n".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL))
        for command in re.findall(r"`divmon ([a-z-]+)", text) + re.findall(r"^divmon ([a-z-]+)", shell, re.MULTILINE):
            assert command in commands, f"{page}: divmon {command}"
        for target in re.findall(r"`make ([a-z-]+)`", text):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), target


def test_options_that_are_named_exist():
    import dataclasses
    import inspect

    from divmon import DiversityCallback, MonitorOptions

    known = {option.name for option in dataclasses.fields(MonitorOptions)}
    known |= set(inspect.signature(DiversityCallback.__init__).parameters)
    for page, text in PAGES.items():
        for call in re.findall(r"DiversityCallback\(([^)`]*)\)", text):
            for option in re.findall(r"(\w+)=", call):
                assert option in known, f"{page}: {option}"


def test_the_papers_levels():
    base, checkpoints = paper_checkpoints()
    attribution = paper_attribution()
    columns = ["Think-SFT", "Think-DPO", "Think", "Instruct-SFT", "Instruct-DPO", "Instruct"]
    found = {row[0]: row[1:] for row in next(table for table in tables("metrics") if "Think-SFT" in table[0])[2:]}
    assert list(found) == [NAMES[metric] for metric in METRICS]

    def level(values, metric):
        return sum(float(value[0]) for value in values[metric].values()) / len(values[metric])

    def shown(cell):
        return tuple(map(float, re.fullmatch(r"([\d.]+) \((\d+)%\)", cell).groups()))

    for metric in METRICS:
        cells = found[NAMES[metric]]
        assert float(cells[0]) == pytest.approx(level(base, metric), abs=0.0051)
        for column, cell in zip(columns, cells[1:7], strict=True):
            (checkpoint,) = (made for made in checkpoints if made.label == column)
            tasks = base[metric]
            kept = sum(100 * float(checkpoint.values[metric][t][0] / tasks[t][0]) for t in tasks) / len(tasks)
            assert shown(cell)[1] == pytest.approx(kept, abs=0.51)
            assert shown(cell)[0] == pytest.approx(level(checkpoint.values, metric), abs=0.0051)
        zero = [level(made.values, metric) for made in checkpoints if made.lineage == "rl_zero"]
        kept = attribution[metric]["rl_zero"][AVERAGE]["retained"].percent
        assert shown(cells[7])[0] == pytest.approx(sum(zero) / len(zero), abs=0.0051)
        assert shown(cells[7])[1] == pytest.approx(kept, abs=0.51)


def traps(*arguments):
    """What scripts/metric_traps.py prints, as tables."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "metric_traps.py"), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.findall(r"(?:^\|.*\n)+", result.stdout, flags=re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()] for text in found]


def test_what_fools_ead():
    shown = next(table for table in tables("metrics") if table[0][0] == "the completions")
    sizes = next(table for table in tables("metrics") if table[0][0] == "vocabulary")
    measured = traps("--ead-only")
    assert [row[:2] for row in measured[0][2:]] == [row[:2] for row in shown[2:]]
    assert measured[1][2:] == sizes[2:]


@pytest.mark.slow
def test_what_fools_the_metrics():
    shown = [table for table in tables("metrics") if table[0][0] in ("the completions", "vocabulary", "prompts")]
    measured = traps()
    assert [table[0] for table in measured] == [table[0] for table in shown]
    for made, page in zip(measured, shown, strict=True):
        for row, printed in zip(made[2:], page[2:], strict=True):
            numbers = (
                [re.findall(r"[\d.]+", cell) for cell in (*row[1:],)],
                [re.findall(r"[\d.]+", c) for c in printed[1:]],
            )
            assert row[0] == printed[0]
            for left, right in zip(*numbers, strict=True):
                assert list(map(float, left)) == pytest.approx(list(map(float, right)), abs=0.011)


def test_the_encoders_differ_as_the_page_says():
    golden = json.loads((ROOT / "tests" / "golden" / "expected.json").read_text(encoding="utf-8"))
    means = [sum(golden[name]["per_prompt"]) / 16 for name in ("sbert_minilm", "sbert_mpnet")]
    small, large = re.search(r"are at ([\d.]+)\s+with all-MiniLM-L6-v2 and at ([\d.]+)", PAGES["metrics"]).groups()
    assert [f"{mean:.2f}" for mean in means] == [small, large]


class Links(HTMLParser):
    """What a page loads, links to and says."""

    def __init__(self, page):
        super().__init__()
        self.loads, self.links, self.text = [], [], ""
        self.feed(page)

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in ("script", "img", "iframe", "source") and "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.fail("needs mkdocs, which the extra 'docs' installs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # of the theme's own, about its next version
    result = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    return folder


def test_the_pages_build_without_a_warning(site):
    assert {path.stem for path in site.glob("*.html")} == {*PAGES, "index", "recipes", "tiny-results", "404"}


def test_the_pictures_are_there(site):
    shown = {
        target.partition("#")[0]
        for path in site.glob("*.html")
        if path.name != "404.html"  # which is shown at any address, so its targets are absolute
        for target in Links(path.read_text(encoding="utf-8")).loads
        if target.endswith(".png")
    }
    assert {"lineages.png", "demo.png"} <= {Path(target).name for target in shown}
    assert [target for target in shown if not (site / target).is_file()] == []


def test_an_included_example_is_shown_whole(site):
    page = Links((site / "getting-started.html").read_text(encoding="utf-8"))
    for line in (ROOT / "examples" / "sft.py").read_text(encoding="utf-8").splitlines():
        assert line.strip() in page.text


def test_the_pages_ask_nothing_of_a_network(site):
    for path in site.glob("*.html"):
        page = Links(path.read_text(encoding="utf-8"))
        assert page.loads
        assert not [target for target in page.loads if target.startswith(("http:", "https:", "//"))], path.name
    assert not [path for path in site.rglob("*.css") if "fonts.googleapis" in path.read_text(encoding="utf-8")]


def test_links_lead_somewhere(site):
    for path in site.glob("*.html"):
        for link in Links(path.read_text(encoding="utf-8")).links:
            target = link.partition("#")[0]
            if target and ":" not in target and path.name != "404.html":
                assert (path.parent / target).exists(), f"{path.name}: {link}"


def test_the_front_page_is_the_readme(site):
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "Watch output diversity while you post-train" in page
    assert 'src="demo.png"' in page
    assert 'href="recipes.html"' in page
    assert (site / "demo.png").is_file()


def test_the_api_page_has_every_public_name(site):
    import divmon

    page = (site / "api.html").read_text(encoding="utf-8")
    for name in divmon.__all__:
        assert re.search(rf'id="divmon\.[\w.]+\.{name}"', page), name


def test_the_docs_have_nothing_of_this_machine():
    for page, text in PAGES.items():
        assert not re.search(r"/(?:work|tmp|home|opt|root)/", text), page
