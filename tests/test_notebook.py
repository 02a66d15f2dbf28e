"""How a run shows itself: in a real notebook, in a console, and whatever its records hold."""

from __future__ import annotations

import dataclasses
import html
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import divmon
from divmon import DiversityCallback, Ledger
from divmon.alerts import Alert, Example, Kept
from divmon.measurement import to_plain
from divmon.metrics import METRICS
from divmon.notebook import as_html
from divmon.shown import MOST_ROWS, Shown, as_text, past_alerts, plain
from tests.records import VALIDITY, accuracy, measurement, summary
from tests.test_callback import SMALL, sft

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"\x1b[31m\u202egnp.exe"
VOID = {"br"}
ALLOWED = {"div", "span", "strong", "em", "small", "p", "br", "details", "summary"}
ALLOWED |= {"table", "thead", "tbody", "tr", "th", "td", "svg", "polygon", "polyline"}


class Page(HTMLParser):
    """Reads HTML strictly: every tag is known and closed, and nothing in it acts or reaches out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.labels: list[str] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in ALLOWED, tag
        for name, value in attributes:
            assert not name.startswith("on"), name
            assert name not in ("src", "href", "id", "class"), name
            assert "url(" not in value
            if name == "aria-label":
                self.labels.append(value)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += f"{text} "

    @property
    def text(self):
        return " ".join(self.texts)


def run_of(*measurements, **others):
    return Shown("mine", "runs/mine/divmon", "r1", measurements, measurements[0], **others)


def at(step, retained=0.8, **changes):
    low, high = retained - 0.1, retained + 0.1
    metrics = {name: summary(retained / 2, retained, low, high) for name in METRICS}
    return measurement(**{"step": step, "metrics": metrics} | changes)


FIRST = at(0, 1.0, baseline={})


def test_the_table_has_the_values_of_each_step():
    page = Page(as_html(run_of(FIRST, at(5), at(10, 0.4, accuracy=accuracy()))))
    head, curves, *rows = page.rows
    assert [cell.split()[0] for cell in head] == [
        "step",
        "EAD",
        "SBERT",
        "NLI",
        "Vendi",
        "accuracy",
        "entropy",
        "base",
        *("cut", "repeats"),
    ]
    assert [row[0].strip() for row in rows] == ["0", "5", "10"]
    assert [cell.strip() for cell in rows[0][1:6]] == ["0.500 baseline"] * 4 + ["-"]
    assert rows[1][1] == "0.400 80% left [70, 90] "
    assert [cell.strip() for cell in rows[2][5:]] == ["40% -20 points", "1.50", "-1.50", "25%", "12%"]
    assert page.labels == [f"{name} from 0.500 to 0.200" for name in ("EAD", "SBERT", "NLI", "Vendi")]
    assert len(curves) == len(head)


def test_the_verdict_and_the_place_of_the_records_are_there():
    page = Page(as_html(run_of(FIRST, at(5, 0.4), failed=(3, 4))))
    assert "EAD (lexical): 40% left (95% interval 30% to 50%): diversity was lost." in page.text
    assert "8 prompts x 4 completions" in page.text
    assert "2 not measured (steps 3 to 4)" in page.text
    assert "Records: runs/mine/divmon" in page.text


def test_the_colours_are_the_pages_own():
    page = as_html(run_of(FIRST, at(5), alerts=({"title": "t"},)))
    assert set(re.findall(r"(?:fill|stroke)='(?!none)(?!currentColor)([^']*)'", page)) == set()
    assert not re.search(r"(?<![-\w])(?:color|background)", page)


def test_the_curve_begins_at_the_metrics_lowest_value():
    # 0.5 of 0.6 at the top of its interval: the curve of an unchanged metric is flat and high, not noise.
    page = as_html(run_of(FIRST, at(5, 1.0)))
    curve = re.search(r"aria-label='EAD.*?stroke-width", page, re.DOTALL)[0]
    points = [pair.split(",") for pair in re.findall(r"points='([^']*)'", curve)[-1].split()]
    assert [x for x, _ in points] == ["2.0", "94.0"]
    assert {y for _, y in points} == {"6.0"}  # 2 + 24 * (0.6 - 0.5) / (0.6 - 0)


def test_a_single_value_has_no_curve():
    lost = dict.fromkeys(METRICS, summary(float("nan"), float("nan"), float("nan"), float("nan")))
    page = Page(as_html(run_of(FIRST, at(5, metrics=lost))))
    assert page.labels == []
    assert page.rows[-1][1].strip() == "- not comparable"


def test_many_measurements_are_thinned_and_the_rest_is_counted():
    shown = run_of(FIRST, *(at(step) for step in range(1, 1000)))
    page = Page(as_html(shown))
    steps = [row[0].strip() for row in page.rows[2:]]
    assert len(steps) == MOST_ROWS
    assert (steps[0], steps[-1]) == ("0", "999")
    assert f"{MOST_ROWS} of 1,000 measurements" in page.text
    assert len(as_html(shown)) < 30_000
    assert f"{MOST_ROWS} of 1,000 measurements" in as_text(shown)


def test_what_others_wrote_is_text_and_nothing_else():
    identity = {"name": HOSTILE, "digest": None, "fallback_for": HOSTILE}
    alert = Alert(
        "collapse", 5, {"ead": Kept(0.4, (0.3, 0.5))}, 0.7, "", (Example(HOSTILE, HOSTILE, "x" * 1_000_000),), HOSTILE
    )
    last = at(5, 0.4, tasks={HOSTILE: {}, "b": {}}, protocol=FIRST.protocol | {"nli": identity})
    shown = Shown(HOSTILE, HOSTILE, HOSTILE, (FIRST, last), FIRST, (to_plain(alert) | {"title": HOSTILE},))
    page = as_html(shown)
    text = Page(page).text
    assert "<script" not in page
    assert "<img" not in page
    assert text.count("<script>alert(1)</script>") >= 8  # as words
    for steering in ("\x1b", "\u202e"):
        assert steering not in page
        assert steering not in as_text(shown)
    assert "[U+202E]" in text
    assert len(page) < 20_000
    assert "more characters" in text


def test_text_is_one_line():
    assert plain("a\nb\t c") == "a b c"
    assert plain(None) == ""


def test_the_console_shows_the_same():
    lines = as_text(run_of(FIRST, at(5), at(10, 0.4, accuracy=accuracy()), failed=(7,))).splitlines()
    assert lines[0].startswith("mine: run r1, steps 0 to 10, 8 prompts x 4 completions")
    heads = "step EAD left SBERT left NLI left Vendi left acc entropy base logp cut same"
    assert " ".join(lines[1].split()) == heads
    assert lines[3].split() == ["5", *["0.400", "80%"] * 4, "-", "1.50", "-1.50", "25%", "12%"]
    assert len({len(line) for line in lines[1:5]}) == 1
    assert "Accuracy: 40%, -20 points (95% interval -30 to -10): it fell." in lines
    assert lines[-2:] == ["1 not measured (step 7); the ledger says why.", "Records: runs/mine/divmon"]


def test_alerts_of_a_history_are_those_that_it_gave():
    history = (FIRST, at(5, 0.5), at(10, 0.4), at(15, 0.9), at(20, 0.3))
    found = past_alerts(history, FIRST, 0.7)
    assert [(alert["step"], alert["kind"]) for alert in found] == [(5, "collapse"), (20, "collapse")]
    assert found[0]["title"].startswith("Diversity collapse at step 5: EAD 50% [40, 60]")
    assert past_alerts(history, FIRST, None) == ()


@pytest.mark.usefixtures("fake_encoders")
def test_a_callback_shows_its_run(tmp_path):
    callback = DiversityCallback(every_n_steps=1, alert_below=1.0, **SMALL)
    assert repr(callback) == "<divmon.DiversityCallback: 0 measurements>"
    assert str(callback) == "DiversityCallback: no run yet\nNothing was measured."
    assert "Nothing was measured." in Page(callback._repr_html_()).text
    sft(tmp_path, [callback], max_steps=2).train()
    folder = tmp_path / "divmon"
    assert repr(callback) == f"<divmon.DiversityCallback: 3 measurements at steps 0 to 2, in {folder}>"
    run = divmon.load(tmp_path)
    page, loaded = Page(callback._repr_html_()), Page(run._repr_html_())
    assert page.rows == loaded.rows
    assert len(page.rows) == 5
    assert f"Records: {folder}" in page.text
    # Any certain loss is an alert here; the ledger's stand in both, its examples only there.
    assert run.alerts
    for alert in run.alerts:
        assert alert["title"] in page.text
        assert alert["title"] in loaded.text
        assert f"Alert: {alert['title']}" in str(callback)
    assert plain(run.alerts[0]["examples"][0]["now"]) in loaded.text


def test_in_a_real_notebook(tmp_path):
    import nbformat

    folder = tmp_path / "<b>mine"
    ledger = Ledger(folder / "divmon")
    ledger.append({"schema": 1, "kind": "run", "run_id": "r1", "step": 0, "options": {}})
    for made in (FIRST, at(5, 0.4)):
        ledger.append(made.to_json())
    cells = [f"import divmon\nrun = divmon.load({str(folder)!r})\nrun", "print(run)", "run.frame()"]
    file = tmp_path / "it.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), file)
    # In a process of its own: the client leaves sockets to the garbage collector, and warnings are errors here.
    run = [sys.executable, "-c", "from nbclient.cli import main; main()", "--kernel_name=python3", "--timeout=300"]
    subprocess.run([*run, "--inplace", str(file)], check=True, capture_output=True, cwd=tmp_path)
    shown, printed, table = (cell.outputs[0] for cell in nbformat.read(file, as_version=4).cells)
    assert shown["data"]["text/plain"] == f"<divmon.Run: 2 measurements at steps 0 to 5, in {ledger.folder}>"
    page = Page(shown["data"]["text/html"])
    assert "<b>mine" in page.text
    assert page.rows[-1][1].strip() == "0.200 40% left [30, 50]"
    assert "EAD (lexical): 40% left" in printed["text"]
    assert re.findall(r"<th>(\w+)</th>", table["data"]["text/html"])[:4] == ["step", "epoch", "task", "metric"]


def test_titles_and_names_are_escaped_once():
    page = as_html(dataclasses.replace(run_of(FIRST), name="a & b <c>"))
    assert html.escape("a & b <c>") in page
    assert "&amp;amp;" not in page


def test_what_is_unsound_is_said():
    rotten = at(5, 1.4, validity=dataclasses.replace(VALIDITY, base_logprob=-9.0))
    assert "read some, this may be rot" in Page(as_html(run_of(FIRST, rotten))).text
