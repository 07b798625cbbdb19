"""What the OpenAPI document says beyond what FastAPI knows: request bodies, answers, keys."""

from typing import Any

from groundwork.documents.contract.column import Task
from groundwork.service.auth import SCOPES
from groundwork.service.request_schema import OutcomesReader, RequestReader, described


def describe_requests(
    description: dict[str, Any], reader: RequestReader, outcomes_reader: OutcomesReader, task: Task
) -> None:
    """Add the request bodies to an OpenAPI document: FastAPI does not know them because it does not read them."""
    predict_schema, components = reader.json_schema()
    outcomes_schema, more = outcomes_reader.json_schema()
    description.setdefault("components", {}).setdefault("schemas", {}).update(components | more)
    description["paths"]["/predict"] = {
        "post": {
            "summary": "Decide for one or more records",
            "description": "Answer each record with a score, a decision and an id, in the order of the request. "
            "Each answer is stored in the prediction log.",
            "operationId": "predict",
            "requestBody": _json_body(predict_schema, reader.example),
            "responses": {"200": _predicted(task), **described(408, 413, 415, 422, 503)},
        }
    }
    tell = description["paths"]["/outcomes"]["post"]
    tell["requestBody"] = _json_body(outcomes_schema, outcomes_reader.example)
    tell["responses"]["200"]["content"]["application/json"]["schema"] = _RECEIVED
    description["paths"]["/predict"]["post"]["responses"]["200"]["links"] = {
        "SendOutcome": {
            "operationId": tell["operationId"],
            "description": "Send what came of the first record, once it is known.",
            "requestBody": {
                "outcomes": [
                    {
                        "prediction_id": "$response.body#/predictions/0/prediction_id",
                        "outcome": outcomes_reader.example["outcomes"][0]["outcome"],
                    }
                ]
            },
        }
    }
    tell["responses"] |= described(408, 413, 415, 422, 503)


def describe_keys(description: dict[str, Any], *, needed: bool) -> None:
    """Add how an API key is sent. Where none is needed, requests are answered without one, too."""
    description["components"]["securitySchemes"] = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, made by `groundwork key`."}
    }
    for path in SCOPES.keys() & description["paths"].keys():
        operation = description["paths"][path]["post"]
        operation["security"] = [{"apiKey": []}] if needed else [{"apiKey": []}, {}]
        operation["responses"] |= described(401, 403, 429)


def _json_body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _predicted(task: Task) -> dict[str, Any]:
    """Return the response of POST /predict for OpenAPI."""
    score: dict[str, Any] = {"type": ["number", "null"], "description": _SCORES[task.kind]}
    example: Any = 0.41
    if task.kind == "multiclass":
        by_class = {name: {"type": "number"} for name in task.classes}
        score |= {"type": ["object", "null"], "properties": by_class, "required": list(by_class)}
        example = {name: round(1 / len(task.classes), 2) for name in task.classes}
    prediction = {
        "prediction_id": {"type": "string"},
        "score": score,
        "decision": {"type": "string"},
        "model_version": {"type": "string", "description": "Empty without a model."},
        "role": {"enum": ["champion", "canary", "no-model"]},
    }
    schema = {
        "type": "object",
        "required": ["model", "predictions"],
        "properties": {
            "model": {"type": "string"},
            "predictions": {
                "type": "array",
                "items": {"type": "object", "required": list(prediction), "properties": prediction},
            },
        },
    }
    answer = {
        "model": "late-flights",
        "predictions": [
            {
                "prediction_id": "0f3c1f0e4f524f5e9d0b3d2f6a1b8c77",
                "score": example,
                "decision": "replan",
                "model_version": "3",
                "role": "champion",
            }
        ],
    }
    return {
        "description": "One prediction per record",
        "content": {"application/json": {"schema": schema, "example": answer}},
    }


_IDS = {"type": "array", "items": {"type": "string"}}
_RECEIVED = {
    "type": "object",
    "required": ["received", "unknown", "contradicting"],
    "properties": {"received": {"type": "integer"}, "unknown": _IDS, "contradicting": _IDS},
}
_SCORES = {
    "binary": "The probability that the outcome is true. Null without a model.",
    "multiclass": "The probability of each class. Null without a model.",
    "regression": "The predicted quantity. Null without a model.",
}
