"""Text is served as ONNX and equal to the pipeline, also for texts that converters usually get wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from described import described
from groundwork.models.packaging import text
from groundwork.models.packaging.pack import pack
from groundwork.models.packaging.text import hostile_texts
from groundwork.models.serving import term_weights
from groundwork.models.serving.predictor import TOLERANCE, Bundle, Predictor
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from pilots import ROOT, SOURCE
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import StringTensorType
from skl2onnx.operator_converters.text_vectoriser import convert_sklearn_text_vectorizer
from skl2onnx.shape_calculators.text_vectorizer import calculate_sklearn_text_vectorizer_output_shapes
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

ROWS = 400
random = np.random.default_rng(0)
GOOD = re.split(" ", "thanks a lot, i am very happy with the café's 2 new übergroße chairs İstanbul ΣΟΦΟΣ naïve it's")
BAD = re.split(
    " ", "refund my broken order a third time, i am angry: façade übel 404 b c DEFEKT İade ΟΔΟΣ don't co-operate"
)


def written(late: bool) -> str:
    words = random.choice(GOOD + BAD if random.random() < 0.3 else BAD if late else GOOD, random.integers(1, 25))
    return random.choice([" ", "  ", "\n"]).join(words)


LATE = random.random(ROWS) < 0.4
FRAME = pd.DataFrame(
    {
        "body": np.array([written(late) for late in LATE], dtype=object),
        "subject": np.array([written(late)[:20] for late in LATE], dtype=object),
        "shop": random.choice(["Rome", "Oslo", ""], ROWS).astype(object),
        "age": random.normal(40, 10, ROWS).astype(np.float32),
    }
)
LINEAR = LogisticRegression(C=30)


def decide(scores: NDArray, _: pd.DataFrame) -> NDArray[np.str_]:
    return np.where(scores >= 0.3, "act", "keep")


def packed(model: Pipeline, folder: Path) -> Bundle:
    return pack(model, {"the newest window": FRAME}, decide, folder, described(FRAME))


def on_body(vectorizer: BaseEstimator, classifier: BaseEstimator = LINEAR, **options: Any) -> Pipeline:
    columns = ColumnTransformer([("words", vectorizer, "body")], **options)
    fitted: Pipeline = make_pipeline(columns, classifier).fit(FRAME, LATE)
    return fitted


def hostile() -> pd.DataFrame:
    """Rows with a hostile text in one column, or in both."""
    bodies, subjects = hostile_texts(FRAME["body"]), hostile_texts(FRAME["subject"])
    texts = [(body, "order") for body in bodies] + [("angry", each) for each in subjects]
    texts += zip(bodies, reversed(subjects), strict=False)
    rows = FRAME.iloc[np.arange(len(texts)) % ROWS].reset_index(drop=True)
    return rows.assign(
        body=np.array([body for body, _ in texts], dtype=object),
        subject=np.array([subject for _, subject in texts], dtype=object),
    )


HOSTILE = hostile()


def columns(frame: pd.DataFrame) -> dict[str, NDArray]:
    return {name: frame[name].to_numpy() for name in frame}


def scores_one_by_one(predictor: Predictor, frame: pd.DataFrame) -> NDArray:
    return np.concatenate([predictor.scores(columns(frame.iloc[row : row + 1])) for row in range(len(frame))])


@pytest.mark.parametrize(
    "vectorizer",
    [
        TfidfVectorizer(),
        TfidfVectorizer(ngram_range=(1, 3)),
        TfidfVectorizer(ngram_range=(2, 2), stop_words=["a", "my", "the"], sublinear_tf=True),
        pytest.param(TfidfVectorizer(analyzer="char", ngram_range=(1, 4)), marks=pytest.mark.slow),
        pytest.param(TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 9)), marks=pytest.mark.slow),
        TfidfVectorizer(strip_accents="unicode", token_pattern=r"\w+", norm="l1"),
        TfidfVectorizer(strip_accents="ascii", lowercase=False, use_idf=False),
        TfidfVectorizer(token_pattern=r"[a-zß-ÿ]+(?:'[a-z]+)?", stop_words="english", norm=None, dtype=np.float32),
        CountVectorizer(),
        CountVectorizer(analyzer="char", binary=True, max_features=20),
        FeatureUnion([("words", TfidfVectorizer()), ("characters", CountVectorizer(analyzer="char"))]),
        make_pipeline(CountVectorizer(), TfidfTransformer()),
    ],
    ids=str,
)
def test_text_is_served_as_onnx_and_equal(vectorizer: BaseEstimator, tmp_path: Path, capfd: Any) -> None:
    """For hostile texts too, and alone as in a batch."""
    model = on_body(vectorizer)
    bundle = packed(model, tmp_path)
    assert bundle.format == "onnx", bundle.reason
    predictor = Predictor(tmp_path, bundle.sha256, list(FRAME))
    expected = model.predict_proba(HOSTILE)[:, 1]
    assert expected.std() > 0.05  # or agreement would mean little
    for found in (predictor.scores(columns(HOSTILE)), scores_one_by_one(predictor, HOSTILE)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert "Expected shape" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "classifier",
    [
        LINEAR,
        RandomForestClassifier(20, random_state=0),
        GradientBoostingClassifier(n_estimators=20),
        HistGradientBoostingClassifier(max_iter=20),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_two_texts_with_other_features_are_served_as_onnx_and_equal(classifier: BaseEstimator, tmp_path: Path) -> None:
    """In float32, as the graph computes: trees split at differences that float64 has in its last digit."""
    encode = ColumnTransformer(
        [
            ("body", TfidfVectorizer(dtype=np.float32), "body"),
            ("subject", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3), dtype=np.float32), "subject"),
            ("shop", OneHotEncoder(handle_unknown="ignore"), ["shop"]),
            ("age", "passthrough", ["age"]),
        ],
        sparse_threshold=0,
    )
    model = make_pipeline(encode, classifier).fit(FRAME, LATE)
    bundle = packed(model, tmp_path)
    assert bundle.format == "onnx", bundle.reason
    predictor = Predictor(tmp_path, bundle.sha256, list(FRAME))
    for frame in (FRAME, HOSTILE):
        expected = model.predict_proba(frame)[:, 1]
        np.testing.assert_allclose(predictor.scores(columns(frame)), expected, rtol=0, atol=TOLERANCE)


def test_weights_are_those_of_scikit_learn_to_the_last_digit(tmp_path: Path) -> None:
    """Or trees that were fitted on them would decide otherwise."""
    for options in ({}, {"dtype": np.float32}, {"dtype": np.float32, "norm": "l1", "sublinear_tf": True}):
        model = on_body(TfidfVectorizer(**options))
        bundle = packed(model, tmp_path)
        inputs = term_weights.ModelInputs(InferenceSession(tmp_path / bundle.file))
        [part] = inputs.parts(columns(HOSTILE))
        [weights] = [values for values in part.values() if values.shape[1] > 1]
        np.testing.assert_array_equal(weights, model[0].transform(HOSTILE).toarray().astype(np.float32))


def test_many_rows_are_weighed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_body(TfidfVectorizer())
    bundle = packed(model, tmp_path)
    monkeypatch.setattr(term_weights, "WEIGHTS_AT_ONCE", 7 * len(model[0].named_transformers_["words"].vocabulary_))
    parts = list(term_weights.ModelInputs(InferenceSession(tmp_path / bundle.file)).parts(columns(FRAME)))
    assert [len(next(iter(part.values()))) for part in parts] == [7] * (ROWS // 7) + [ROWS % 7]
    scores = Predictor(tmp_path, bundle.sha256, list(FRAME)).scores(columns(FRAME))
    np.testing.assert_allclose(scores, model.predict_proba(FRAME)[:, 1], rtol=0, atol=TOLERANCE)
    assert Predictor(tmp_path, bundle.sha256, list(FRAME)).scores(columns(FRAME.head(0))).shape == (0,)


@pytest.mark.parametrize(
    ("vectorizer", "form", "why"),
    [
        (TfidfVectorizer(tokenizer=str.split, token_pattern=None), "pyfunc", "its tokenizer cannot be converted"),
        (HashingVectorizer(n_features=256), "skops", "HashingVectorizer"),
        (
            make_pipeline(CountVectorizer(), TfidfTransformer(sublinear_tf=True)),
            "skops",
            "the conversion gives other answers",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_converted_rightly_is_served_as_it_is(
    vectorizer: BaseEstimator, form: str, why: str, tmp_path: Path
) -> None:
    model = on_body(vectorizer)
    bundle = packed(model, tmp_path)
    assert bundle.format == form
    assert why in bundle.reason
    scores = Predictor(tmp_path, bundle.sha256, list(FRAME)).scores(columns(HOSTILE))
    np.testing.assert_allclose(scores, model.predict_proba(HOSTILE)[:, 1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("options", [{}, {"ngram_range": (1, 2)}, {"analyzer": "char"}], ids=str)
def test_hostile_texts_find_what_the_converter_of_the_library_gets_wrong(options: dict[str, Any]) -> None:
    """Its faults would not show in these short, plain English texts, and do show in texts made of their words."""
    plain = np.array([" ".join(random.choice(["good", "day", "bad", "night"], 4)) for _ in range(200)], dtype=object)
    model = make_pipeline(CountVectorizer(**options), LINEAR).fit(plain, np.char.count(plain.astype(str), "bad") > 1)
    update_registered_converter(
        CountVectorizer,
        "LibraryCountVectorizer",
        calculate_sklearn_text_vectorizer_output_shapes,
        convert_sklearn_text_vectorizer,
        options=dict.fromkeys(["tokenexp", "separators", "locale", "nan", "keep_empty_string"]),
    )
    try:
        graph = to_onnx(
            model,
            initial_types=[("text", StringTensorType([None, 1]))],
            options={id(model): {"zipmap": False}, CountVectorizer: {"locale": "C.UTF-8"}},
            target_opset={"": 19, "ai.onnx.ml": 3},
        )
    finally:
        text.register()
    session = InferenceSession(graph.SerializeToString())

    def differing(texts: list[str]) -> int:
        answered = [session.run(["probabilities"], {"text": np.array([[each]], dtype=object)})[0] for each in texts]
        return int((np.abs(np.concatenate(answered) - model.predict_proba(texts)) > TOLERANCE).any(1).sum())

    assert differing(list(plain)) == 0 or options
    assert differing(hostile_texts(plain)) > 0


def test_a_model_of_text_is_loaded_where_there_is_no_locale_and_no_scikit_learn(tmp_path: Path) -> None:
    model = on_body(TfidfVectorizer())
    bundle = packed(model, tmp_path)
    asked = {"rows": {name: HOSTILE[name].tolist() for name in HOSTILE}, "sha256": bundle.sha256}
    (tmp_path / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    code = """
import json, sys
from pathlib import Path
import numpy as np
from groundwork.models.serving.predictor import Predictor

folder = Path(sys.argv[1])
asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
rows = {name: np.array(values, dtype=object if name != "age" else np.float32) for name, values in asked["rows"].items()}
print(json.dumps(Predictor(folder, asked["sha256"], list(rows)).scores(rows).tolist()))
assert not {"sklearn", "pandas", "skl2onnx"} & set(sys.modules)
"""
    bare = {"PYTHONPATH": str(SOURCE), "LC_ALL": "C", "LANG": "C", "LOCPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=bare, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), model.predict_proba(HOSTILE)[:, 1], rtol=0, atol=TOLERANCE)


def test_the_guide_brings_text_that_is_served_as_onnx(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "how-to" / "bring-your-own.md").read_text(encoding="utf-8")
    [example] = re.findall(r"### Text\n.*?```python\n(.*?)```", guide, re.DOTALL)
    use_case: dict[str, Any] = {}
    exec(example, use_case)
    model = use_case["build"]().fit(FRAME, LATE)
    bundle = packed(model, tmp_path)
    assert bundle.format == "onnx", bundle.reason
    scores = Predictor(tmp_path, bundle.sha256, list(FRAME)).scores(columns(HOSTILE))
    np.testing.assert_allclose(scores, model.predict_proba(HOSTILE)[:, 1], rtol=0, atol=TOLERANCE)
