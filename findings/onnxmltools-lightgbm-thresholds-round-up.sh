#!/usr/bin/env bash
# onnxmltools 1.16.0 with lightgbm 4.7.0: rows that lie on a split go the other way in the converted model.
#
# Expected: LightGBM sends a value to the left if it is at most the threshold, a double. The threshold of the graph is a
# float32. Rounded down to float32, it sends every float32 value to the same side; a converter would round so, or refuse.
# Seen: it is rounded to the nearest float32, half of the time up, so a value just above the threshold goes left. None of the
# rows that the model was trained on lies there, so a comparison on those alone finds nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxmltools==1.16.0 lightgbm==4.7.0 scikit-learn==1.9.1 skl2onnx==1.20.0 onnxruntime==1.32.0 pandas==3.0.6
cd "$folder"
ORT_DISABLE_TELEMETRY=1 venv/bin/python -W ignore - <<'PY'
import lightgbm
import numpy as np
import onnxruntime
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

rng = np.random.default_rng(0)
rows = rng.normal(size=(4000, 1)).astype(np.float32)
model = lightgbm.LGBMRegressor(n_estimators=5, num_leaves=31, verbose=-1).fit(rows, np.sin(5 * rows[:, 0]))
splits = model.booster_.trees_to_dataframe()["threshold"].dropna().to_numpy(float)
near = splits.astype(np.float32)  # the nearest float32: above the threshold, the row belongs to the right
beside = near[near > splits][:, None]
graph = convert_lightgbm(model, initial_types=[("rows", FloatTensorType([None, 1]))])
session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
[found] = session.run(None, {"rows": beside})
different = np.abs(found.ravel() - model.predict(beside)) > 1e-5
[everywhere] = session.run(None, {"rows": rows})
print(f"{different.mean():.0%} of {len(beside)} rows just above a split differ; of the rows to train on",
      f"{(np.abs(everywhere.ravel() - model.predict(rows)) > 1e-5).mean():.2%}")
assert len(beside) and different.mean() > 0.5, "rows beside splits are right now"
print("as found: thresholds are rounded up")
PY
