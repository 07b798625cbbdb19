"""Writes OWNERS for other tools: `CODEOWNERS`, Backstage's `catalog-info.yaml`, and Alertmanager's routes.

The three files belong to the project. They depend only on OWNERS, charter.yaml and decision-record.yaml, so that
`groundwork check` can compare them in every clone.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from groundwork.core.errors import DocumentError
from groundwork.core.files import write_atomically
from groundwork.documents.decision_record import FILE as DECISION_RECORD
from groundwork.documents.decision_record import DecisionRecord
from groundwork.documents.document import UNANSWERED, write_yaml
from groundwork.documents.owners import Accountable, Owners, Person
from groundwork.documents.pilot import Pilot

CODEOWNERS = Path("CODEOWNERS")
CATALOG = Path("catalog-info.yaml")
ROUTES = Path("ops/prometheus/alertmanager.yml")
HIDES_OURS = Path(".github/CODEOWNERS")  # GitHub reads only this file if it exists

MARK = "# Written by `groundwork owners` from OWNERS; change that instead.\n"
BOUNDARY = "# ---- Above: yours. Below: written by `groundwork owners` from OWNERS; change that instead. ----\n"
# Alertmanager refuses e-mail receivers without an SMTP server, and does not read one from the environment.
MAIL_SERVER = """\
# Sends each alert to the person who answers for it:
#   alertmanager --config.file=ops/prometheus/alertmanager.yml
# Mail is sent by this machine's own mail server. To use another, such as mail.example.org:587, set it below with
# smtp_require_tls, smtp_auth_username and smtp_auth_password_file.
global:
  smtp_smarthost: localhost:25
  smtp_require_tls: false
  smtp_from: alertmanager@localhost
"""


def write(pilot: Pilot) -> list[Path]:
    """Write the three files, all or none, and return their paths. While OWNERS names no person, none are written.

    Raises DocumentError if a file exists that was not written by `groundwork owners`.
    """
    home, expected = pilot.settings.home, _expected(pilot)
    write_atomically({home / path: _kept(home, path) + text for path, text in expected.items()})
    return list(expected)


def differences(pilot: Pilot) -> dict[Path, str]:
    """Returns, for each file that does not match OWNERS, what is wrong with it."""
    expected = _expected(pilot)
    found = {}
    for path in (CODEOWNERS, CATALOG, ROUTES):
        file = pilot.settings.home / path
        if not file.is_file():
            if expected:
                found[path] = "is missing"
        elif not expected:
            found[path] = "names people, but OWNERS names no person"
        elif path == ROUTES and file.read_text(encoding="utf-8").partition(BOUNDARY)[2] != expected[path]:
            found[path] = "has alert routes that do not match OWNERS"
        elif path != ROUTES and file.read_text(encoding="utf-8") != expected[path]:
            found[path] = "does not match OWNERS"
    if expected and (pilot.settings.home / HIDES_OURS).exists():
        found[HIDES_OURS] = "hides CODEOWNERS from GitHub: delete it"
    return found


def check(pilot: Pilot) -> list[str]:
    """Returns warnings as lines of text. Raises DocumentError if a file does not match OWNERS."""
    if found := differences(pilot):
        lines = [f"{path}: {problem}" for path, problem in found.items()]
        raise DocumentError("\n".join(lines) + "\nrun `groundwork owners` and commit the files it writes")
    if not any(_named(pilot.owners)):
        return ["OWNERS names no person yet, so CODEOWNERS, catalog-info.yaml and the alert routes are not written"]
    silent = [f"{role} (@{person.handle})" for role, person in _named(pilot.owners) if not person.email]
    return [f"no email in OWNERS, so no alerts are sent to: {', '.join(silent)}"] if silent else []


def _expected(pilot: Pilot) -> dict[Path, str]:
    """Returns the expected content of the files, without the parts edited by the team; empty if no person is named."""
    if not any(_named(pilot.owners)):
        return {}
    return {
        CODEOWNERS: MARK + "".join(_code_owners(pilot.owners)),
        CATALOG: MARK + write_yaml(*_catalog(pilot)),
        ROUTES: write_yaml(_routes(pilot.owners)),
    }


def _kept(home: Path, path: Path) -> str:
    """Returns the head of the existing file, which is kept when the file is rewritten."""
    file = home / path
    if not file.is_file():
        return MAIL_SERVER + BOUNDARY if path == ROUTES else ""
    present = file.read_text(encoding="utf-8")
    if path == ROUTES and BOUNDARY in present:
        return present.partition(BOUNDARY)[0] + BOUNDARY
    if path != ROUTES and present.startswith(MARK):
        return ""
    raise DocumentError(f"{path}: was not written by `groundwork owners`: move it away, then run the command again")


def _named(owners: Owners) -> Iterator[tuple[str, Accountable]]:
    """Yields each role with its person, without the sponsor and without roles that are TBD."""
    return ((role, person) for role, person in owners.roles() if person.answered and role != "sponsor")


def _code_owners(owners: Owners) -> Iterator[str]:
    """Yields the lines of CODEOWNERS. The last line that matches a path applies; for an open role, the approvers'."""
    people = owners.accountable
    charter = [people.decision, *([people.sponsor] if people.sponsor else [])]
    data = list(people.data.values())
    papers = ("charter.yaml", "OWNERS", "readiness.yaml", DECISION_RECORD, CODEOWNERS, CATALOG)
    yield _line("*", owners.approvers)
    for path, answer in (
        ("src/use_case/", [people.model]),
        ("tests/use_case/", [people.model]),
        ("src/use_case/source.py", data),
        ("contract.yaml", data),
        ("docs/data-dictionary.md", data),
        ("ops/", [people.service]),
        ("Dockerfile", [people.service]),
        *((paper, charter) for paper in papers),
    ):
        yield _line(f"/{path}", [each.handle for person in answer for each in _with_deputy(person)])


def _line(pattern: str, handles: Iterable[str]) -> str:
    known = [f"@{handle}" for handle in dict.fromkeys(handles) if handle != UNANSWERED]
    return f"{pattern} {' '.join(known)}\n" if known else ""


def _with_deputy(person: Accountable) -> list[Person]:
    return [each for each in (person, person.deputy) if each and each.answered]


def _catalog(pilot: Pilot) -> Iterator[dict[str, Any]]:
    """Yields the Backstage entities: the pilot as a system, its service, model and data sets, each with its owner.

    Backstage requires an owner, so an open role is given to the owner of the decision, or to any named person.
    """
    charter, people = pilot.charter, dict(_named(pilot.owners))
    anybody = people.get("decision") or next(iter(people.values()))
    title, statement = charter.metadata.title, charter.decision.statement
    about = {} if statement.startswith(UNANSWERED) else {"description": statement}
    system, model = _name(charter.metadata.name), _name(charter.metadata.name, "model")
    sets = {data: _name(charter.metadata.name, f"{data}-data") for data in pilot.owners.accountable.data}

    def entity(kind: str, name: str, role: str, title: str, **spec: Any) -> dict[str, Any]:
        person = people.get(role, anybody)
        deputy = person.deputy if person.deputy and person.deputy.answered else None
        notes = {"annotations": {"groundwork/deputy": _reference(deputy)}} if deputy else {}
        return {
            "apiVersion": "backstage.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "title": title, **(about if name == system else {}), **notes},
            "spec": {**spec, "owner": _reference(person)},
        }

    yield entity("System", system, "decision", title)
    yield entity(
        "Component",
        system,
        "service",
        title,
        type="service",
        lifecycle=lifecycle(DecisionRecord.of(pilot.settings.home)),
        system=system,
        dependsOn=[f"resource:{name}" for name in (model, *sets.values())],
    )
    yield entity("Resource", model, "model", f"{title}: model", type="ml-model", system=system)
    for data, name in sets.items():
        yield entity("Resource", name, f"data:{data}", f"{title}: {data}", type="dataset", system=system)


def lifecycle(record: DecisionRecord) -> str:
    """Returns `production` after the decision to scale a champion that passed the gate, otherwise `experimental`.

    A running service is not enough, because it also runs in the shadow and on trial. The decision record is used,
    because it is part of every clone; `groundwork decide scale` writes it only if the criteria are met.
    """
    return "production" if record.outcome == "scale" and record.decisions[-1].champion else "experimental"


def _name(pilot: str, part: str = "") -> str:
    """Returns a name valid in Backstage: at most 63 letters, digits and, between them, - _ and . characters."""
    part = re.sub(r"[^A-Za-z0-9_.-]", "-", part)[-40:]
    return "-".join(each for each in (pilot[: 62 - len(part)].strip("-"), part.strip("-_.")) if each)


def _reference(person: Person) -> str:
    """Returns the Backstage reference of a handle. A login like org/team is a group, named without the organisation."""
    organisation, _, login = person.handle.rpartition("/")
    return f"{'group' if organisation else 'user'}:default/{login}"


def _routes(owners: Owners) -> dict[str, Any]:
    """Returns Alertmanager's routes, by the labels in alerts.yml: one receiver per role.

    Alerts that match no route go to the owner of the decision.
    """
    receivers: dict[str, dict[str, Any]] = {}
    routes = []
    for role, person in _named(owners):
        name = f"{role.replace(':', '-')}-{person.handle}"
        to = [each.email for each in _with_deputy(person) if each.email]
        receivers[name] = {"name": name} | (
            {"email_configs": [{"to": ", ".join(to), "send_resolved": True}]} if to else {}
        )
        labels = {"owner": role.partition(":")[0]} | ({"role": role} if ":" in role else {})
        routes.append(
            {
                "matchers": [f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in labels.items()],
                "receiver": name,
            }
        )
    decision = owners.accountable.decision
    otherwise = f"decision-{decision.handle}" if decision.answered else "nobody"
    receivers.setdefault(otherwise, {"name": otherwise})
    return {
        "route": {"receiver": otherwise, "group_by": ["alertname", "instance"], "routes": routes},
        "receivers": list(receivers.values()),
    }
