"""BentoML, adaptive batching on: its dispatcher joins the rows of several requests.

Rows and not data frames, because the dispatcher of 1.4.39 ends at the first data frame (it adds a shape to a number).
"""

import os
from typing import Any

import bentoml
import mlflow
import pandas as pd


@bentoml.service(
    workers=1,
    traffic={"timeout": 60},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Scores:
    def __init__(self) -> None:
        self.model = mlflow.pyfunc.load_model(os.environ["MODEL"])
        self.types = {column.name: column.type.to_pandas() for column in self.model.metadata.get_input_schema()}

    # A request that would have to wait longer than the latency is refused with 503, hence a generous one.
    @bentoml.api(batchable=True, max_batch_size=64_000, max_latency_ms=30_000)
    def predict(self, records: list[dict[str, Any]]) -> list[float]:
        frame = pd.DataFrame(records, columns=list(self.types)).astype(self.types)
        scores: list[float] = self.model.predict(frame)[:, 1].tolist()
        return scores
