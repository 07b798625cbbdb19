"""What a pilot's service and its Prometheus answer: verdict, live model, measured gain, alerts."""

import asyncio
import json
import os
from datetime import UTC, date, datetime
from typing import Any

import httpx

from groundwork_fleet.facts import Fact, some, unknown
from groundwork_fleet.git import without_credentials
from groundwork_fleet.listing import Entry

LARGEST = 1_000_000  # bytes of an answer
SECONDS = 10.0  # for one answer
CRITERIA_NOT_IN_FORCE = 3  # exit code of `groundwork readiness`
OF_SERVICE = ("verdict", "champion", "gain")


class NoAnswer(Exception):
    """A server gave no answer that can be used; the message says why."""


async def service_facts(client: httpx.AsyncClient, entry: Entry, today: date) -> dict[str, Fact]:
    """Return what the pilot's service says of its verdict, live model and gain."""
    if not entry.service:
        return dict.fromkeys(OF_SERVICE, unknown("the list gives no address of its service"))
    key = os.environ.get(entry.key, "")
    if entry.key and not key:
        reason = f"the environment variable {entry.key} with its API key is not set"
        return dict.fromkeys(OF_SERVICE, unknown(reason, reason))
    try:
        status = await _ask(
            client, f"{entry.service.rstrip('/')}/status", {"Authorization": f"Bearer {key}"} if key else {}
        )
        return facts_of(status, today)
    except NoAnswer as error:
        reason = f"its service {error}"
    except (ArithmeticError, LookupError, TypeError, ValueError):
        reason = "its service answers something else than the status of a pilot"
    return dict.fromkeys(OF_SERVICE, unknown(reason, reason))


def facts_of(status: Any, today: date) -> dict[str, Fact]:
    """Return the facts in what a service answers at /status. Raises LookupError, TypeError or ValueError."""
    return {"verdict": _verdict(status), "champion": _champion(status, today), "gain": _gain(status)}


async def alert_facts(client: httpx.AsyncClient, entry: Entry) -> dict[str, Fact]:
    """Return the alerts of the pilot that fire."""
    if not entry.prometheus:
        return {"alerts": unknown("the list gives no address of its Prometheus")}
    try:
        answer = await _ask(client, f"{entry.prometheus.rstrip('/')}/api/v1/alerts", {})
        found = [each for each in answer["data"]["alerts"] if each["state"] == "firing"]
        names = sorted(
            str(each["labels"]["alertname"]) for each in found if entry.labels.items() <= each["labels"].items()
        )
    except NoAnswer as error:
        return {"alerts": unknown(f"its Prometheus {error}", f"its Prometheus {error}")}
    except (LookupError, TypeError, AttributeError):
        reason = "its Prometheus answers something else than alerts"
        return {"alerts": unknown(reason, reason)}
    if not names:
        return {"alerts": Fact(text="none", value=[])}
    text = some(names)
    return {"alerts": Fact(text=text, value=names, to_do=f"alerts firing: {text}")}


async def _ask(client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> Any:
    """Return the JSON at the address. Redirects are not followed: a key is for the server that the list names."""
    try:
        async with asyncio.timeout(SECONDS), client.stream("GET", url, headers=headers) as answer:
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > LARGEST:
                    raise NoAnswer("answers with more than a status")
    except TimeoutError:
        raise NoAnswer(f"does not answer within {SECONDS:.0f} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise NoAnswer(f"cannot be reached: {without_credentials(str(error)) or type(error).__name__}") from None
    if answer.status_code in (401, 403):
        raise NoAnswer("requires an API key with the scope admin: name its environment variable as `key` in the list")
    if answer.status_code == 404:
        raise NoAnswer(f"has no page {httpx.URL(url).path}, which came after release 0.1.0")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if answer.status_code != 200:
        detail = content.get("detail") if isinstance(content, dict) else None
        raise NoAnswer(f"answers with {answer.status_code}{f': {detail}' if detail else ''}")
    return content


def _verdict(status: Any) -> Fact:
    verdict, code = str(status["verdict"]), int(status["exit_code"])
    return Fact(
        text=verdict,
        value={"verdict": verdict, "exit_code": code},
        to_do=verdict if code == CRITERIA_NOT_IN_FORCE else "",
    )


def _champion(status: Any, today: date) -> Fact:
    champion = status["champion"]
    version, since, reason = champion["version"], champion["live_since"], str(champion["reason"])
    if version is None:
        return Fact(text="none", value={"version": None, "live_since": None, "days": None}, unknown=reason)
    if since is None:
        without = {"version": str(version), "live_since": None, "days": None}
        return Fact(text=f"version {version}, age unknown", value=without, unknown=reason)
    live = datetime.fromisoformat(since)
    days = (today - live.astimezone(UTC).date()).days
    value = {"version": str(version), "live_since": since, "days": days}
    return Fact(text=f"version {version}, {days} day{'' if days == 1 else 's'}", value=value)


def _gain(status: Any) -> Fact:
    gain = status["gain_per_1000"]
    if gain["value"] is None:
        return unknown(str(gain["reason"]))
    amount, samples = float(gain["value"]), int(gain["samples"])
    value = {"amount": amount, "currency": str(gain["currency"]), "samples": samples, "days": int(gain["days"])}
    return Fact(text=f"{gain['currency']} {amount:,.0f} (n = {samples:,})", value=value)
