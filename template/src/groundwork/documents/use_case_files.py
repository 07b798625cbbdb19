"""Checks the team's code in `src/use_case` without running it: syntax, packages, and the functions that are called."""

import ast
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from groundwork.core.errors import USE_CASE, UseCaseError

# The functions that are called, with their arguments.
FUNCTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "source.py": {"rows": ("source", "start", "end")},
    "model.py": {"build": ()},
    "decision.py": {
        "decide": ("scores", "worth"),
        "without_model": ("columns",),
        "value": ("decisions", "outcomes", "worth"),
    },
}
WITHOUT_TRAINING = ("source.py", "decision.py")  # imported by commands that do not train
PASSED_BY_NAME = "rows"  # given to a function of decision.py that has this parameter


def check(trains: bool = True) -> None:
    """Raises UseCaseError with one line per mistake, each with the file, and the line if there is one.

    `trains`: the packages that only training needs must be installed too.
    """
    package = find_spec(USE_CASE)
    if package is None or not package.submodule_search_locations:
        raise UseCaseError(f"src/{USE_CASE}: not found: restore the folder, and run `uv sync`")
    if found := mistakes(Path(package.submodule_search_locations[0]), trains):
        raise UseCaseError("\n".join(found))


def mistakes(folder: Path, trains: bool = True) -> list[str]:
    """Returns one line per mistake in the folder's files."""
    missing = [f"src/{USE_CASE}/{name}: not found" for name in FUNCTIONS if not (folder / name).is_file()]
    files = sorted(folder.rglob("*.py"))
    needed = {file for file in files if trains or file.name in WITHOUT_TRAINING}
    return missing + [mistake for file in files for mistake in _mistakes(file, folder, file in needed)]


def _mistakes(file: Path, folder: Path, imported: bool) -> Iterator[str]:
    inside = file.relative_to(folder).as_posix()
    at = f"src/{USE_CASE}/{inside}"
    try:
        module = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte
        line = getattr(error, "lineno", None)
        yield f"{at}:{line}: {getattr(error, 'msg', error)}" if line else f"{at}: {error}"
        return
    for line, package in _packages(module) if imported else ():
        if package != USE_CASE and package not in sys.builtin_module_names and find_spec(package) is None:
            yield (
                f"{at}:{line}: the package with the module {package} is not installed: "
                f"`uv add --group use-case {package}`, or `uv sync` if pyproject.toml has it"
            )
    for name, given in FUNCTIONS.get(inside, {}).items():
        wanted = f"{name}({', '.join(given)})"
        function = next((each for each in _defined(module.body) if each in (name, "*") or _is(each, name)), None)
        if function is None:
            yield f"{at}: has no function {wanted}"
        elif isinstance(function, ast.AsyncFunctionDef):
            yield f"{at}:{function.lineno}: {name} is asynchronous: remove the word async"
        elif isinstance(function, ast.FunctionDef) and not function.decorator_list and not _takes(function, given):
            taken = ast.unparse(function.args)
            yield f"{at}:{function.lineno}: {name}({taken}) is called as {wanted}: change its parameters"


def _packages(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields line and top-level module of the imports that always run; those in a `try` or a function may not."""
    for part in module.body:
        if isinstance(part, ast.Import):
            yield from ((part.lineno, each.name.partition(".")[0]) for each in part.names)
        elif isinstance(part, ast.ImportFrom) and part.module and not part.level:
            yield part.lineno, part.module.partition(".")[0]


def _defined(body: list[ast.stmt]) -> Iterator[ast.stmt | str]:
    """Yields what a module defines: its functions and classes, and all other names as text, `*` for any name."""
    for part in body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            yield part
        elif isinstance(part, ast.ImportFrom | ast.Import):
            yield from (each.asname or each.name for each in part.names)
        else:
            yield from (node.id for node in ast.walk(part) if isinstance(node, ast.Name))
            yield from (node.name for node in ast.walk(part) if isinstance(node, ast.FunctionDef | ast.ClassDef))
            yield from (each.name for node in ast.walk(part) if isinstance(node, ast.ImportFrom) for each in node.names)


def _is(part: ast.stmt | str, name: str) -> bool:
    return isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and part.name == name


def _takes(function: ast.FunctionDef, given: tuple[str, ...]) -> bool:
    """Whether the function can be called with this many arguments in their order."""
    arguments = function.args
    positional = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    required = positional[: len(positional) - len(arguments.defaults)]
    options = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    by_name = [each.arg for each, default in options if default is None]
    if given and PASSED_BY_NAME in required[len(given) :]:
        required.remove(PASSED_BY_NAME)
    enough = len(positional) >= len(given) or arguments.vararg is not None
    return len(required) <= len(given) and enough and set(by_name) <= {PASSED_BY_NAME}
