"""The model card as Markdown: a version's purpose, lineage, value, features, calibration and ageing."""

from collections.abc import Mapping
from typing import Any

from groundwork.core import pages
from groundwork.documents.charter import Charter
from groundwork.documents.owners import Person


def model_card(charter: Charter, owner: Person, version: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """Return the model card as Markdown.

    `version` holds `number`, `judged` (the gate's verdict, empty before it is given) and `tags` (of the registry).
    `evaluation` holds `found` (an evaluation as plain dictionaries, money per 1,000 decisions), `of_features` and
    `of_age` (one sentence each, without a full stop) and `chart` (the file name of the calibration chart).
    """
    return pages.render(
        "models/evaluation/model_card.md",
        charter=charter,
        owner=owner,
        metric=charter.gate.metric,
        **version,
        **evaluation,
    )
