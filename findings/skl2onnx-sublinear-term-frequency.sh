#!/usr/bin/env bash
# skl2onnx 1.20.0, scikit-learn 1.9.1: TfidfTransformer(sublinear_tf=True) is converted without an error to another formula.
#
# Expected: 1 + log(tf), as scikit-learn documents and computes it, or a NotImplementedError.
# Seen: the graph computes log(1 + tf). A term that occurs once weighs 0.69 and not 1, so every row differs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet skl2onnx==1.20.0 scikit-learn==1.9.1 onnxruntime==1.32.0
cd "$folder"
ORT_DISABLE_TELEMETRY=1 venv/bin/python - <<'PY'
import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.feature_extraction.text import TfidfTransformer

counts = np.array([[1, 0, 3], [2, 1, 0]], dtype=np.float32)
transformer = TfidfTransformer(sublinear_tf=True, use_idf=False, norm=None).fit(counts)
graph = to_onnx(transformer, initial_types=[("counts", FloatTensorType([None, 3]))])
session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
[found] = session.run(None, {"counts": counts})
expected = transformer.transform(counts).toarray()
print("scikit-learn", expected.round(3).tolist(), "graph", np.asarray(found).round(3).tolist())
assert np.allclose(expected[counts > 0], 1 + np.log(counts[counts > 0]))
assert np.allclose(found, np.log1p(counts), atol=1e-6), "the graph computes something else now"
print("as found: log(1 + tf) for 1 + log(tf)")
PY
