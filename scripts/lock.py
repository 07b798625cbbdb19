"""Write requirements-dev.txt: the tools of requirements-dev.in, and a pilot's packages in their tested versions.

The system's own tests run where the template stands, so its environment holds the pilot's packages too. `make lock`
runs this; standard library only.
"""

import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYPROJECT = ROOT / "template" / "pyproject.toml.jinja"
COMPILE = ["uv", "pip", "compile", "--quiet", "--upgrade", "--universal", "--python-version", "3.11"]
WRITTEN = "requirements-dev.txt"
ELSEWHERE = ("spark",)  # 400 MB and a Java; the tests install it where it runs
NEUTRAL = ["--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]


def main() -> None:
    rendered = re.sub(
        r"\{\{.*?\}\}", '"pilot"', PYPROJECT.read_text(encoding="utf-8").replace('"{{ slug }}"', '"pilot"')
    )
    project = tomllib.loads(rendered)
    with tempfile.TemporaryDirectory() as folder:
        wanted, tested = Path(folder, "pilot.in"), Path(folder, "tested.txt")
        groups = [lines for name, lines in project["dependency-groups"].items() if name not in ELSEWHERE]
        wanted.write_text("\n".join(line for lines in groups for line in lines))
        tested.write_text("\n".join(project["tool"]["uv"]["constraint-dependencies"]))
        subprocess.run(
            [*COMPILE, *NEUTRAL, "requirements-dev.in", wanted, "--constraint", tested, "--output-file", WRITTEN],
            cwd=ROOT,
            check=True,
        )


if __name__ == "__main__":
    main()
