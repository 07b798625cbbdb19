"""LitServe, batching on: requests share one call, each with as many rows as it likes."""

import os
from itertools import chain
from typing import Any

import litserve
import mlflow
import pandas as pd

Records = list[dict[str, Any]]


class Scores(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = mlflow.pyfunc.load_model(os.environ["MODEL"])
        self.types = {column.name: column.type.to_pandas() for column in self.model.metadata.get_input_schema()}

    def decode_request(self, request: dict[str, Records]) -> Records:
        return request["records"]

    def batch(self, inputs: list[Records]) -> list[Records]:
        return inputs

    def predict(self, batch: list[Records]) -> list[list[float]]:
        frame = pd.DataFrame(list(chain.from_iterable(batch)), columns=list(self.types)).astype(self.types)
        scores = iter(self.model.predict(frame)[:, 1].tolist())
        return [[next(scores) for _ in records] for records in batch]

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        return output

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        return {"scores": output}


if __name__ == "__main__":
    server = litserve.LitServer(
        Scores(max_batch_size=64, batch_timeout=0.005), accelerator="cpu", workers_per_device=1, timeout=60
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
