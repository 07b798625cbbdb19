"""The command `groundwork-fleet`."""

import argparse
import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from groundwork_fleet import fleet, listing, show

CODES = """exit codes: 0 if every repository was read and no pilot needs attention; 1 if one could not be read, or needs
attention; 2 if the command was used wrongly"""


def main() -> None:
    """Run the command, and end the process with its exit code."""
    options = _parser().parse_args()
    entries = [listing.Entry(repository=each) for each in options.repositories]
    template = options.template
    try:
        if options.list:
            listed, named = listing.read(options.list)
            entries, template = [*entries, *listed], template or named
        if not entries:
            raise listing.ListError("name at least one repository, or a list of them with --list")
        sys.exit(_run(entries, template, options))
    except (listing.ListError, OSError) as error:
        print(f"groundwork-fleet: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="groundwork-fleet", description="Show many pilots on one page.", epilog=CODES)
    parser.add_argument("repositories", nargs="*", metavar="REPOSITORY", help="a git URL, or a path on this machine")
    parser.add_argument("--list", type=Path, metavar="FILE", help="a YAML file that lists pilots")
    parser.add_argument(
        "--template", default="", metavar="REPOSITORY", help="the template; without it, the one that most pilots name"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write the page into this file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


def _run(entries: list[listing.Entry], template: str, options: argparse.Namespace) -> int:
    if options.html and not options.html.parent.is_dir():
        raise listing.ListError(f"there is no folder {options.html.parent}")
    now = datetime.now(UTC)
    rows = asyncio.run(fleet.read(entries, template, now.date(), _Progress()))
    if options.html:
        options.html.write_text(show.html(rows, now), encoding="utf-8")
    if options.json:
        print(show.as_json(rows, now))
    else:
        # One line per pilot in a file or a pipe, for which no width is known.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
        console.print(show.terminal(rows))
    return 1 if any(row.to_do for row in rows) else 0


class _Progress:
    """Says on stderr how far the reading is, once it takes more than two seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + 2
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.5 if self._terminal else 10)
        end = "\r" if self._terminal and done < of else "\n"
        print(f"groundwork-fleet: {100 * done // of} % of {of // 2} pilots read", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
