"""Pages from template files of this package, by Jinja2: values are escaped unless the template says not to."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(path: str, **values: Any) -> str:
    """The page from the template file at `path`, below this package, such as `service/pages/home.html`.

    In HTML and SVG every value is escaped. In Markdown a text is put on one line, and can neither open an HTML tag nor
    end a cell of a table. Raises jinja2.UndefinedError where a value that the template needs is missing.
    """
    return _environment().get_template(path).render(values)


@cache
def _environment() -> Environment:
    """Made once per process, and so are the compiled templates in it: an installed file does not change."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, pass_eval_context
    from jinja2.nodes import EvalContext

    @pass_eval_context
    def finalize(context: EvalContext, value: object) -> object:
        return _in_markdown(value) if isinstance(value, str) and not context.autoescape else value

    environment = Environment(
        loader=PackageLoader("groundwork", ""),
        autoescape=lambda name: not (name or "").endswith((".md", ".css", ".js")),
        finalize=finalize,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = format  # {{ 1234.5 | figure(",.0f") }} as Python's f-strings do
    return environment


def _in_markdown(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")
