"""Measures the pilot's commands against the build before: `python benchmarks/commands/run.py`.

Two pilots with the demo's answers are written, one from the revision `--before` and one from HEAD, without uncommitted
changes. Each command runs in both in turn. CPU is the user and system time of all processes that a command starts,
Prefect's server among them, until the last one has ended. Needs `uv`. Linux only.
"""

import argparse
import ctypes
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from builds import ENVIRONMENT, ROOT, Build, commit_of, run
from page import publish

# The last commit before the commands were made faster: the imports were not lazy, and Prefect's server was started and
# awaited by each flow that was run by hand.
BEFORE = "bf9f9ae"
TARGETS = {"--help": 0.35, "check": 0.6, "status": 0.2, "ingest": 0.35, "make demo": 0.7}  # times the CPU of before
QUICK = ("--help", "check")
DEMO = "make demo"
LEFT_OVER_SECONDS = 120  # in which what a command leaves behind has to end
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of all processes that outlive the ones that started them."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit(f"processes that outlive a command cannot be waited for: {os.strerror(ctypes.get_errno())}")


def measure(folder: Path, *command: str) -> dict[str, float]:
    """The seconds that a command takes, and the CPU seconds of all processes it starts. Ends the program if it fails.

    The wall time ends with the command. After `adopt_orphans`, processes that outlive it become children of this one;
    they are waited for too.
    """
    used, began = _cpu_of_children(), time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, stdout=out, stderr=subprocess.STDOUT)
        seconds = time.perf_counter() - began
        if done.returncode:
            out.seek(0)
            sys.exit(f"`{' '.join(command)}` in {folder} ended with {done.returncode}:\n{out.read()[-4000:]}")
    deadline = time.monotonic() + LEFT_OVER_SECONDS
    while _has_children():
        if time.monotonic() > deadline:
            sys.exit(f"`{' '.join(command)}` left a process that has not ended within {LEFT_OVER_SECONDS} s")
        time.sleep(0.01)
    return {"seconds": seconds, "cpu_seconds": _cpu_of_children() - used}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _has_children() -> bool:
    """Whether a child is left; one that has ended is reaped."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def commands(quick: bool, demo: bool) -> dict[str, tuple[str, ...]]:
    """The commands by their short names, in the order in which they are measured."""
    verbs = [name for name in TARGETS if name != DEMO and (not quick or name in QUICK)]
    found: dict[str, tuple[str, ...]] = {name: (".venv/bin/groundwork", name) for name in verbs}
    return found | ({DEMO: ("scripts/demo",)} if demo else {})


def measured(builds: list[Build], wanted: dict[str, tuple[str, ...]], repetitions: int) -> dict[str, Any]:
    """What each command costs in each build: both builds in turn, after one run in each that is not counted."""
    results: dict[str, Any] = {
        "repetitions": repetitions,
        "builds": {build.name: build.commit for build in builds},
        "load": [os.getloadavg()[0]],
        "commands": {name: {build.name: [] for build in builds} for name in wanted},
    }
    for name, command in wanted.items():
        commits: dict[str, list[str]] = {}
        for repetition in range(repetitions + 1):
            print(f"{name}, {f'run {repetition}' if repetition else 'warm-up'}", file=sys.stderr, flush=True)
            for build in builds:
                cost = measure(build.clone if name == DEMO else build.pilot, *command)
                if repetition:
                    results["commands"][name][build.name].append(cost)
                    if build.data_commits != commits[build.name]:
                        sys.exit(f"{name} changed the snapshots in {build.pilot}: there was something new")
                commits[build.name] = build.data_commits
    results["load"].append(os.getloadavg()[0])
    return results


def ratios(runs: dict[str, list[dict[str, float]]], what: str) -> list[float]:
    """What HEAD takes of the time before, pair by pair."""
    before, after = runs.values()
    return [later[what] / earlier[what] for earlier, later in zip(before, after, strict=True)]


def text(results: dict[str, Any]) -> str:
    before, after = (commit[:7] for commit in results["builds"].values())
    lines = [
        f"The build before is {before}, the build after is {after}. On {os.cpu_count()} shared cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}; load average "
        f"{results['load'][0]:.1f} before and {results['load'][1]:.1f} after the run. Counted runs of each command and "
        f"build: {results['repetitions']}, after one warm-up each, the builds in turn. Median (lowest to highest).",
        "",
        "| command | build | CPU, s | wall, s |",
        "| --- | --- | --- | --- |",
    ]
    for name, runs in results["commands"].items():
        for build, costs in runs.items():
            cpu, wall = (_spread([cost[what] for cost in costs]) for what in ("cpu_seconds", "seconds"))
            lines.append(f"| {_shown(name)} | {build} | {cpu} | {wall} |")
    lines += [
        "",
        "| target: after ÷ before, pair by pair | CPU, wanted | CPU, found | | wall, found |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, runs in results["commands"].items():
        cpu, wanted = ratios(runs, "cpu_seconds"), TARGETS[name]
        met = "met" if median(cpu) <= wanted else "**missed**"
        lines.append(
            f"| {_shown(name)} | ≤ {wanted:g} times | {_spread(cpu)} | {met} | {_spread(ratios(runs, 'seconds'))} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, metavar="REVISION", help="the build before (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="keep both builds here, and use them again if they are there")
    parser.add_argument("--demo", action="store_true", help=f"measure `{DEMO}` too, which takes minutes")
    parser.add_argument("--quick", action="store_true", help=f"a smoke run: {' and '.join(QUICK)}, once each")
    parser.add_argument("--runs", type=int, default=5, help="how often to count each command (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    parser.add_argument("--publish", type=Path, metavar="PAGE", help="put the tables into this page")
    options = parser.parse_args()
    adopt_orphans()
    if run(ROOT, "git", "status", "--porcelain"):
        print("uncommitted changes are not measured", file=sys.stderr)
    wanted = commands(options.quick, options.demo)
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="commands-benchmark-")))
        commits = {"before": commit_of(options.before), "after": commit_of("HEAD")}
        builds = [Build(name, commit, folder.resolve() / f"{name}-{commit[:12]}") for name, commit in commits.items()]
        for build in builds:
            build.prepare(loop=not options.quick)
        results = measured(builds, wanted, 1 if options.quick else options.runs)
    print(text(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.publish:
        publish(options.publish, text(results))
    return 0


def _shown(name: str) -> str:
    return f"`{name}`" if name == DEMO else f"`groundwork {name}`"


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    sys.exit(main())
