"""What other tools are told of OWNERS: `CODEOWNERS`, Backstage's `catalog-info.yaml`, and Alertmanager's routes.

The three files are the project's own. They follow from OWNERS, charter.yaml and decision-record.yaml alone, so that
`groundwork check` can compare them wherever the project is checked out.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from groundwork.core.errors import DocumentError
from groundwork.core.files import write_atomically
from groundwork.documents.decision_record import FILE as DECISION_RECORD
from groundwork.documents.decision_record import DecisionRecord
from groundwork.documents.document import UNANSWERED
from groundwork.documents.owners import Accountable, Owners, Person
from groundwork.documents.pilot import Pilot

CODEOWNERS = Path("CODEOWNERS")
CATALOG = Path("catalog-info.yaml")
ROUTES = Path("ops/prometheus/alertmanager.yml")
HIDES_OURS = Path(".github/CODEOWNERS")  # where GitHub looks first

MARK = "# Written by `groundwork owners` from OWNERS; change that instead.\n"
BOUNDARY = "# ---- Above: yours. Below: written by `groundwork owners` from OWNERS; change that instead. ----\n"
# Prometheus's Alertmanager refuses addresses without a server to send by, and reads none from the environment.
MAIL_SERVER = """\
# Sends each alert to the person who answers for it:
#   alertmanager --config.file=ops/prometheus/alertmanager.yml
# Here stands how mail leaves: by the machine's own mail server until you name another, such as mail.example.org:587
# with smtp_require_tls, smtp_auth_username and smtp_auth_password_file.
global:
  smtp_smarthost: localhost:25
  smtp_require_tls: false
  smtp_from: alertmanager@localhost
"""


def write(pilot: Pilot) -> list[Path]:
    """Write the three files, all or none; returns them. None are written while OWNERS names nobody.

    Raises DocumentError where one is there that was not written by this.
    """
    home, wanted = pilot.settings.home, _wanted(pilot)
    write_atomically({home / path: _kept(home, path) + text for path, text in wanted.items()})
    return list(wanted)


def differences(pilot: Pilot) -> dict[Path, str]:
    """What is wrong with each of the files that does not say what OWNERS says."""
    wanted = _wanted(pilot)
    found = {}
    for path in (CODEOWNERS, CATALOG, ROUTES):
        file = pilot.settings.home / path
        if not file.is_file():
            if wanted:
                found[path] = "is missing"
        elif not wanted:
            found[path] = "names people, and OWNERS nobody"
        elif path == ROUTES and file.read_text(encoding="utf-8").partition(BOUNDARY)[2] != wanted[path]:
            found[path] = "sends alerts to others than OWNERS says"
        elif path != ROUTES and file.read_text(encoding="utf-8") != wanted[path]:
            found[path] = "does not say what OWNERS says"
    if wanted and (pilot.settings.home / HIDES_OURS).exists():
        found[HIDES_OURS] = "hides CODEOWNERS from GitHub: delete it"
    return found


def check(pilot: Pilot) -> list[str]:
    """What is not wrong, but should be known. Raises DocumentError where a file does not say what OWNERS says."""
    if found := differences(pilot):
        lines = [f"{path}: {problem}" for path, problem in found.items()]
        raise DocumentError("\n".join(lines) + "\nrun `groundwork owners` and commit what it writes")
    if not any(_named(pilot.owners)):
        return ["OWNERS names nobody yet: CODEOWNERS, catalog-info.yaml and the alerts' routes wait for that"]
    silent = [f"{role} (@{person.handle})" for role, person in _named(pilot.owners) if not person.email]
    return [f"no alert is sent to who has no email in OWNERS: {', '.join(silent)}"] if silent else []


def _wanted(pilot: Pilot) -> dict[Path, str]:
    """The files as they should be, without what is the team's own in them; none while nobody is named."""
    if not any(_named(pilot.owners)):
        return {}
    return {
        CODEOWNERS: MARK + "".join(_code_owners(pilot.owners)),
        CATALOG: MARK + yaml.safe_dump_all(_catalog(pilot), sort_keys=False, allow_unicode=True, width=1000),
        ROUTES: yaml.safe_dump(_routes(pilot.owners), sort_keys=False, allow_unicode=True, width=1000),
    }


def _kept(home: Path, path: Path) -> str:
    """What stands at the head of a file when it is written anew."""
    file = home / path
    if not file.is_file():
        return MAIL_SERVER + BOUNDARY if path == ROUTES else ""
    present = file.read_text(encoding="utf-8")
    if path == ROUTES and BOUNDARY in present:
        return present.partition(BOUNDARY)[0] + BOUNDARY
    if path != ROUTES and present.startswith(MARK):
        return ""
    raise DocumentError(f"{path}: was not written by `groundwork owners`: move it away, then run that again")


def _named(owners: Owners) -> Iterator[tuple[str, Accountable]]:
    """Every role with its person, but for those that are still TBD."""
    return ((role, person) for role, person in owners.roles() if person.answered and role != "sponsor")


def _code_owners(owners: Owners) -> Iterator[str]:
    """The last line that fits a path decides; where a role is open, the approvers do."""
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
    """The pilot as a system of a service, its model and its data, each with who answers for it.

    What is open goes to whoever answers for the decision, or for anything: Backstage takes nothing without an owner.
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
    """`production` once it was decided to scale a champion that had passed the gate, until then `experimental`.

    That a model answers is not enough: in the shadow, or on trial, it answers too. And only the record goes along with
    the project to where it is checked; `groundwork decide scale` writes it only above the line, with such a champion.
    """
    return "production" if record.outcome == "scale" and record.decisions[-1].champion else "experimental"


def _name(pilot: str, part: str = "") -> str:
    """As Backstage wants it: letters, digits and - _ . between them, 63 at most."""
    part = re.sub(r"[^A-Za-z0-9_.-]", "-", part)[-40:]
    return "-".join(each for each in (pilot[: 62 - len(part)].strip("-"), part.strip("-_.")) if each)


def _reference(person: Person) -> str:
    """A login like org/team is a group, which Backstage knows without its organisation."""
    organisation, _, login = person.handle.rpartition("/")
    return f"{'group' if organisation else 'user'}:default/{login}"


def _routes(owners: Owners) -> dict[str, Any]:
    """By the labels of alerts.yml to one receiver per role; what fits none goes to who answers for the decision."""
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
