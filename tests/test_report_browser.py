"""The report in a real Chromium, without a screen: it renders, its controls work, and nothing hostile happens."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from divmon.report import write_report
from tests.reports import grade_run, hostile_report, make_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here: as root, `apt-get install chromium`, or put one on the PATH"
    ),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield started
        started.close()


@dataclass
class Watched:
    """A page, and what must not happen on it."""

    page: Any
    trouble: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Watched]]:
    """Open a file; at the end nothing was loaded, logged or asked."""
    opened: list[Watched] = []
    contexts = []

    def go(path: Path, **settings: Any) -> Watched:
        context = browser.new_context(viewport={"width": settings.pop("width", 1200), "height": 900}, **settings)
        contexts.append(context)
        watched = Watched(context.new_page())
        opened.append(watched)
        note = watched.trouble.append
        watched.page.on("console", lambda message: note(f"console: {message.text}"))
        watched.page.on("pageerror", lambda error: note(f"error: {error}"))
        watched.page.on("dialog", lambda dialog: (note(f"dialog: {dialog.message}"), dialog.dismiss()))
        watched.page.on("request", lambda request: request.url == path.as_uri() or note(f"request: {request.url:.99}"))
        watched.page.on("popup", lambda popup: note("popup"))
        watched.page.goto(path.as_uri())
        if settings.get("java_script_enabled", True):
            watched.page.evaluate(DRAWN)
        return watched

    yield go
    for watched in opened:
        assert watched.trouble == []
    for context in contexts:
        context.close()


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """Pictures take most of a report's time, and have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("divmon.report.pictures.draw_pictures", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    return hostile_report(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def rich(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "rich"
    make_run(folder, prompts=20, steps=(0, 10, 20, 30), failed=20)
    grade_run(folder, maths=(0.5, 0.75, 0.125))
    return write_report(folder)


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    base = make_run(folder / "base", steps=(0,))
    for name, kept in (("think-sft", 0.6), ("think-dpo", 0.3)):
        make_run(folder / name, kept=kept, baseline=base, run_id=name)
        grade_run(folder / name, name, maths=(0.5, 0.6, kept / 5))
    return write_report([folder / "think-sft", folder / "think-dpo"], folder / "out")


# Charts are drawn in the frame after the one that gave them their width.
DRAWN = "async () => { for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame); }"
OPEN_ALL = "document.querySelectorAll('details').forEach(details => { details.open = true; })"


def becomes(locator: Any, count: int) -> None:
    """Wait until that many are there: a disclosure fills itself after it opened."""
    from playwright.sync_api import expect

    expect(locator).to_have_count(count)


def cards(page) -> list[str]:
    return page.locator(".card h3").all_inner_texts()


class TestRenders:
    def test_charts_are_drawn_with_a_band_the_baseline_and_the_papers_levels(self, visit, rich):
        page = visit(rich)
        assert page.title() == "Output diversity: rich"
        charts = page.locator("figure[data-chart] svg[role=slider]")
        assert charts.count() == page.locator("figure[data-chart]").count() == 10
        chart = page.locator("figure[data-chart=sbert-0]")
        becomes(chart.locator("path.curve"), 1)
        becomes(chart.locator("path.mark"), 3)
        assert chart.locator("path.band").get_attribute("d").startswith("M")
        becomes(chart.locator("line.base"), 1)
        assert [text for text in chart.locator("text").all_text_contents() if text.startswith(("SFT", "DPO", "RL"))]
        becomes(chart.locator("path.sign"), 1)  # an alert
        becomes(chart.locator("path.gap"), 1)

    def test_a_lineage_and_a_comparison(self, visit, several):
        page = visit(several)
        becomes(page.locator("figure[data-stages] svg"), 4)
        becomes(page.locator("figure[data-chart=sbert-0] path.curve"), 2)
        dashes = page.locator("figure[data-chart=sbert-0] path.curve").evaluate_all(
            "lines => lines.map(line => [getComputedStyle(line).stroke, line.getAttribute('stroke-dasharray')])"
        )
        assert dashes[0][0] != dashes[1][0]
        assert dashes[0][1] != dashes[1][1]
        page.locator("figure[data-stages=stages-sbert] svg").focus()
        page.keyboard.press("ArrowLeft")
        assert re.search(
            r"DPO; Think: \d+%", page.locator("figure[data-stages=stages-sbert] svg").get_attribute("aria-valuetext")
        )
        assert page.locator(".card").first.locator("section h4").all_inner_texts()[-1].startswith("think-dpo, step 20")

    def test_the_parts_of_a_loss(self, visit, rich, several):
        chart = visit(rich).locator("figure[data-chart=loss-0]")
        becomes(chart.locator("path.curve"), 3)
        becomes(chart.locator(".legend li"), 3)
        becomes(chart.locator("path.band"), 3)
        page = visit(several)
        becomes(page.locator("figure[data-chart^=loss-] path.curve"), 6)  # three parts, two runs
        assert page.locator("#quality .words li").all_inner_texts()[1].startswith("think-dpo, maths (4 of 4 prompts")

    def test_a_majority_vote_beside_the_papers(self, visit, rich, several):
        page = visit(rich)
        plot = page.locator("figure[data-scatter=votes]")
        becomes(plot.locator("path.hollow"), 48)
        becomes(plot.locator("path.mark"), 1)
        page = visit(several)
        marks = page.locator("figure[data-scatter=votes] path.mark")
        becomes(marks, 2)
        dpo, sft = marks.evaluate_all("marks => marks.map(mark => getComputedStyle(mark).fill)")  # by D_c
        assert dpo != sft
        samples = page.locator("#quality .legend svg[data-sample^=point-] rect")
        assert samples.evaluate_all("all => all.map(one => getComputedStyle(one).fill)") == [sft, dpo]
        assert page.locator("#quality .legend svg[data-sample^=shape-] path").count() == 4

    def test_what_is_missing_does_not_break_the_script(self, visit, tmp_path):
        make_run(tmp_path / "gaps", steps=(5,), failed=5)
        make_run(tmp_path / "bare", completions=False, steps=(0,), verified=False, tasks=("one",), categories=("",))
        assert "Nothing was measured" in visit(write_report(tmp_path / "gaps")).inner_text("#summary")
        page = visit(write_report(tmp_path / "bare"))
        assert page.locator(".card .none").first.inner_text() == "Its completions are not in this page."
        becomes(page.locator("#task"), 0)

    def test_numbers_can_be_had_without_scripts(self, visit, rich):
        page = visit(rich, java_script_enabled=False)
        page.locator("figure[data-chart=sbert-0] summary").click()
        becomes(page.locator("figure[data-chart=sbert-0] tbody tr"), 3)
        becomes(page.locator("figure[data-scatter=votes] tbody tr"), 49)
        assert "need JavaScript" in page.inner_text("header.page")


class TestControls:
    def test_values_or_fractions_by_mouse_and_keyboard(self, visit, rich):
        page = visit(rich)
        chart = page.locator("figure[data-chart=sbert-0] svg")
        assert "%" in chart.get_attribute("aria-valuetext")
        page.get_by_role("radio", name="Values").click()
        assert re.search(r"step 30; 0\.\d+, 95% interval", chart.get_attribute("aria-valuetext"))
        page.get_by_role("radio", name="Values").focus()
        page.keyboard.press("ArrowLeft")
        assert "%" in chart.get_attribute("aria-valuetext").split(";")[1].split(",")[0]

    def test_levels_of_the_paper(self, visit, rich):
        page = visit(rich)
        levels = page.locator("figure[data-chart=sbert-0] line.level")
        becomes(levels, 3)
        page.get_by_label("Levels of the paper").select_option("RL-Zero")
        becomes(levels, 1)
        page.get_by_label("Levels of the paper").select_option("none")
        becomes(levels, 0)

    def test_a_chart_is_read_by_keyboard_and_by_pointer(self, visit, rich):
        page = visit(rich)
        chart = page.locator("figure[data-chart=sbert-0] svg")
        tip = page.locator("figure[data-chart=sbert-0] .tip")
        chart.focus()
        page.keyboard.press("Home")
        assert chart.get_attribute("aria-valuenow") == "0"
        page.keyboard.press("ArrowRight")
        assert chart.get_attribute("aria-valuetext").startswith("step 10; ")
        assert tip.inner_text().startswith("step 10\n")
        assert page.locator("figure[data-chart=ead-0] .cursor").get_attribute("visibility") == "visible"
        page.keyboard.press("Escape")
        assert not tip.is_visible()
        chart.hover(position={"x": chart.bounding_box()["width"] - 60, "y": 60})
        assert "Diversity collapse at step 30" in tip.inner_text()
        page.mouse.move(5, 5)
        assert not tip.is_visible()

    def test_runs_without_steps_stand_side_by_side(self, visit, tmp_path):
        base = make_run(tmp_path / "base", steps=(0,), prompts=16)
        make_run(tmp_path / "sft", steps=(1,), prompts=16, baseline=base, run_id="r2")
        page = visit(write_report([tmp_path / "base", tmp_path / "sft"], tmp_path / "out"))
        page.locator("input[name=view][value=values]").check(force=True)
        figure = page.locator("figure[data-chart=sbert-0]")
        assert figure.locator(".band").count() == 0
        whiskers = figure.locator("path.curve[d*=V]")
        becomes(whiskers, 2)
        (left, right) = (whiskers.nth(place).bounding_box() for place in range(2))
        assert right["x"] - left["x"] > 50
        chart = figure.locator("svg")
        assert {"base", "sft"} <= set(chart.locator("text").all_text_contents())
        chart.focus()
        page.keyboard.press("Home")
        assert chart.get_attribute("aria-valuetext").startswith("base; ")
        page.keyboard.press("ArrowRight")
        assert chart.get_attribute("aria-valuetext").startswith("sft; ")
        assert "step" not in figure.locator(".tip").inner_text()

    def test_the_points_are_read_by_keyboard_and_by_pointer(self, visit, rich):
        page = visit(rich)
        plot = page.locator("figure[data-scatter=votes] svg")
        tip = page.locator("figure[data-scatter=votes] .tip")
        plot.focus()
        page.keyboard.press("ArrowRight")
        assert (plot.get_attribute("aria-valuenow"), plot.get_attribute("aria-valuemax")) == ("0", "48")
        assert plot.get_attribute("aria-valuetext").startswith("Think-DPO w/o CoT, the paper: GSM8K; right answers")
        page.keyboard.press("End")
        assert plot.get_attribute("aria-valuenow") == "48"
        assert tip.inner_text().startswith("Base, the paper: MATH-Geometry\n")
        page.keyboard.press("ArrowLeft")
        assert plot.get_attribute("aria-valuenow") == "47"
        page.keyboard.press("Escape")
        assert not tip.is_visible()
        page.locator("figure[data-scatter=votes] path.mark").hover()  # which waits until nothing scrolls any more
        assert tip.inner_text().splitlines() == [
            "rich: maths",
            "right answers differ by 0.125",
            "the majority of 16: +25.0 points over one answer",
        ]

    def test_filters_search_and_order(self, visit, rich):
        page = visit(rich)
        assert page.inner_text("#found") == "20 of 20 prompts"
        assert cards(page)[0] == "Question 0?"
        page.get_by_label("Order", exact=True).select_option("gained most first")
        assert cards(page)[0] == "Question 19?"
        page.get_by_label("Category", exact=True).select_option("open")
        assert page.inner_text("#found") == "10 of 20 prompts"
        page.get_by_label("Task", exact=True).select_option("maths")
        assert page.inner_text("#found") == "0 of 20 prompts"
        assert "No prompt fits" in page.inner_text("#map")
        page.get_by_label("Task", exact=True).select_option("all")
        page.get_by_label("Search the prompts", exact=True).fill("question 1")
        page.locator("#found", has_text="5 of 20").wait_for()
        assert set(cards(page)) == {f"Question {number}?" for number in (10, 12, 14, 16, 18)}
        page.get_by_label("Metric", exact=True).select_option("Vendi")
        assert page.inner_text("#found") == "5 of 20 prompts"

    def test_the_map_opens_prompts(self, visit, rich):
        page = visit(rich)
        page.locator("#map svg[role=application]").focus()
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowLeft"):
            page.keyboard.press(key)
        assert re.search(
            r"Question 2\? · SBERT, step 10: 0\.\d+ at the baseline, 0\.\d+ now \(−0\.\d+\)",
            page.inner_text("#readout"),
        )
        page.keyboard.press("End")
        page.keyboard.press("PageDown")
        page.keyboard.press("PageDown")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.querySelector('h3').textContent") == "Question 19?"
        page.locator("#map svg[role=application]").click(position={"x": 900, "y": 10})
        assert page.evaluate("document.activeElement.querySelector('h3').textContent") == "Question 0?"

    def test_the_numbers_of_the_map_follow_the_filters(self, visit, rich):
        page = visit(rich)
        page.locator("#map-table summary").click()
        becomes(page.locator("#map-table tbody tr"), 20)
        assert page.locator("#map-table thead th").all_inner_texts() == [
            "prompt",
            "baseline",
            "step 0",
            "step 10",
            "step 30",
        ]
        page.get_by_label("Task", exact=True).select_option("maths")
        becomes(page.locator("#map-table tbody tr"), 10)

    def test_completions_before_and_after(self, visit, rich):
        page = visit(rich)
        card = page.locator(".card").first
        before, now = card.locator("section").all()
        assert before.locator("h4").inner_text().split("\n")[0].startswith("Baseline, step 0")
        assert "4 of 4 different" in before.inner_text()
        assert "1 of 4 different" in now.inner_text()
        assert "×4" in now.inner_text()
        becomes(card.locator(".near"), 1)  # "and 1 more"
        card.locator("summary").focus()
        page.keyboard.press("Enter")
        whole = card.locator("details section").nth(1)
        becomes(whole.locator("li"), 4)
        becomes(whole.locator("li.near"), 3)
        assert "≈ #1" in whole.inner_text()
        assert "cut off at the token limit" in whole.inner_text()
        assert "0.25 from the baseline's nearest" in whole.inner_text()

    def test_more_prompts_come_when_asked_for(self, visit, rich):
        page = visit(rich)
        becomes(page.locator(".card"), 8)
        page.get_by_role("button", name="Show 8 more").press("Enter")
        becomes(page.locator(".card"), 16)
        assert page.evaluate("document.activeElement.querySelector('h3').textContent") == "Question 8?"
        page.get_by_role("button", name="Show 4 more").click()
        becomes(page.locator(".card"), 20)
        assert not page.locator("#more").is_visible()

    def test_everything_is_reached_by_the_tab_key_and_seen_there(self, visit, rich):
        page = visit(rich)
        seen = []
        for _ in range(60):
            page.keyboard.press("Tab")
            found = page.evaluate(
                """() => {
                    const e = document.activeElement;
                    const s = getComputedStyle(e.matches('.segments input') ? e.nextElementSibling : e);
                    const name = e.id || e.getAttribute('aria-label') || e.textContent.trim().slice(0, 30);
                    return [e.tagName.toLowerCase(), name, s.outlineStyle, parseFloat(s.outlineWidth)];
                }"""
            )
            if found[0] == "body":
                break
            seen.append(found)
        assert all(style != "none" and width >= 1 for _, _, style, width in seen), seen
        names = [name for _, name, _, _ in seen]
        wanted = ["Skip to the summary", "levels", "SBERT over steps", "metric", "order", "category", "task", "search"]
        assert [name for name in names if name in wanted] == wanted

    def test_controls_have_names(self, visit, rich):
        page = visit(rich)
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('input, select, button, svg[tabindex], [role=region]')].filter(e =>
            !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).map(e => e.outerHTML)"""
        )
        assert unnamed == []


class TestHostile:
    def test_nothing_happens(self, visit, hostile):
        page = visit(hostile)
        title = page.title()
        assert title.startswith("</script>")
        page.evaluate(OPEN_ALL)
        while page.locator("#more").is_visible():
            page.locator("#more").click()
        for row in range(3):
            page.locator("#map svg[role=application]").press("ArrowDown")
            page.locator("figure[data-chart=sbert-0] svg").press("ArrowLeft")
            page.locator("#category").select_option(index=row + 1)
            page.locator("#category").select_option(index=0)
        page.get_by_label("Search the prompts", exact=True).fill("<script>")
        page.locator("#found", has_text="2 of 8").wait_for()
        assert page.evaluate("window.hacked") is None
        assert page.title() == title
        becomes(page.locator("script"), 2)
        becomes(page.locator("main img, main iframe, main link, main style, main script"), 0)
        assert "<script>window.hacked = 1" in page.inner_text("#cards")

    def test_a_megabyte_in_a_line_breaks_no_layout(self, visit, hostile):
        page = visit(hostile, width=320)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.get_by_label("Search the prompts", exact=True).fill("MMMM")
        page.locator("#found", has_text="1 of 8").wait_for()
        assert "MMM […998,800 more characters]" in page.locator("#cards").text_content()
        assert "MMM […999,400 more characters]" in page.locator("#cards").text_content()

    def test_the_policy_stops_what_escaping_might_miss(self, visit, rich):
        page = visit(rich)
        outcome = page.evaluate(
            """async () => {
                const found = [];
                const script = document.createElement('script');
                try {
                    script.text = 'window.hacked = 1';
                    document.body.append(script);
                } catch (e) { found.push('text'); }
                try { document.body.innerHTML = '<p>x</p>'; } catch (e) { found.push('markup'); }
                try { await fetch('https://example.invalid/'); } catch (e) { found.push('fetch'); }
                return [window.hacked ?? null, found];
            }"""
        )
        assert outcome == [None, ["text", "markup", "fetch"]]
        page.trouble.clear()  # the browser logs what it stopped


def luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# The colour of an element's text (or line) and what is painted behind it.
PAINTED = """([selector, property]) => [...document.querySelectorAll(selector)].slice(0, 40).map(element => {
    let behind = element;
    const clear = (node) => /transparent|, 0\\)$/.test(getComputedStyle(node).backgroundColor);
    while (behind.parentElement && clear(behind)) behind = behind.parentElement;
    return [getComputedStyle(element)[property], getComputedStyle(behind).backgroundColor];
})"""
TEXTS = "h1, h2, p, td, th, summary, label, .tiles dt, .tiles em, .small, .note, .alert, select, button, .said .text"


class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_contrast(self, scheme, visit, rich):
        page = visit(rich, color_scheme=scheme)
        assert (luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.1) == (scheme == "dark")
        for selector in TEXTS.split(", "):
            found = page.evaluate(PAINTED, [selector, "color"])
            assert found or selector == ".note", selector
            assert all(contrast(*pair) >= 4.5 for pair in found), (selector, found)
        for selector, what in (
            ("svg text", "fill"),
            ("path.curve", "stroke"),
            ("path.sign", "fill"),
            ("path.gap", "stroke"),
            ("path.hollow", "stroke"),
            ("path.mark", "fill"),
        ):
            found = page.evaluate(PAINTED, [selector, what])
            least = 4.5 if selector == "svg text" else 3
            assert found
            assert all(contrast(*pair) >= least for pair in found), (selector, found)

    @pytest.mark.parametrize("report", ["rich", "several"])
    def test_a_phone_scrolls_one_way_only(self, report, visit, request):
        page = visit(request.getfixturevalue(report), width=320, color_scheme="dark")
        page.evaluate(OPEN_ALL)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        beyond = page.evaluate(
            """() => [...document.querySelectorAll('main *')]
            .filter(e => !e.closest('.scroll, .map, svg, nav, .hidden') && e.getBoundingClientRect().right > 321)
            .map(e => e.outerHTML)"""
        )
        assert beyond == []

    def test_charts_follow_the_width(self, visit, rich):
        page = visit(rich)
        chart = page.locator("figure[data-chart=sbert-0] svg")
        wide = float(chart.get_attribute("width"))
        page.set_viewport_size({"width": 400, "height": 800})
        page.locator(f"figure[data-chart=sbert-0] svg:not([width='{wide:g}'])").wait_for()
        assert float(chart.get_attribute("width")) < wide

    def test_motion_and_paper(self, visit, rich):
        page = visit(rich, reduced_motion="reduce")
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
        page.emulate_media(media="print", color_scheme="dark")
        assert not page.locator("nav.page").is_visible()
        assert not page.locator("#more").is_visible()
        assert page.locator("figure[data-chart=sbert-0] svg").is_visible()
