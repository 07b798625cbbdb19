"""Reads all pilots, several at a time: a repository that cannot be read, or does not answer, holds up no other."""

import asyncio
import ssl
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import httpx

from groundwork_fleet import pilot as pilots
from groundwork_fleet.facts import Fact, Row
from groundwork_fleet.git import GitError, Repository, is_url, without_credentials
from groundwork_fleet.listing import Entry
from groundwork_fleet.service import alert_facts, service_facts
from groundwork_fleet.template import Template

AT_ONCE = 16
SECONDS = 30.0  # for one repository
TEMPLATE_SECONDS = 120.0
SHORTHANDS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}  # as Copier has them

Listener = Callable[[int, int], None]


async def read(entries: Sequence[Entry], template: str, today: date, listener: Listener) -> list[Row]:
    """Return one row per entry, in their order. `listener` is told how many of how many steps are done.

    The pilots are compared with `template`; if that is empty, with the template that most of them name as theirs.
    """
    turns, done, steps = asyncio.Semaphore(AT_ONCE), 0, 2 * len(entries)

    def step() -> None:
        nonlocal done
        done += 1
        listener(done, steps)

    with tempfile.TemporaryDirectory(prefix="groundwork-fleet-", ignore_cleanup_errors=True) as folder:

        async def first(number: int, entry: Entry) -> pilots.Pilot | str:
            async with turns:
                found = await _pilot(entry, Path(folder) / str(number))
            step()
            return found

        async def second(entry: Entry, found: pilots.Pilot | str) -> Row:
            async with turns:
                row = await _row(entry, found, compared, client, today)
            step()
            return row

        read_pilots = await asyncio.gather(*(first(number, entry) for number, entry in enumerate(entries)))
        wanted = template or _most_common([each for each in read_pilots if isinstance(each, pilots.Pilot)])
        compared = await _template(wanted, Path(folder) / "template")
        # The machine's own certificates, as git uses them: a company's servers may be signed by its own authority.
        async with httpx.AsyncClient(timeout=None, verify=ssl.create_default_context()) as client:  # noqa: S113
            return await asyncio.gather(*(second(*each) for each in zip(entries, read_pilots, strict=True)))


async def _pilot(entry: Entry, into: Path) -> pilots.Pilot | str:
    """Return what the repository holds; a text that says why, if it cannot be read."""
    try:
        async with asyncio.timeout(SECONDS):
            if is_url(entry.repository):
                repository = await Repository.branches_of(entry.repository, into, entry.folder)
            else:
                repository = await Repository.at(Path(entry.repository), entry.folder)
            return await pilots.read(repository)
    except TimeoutError:
        return f"cannot be read: no answer within {SECONDS:.0f} s"
    except GitError as error:
        return f"cannot be read: {error}"
    except pilots.NotAPilot as error:
        return f"is no pilot: {error}"


async def _row(
    entry: Entry, pilot: pilots.Pilot | str, template: Template | str, client: httpx.AsyncClient, today: date
) -> Row:
    facts: dict[str, Fact] = {}
    if isinstance(pilot, pilots.Pilot):
        try:
            async with asyncio.timeout(SECONDS):
                facts |= await pilots.facts(pilot, template, today)
        except TimeoutError:
            pilot = f"cannot be read: not done within {SECONDS:.0f} s"
        except GitError as error:
            pilot = f"cannot be read: {error}"
    for answered in await asyncio.gather(service_facts(client, entry, today), alert_facts(client, entry)):
        facts |= answered
    if isinstance(pilot, str):
        return Row(repository=entry.shown, name=_last_part(entry), problem=pilot, facts=facts)
    return Row(repository=entry.shown, name=pilot.name or _last_part(entry), facts=facts)


async def _template(wanted: str, into: Path) -> Template | str:
    """Return the template; a text that says why, if it cannot be read."""
    if not wanted:
        return "no pilot names its template: name it with --template"
    shorthand = next((begin for begin in SHORTHANDS if wanted.startswith(begin)), "")
    wanted = SHORTHANDS.get(shorthand, "") + wanted.removeprefix(shorthand).removeprefix("git+")
    try:
        async with asyncio.timeout(TEMPLATE_SECONDS):
            if is_url(wanted):
                return await Template.of(await Repository.history_of(wanted, into))
            return await Template.of(await Repository.at(Path(wanted).expanduser()))
    except TimeoutError:
        reason = f"no answer within {TEMPLATE_SECONDS:.0f} s"
    except GitError as error:
        reason = str(error)
    return f"the template {without_credentials(wanted)} cannot be read: {reason}; name it with --template"


def _most_common(found: Sequence[pilots.Pilot]) -> str:
    sources = Counter(str(pilot.answers["_src_path"]) for pilot in found)
    return sources.most_common(1)[0][0] if sources else ""


def _last_part(entry: Entry) -> str:
    path = (entry.folder or without_credentials(entry.repository)).rstrip("/").removesuffix(".git").rstrip("/")
    return path.replace(":", "/").rpartition("/")[2] or path
