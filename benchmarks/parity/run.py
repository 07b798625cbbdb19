"""Measures how models are served, and what their conversion to ONNX gets wrong: `python benchmarks/parity/run.py`.

Each model is fitted on 1,500 rows with missing values and categories, or with texts, and packed as `groundwork train`
does. The Python needs the packages of a pilot with the group `boosting`; CatBoost and PyTorch (catboost, torch, skorch,
onnxscript) are measured if they are installed. Takes six minutes of one core, with OMP_NUM_THREADS=1. No file is
written but the page.
"""

import argparse
import json
import logging
import platform
import re
import sys
import tempfile
import textwrap
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[2] / "template/src"))

import numpy as np
import pandas as pd
from groundwork.documents.contract.column import BINARY, Task
from groundwork.documents.contract.contract import Dataset
from groundwork.models.evaluation.performance import seconds_of_a_row
from groundwork.models.packaging import pack
from groundwork.models.packaging.parity import ParityCheck, compare
from groundwork.models.packaging.probes import probes
from groundwork.models.serving.predictor import Predictor, onnx_scores, pipeline_scores
from models import OTHERS, Model, models
from page import publish

ROWS, NEWEST, TIMED_ROWS = 2_000, 500, 50
SYLLABLES = ("ra", "lin", "to", "sse", "m", "ño", "ver", "que", "ld", "y")
QUICK = ("LogisticRegression", "RandomForestClassifier", "PowerTransformer, then imputed")
PACKAGES = (
    "scikit-learn",
    "skl2onnx",
    "onnxmltools",
    "onnxruntime",
    "skops",
    "lightgbm",
    "xgboost-cpu",
    "catboost",
    "torch",
    "skorch",
)
FORMS = {"onnx": "ONNX", "skops": "pipeline (skops)", "pyfunc": "MLflow"}


def table(texts: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """Features as a model gets them, and a quantity to learn. In the newest rows, no age is missing.

    With `texts`, two texts take the place of some of the numbers; their words go with the quantity.
    """
    chance = np.random.default_rng(0)
    cities = np.array([f"city {number}" for number in range(30)] + [""], dtype=object)
    weights = np.append(1.0 / np.arange(1, 31), 0.2)
    frame = pd.DataFrame(
        {
            "city": chance.choice(cities, ROWS, p=weights / weights.sum()),
            "channel": chance.choice(np.array(["web", "shop", "phone"], dtype=object), ROWS),
            "age": chance.integers(18, 90, ROWS).astype(np.float32),
            "income": chance.lognormal(3, 1, ROWS).astype(np.float32),
            "visits": chance.poisson(3, ROWS).astype(np.float32),
            "member": (chance.random(ROWS) < 0.4).astype(np.float32),
            "rate": chance.random(ROWS).astype(np.float32),
            "account": (1e9 + 100 * chance.normal(size=ROWS)).astype(np.float32),
        }
    )
    city = pd.Series(frame["city"]).map({name: np.sin(number) for number, name in enumerate(cities)}).to_numpy()
    learnt = (
        0.03 * frame["age"] + np.log(frame["income"]) * frame["rate"] + city + frame["member"] * frame["visits"] / 3
    )
    quantity = np.exp((learnt + chance.normal(0, 0.5, ROWS)) / 3).to_numpy()
    for name in ("age", "income"):
        gone = chance.random(ROWS) < 0.15
        if name == "age":
            gone[-NEWEST:] = False
        frame.loc[gone, name] = np.nan
    if texts:
        frame = frame[["city", "channel", "age", "income"]].assign(
            body=written(quantity, 25, chance), subject=written(quantity, 5, chance)
        )
    return frame, quantity


def written(quantity: np.ndarray, most: int, chance: np.random.Generator) -> np.ndarray:
    """Texts of at most so many words, of which some are frequent, and some go with a large or a small quantity."""
    words = [begin + end for begin in ("ka", "lo", "né", "Rü", "ta", "o", "wei", "MI", "x") for end in SYLLABLES]
    words = np.array([*words, "a", "I", "é", "don't", "co-op", "the", "3", "2013", "ﬁn", "İz"], dtype=object)
    leaning, frequent = chance.normal(0, 1, len(words)), 1 / chance.permutation(np.arange(3, 3 + len(words)))
    standing = np.log(quantity) - np.log(quantity).mean()
    likely = frequent * np.exp(np.outer(standing / standing.std(), leaning))
    likely /= likely.sum(1, keepdims=True)
    spaces = np.array([" ", " ", " ", ", ", "  ", "\n"])
    return np.array(
        [chance.choice(spaces).join(chance.choice(words, chance.integers(0, most + 1), p=of_row)) for of_row in likely],
        dtype=object,
    )


def dataset(task: Task, frame: pd.DataFrame) -> Dataset:
    """The contract of the table."""
    feature = {"tags": ["feature"], "description": "-", "examples": [1]}
    count, share = {"logicalTypeOptions": {"minimum": 0}}, {"minimum": 0, "maximum": 1}
    outcome = {"name": "outcome", "tags": ["outcome"], "description": "-"} | (
        {"logicalType": "number", "examples": [1.5]}
        if task.kind == "regression"
        else {"logicalType": "boolean", "examples": [True]}
    )
    columns = [
        {"name": "row_id", "logicalType": "string", "primaryKey": True, "description": "-", "examples": ["a"]},
        {
            "name": "happened_at",
            "logicalType": "timestamp",
            "tags": ["event_time"],
            "description": "-",
            "examples": ["2013-01-01T00:00:00"],
        },
        outcome,
        feature | {"name": "city", "logicalType": "string", "examples": ["city 1"]},
        feature | {"name": "channel", "logicalType": "string", "examples": ["web"], "required": True},
        feature | {"name": "age", "logicalType": "number", "logicalTypeOptions": {"minimum": 0, "maximum": 120}},
        feature | {"name": "income", "logicalType": "number"},
        feature | count | {"name": "visits", "logicalType": "integer", "required": True},
        feature | {"name": "member", "logicalType": "boolean", "required": True, "examples": [True]},
        feature
        | {
            "name": "rate",
            "logicalType": "number",
            "required": True,
            "logicalTypeOptions": share,
        },
        feature | {"name": "account", "logicalType": "number", "required": True},
        feature | {"name": "body", "logicalType": "string", "examples": ["a text"]},
        feature | {"name": "subject", "logicalType": "string", "examples": ["a text"]},
    ]
    used = [each for each in columns if "feature" not in each.get("tags", ()) or each["name"] in frame]
    return Dataset.model_validate({"name": "rows", "properties": used})


def measured(model: Model) -> dict[str, Any]:
    """How one model is served, what the conversion alone gets wrong, and what a row costs."""
    frame, quantity = table(model.texts)
    task = Task(kind="regression") if model.regression else BINARY
    targets = quantity.astype(np.float32) if model.regression else (quantity > np.median(quantity)).astype(np.int64)
    described = dataset(task, frame)
    middle = float(np.median(quantity)) if model.regression else 0.3

    def decide(scores: np.ndarray, _: pd.DataFrame) -> np.ndarray:
        return np.where(scores >= middle, "act", "keep")

    fitted = model.build().fit(frame.iloc[:-NEWEST], targets[:-NEWEST])
    windows = {"the newest window": frame.iloc[-NEWEST:], "the training window": frame.iloc[:-NEWEST]}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle"
        bundle = pack.pack(fitted, windows, decide, folder, described)
        predictor = Predictor(folder, bundle.sha256, list(frame), task)
        alone = {str(name): frame[name].to_numpy()[-NEWEST:] for name in frame}
        result: dict[str, Any] = {
            "library": model.library,
            "name": model.name,
            "behind": model.behind,
            "served": bundle.format,
            "reason": bundle.reason,
            "microseconds": round(seconds_of_a_row(predictor, alone, TIMED_ROWS) * 1e6),
        }
        try:
            content = pack._to_onnx(fitted, windows["the newest window"])
            made = _without_proof(fitted, content, windows, decide, described)
            result |= {
                "rows": made.rows,
                "difference": made.difference,
                "decisions": sum(each.decisions for each in made.kinds),
                "differing": [each.kind for each in made.kinds if not each.equal],
                "newest_equal": made.kinds[0].equal,
            }
        except Exception as error:
            result["refused"] = textwrap.shorten(_refusal(error), 110, placeholder=" …")
    return result


def _without_proof(fitted: Any, content: bytes, windows: Any, decide: Any, described: Dataset) -> ParityCheck:
    """What the converted model answers on all rows of the proof, against the pipeline."""
    task = described.task
    converted = onnx_scores(content, task)
    scores = pipeline_scores(fitted, next(iter(windows.values())), task)
    return compare(
        probes(windows, described.features, content),
        lambda rows: pipeline_scores(fitted, rows, task),
        lambda rows: converted({str(name): rows[name].to_numpy() for name in rows}),
        decide,
        float(np.abs(scores).max()) if task.kind == "regression" else None,
    )


def _refusal(error: Exception) -> str:
    """Why there is no converted model, in a few words."""
    said = " ".join(str(error).split())
    unknown = re.search(r"'<class '[\w.]*?(\w+)'>'", said) if type(error).__name__ == "MissingShapeCalculator" else None
    return f"no converter for {unknown[1]}" if unknown else f"{type(error).__name__}: {said}"


def text(results: list[dict[str, Any]], seconds: float) -> str:
    """The page's tables."""
    installed = []
    for name in PACKAGES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    absent = [library for library in OTHERS if not any(each["library"] == library for each in results)]
    measurable = [each for each in results if "decisions" in each]
    as_onnx = [each for each in results if each["served"] == "onnx"]
    caught = [each for each in measurable if each["served"] != "onnx"]
    overlooked = [each for each in caught if each["newest_equal"]]
    costs = {form: [each["microseconds"] for each in results if each["served"] == form] for form in FORMS}
    lines = [
        f"{len(results)} models on {ROWS:,} rows, in {seconds:,.0f} s of CPU, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}; {', '.join(installed)}."
        + (f" Not installed, and so not measured: {', '.join(absent)}." if absent else ""),
        "",
        f"- Served as ONNX: {len(as_onnx)}. Converted without an error, but wrong, and so not served as ONNX: "
        f"{len(caught)}. Of those, {len(overlooked)} agree with the pipeline in the whole newest window.",
        "- Median cost of a row alone, in µs of CPU: "
        + ", ".join(f"{FORMS[form]} {np.median(found):,.0f}" for form, found in costs.items() if found)
        + ".",
        "",
        "| library | model | on | served as | largest difference | decisions | differs on, or why not converted "
        "| µs a row |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in results:
        if "decisions" in each:
            kinds = each["differing"]
            wrong = f"{kinds[0]}{f' and {len(kinds) - 1} more' if len(kinds) > 1 else ''}" if kinds else ""
            found = f"{each['difference']:.1e} | {each['decisions']:,} of {each['rows']:,} | {wrong}"
        else:
            found = f"| | {each['refused'].replace('|', '/')}"
        lines.append(
            f"| {each['library']} | {each['name']} | {each['behind']} | {FORMS[each['served']]} | {found} | "
            f"{each['microseconds']:,} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"a smoke run: {', '.join(QUICK)}")
    parser.add_argument("--only", metavar="TEXT", help="only models whose name contains this")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    parser.add_argument("--publish", type=Path, metavar="PAGE", help="put the tables into this page")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    began, results = time.process_time(), []
    for model in models():
        if (options.quick and model.name not in QUICK) or (options.only and options.only not in model.name):
            continue
        print(f"{model.name}, {model.behind}", file=sys.stderr, flush=True)
        results.append(measured(model))
    said = text(results, time.process_time() - began)
    print(said)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.publish:
        publish(options.publish, said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
