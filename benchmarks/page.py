"""Puts what a benchmark measured into its page in docs/reference/."""

from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def publish(page: Path, text: str) -> None:
    """Write the text between the page's two marks; the rest of the page stays."""
    said = page.read_text(encoding="utf-8")
    before, _, rest = said.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
