"""What people type: wrong answers are refused in words that help, odd but right ones arrive as they were typed."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import PYTHON, execute

ONE_LINE = "on one line"
PERSON = "Type one person as Name @handle, such as"
WRONG = [
    ("project_name", "", "Type a name of three letters or more"),
    ("project_name", "AI", "Type a name of three letters or more"),
    ("project_name", "two\nlines", ONE_LINE),
    ("decision", "which?\nkind: Smuggled", ONE_LINE),
    ("decision", "which one?\n", ONE_LINE),
    ("decision", "which\u2028one?", ONE_LINE),
    ("decision", "which\x85one?", ONE_LINE),
    ("decision", "which\x00one?", ONE_LINE),
    ("decision", "which\x7fone?", ONE_LINE),
    ("decision", "which\udcffone?", ONE_LINE),
    ("decision", "  ?  ", ONE_LINE),
    ("without_model", "all\r\nof them", ONE_LINE),
    ("without_model", ["all", "of them"], "Could not convert"),
    ("currency", "€", "three capital letters"),
    ("currency", "eur", "such as EUR"),
    ("currency", "EUR\n", "such as EUR"),
    ("hit_value", "a lot", "Type a number above 0 in plain digits, such as 400"),
    ("hit_value", "0", "above 0"),
    ("hit_value", "0.00", "above 0"),
    ("hit_value", "-400", "above 0"),
    ("hit_value", "1,000", "plain digits"),
    ("hit_value", "0400", "plain digits"),
    ("hit_value", "1e3", "plain digits"),
    ("hit_value", "nan", "plain digits"),
    ("hit_value", "inf", "plain digits"),
    ("hit_value", "٤٠٠", "plain digits"),
    ("action_cost", "400", "Type a number above 0 and below 400"),
    ("action_cost", "0", "above 0"),
    ("scale_gain", "5000 EUR", "such as 5000"),
    ("decision_owner", "Ada Lovelace", PERSON),
    ("decision_owner", "@ada", PERSON),
    ("data_owner", "Grace Hopper @grace, Alan Turing @alan", PERSON),
    ("data_owner", "Grace Hopper @data/stewards", PERSON),
    ("model_owner", "Emmy Noether @emmy\n", PERSON),
    ("model_owner", "Emmy\tNoether @emmy", PERSON),
    ("service_owner", "Alan Turing@alan", PERSON),
    ("day0", "23.11.2026", "Type the day as YYYY-MM-DD"),
    ("day0", "2026-11-23\n", "Type the day as YYYY-MM-DD"),
    ("day0", "2026-02-30", "day is out of range for month"),
    ("ci", "jenkins", "not in .*github.*gitlab.*none"),
]


@pytest.mark.parametrize(("question", "answer", "words"), WRONG)
def test_a_wrong_answer_is_refused_with_what_to_type(
    render: Callable[..., Path], question: str, answer: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        render(**{question: answer})


def test_a_refused_answer_leaves_no_folder_behind(template: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="such as EUR"):
        execute(tmp_path, PYTHON, "-m", "copier", "copy", "--defaults", "-d", "currency=euro", str(template), "pilot")
    assert not (tmp_path / "pilot").exists()


ODD = [
    'Who\'s "late" again?',
    r"C:\new\table \u0041 \x41 \"",
    "cost # not a comment",
    "cost: 5 - [a, {b: *c}]",
    "{{ 7*7 }} {% raw %} {# no #} ${{ secrets.NONE }}",
    "$(id) `id` $HOME %s %(x)s",
    "- yes",
    "null",
    "2026-11-23",
    "0o17 1e3 .inf",
    "'''",
    "</td> | <!-- -->",
    "&anchor !!python/object:os.system",
    "naïve Überlastung, retards à l’arrivée",  # noqa: RUF001
    "e\u0301 in two characters, \u00a0 no break, \ufeff no width",
    "哪些航班会晚点?",
    "Какие рейсы опоздают?",
    "أي الرحلات ستتأخر؟",
    "🛫 👩‍💻 🇩🇪",
    "x" * 500,
]


@pytest.mark.parametrize("start", range(len(ODD)))
def test_odd_texts_arrive_as_they_were_typed(render: Callable[..., Path], start: int) -> None:
    """Eight texts at a time, each in every question in turn."""
    odd = (ODD + ODD)[start : start + 8]
    people = dict(zip(("sponsor", "decision", "data", "model", "service"), odd[3:], strict=True))
    answers = dict(zip(("project_name", "decision", "without_model"), odd, strict=False)) | {
        part if part == "sponsor" else f"{part}_owner": f"{name} @{part}" for part, name in people.items()
    }
    project = render(**answers)

    charter = yaml.safe_load((project / "charter.yaml").read_text(encoding="utf-8"))
    assert charter["metadata"]["title"] == odd[0]
    assert charter["decision"] == {"statement": odd[1], "withoutModel": odd[2]}
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["description"] == odd[0]
    accountable = yaml.safe_load((project / "OWNERS").read_text(encoding="utf-8"))["accountable"]
    accountable["data"] = accountable["data"]["flights"]
    assert accountable == {part: {"name": name, "handle": part} for part, name in people.items()}
    kept = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert kept.items() >= answers.items()
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert [text for text in answers.values() if text not in readme] == []


OPEN = ("decision", "without_model", "sponsor", "decision_owner", "data_owner", "model_owner", "service_owner", "day0")


def test_an_answer_of_tbd_is_one_that_is_left_open(render: Callable[..., Path]) -> None:
    named = {"model_owner": "Emmy Noether @emmy"}
    empty, tbd = (render(**(dict.fromkeys(OPEN, answer) | named)) for answer in ("", "TBD"))
    for document in ("charter.yaml", "OWNERS", "README.md"):
        assert (tbd / document).read_text(encoding="utf-8") == (empty / document).read_text(encoding="utf-8")
    owners = yaml.safe_load((tbd / "OWNERS").read_text(encoding="utf-8"))
    assert owners["approvers"] == owners["reviewers"] == ["emmy"]


def test_a_handle_stays_a_text(render: Callable[..., Path]) -> None:
    handles = ["on", "1234", "0x1f", "a.b_c-d"]
    roles = ("decision_owner", "data_owner", "model_owner", "service_owner")
    project = render(**{role: f"Ada Lovelace @{handle}" for role, handle in zip(roles, handles, strict=True)})
    owners = yaml.safe_load((project / "OWNERS").read_text(encoding="utf-8"))
    assert owners["approvers"] == ["on"]
    assert owners["reviewers"] == handles
    assert owners["accountable"]["data"]["flights"]["handle"] == "1234"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Late flights", "late-flights"),
        ("  Late -- flights!  ", "late-flights"),
        ("2026 forecast", "forecast"),
        ("Flugverspätung Straße", "flugverspatung-strasse"),
        ("Прогноз задержек", "pilot"),
        ("航班延误", "pilot"),
        ("🛫🛫🛫", "pilot"),
        ("x" * 62 + " yz", "x" * 62),
        ("Yes", "yes"),  # a boolean, were it not in quotes
        ("null", "null"),
        ("Requests", "requests-pilot"),  # a package that the pilot uses: uv refuses a project of that name
        ("scikit learn", "scikit-learn-pilot"),
    ],
)
def test_every_name_gives_a_short_name_that_tools_accept(render: Callable[..., Path], name: str, slug: str) -> None:
    project = render(project_name=name)
    charter = yaml.safe_load((project / "charter.yaml").read_text(encoding="utf-8"))
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    overlay = yaml.safe_load(
        (project / "ops/kubernetes/overlays/staging/kustomization.yaml").read_text(encoding="utf-8")
    )
    assert charter["metadata"]["name"] == pyproject["project"]["name"] == slug
    assert overlay["labels"][0]["pairs"] == {"app.kubernetes.io/part-of": slug}
    used = pyproject["tool"]["uv"]["constraint-dependencies"]
    assert not [package for package in used if package.startswith(f"{slug}==")]


@pytest.mark.parametrize("folder", ["x", "-", "…", "two words", "12"])
def test_any_folder_gives_a_name(render: Callable[..., Path], folder: str) -> None:
    charter = yaml.safe_load((render(folder) / "charter.yaml").read_text(encoding="utf-8"))
    assert len(charter["metadata"]["title"]) > 2


def test_numbers_arrive_as_numbers(render: Callable[..., Path]) -> None:
    """Typed as text or given as numbers, in an answers file say."""
    project = render(hit_value="12.50", action_cost=3, scale_gain=0.5)
    charter = yaml.safe_load((project / "charter.yaml").read_text(encoding="utf-8"))
    assert charter["value"]["parameters"] == {"benefitPerHit": 12.5, "costPerAction": 3}
    assert charter["readyToScale"]["criteria"][0]["threshold"] == 0.5


@pytest.mark.parametrize("currency", ["YES", "OFF"])
def test_letters_that_yaml_reads_as_a_truth_value_stay_a_currency(render: Callable[..., Path], currency: str) -> None:
    charter = yaml.safe_load((render(currency=currency) / "charter.yaml").read_text(encoding="utf-8"))
    assert charter["value"]["currency"] == currency
