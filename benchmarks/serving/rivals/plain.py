"""What one writes by hand in an afternoon: FastAPI, a pydantic model of the row, and MLflow's pyfunc."""

import os
from typing import Any

import mlflow
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, create_model

model = mlflow.pyfunc.load_model(os.environ["MODEL"])
types = {column.name: column.type.to_pandas() for column in model.metadata.get_input_schema()}
fields: dict[str, Any] = {
    name: (str if kind is object or kind == "str" else float, ...) for name, kind in types.items()
}
Row: Any = create_model("Row", **fields)
app = FastAPI()


class Rows(BaseModel):
    records: list[Row]


@app.post("/predict")
def predict(rows: Rows) -> dict[str, list[float]]:
    frame = pd.DataFrame([row.model_dump() for row in rows.records]).astype(types)
    return {"scores": model.predict(frame)[:, 1].tolist()}
