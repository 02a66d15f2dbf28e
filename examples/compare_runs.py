"""Compare two recorded runs: which of them kept more of its diversity, for certain or by chance, and on which prompts.

    python examples/compare_runs.py runs/beta-0.1 runs/beta-0.5 --csv comparison.csv

Both must have been measured with the same prompts, sampling and encoders; ``divmon report RUN RUN`` draws the same.
"""

import argparse

import pandas as pd

import divmon
from divmon import stats
from divmon.comparison import comparison_problem


def last_values(run: divmon.Run) -> pd.DataFrame:
    """The values of each prompt at the run's last measurement, a column for each metric."""
    frame = run.per_prompt()
    frame = frame[frame.step == frame.step.max()]
    return frame.pivot(index=["key", "prompt"], columns="metric", values="value")


def main() -> None:
    """Print a line for each metric, and the prompts that differ most."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", help="a run's output folder")
    parser.add_argument("second", help="another's")
    # Choose: the metric whose prompts are listed.
    parser.add_argument("--metric", default="sbert", choices=["ead", "sbert", "nli", "vendi"])
    parser.add_argument("--csv", help="write the means of both runs at every step there")
    arguments = parser.parse_args()

    runs = [divmon.load(path) for path in (arguments.first, arguments.second)]
    first, second = (last_values(run) for run in runs)
    ends = [run.measurements[-1] for run in runs]
    for metric in ends[0].metrics:
        if problem := comparison_problem(ends[1], ends[0], metric):
            print(f"{metric:6} cannot be compared: {problem}")
            continue
        kept = [end.metrics[metric].retained for end in ends]
        # The same prompts at both times: a paired difference, with its bootstrap interval and a sign-flip test.
        found = stats.change(second[metric], first[metric].reindex(second.index))
        low, high = found.interval
        print(
            f"{metric:6} retained {kept[0]:.1%} and {kept[1]:.1%}; second - first "
            f"{found.difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {found.p_value:.3g} over {found.prompts} prompts"
        )
    change = (second[arguments.metric] - first[arguments.metric].reindex(second.index)).dropna().sort_values(key=abs)
    print(f"\nPrompts whose {arguments.metric} differs most (second - first):")
    for (_, prompt), difference in change[::-1][:5].items():
        print(f"  {prompt:24} {difference:+.3f}")
    if arguments.csv:
        pd.concat([run.frame().assign(run=str(run.ledger.folder)) for run in runs]).to_csv(arguments.csv, index=False)


if __name__ == "__main__":
    main()
