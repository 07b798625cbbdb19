"""How a challenger decides in the champion's shadow, on the same records."""

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from groundwork.core.windows import Window
from groundwork.store.batches import Logged, LogPart
from groundwork.store.columns import LoggedColumn
from groundwork.store.database import Store

# A record that the champion answered more than once counts with its last answer, as each shadow prediction does once.
_COMPARISON = """
    with answers as (select key, event_time, arg_max(decision, id) as decision from champion group by all)
    select s.model_version, count(*), count_if(s.decision = a.decision)
    from shadow s join answers a using (key, event_time) group by 1 order by 1
"""


@dataclass(frozen=True)
class Shadow:
    """A challenger compared with the champion: the records that both decided, and the number of equal decisions."""

    model_version: str
    rows: int
    same_decisions: int

    @property
    def agreement(self) -> float:
        return self.same_decisions / self.rows


def compare(store: Store, window: Window) -> list[Shadow]:
    """Return one comparison per challenger; predictions are paired by entity key and event time."""
    shadow = store.predictions.read(LogPart(start=window.start, end=window.end, roles=("shadow",)))
    if not shadow.rows:
        return []
    champion = store.predictions.read(LogPart(start=window.start, end=window.end, roles=("champion",)))
    with duckdb.connect() as engine:
        engine.register("shadow", _table(shadow))
        engine.register("champion", _table(champion))
        return [Shadow(*row) for row in engine.execute(_COMPARISON).fetchall()]


def _table(logged: Logged) -> pa.Table:
    names = ("key", "event_time", "decision", "id", "model_version")
    return pa.table({name: _texts(column) for name, column in logged.read(names).items()})


def _texts(column: LoggedColumn) -> pa.Array:
    if column.kind != "text" or column.valid is not None:
        return pa.array(column.tolist(), pa.string())
    offsets = np.concatenate([[0], np.cumsum(column.values, dtype=np.int64)])
    return pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(offsets), pa.py_buffer(column.text))
