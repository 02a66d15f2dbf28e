"""The console's line: what it says, that it fits, and that it tears no progress bar."""

from __future__ import annotations

import dataclasses
import io
import math
import re
import sys
import types

import pytest
from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback
from trl import RichProgressCallback

from divmon import DiversityCallback
from divmon.metrics import METRICS
from divmon.sinks.base import View
from divmon.sinks.console import ConsoleSink
from tests.records import VALIDITY, accuracy, measurement, summary
from tests.test_callback import SMALL, sft

LEGEND = "divmon: means, and % of the baseline retained (* the interval excludes 100%)"
BASELINE = measurement(baseline={})
LOST = measurement(
    step=120,
    metrics={
        "ead": summary(0.0349, 0.102, 0.08, 0.13),
        "sbert": summary(0.032, 0.6849, 0.5, 1.01),
        "nli": summary(1.0, 1.15, 1.05, 1.3),
        "vendi": summary(12.46, 0.995, 0.99, 0.999),
    },
)


class Terminal(io.StringIO):
    """A terminal of endless width, to which standard output and standard error go while it is entered."""

    def __init__(self, tty: bool = True) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    def __enter__(self) -> Terminal:
        self._streams = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = self
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout, sys.stderr = self._streams

    @property
    def screen(self) -> list[str]:
        """The lines that one sees in the end."""
        lines, row, column = [""], 0, 0
        for part in re.split(r"(\n|\r|\x1b\[A)", self.getvalue()):
            if part == "\x1b[A":
                row -= 1
            elif part in ("\n", "\r"):
                row, column = row + (part == "\n"), 0
                lines += [""] * (row == len(lines))
            else:
                lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in lines]


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    """A terminal without colours."""
    monkeypatch.setenv("TERM", "dumb")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def view(now=LOST, baseline=BASELINE, alert_below=0.7) -> View:
    settings = {"alert_below": alert_below}
    return View(now, baseline, (baseline, now), (), (), (), settings, "runs/x/divmon")


class TestLine:
    @staticmethod
    def shown(terminal: Terminal, *measurements, alert_below=0.7) -> list[str]:
        sink = ConsoleSink()
        with terminal:
            for now in measurements:
                sink.measured(view(now, alert_below=alert_below))
        *lines, last = terminal.screen
        assert last == ""
        return lines

    def test_what_it_says(self, terminal):
        assert self.shown(terminal, BASELINE, LOST) == [
            LEGEND,
            "step    0 EAD 0.50       SBERT 0.50       NLI 0.50       Vendi 0.50",
            "step  120 EAD 0.03 10%*  SBERT 0.03 68%   NLI 1.00 115%* Vendi 12.5 100%*",
        ]

    def test_columns_stand_below_each_other_and_fit(self, terminal):
        kept = {name: summary(15.96 if name == "vendi" else 0.5, 0.996, 0.9, 1.1) for name in METRICS}
        one = measurement(accuracy=accuracy(1.0), metrics=kept)
        steps = [dataclasses.replace(one, step=step, baseline=one.baseline if step else {}) for step in (0, 9999)]
        legend, *lines = self.shown(terminal, *steps, dataclasses.replace(one, step=999_999))
        assert max(map(len, [legend, *lines])) <= 80
        assert lines[0] == "step    0 EAD 0.50      SBERT 0.50      NLI 0.50      Vendi 16.0      acc 100%"
        assert lines[1] == "step 9999 EAD 0.50 100% SBERT 0.50 100% NLI 0.50 100% Vendi 16.0 100% acc 100%"

    def test_what_was_not_measured_is_a_dash(self, terminal):
        nothing = summary(math.nan, math.nan, math.nan, math.nan)
        now = measurement(step=3, metrics={"ead": nothing, "nli": summary()})
        assert self.shown(terminal, now)[1:] == ["step    3 EAD    - -     NLI 0.50 80%*"]

    def test_unsound_completions_are_named_in_a_second_line(self, terminal):
        cut_off = dataclasses.replace(LOST, validity=dataclasses.replace(VALIDITY, truncated=0.9))
        unlikely = dataclasses.replace(LOST, validity=dataclasses.replace(VALIDITY, base_logprob=-10.25))
        lines = self.shown(terminal, LOST, cut_off, unlikely)
        assert [number for number, line in enumerate(lines) if "step" in line] == [1, 2, 4]
        assert lines[3] == "          unsound: 90% of the completions are cut off (25% before)"
        assert lines[5] == "          unsound: the base model finds the completions unlikely (-10.2 nats a"
        assert lines[6] == "                   token, -1.5 before)"

    def test_it_is_ascii_and_written_at_once(self, monkeypatch):
        written = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
        ConsoleSink().measured(view())
        assert b"step  120" in written.getvalue()

    def test_in_a_notebook_it_is_text(self, terminal, monkeypatch):
        displayed = []
        monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
        monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=displayed.append))
        terminal._tty = False
        assert self.shown(terminal, LOST)[1].startswith("step  120 EAD 0.03 10%* ")
        assert displayed == []

    def test_without_a_console(self, monkeypatch):
        monkeypatch.setattr("sys.stdout", None)
        ConsoleSink().measured(view())


class TestColours:
    @staticmethod
    def shown(terminal: Terminal, **settings) -> str:
        with terminal:
            ConsoleSink().measured(view(**settings))
        return terminal.getvalue()

    @pytest.fixture(autouse=True)
    def colours(self, terminal, monkeypatch):
        monkeypatch.setenv("TERM", "xterm-256color")

    def test_a_collapse_is_red(self, terminal):
        shown = self.shown(terminal)
        assert "\x1b[1;31m10%*  \x1b[0m" in shown
        assert "\x1b[1m115%* \x1b[0m" in shown
        assert "\x1b[1m100%*\x1b[0m" in shown  # certain, but above the threshold
        assert "68%   NLI" in shown

    def test_without_a_threshold_nothing_is_red(self, terminal):
        assert "\x1b[1m10%*  \x1b[0m" in self.shown(terminal, alert_below=None)

    def test_a_file_has_none(self, terminal):
        terminal._tty = False
        assert "\x1b" not in self.shown(terminal)

    def test_nobody_wants_them(self, terminal, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b[1;31m" not in self.shown(terminal)


class TestProgress:
    def test_a_bar_stays_whole(self, terminal):
        sink = ConsoleSink()
        with terminal, tqdm(total=4, desc="training", ncols=60) as bar:
            bar.update(1)
            sink.measured(view(BASELINE))
            bar.update(1)
            sink.measured(view(LOST))
            *above, last = terminal.screen
        assert above == [
            LEGEND,
            "step    0 EAD 0.50       SBERT 0.50       NLI 0.50       Vendi 0.50",
            "step  120 EAD 0.03 10%*  SBERT 0.03 68%   NLI 1.00 115%* Vendi 12.5 100%*",
        ]
        assert last.startswith("training:  50%|")

    @pytest.mark.usefixtures("fake_encoders")
    @pytest.mark.parametrize("without_bar", [False, True])
    def test_of_a_trainer(self, without_bar, tmp_path, terminal):
        trainer = sft(tmp_path, [DiversityCallback(every_n_steps=2, strict=True, **SMALL)], disable_tqdm=without_bar)
        with terminal:
            trainer.train()
        ours = [line for line in terminal.screen if "step " in line or "divmon:" in line]
        assert ours[0] == LEGEND
        assert [line[:14] for line in ours[1:]] == [f"step    {step} EAD " for step in (0, 2, 4)]
        assert any("4/4" in line for line in terminal.screen) is not without_bar

    def test_it_speaks_where_the_trainer_does(self):
        def said(*callbacks):
            handler = types.SimpleNamespace(callbacks=list(callbacks))
            return len(ConsoleSink.of(types.SimpleNamespace(callback_handler=handler)))

        class Own(ProgressCallback):
            """A user's."""

        assert said(DiversityCallback()) == 0  # a recipe's runner shows the run itself
        for callback in (PrinterCallback(), ProgressCallback(), RichProgressCallback(), Own()):
            assert said(DiversityCallback(), callback) == 1

    @pytest.mark.usefixtures("fake_encoders")
    def test_a_trainer_without_progress_is_quiet(self, tmp_path, capsys):
        trainer = sft(tmp_path, [callback := DiversityCallback(every_n_steps=2, strict=True, **SMALL)])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        assert len(callback.measurements) == 3
        assert capsys.readouterr().out == ""
