"""Fit the model of `use_case/model.py`."""

import random
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from groundwork.documents.contract.dataset import Dataset
from groundwork.models.evaluation.estimates import SEED
from groundwork.models.packaging.pretrained import Pretrained
from groundwork.models.training.history import Examples
from use_case import model as use_case_model


def fit(training: Examples, dataset: Dataset, parameters: Mapping[str, Any]) -> tuple[Any, str]:
    """What `use_case/model.py` builds, fitted, or what it names by an MLflow address; and what to call it.

    The same rows and parameters give the same model: everything that draws at random is seeded.
    """
    random.seed(SEED)
    np.random.seed(SEED)  # what scikit-learn draws from where the use case names no random_state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)
    built = use_case_model.build()
    if isinstance(built, str):
        pretrained = Pretrained(built, dataset)
        return pretrained.pipeline() or pretrained, built
    if parameters:
        built.set_params(**parameters)
    return built.fit(training.frame, dataset.task.targets(training.outcomes)), type(built).__name__
