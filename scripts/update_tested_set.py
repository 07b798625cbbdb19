"""Resolve the newest versions that fit the template's ranges, and write them into its pyproject as constraints.

Run the whole test suite afterwards: only what it passes with is a tested set. Standard library only.
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "template" / "pyproject.toml.jinja"
WIDTH = 115
BLOCK = re.compile(r"(# <tested-set>\n).*?(# </tested-set>\n)", re.DOTALL)
EXPORT = ["uv", "export", "--quiet", "--all-groups", "--no-hashes", "--no-header", "--no-annotate", "--no-emit-project"]


def packed(pins: list[str]) -> list[str]:
    """As many pins on a line as fit."""
    lines = [""]
    for pin in pins:
        if len(lines[-1]) + len(pin) > WIDTH:
            lines.append("")
        lines[-1] += f"{pin}, "
    return [line.rstrip() for line in lines]


def main() -> None:
    template = PYPROJECT.read_text(encoding="utf-8")
    unpinned = BLOCK.sub(r"\1constraint-dependencies = []\n\2", template)
    with tempfile.TemporaryDirectory() as folder:
        rendered = re.sub(r"\{\{.*?\}\}", '"pilot"', unpinned.replace('"{{ slug }}"', "{{ slug }}"))
        Path(folder, "pyproject.toml").write_text(rendered, encoding="utf-8")
        exported = subprocess.run(EXPORT, cwd=folder, check=True, capture_output=True, text=True).stdout
    pins = [json.dumps(line.replace(" ; ", "; ")) for line in exported.splitlines() if "==" in line]
    listed = "constraint-dependencies = [\n" + "".join(f"  {line}\n" for line in packed(pins)) + "]\n"
    PYPROJECT.write_text(BLOCK.sub(lambda found: found[1] + listed + found[2], template), encoding="utf-8")
    print(f"{len(pins)} versions pinned in {PYPROJECT.name}")


if __name__ == "__main__":
    main()
