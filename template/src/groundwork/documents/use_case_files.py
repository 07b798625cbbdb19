"""Checks the team's code in `src/use_case` without running it: syntax, packages, and the functions that are called."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

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
    found = [f"src/{USE_CASE}/{name}: not found" for name in FUNCTIONS if not (folder / name).is_file()]
    code: dict[str, _Module] = {}
    for file in sorted(folder.rglob("*.py")):
        inside = file.relative_to(folder)
        at = f"src/{USE_CASE}/{inside.as_posix()}"
        try:
            body = ast.parse(file.read_bytes()).body
        except (SyntaxError, ValueError) as error:  # ValueError: a null byte
            line = getattr(error, "lineno", None)
            found.append(f"{at}:{line}: {getattr(error, 'msg', error)}" if line else f"{at}: {error}")
            continue
        if trains or inside.as_posix() in WITHOUT_TRAINING:
            found += _not_installed(at, body)
        steps = (USE_CASE, *inside.with_suffix("").parts)
        code[".".join(steps[:-1] if steps[-1] == "__init__" else steps)] = _Module(at, steps[:-1], body)
    for name, functions in FUNCTIONS.items():
        if (module := f"{USE_CASE}.{name.removesuffix('.py')}") in code:
            found += [
                wrong for function, given in functions.items() if (wrong := _wrong(function, given, module, code))
            ]
    return found


class _Module(NamedTuple):
    at: str  # the file, as in messages
    package: tuple[str, ...]  # that relative imports start from
    body: list[ast.stmt]


def _not_installed(at: str, body: list[ast.stmt]) -> Iterator[str]:
    for line, package in _packages(body):
        if package != USE_CASE and package not in sys.builtin_module_names and find_spec(package) is None:
            yield (
                f"{at}:{line}: the package with the module {package} is not installed: "
                f"`uv add --group use-case {package}`, or `uv sync` if pyproject.toml has it"
            )


def _wrong(name: str, given: tuple[str, ...], module: str, code: Mapping[str, _Module]) -> str:
    """Returns why the module's function cannot be called with these arguments; empty if it can, or may be."""
    wanted = f"{name}({', '.join(given)})"
    definition = _definition(name, module, code)
    if definition is None:
        return f"{code[module].at}: has no function {wanted}"
    at, function = definition
    if isinstance(function, ast.AsyncFunctionDef):
        return f"{at}:{function.lineno}: {name} is asynchronous: remove the word async"
    changed = [
        each for each in getattr(function, "decorator_list", []) if not _KEEPS_ARGUMENTS.search(ast.unparse(each))
    ]
    if not isinstance(function, ast.FunctionDef | ast.Lambda) or changed or _takes(function.args, given):
        return ""
    taken = ast.unparse(function.args)
    return f"{at}:{function.lineno}: {name}({taken}) is called as {wanted}: change its parameters"


_KEEPS_ARGUMENTS = re.compile(r"^(functools\.)?(cache|lru_cache)\b")  # a decorator


def _definition(
    name: str, module: str, code: Mapping[str, _Module], most: int = 9
) -> tuple[str, ast.AST | None] | None:
    """Returns file and definition of what the module calls `name`, through other names and imports within the package.

    The definition is None if the code alone does not tell it. Returns None if the module does not have the name. `most`
    names are followed.
    """
    found: tuple[str, ast.AST | None] | None = None
    own = code[module]
    for bound, definition in _bound(own.body):
        if bound == name and isinstance(definition, ast.Name) and most:
            found = _definition(definition.id, module, code, most - 1) or (own.at, None)
        elif bound == name and not isinstance(definition, ast.ImportFrom):
            found = own.at, definition
        elif bound in (name, "*") and isinstance(definition, ast.ImportFrom):
            steps = own.package[: len(own.package) - definition.level + 1] if definition.level else ()
            origin = ".".join((*steps, *filter(None, (definition.module,))))
            [asked] = {each.name for each in definition.names if (each.asname or each.name) == bound}
            if origin not in code or f"{origin}.{asked}" in code or not most:
                found = own.at, None
            elif bound == name:
                found = _definition(asked, origin, code, most - 1)
            else:
                found = _definition(name, origin, code, most - 1) or found
    return found


def _bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST | None]]:
    """Yields the names that a module binds, with their definitions: None if they depend on a condition."""
    for part in body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield part.name, part
        elif isinstance(part, ast.ImportFrom | ast.Import):
            yield from ((each.asname or each.name, part) for each in part.names)
        elif isinstance(part, ast.Assign | ast.AnnAssign):
            for target in part.targets if isinstance(part, ast.Assign) else [part.target]:
                if isinstance(target, ast.Name):
                    yield target.id, part.value
                else:
                    yield from _conditional(target)
        else:
            yield from _conditional(part)


def _conditional(part: ast.AST) -> Iterator[tuple[str, None]]:
    """Yields the names that a part of the code binds, but those of its functions and classes."""
    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield part.name, None
    elif isinstance(part, ast.ImportFrom | ast.Import):
        yield from ((each.asname or each.name, None) for each in part.names)
    elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
        yield part.id, None
    else:
        for each in ast.iter_child_nodes(part):
            yield from _conditional(each)


def _packages(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    """Yields line and top-level module of the imports that always run; those in a `try` or a function may not."""
    for part in body:
        if isinstance(part, ast.Import):
            yield from ((part.lineno, each.name.partition(".")[0]) for each in part.names)
        elif isinstance(part, ast.ImportFrom) and part.module and not part.level:
            yield part.lineno, part.module.partition(".")[0]


def _takes(arguments: ast.arguments, given: tuple[str, ...]) -> bool:
    """Whether the function can be called with this many arguments in their order."""
    positional = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    required = positional[: len(positional) - len(arguments.defaults)]
    options = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    by_name = [each.arg for each, default in options if default is None]
    if given and PASSED_BY_NAME in required[len(given) :]:
        required.remove(PASSED_BY_NAME)
    enough = len(positional) >= len(given) or arguments.vararg is not None
    return len(required) <= len(given) and enough and set(by_name) <= {PASSED_BY_NAME}
