"""Random changes, the same for the same seed: of a document's nodes and letters, and of a file's bytes."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

ODD: list[Any] = [
    None, True, -1, 0, 2**64, 1e308, float("nan"), "", " ", "TBD", "2013-02-30", "\x00", "é" * 300, "{{x}}", "../x",
    "on", [], {}, [None], {"": None}, [[]] * 3, {"name": "x"}, "id", "select 1; drop table x", "(" * 200,
    "12:30", "[", "%s",
]  # fmt: skip


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in the tree with each of its keys or indexes."""
    pairs = list(node.items() if isinstance(node, dict) else enumerate(node)) if isinstance(node, dict | list) else []
    for key, value in pairs:
        yield node, key
        yield from places(value)


def of_tree(tree: Any, dice: random.Random) -> Any:
    """A copy with one to three nodes replaced, removed, swapped, doubled or renamed."""
    tree = copy.deepcopy(tree)
    for _ in range(dice.randint(1, 3)):
        found = list(places(tree))
        if not found:
            return dice.choice(ODD)
        node, key = dice.choice(found)
        other, another = dice.choice(found)
        kind = dice.randrange(5)
        if kind == 0:
            del node[key]
        elif kind == 1:
            node[key] = copy.deepcopy(other[another]) if another in places_of(other) else None
        elif kind == 2 and isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        elif kind == 3 and isinstance(node, dict):
            node[f"{key}x"] = node.pop(key)
        else:
            node[key] = copy.deepcopy(dice.choice(ODD))
    return tree


def places_of(node: Any) -> Any:
    return node if isinstance(node, dict) else range(len(node))


def of_bytes(content: bytes, dice: random.Random) -> bytes:
    """A copy with a bit flipped, a piece cut out, doubled or zeroed, or the end cut off."""
    changed = bytearray(content)
    change: list[Callable[[int, int], Any]] = [
        lambda start, end: changed.__setitem__(start, changed[start] ^ (1 << dice.randrange(8))),
        lambda start, end: changed.__delitem__(slice(start, end)),
        lambda start, end: changed.__setitem__(slice(start, start), changed[start:end]),
        lambda start, end: changed.__setitem__(slice(start, end), bytes(end - start)),
        lambda start, end: changed.__delitem__(slice(start, None)),
    ]
    for _ in range(dice.randint(1, 3)):
        if changed:
            start = dice.randrange(len(changed))
            dice.choice(change)(start, min(len(changed), start + dice.randint(1, 64)))
    return bytes(changed)
