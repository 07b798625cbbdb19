"""An error is told in one line, with the place in the team's code if it arose there."""

import re
from pathlib import Path

import pytest
from groundwork.core.errors import GroundworkError, StoreError, UseCaseError, explained, in_use_case, place
from groundwork.core.windows import window_of
from groundwork.documents.charter import Seal
from use_case import decision


def error_of(function: object, *arguments: object) -> Exception:
    try:
        function(*arguments)  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def wrong_decision() -> Exception:
    return error_of(decision.decide, None, {"benefitPerHit": 1})


def test_an_error_in_the_teams_code_has_its_line() -> None:
    line = next(
        number
        for number, text in enumerate(Path(decision.__file__).read_text(encoding="utf-8").splitlines(), 1)
        if "return np.where(scores *" in text
    )
    error = wrong_decision()
    assert place(error) == f"src/use_case/decision.py:{line}"
    assert explained(error).startswith(f"src/use_case/decision.py:{line}: TypeError: unsupported operand type(s)")
    wrapped = GroundworkError("outer")
    wrapped.__cause__ = error
    assert place(wrapped) == f"src/use_case/decision.py:{line}"
    assert explained(wrapped) == "outer"


def test_an_error_of_the_system_has_the_systems_line() -> None:
    error = error_of(window_of, None, "day")
    assert place(error) == ""
    assert re.match(r"src/groundwork/core/windows\.py:\d+: AttributeError: 'NoneType'", explained(error))
    assert explained(KeyError("no")) == "KeyError: 'no'"


def test_a_syntax_error_has_its_line() -> None:
    file = str(Path(decision.__file__).with_name("model.py"))
    error = error_of(compile, "x = 1\ny = (\n", file, "exec")
    assert explained(error) == "src/use_case/model.py:2: SyntaxError: '(' was never closed"


def test_a_long_message_is_shortened_to_one_line() -> None:
    said = explained(ValueError("a\n" * 1000))
    assert "\n" not in said
    assert len(said) < 250
    assert explained(MemoryError()) == "MemoryError"


def test_a_missing_package_is_named_with_the_command_that_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'lightgbm.sklearn'", name="lightgbm.sklearn")

    monkeypatch.setattr(decision, "np", type("N", (), {"where": lambda self, *_: missing()})())
    error = error_of(decision.without_model, {"departure_minute": 1})
    assert explained(error).endswith("; install the package that has it: `uv add --group use-case lightgbm`")


def test_a_value_that_a_document_does_not_allow_is_told_by_its_name() -> None:
    error = error_of(lambda: Seal(on="2026-11-23", by="ada", reason="x", sha256="0" * 64))
    assert explained(error).endswith("reason: String should have at least 3 characters")


def test_what_fails_in_the_teams_code_is_said_with_what_it_was_for() -> None:
    with pytest.raises(UseCaseError) as told, in_use_case("decision.py", "decide() fails"):
        raise wrong_decision()
    assert str(told.value).startswith("src/use_case/decision.py:")
    assert ": decide() fails: TypeError: " in str(told.value)
    with pytest.raises(UseCaseError) as told, in_use_case("model.py", "fit fails"):
        raise ValueError("no")
    assert str(told.value) == "src/use_case/model.py: fit fails: ValueError: no"
    with pytest.raises(StoreError, match="full"), in_use_case("model.py", "fit fails"):
        raise StoreError("full")
