"""What adapters import stands in one place, is typed, and does not change by accident."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from mypy import api as mypy

from middleware.crm import api
from middleware.crm.base import OPTIONAL_METHODS
from middleware.crm.quote import ldap_value, soql_text
from middleware.crm.registry import load_adapters
from middleware.testing.skeleton import ADAPTER

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = {"rest", "sql"}  # made of a customer's file: they are parts of the middleware
METHODS = {
    "find_contacts": "number ctx",
    "find_contact_by_id": "numeric_id ctx",
    "find_notes": "contact ctx",
    "find_tasks": "contact ctx",
    "find_calls": "contact ctx",
    "find_tickets": "contact ctx",
    "find_deals": "contact ctx",
    "find_appointments": "contact ctx",
    "find_activities": "contact ctx",
    "create_links": "contact",
    "create_contact": "draft ctx",
    "create_task": "contact text call ctx",
    "log_call": "call contact ctx",
    "find_logged_call": "call ctx",
    "update_call": "logged call ctx",
    "attach_recording": "logged recording call ctx",
    "has_recording": "logged recording call ctx",
    "iter_contacts": "since ctx",
    "check": "ctx",
}


@pytest.mark.parametrize("name", sorted(set(load_adapters()) - OWN))
def test_adapters_import_from_one_place(name: str) -> None:
    """An adapter of ours needs nothing that others may not use."""
    assert _imported((ROOT / "adapters" / f"{name}.py").read_text(encoding="utf-8")) == {"middleware.crm.api"}


def test_a_new_adapter_imports_from_one_place() -> None:
    """What ``m8crm adapter new`` writes uses the public names alone."""
    assert _imported(ADAPTER) == {"middleware.crm.api"}


def _imported(source: str) -> set[str]:
    tree = ast.walk(ast.parse(source))
    modules = {node.module or "" for node in tree if isinstance(node, ast.ImportFrom)}
    return {module for module in modules if module.partition(".")[0] == "middleware"}


def test_methods_are_as_they_were() -> None:
    """Whoever changes what authors override reads adapters/README.rst first, What stays as it is."""
    methods = {name: getattr(api.CRMAdapter, name) for name in METHODS}
    found = {name: " ".join(list(inspect.signature(method).parameters)[1:]) for name, method in methods.items()}
    assert found == METHODS
    assert set(OPTIONAL_METHODS) <= set(METHODS)


def test_every_optional_method_has_an_adapter_that_needs_it() -> None:
    """Nothing is offered to authors that no CRM was found to have."""
    adapters = load_adapters().values()
    assert {name for name in METHODS if not any(name in _written(adapter) for adapter in adapters)} == set()


def _written(adapter: type[api.CRMAdapter[object]]) -> set[str]:
    return {name for name in METHODS if getattr(adapter, name) is not getattr(api.CRMAdapter, name)}


TYPED = """
from collections.abc import Iterable
from dataclasses import dataclass
from middleware.crm.api import Contact, ContactNumber, Context, CRMAdapter, PhoneNumber, Secret

@dataclass(frozen=True, slots=True, kw_only=True)
class TinySettings:
    token: Secret

class TinyAdapter(CRMAdapter[TinySettings]):
    name, label, settings_type = "tiny", "Tiny", TinySettings

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        yield Contact(id=self.settings.token.reveal(), display_name=WHO, numbers=(ContactNumber(number="1"),))
"""


def test_an_author_s_types_are_checked(tmp_path: Path) -> None:
    """Mypy --strict takes an adapter outside of this repository, and tells a wrong type in it."""
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(TYPED.replace("WHO", '"Ada"'), encoding="utf-8")
    wrong.write_text(TYPED.replace("WHO", "7"), encoding="utf-8")
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path}", "--follow-imports=silent"]
    told, _, status = mypy.run([*options, str(right), str(wrong)])
    assert status == 1
    assert [line.partition(":")[0] for line in told.splitlines() if ": error:" in line] == [str(wrong)], told
    assert '"display_name" to "Contact" has incompatible type "int"' in told


@pytest.mark.parametrize(
    ("text", "literal", "like"),
    [
        ("O'Hara", "'O\\'Hara'", "'O\\'Hara'"),
        ('a\\b"c', "'a\\\\b\\\"c'", "'a\\\\b\\\"c'"),
        ("50%_", "'50%_'", "'50\\%\\_'"),
        ("a\nb", "'a\\nb'", "'a\\nb'"),
    ],
)
def test_a_text_in_soql_ends_where_it_should(text: str, literal: str, like: str) -> None:
    """No sign of a text ends the literal, and behind LIKE none is a wildcard."""
    assert (soql_text(text), soql_text(text, is_like=True)) == (literal, like)


def test_a_text_in_an_ldap_filter_is_only_a_text() -> None:
    """RFC 4515, section 4: parentheses, asterisks, backslashes and NUL are written as hexadecimal."""
    assert ldap_value("Parens R Us (for all your parenthetical needs)") == (
        r"Parens R Us \28for all your parenthetical needs\29"
    )
    assert ldap_value("*\\\0") == r"\2a\5c\00"
