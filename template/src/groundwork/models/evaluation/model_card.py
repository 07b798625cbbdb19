"""The model card: what a version is for, what it was made from, what it can do and what not, as Markdown."""

from collections.abc import Mapping
from typing import Any

from groundwork.core import pages
from groundwork.documents.charter import Charter
from groundwork.documents.owners import Person


def model_card(charter: Charter, owner: Person, version: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """The card as Markdown.

    `version` holds `number`, `judged` (the gate's verdict, empty before it) and `tags` (those of the registry).
    `evaluation` holds `found` (an evaluation as plain dictionaries, money per 1,000 decisions), `of_features` and
    `of_age` (each in one sentence without its full stop) and `chart` (the file name of the calibration's picture).
    """
    return pages.render(
        "models/evaluation/model_card.md",
        charter=charter,
        owner=owner,
        metric=charter.gate.metric,
        **version,
        **evaluation,
    )
