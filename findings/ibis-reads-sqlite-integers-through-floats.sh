#!/usr/bin/env bash
# ibis-framework 12.0.0 with pandas 3.0.6 on SQLite: an integer column that has a NULL comes back with large integers changed.
#
# Expected: to_pyarrow() gives the int64 values that the table holds, and a null, or it raises an error. The column's type in
# Ibis and in the Arrow table is int64, and SQLite stores 64-bit integers exactly.
# Seen: the result goes through pandas, which reads integers with a NULL as float64. 9007199254740993 (2^53 + 1) becomes
# 9007199254740992, without a warning. Without the NULL the value is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ibis-framework[sqlite]==12.0.0" pandas==3.0.6
cd "$folder"
venv/bin/python - <<'PY'
import sqlite3

import ibis

with sqlite3.connect("shop.db") as database:
    database.execute("create table orders (customer bigint)")
    database.executemany("insert into orders values (?)", [(2**53 + 1,), (None,)])
orders = ibis.sqlite.connect("shop.db").table("orders")
found = orders.order_by(orders.customer.desc()).to_pyarrow()["customer"]
whole = orders.filter(orders.customer.notnull()).to_pyarrow()["customer"]
print("with a NULL:", found.type, found.to_pylist(), "without:", whole.to_pylist())
assert str(found.type) == "int64" and set(found.to_pylist()) == {2**53, None}, "the integer is exact now"
assert whole.to_pylist() == [2**53 + 1]
print("as found: 9007199254740993 became 9007199254740992")
PY
