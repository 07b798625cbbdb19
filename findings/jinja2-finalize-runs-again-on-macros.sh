#!/usr/bin/env bash
# Jinja2 3.1.6: with autoescape off, `finalize` is applied to what a macro returns as well as to each value inside it.
#
# Expected: finalize processes each value that a template prints, once. The documentation calls it "a callable that can be
# used to process the result of a variable expression before it is output", and a macro's text is output already.
# Seen: a macro returns a plain str when autoescape is off, its call is a variable expression, and finalize runs on the
# whole text once more. A finalize that escapes (| to \| in Markdown tables) escapes twice, and escapes the table's own
# bars if they stand in a macro. With autoescape on the macro returns Markup, which a finalize can tell apart.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jinja2==3.1.6
"$folder/venv/bin/python" - <<'PYTHON'
import jinja2
from jinja2 import Environment

calls = []


def finalize(value):
    calls.append(value)
    return value.replace("|", r"\|") if isinstance(value, str) else value


environment = Environment(finalize=finalize)
direct = environment.from_string("{{ value }}").render(value="a|b")
calls.clear()
macro = environment.from_string("{% macro cell(value) %}{{ value }}{% endmacro %}{{ cell('a|b') }}").render()
print(f"jinja2 {jinja2.__version__}")
print(f"direct: {direct}   through a macro: {macro}   finalize was called with {calls}")
assert direct == r"a\|b"
assert macro == r"a\\|b", "finalize runs once now"
assert calls == ["a|b", r"a\|b"]
PYTHON
echo "as found"
