"""The team's code is checked without running it: each mistake is named with file, line and remedy."""

import shutil
from pathlib import Path

import pytest
from groundwork.documents.use_case_files import check, mistakes
from pilots import ROOT

EXAMPLE = ROOT / "template/src/use_case"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(EXAMPLE, tmp_path / "use_case", ignore=shutil.ignore_patterns("__pycache__"))


def test_the_examples_code_has_no_mistakes(folder: Path) -> None:
    check()
    assert mistakes(folder) == []


@pytest.mark.parametrize(
    ("file", "text", "mistake"),
    [
        ("model.py", "def build(:\n    pass\n", "src/use_case/model.py:1: invalid syntax"),
        ("model.py", "import os\n\n\nx = 'open\n", "src/use_case/model.py:4: unterminated string literal"),
        ("helper.py", "def f():\nreturn 1\n", "src/use_case/helper.py:2: expected an indented block"),
        ("model.py", "build\x00 = 1", "src/use_case/model.py: source code string cannot contain null bytes"),
        ("model.py", "", "src/use_case/model.py: has no function build()"),
        ("model.py", "def make():\n    return 1\n", "src/use_case/model.py: has no function build()"),
        (
            "model.py",
            "\ndef build(rows):\n    return 1\n",
            "model.py:2: build(rows) is called as build(): change",
        ),
        (
            "model.py",
            "async def build():\n    return 1\n",
            "model.py:1: build is asynchronous: remove",
        ),
        (
            "source.py",
            "def rows(source):\n    pass\n",
            "source.py:1: rows(source) is called as rows(",
        ),
        (
            "source.py",
            "def rows(a, b, c, *, d):\n    pass\n",
            "py:1: rows(a, b, c, *, d) is called as rows(",
        ),
        ("model.py", "class Model:\n    def build(self):\n        pass\n", "model.py: has no function build()"),
        ("model.py", "print(build)\n", "model.py: has no function build()"),
        ("model.py", "build = lambda rows: rows\n", "model.py:1: build(rows) is called as build(): change"),
        ("model.py", "def _make(rows):\n    pass\n\n\nbuild = _make\n", "model.py:1: build(rows) is called as build()"),
        (
            "model.py",
            "from functools import lru_cache\n\n\n@lru_cache(1)\ndef build(rows):\n    pass\n",
            "model.py:5: build(rows) is called as build()",
        ),
        ("model.py", "from use_case.source import rows as build\n", "src/use_case/source.py:13: build("),
        ("model.py", "from .source import *\nbuild = rows\n", "is called as build(): change"),
        ("model.py", "from use_case.source import build\n", "src/use_case/model.py: has no function build()"),
        (
            "model.py",
            "import os\nfrom no_such_package.ensemble import Model as build\n",
            "src/use_case/model.py:2: the package with the module no_such_package is not installed: "
            "`uv add --group use-case no_such_package`",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(file: str, text: str, mistake: str, folder: Path) -> None:
    (folder / file).write_text(text, encoding="utf-8")
    [found] = mistakes(folder)
    assert mistake in found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("model.py", "from sklearn.dummy import DummyClassifier as build\n"),
        ("model.py", "from collections import *\n"),
        ("model.py", "def build(depth=3, *more, **options):\n    return depth\n"),
        ("model.py", "from functools import partial\nbuild = partial(dict)\n"),
        ("model.py", "from use_case.helper import with_rows\n\n\n@with_rows\ndef build(rows):\n    return 1\n"),
        ("model.py", "import functools\n\n\n@functools.cache\ndef build():\n    return 1\n"),
        ("model.py", "build = dict\n"),
        ("model.py", "build = lambda: 1\n"),
        ("model.py", "build = build\n"),
        ("model.py", "from use_case import decision as build\n"),
        ("model.py", "def build(rows):\n    pass\n\n\ndef build():\n    pass\n"),
        (
            "model.py",
            "try:\n    import no_such\nexcept ImportError:\n    pass\n\n\ndef build():\n    return 1\n",
        ),
        ("model.py", "import sys\n\nif sys.version_info > (3,):\n\n    def build():\n        return 1\n"),
        ("source.py", "def rows(*arguments):\n    pass\n"),
        ("source.py", "def rows(a, b, c, d=None, *, e=1):\n    pass\n"),
    ],
)
def test_what_can_be_called_is_accepted(file: str, text: str, folder: Path) -> None:
    (folder / file).write_text(text, encoding="utf-8")
    assert mistakes(folder) == []


@pytest.mark.parametrize(
    ("takes", "sound"),
    [
        ("scores, worth", True),
        ("scores, worth, rows", True),
        ("scores, worth, *, rows", True),
        ("scores, worth, rows=None", True),
        ("scores, worth, weather", False),
        ("scores, worth, *, weather", False),
        ("scores", False),
    ],
)
def test_a_decision_may_ask_for_the_rows(takes: str, sound: bool, folder: Path) -> None:
    text = (folder / "decision.py").read_text(encoding="utf-8")
    start = text.index("def decide(")
    changed = text[:start] + f"def decide({takes}):\n    return scores\n\n\n" + text[text.index("def without_model") :]
    (folder / "decision.py").write_text(changed, encoding="utf-8")
    assert (mistakes(folder) == []) is sound


def test_what_only_training_imports_need_not_be_installed_where_nothing_is_trained(folder: Path) -> None:
    for name in ("model.py", "layers.py"):
        (folder / name).write_text("import no_such_package\n\n\ndef build():\n    return 1\n", encoding="utf-8")
    assert [each.partition(" ")[0] for each in mistakes(folder)] == [
        "src/use_case/layers.py:1:",
        "src/use_case/model.py:1:",
    ]
    assert mistakes(folder, trains=False) == []
    (folder / "decision.py").write_text(f"import no_such_package\n{(folder / 'decision.py').read_text()}")
    assert [each.partition(" ")[0] for each in mistakes(folder, trains=False)] == ["src/use_case/decision.py:1:"]


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "decision.py").unlink()
    assert mistakes(folder) == ["src/use_case/decision.py: not found"]
