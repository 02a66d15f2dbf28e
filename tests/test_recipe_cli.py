"""``divmon recipe``: what is printed, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from divmon.cli import main
from divmon.recipes import check as checking
from tests.recipes import STAGES, write_folder, write_recipe

RECIPES = ("base", "think-dpo", "think-rl", "think-sft")

pytestmark = pytest.mark.usefixtures("fake_encoders")


@pytest.fixture
def recipes(tmp_path):
    return write_folder(tmp_path / "recipes", *RECIPES)


def call(capsys, *arguments):
    """Exit status, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["recipe", *map(str, arguments)])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


class TestList:
    def test_a_line_a_recipe(self, recipes, capsys):
        status, out, err = call(capsys, "list", recipes)
        assert (status, err) == (0, "")
        lines = [line.split(maxsplit=3) for line in out.splitlines()]
        assert lines[0] == ["recipe", "trains", "from"]
        assert ["base", "sft", "random", "weights  pretraining"] in lines
        assert ["think-sft", "sft", "base", "chats"] in lines

    def test_several_paths(self, recipes, capsys):
        _, out, _ = call(capsys, "list", recipes / "base.yaml", recipes / "think-sft.yaml")
        assert len(out.splitlines()) == 3

    def test_a_folder_means_all_below_it(self, recipes, capsys):
        write_recipe(recipes / "ablations", "base", STAGES["base"] | {"description": "another"})
        _, out, _ = call(capsys, "list", recipes.parent)
        names = [line.split()[0] for line in out.splitlines()[1:]]
        assert names == [*(f"recipes/{name}" for name in RECIPES), "ablations/base"]

    def test_what_is_wrong_is_one_line(self, recipes, capsys):
        status, out, err = call(capsys, "list", recipes / "bas.yaml")
        assert (status, out) == (2, "")
        assert err.startswith("divmon: No recipe at ")
        assert err.endswith("base.yaml?\n")

    def test_it_is_quick_to_start(self, recipes):
        code = (
            "import sys, json\nfrom divmon.cli import main\ntry:\n"
            f"    main(['recipe', 'list', {str(recipes)!r}])\nexcept SystemExit:\n"
            "    print(json.dumps(list(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not {"torch", "transformers", "trl", "peft", "datasets"} & set(json.loads(done.stderr))


class TestShow:
    def test_what_is_given_and_what_the_runner_adds(self, recipes, capsys):
        status, out, _ = call(capsys, "show", recipes / "think-rl.yaml", "--seed", "5")
        assert status == 0
        shown = yaml.safe_load(out)
        assert shown["recipe"] == "think-rl"
        assert shown["chain"] == ["base", "think-sft", "think-dpo", "think-rl"]
        assert shown["given"]["grpo"] == STAGES["think-rl"]["grpo"]
        added = shown["added by the runner"]["grpo"]
        assert (added["seed"], added["data_seed"], added["report_to"]) == (5, 5, "none")
        assert not set(added) & set(shown["given"]["grpo"])
        assert shown["added by the runner"]["monitor"]["baseline"].endswith("base")
        assert "status" not in shown

    def test_what_a_smoke_run_makes_of_it(self, recipes, capsys):
        _, out, _ = call(capsys, "show", recipes / "think-rl.yaml", "--smoke")
        added = yaml.safe_load(out)["added by the runner"]
        assert added["grpo"]["max_steps"] == 2
        assert added["monitor"]["num_prompts"] == 4

    def test_several_are_documents(self, recipes, tmp_path, capsys):
        _, out, _ = call(capsys, "show", recipes, "--output-dir", tmp_path / "runs")
        documents = list(yaml.safe_load_all(out))
        assert [document["recipe"] for document in documents] == list(RECIPES)
        assert all(document["status"].startswith("not run yet") for document in documents)
        assert not (tmp_path / "runs").exists()

    def test_a_folder_means_all_below_it(self, recipes, tmp_path, capsys):
        write_recipe(recipes / "ablations", "base", STAGES["base"] | {"description": "another"})
        status, out, _ = call(capsys, "show", recipes)
        shown = [(document["recipe"], document["given"].get("description")) for document in yaml.safe_load_all(out)]
        assert status == 0
        assert [name for name, _ in shown] == [*RECIPES, "base"]
        assert [text for name, text in shown if name == "base"] == ["pretraining", "another"]
        # In one folder of runs they would be one.
        status, _, err = call(capsys, "show", recipes, "--output-dir", tmp_path / "runs")
        assert status == 2
        assert "Two recipes are called 'base'" in err

    def test_status(self, recipes, tmp_path, capsys):
        runs = tmp_path / "runs"
        call(capsys, "run", recipes / "base.yaml", "--output-dir", runs)
        _, out, _ = call(capsys, "show", recipes / "base.yaml", "--output-dir", runs)
        assert yaml.safe_load(out)["status"].startswith(f"complete in {runs / 'base'}: EAD")
        _, out, _ = call(capsys, "show", recipes / "base.yaml", "--output-dir", runs, "--seed", "1")
        assert "--seed 0, now it is 1" in yaml.safe_load(out)["status"]

    def test_unknown_fields(self, recipes, capsys):
        path = write_recipe(recipes, "bad", STAGES["think-sft"] | {"sft": {"max_seq_length": 3}})
        status, out, err = call(capsys, "show", path)
        assert (status, out) == (2, "")
        assert "did you mean 'max_length'?" in err


class TestRun:
    def test_lines(self, recipes, tmp_path, capsys):
        runs = tmp_path / "runs"
        status, out, _ = call(capsys, "run", recipes / "think-sft.yaml", "--output-dir", runs)
        lines = out.splitlines()
        assert status == 0
        assert lines[0] == "[1/2] base: SFT from random weights"
        assert lines[1].startswith("  base: EAD 0.")
        assert lines[2] == "[2/2] think-sft: SFT from base"
        assert lines[3].startswith("  think-sft: EAD 0.")
        assert lines[4] == f"Both stages are complete. What each did to diversity: divmon lineage {runs / 'think-sft'}"
        assert len(lines) == 5
        _, out, _ = call(capsys, "run", recipes / "think-sft.yaml", "--output-dir", runs)
        assert [line.split(":")[0] for line in out.splitlines()[:2]] == ["[1/2] base", "[2/2] think-sft"]
        assert out.count("complete already, skipped") == 2

    def test_a_folder_means_its_own(self, recipes, tmp_path, capsys):
        status, out, err = call(capsys, "run", recipes.parent, "--output-dir", tmp_path / "runs")
        assert (status, out) == (2, "")
        assert f"Its subfolders have some: name {recipes}" in err
        assert not (tmp_path / "runs").exists()

    def test_a_smoke_run_says_so(self, recipes, tmp_path, capsys):
        _, out, _ = call(capsys, "run", recipes / "base.yaml", "--output-dir", tmp_path / "runs", "--smoke")
        assert out.splitlines()[0].endswith("Its numbers mean nothing.")

    def test_a_failure_is_one_line_and_says_how_to_go_on(self, recipes, tmp_path, capsys):
        write_recipe(recipes, "base", {"model": "nobody/nothing"})
        status, out, err = call(capsys, "run", recipes / "think-sft.yaml", "--output-dir", tmp_path / "runs")
        assert status == 2
        assert err.startswith("divmon: Stage 'base' failed: ")
        assert "the same command starts it again" in err
        assert "\n" not in err.strip()
        assert "Traceback" not in out + err

    def test_a_terminal_gets_a_bar(self, recipes, tmp_path):
        """In a pseudo-terminal; the lines are those of the plain output, and the bar shows steps and loss."""
        import os
        import pty

        main_end, other_end = pty.openpty()
        command = [sys.executable, "-m", "divmon", "recipe", "run", str(recipes / "base.yaml")]
        process = subprocess.Popen(
            [*command, "--output-dir", str(tmp_path / "runs")],
            stdout=other_end,
            stderr=other_end,
            env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
        )
        os.close(other_end)
        seen = b""
        while True:
            try:
                part = os.read(main_end, 4096)
            except OSError:  # the other end was closed
                break
            if not part:
                break
            seen += part
        os.close(main_end)
        assert process.wait(timeout=60) == 0
        text = seen.decode()
        assert "[1/1] base: SFT from random weights" in text
        assert "4/4" in text
        assert "loss" in text
        assert "  base: EAD" in text


class TestCheck:
    def test_findings_are_lines_and_a_failed_one_the_status(self, recipes, capsys, monkeypatch):
        asked = []

        def found(given, *, progress=None):
            asked.extend(recipe.name for recipe in given)
            progress("looking")
            return [
                checking.Finding("base", "config", True, "SFTConfig builds"),
                checking.Finding("think-sft", "template", False, "no \x1b[31mtemplate"),
            ]

        monkeypatch.setattr(checking, "check_recipes", found)
        status, out, err = call(capsys, "check", recipes / "base.yaml", recipes / "think-sft.yaml")
        assert (status, asked, err) == (1, ["base", "think-sft"], "looking\n")
        assert out.splitlines() == [
            "ok    base config         SFTConfig builds",
            "FAIL  think-sft template  no \\x1b[31mtemplate",
            "1 of 2 checks passed.",
        ]
        monkeypatch.setattr(checking, "check_recipes", lambda *_, **__: found(*_, **__)[:1])
        assert call(capsys, "check", recipes / "base.yaml")[0] == 0
        asked.clear()
        write_recipe(recipes / "ablations", "kl", STAGES["think-rl"] | {"init_from": "../think-dpo"})
        call(capsys, "check", recipes.parent)
        assert asked == [*RECIPES, "kl"]


def test_help_names_all_commands(capsys):
    _, out, _ = call(capsys, "--help")
    for name in ("list", "show", "run", "check"):
        assert f"  {name} " in out
        _, text, _ = call(capsys, name, "--help")
        meant = "their own recipes, not those below" if name == "run" else "all recipes under them"
        assert meant in " ".join(text.split())
