"""A document that somebody, or something, has garbled is read or refused in words, and soon."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from groundwork.core.errors import GroundworkError
from groundwork.documents.charter import Charter
from groundwork.documents.contract.contract import Contract
from groundwork.documents.owners import Owners
from mutations import of_bytes, of_tree
from pilots import OWNERS, documents

LONGEST = 5.0  # seconds for one document; all but a few take milliseconds
KINDS: dict[str, Any] = {"charter.yaml": Charter, "contract.yaml": Contract, "OWNERS": Owners}


def garbled(name: str, number: int) -> Iterator[str]:
    dice = random.Random(name)
    text = OWNERS if name == "OWNERS" else (documents() / name).read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    for _ in range(number):
        if dice.random() < 0.7:
            yield yaml.safe_dump(of_tree(tree, dice), sort_keys=False, allow_unicode=True)
        else:
            yield of_bytes(text.encode(), dice).decode("utf-8", "replace")


def read_all(name: str, number: int) -> None:
    refused = 0
    for text in garbled(name, number):
        began, said = time.monotonic(), name
        try:
            document = KINDS[name].parse(text, name)
            if name == "contract.yaml":
                _ = document.dataset.requested, document.dataset.task
        except GroundworkError as error:
            refused, said = refused + 1, str(error)
        assert said.startswith(name)
        assert time.monotonic() - began < LONGEST, text
    print(f"{name}: {refused:,} of {number:,} garbled documents refused, the others read")
    assert refused > number / 10


@pytest.mark.parametrize("name", KINDS)
def test_a_garbled_document_is_read_or_refused_in_words(name: str) -> None:
    read_all(name, 60)


@pytest.mark.soak
@pytest.mark.night
@pytest.mark.parametrize("name", KINDS)
def test_ten_thousand_garbled_documents_are_read_or_refused_in_words(name: str) -> None:
    read_all(name, 10_000)
