"""Renders pages from this package's Jinja2 templates; values are escaped unless the template marks them as safe."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

from groundwork.core.quoting import rounded

if TYPE_CHECKING:
    from jinja2 import Environment


def render(path: str, **values: Any) -> str:
    """Returns the page from the template at `path`, relative to this package, such as `service/pages/home.html`.

    In HTML and SVG every value is escaped. In Markdown a text is put on one line, and can neither open an HTML tag nor
    end a table cell. Raises jinja2.UndefinedError if a value that the template needs is missing.
    """
    return _environment().get_template(path).render(values)


@cache
def policy(*inline: str) -> str:
    """Returns the Content-Security-Policy of a page that runs and loads only these files of this package.

    Each is a style (.css) or script (.js) that the page includes as the whole content of one element. A script may
    call the page's own server. No other page may frame this one.
    """
    allowed: dict[str, list[str]] = {"style-src": [], "script-src": []}
    for path in inline:
        digest = base64.b64encode(hashlib.sha256(render(path).encode()).digest()).decode()
        allowed["style-src" if path.endswith(".css") else "script-src"].append(f"'sha256-{digest}'")
    sources = "".join(f"; {kind} {' '.join(hashes)}" for kind, hashes in allowed.items() if hashes)
    calls = "; connect-src 'self'" if allowed["script-src"] else ""
    return f"default-src 'none'{sources}{calls}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@cache
def _environment() -> Environment:
    """Returns the Jinja2 environment; cached, because installed templates do not change."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, pass_eval_context
    from jinja2.nodes import EvalContext

    @pass_eval_context
    def finalize(context: EvalContext, value: object) -> object:
        return _in_markdown(value) if isinstance(value, str) and not context.autoescape else value

    environment = Environment(
        loader=PackageLoader("groundwork", ""),
        autoescape=lambda name: not (name or "").endswith((".md", ".css", ".js")),  # noqa: S701 - on for all HTML
        finalize=finalize,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["rounded"] = rounded
    environment.filters["figure"] = format  # {{ 1234.5 | figure(",.0f") }}, with Python's format specification
    return environment


def _in_markdown(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")
