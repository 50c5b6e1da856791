"""What an adapter says of itself, and what its module may not contain."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from middleware.crm.base import OPTIONAL_METHODS, CRMAdapter
from middleware.crm.budget import Budget
from middleware.crm.session import LOOPBACK
from middleware.crm.settings import Secret
from middleware.model.phone import NumberForm
from middleware.testing.conformance.registry import check
from middleware.testing.conformance.trial import ConformanceError, NotApplicableError, Trial

HTTP = frozenset("requests urllib3 http httpx socket aiohttp pycurl flask ssl websocket httplib2 tornado".split())
SECRET_WORDS = re.compile(r"token|secret|password|passwd|api_?key|credential", re.I)
PARTNERS = {  # what is of no use alone
    "find_logged_call": "log_call",
    "update_call": "log_call",
    "attach_recording": "log_call",
    "has_recording": "attach_recording",
}
METHODS = ("find_contacts", *OPTIONAL_METHODS)


def _tree(trial: Trial) -> ast.Module:
    try:
        return ast.parse(inspect.getsource(sys.modules[trial.kind.__module__]))
    except (OSError, KeyError, TypeError):
        raise NotApplicableError("the adapter's source cannot be read") from None


def _declared(trial: Trial, name: str) -> Any:
    """Return what the adapter says, which may be anything."""
    return getattr(trial.adapter, name, None)


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield what is imported when the program runs; an import for type checkers is none."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import):
                yield from (alias.name for alias in inner.names)
            elif isinstance(inner, ast.ImportFrom) and inner.module:
                yield from (f"{inner.module}.{alias.name}" for alias in inner.names)


@check
def the_name_is_an_identifier(trial: Trial) -> None:
    """The name stands in customers' files and in databases: lower case, and safe everywhere."""
    name = getattr(trial.kind, "name", None)
    if not (isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]{1,30}", name)):
        raise ConformanceError(
            f"name is {name!r}", 'write e.g. name = "acme": a-z, 0-9 and _, 2 to 31 of them, for ever'
        )


@check
def the_label_is_for_people(trial: Trial) -> None:
    """People see what the vendor calls his product."""
    label = getattr(trial.kind, "label", None)
    if not (isinstance(label, str) and label.strip()):
        raise ConformanceError(f"label is {label!r}", 'write what people call the CRM: label = "Acme CRM"')


@check
def the_settings_are_a_frozen_dataclass(trial: Trial) -> None:
    """Settings are shared by threads and outlive calls: nobody changes them."""
    kind = getattr(trial.kind, "settings_type", None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ConformanceError(f"settings_type is {kind!r}", "name the dataclass of the settings")
    if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ConformanceError(
            f"{kind.__name__} can be changed", "write @dataclass(frozen=True, slots=True, kw_only=True)"
        )
    if not isinstance(trial.settings, kind):
        raise ConformanceError(
            f"the class's settings are no {kind.__name__}", "give the settings that the adapter wants"
        )


@check
def secrets_are_declared(trial: Trial) -> None:
    """A setting that is a credential is a ``Secret``: it never shows in a log or a message."""
    hints = typing.get_type_hints(trial.kind.settings_type)
    bare = [name for name, hint in hints.items() if SECRET_WORDS.search(name) and "Secret" not in str(hint)]
    if bare:
        raise ConformanceError(f"the setting {bare[0]} is plain text", f"declare `{bare[0]}: Secret` and use .reveal()")
    for each in dataclasses.fields(trial.kind.settings_type):
        value = getattr(trial.settings, each.name, None)
        if isinstance(value, Secret) and value.reveal() and value.reveal() in repr(trial.settings):
            raise ConformanceError(f"repr(settings) shows {each.name}", "leave the dataclass's own __repr__ in place")


@check
def the_number_forms_are_known(trial: Trial) -> None:
    """The forms to search in are those of ``PhoneNumber``."""
    known, forms = typing.get_args(NumberForm), _declared(trial, "number_forms")
    wrong = [form for form in forms if form not in known] if isinstance(forms, tuple) else [forms]
    if wrong or not forms:
        raise ConformanceError(f"number_forms has {wrong or 'nothing'}", f"use a tuple of {', '.join(known)}")


@check
def the_log_format_is_known(trial: Trial) -> None:
    """The middleware composes the body as the CRM shows it."""
    if trial.adapter.log_format not in ("text", "html", "markdown"):
        raise ConformanceError(f"log_format is {trial.adapter.log_format!r}", "use text, html or markdown")


@check
def the_budget_is_one(trial: Trial) -> None:
    """What the vendor allows an account is kept for the author."""
    budget = _declared(trial, "budget")
    is_one = budget is None or (isinstance(budget, Budget) and budget.requests > 0 and bool(budget.per))
    if not is_one:
        raise ConformanceError(f"budget is {budget!r}", "write Budget(100, timedelta(seconds=10)), or None")


@check
def the_address_is_https(trial: Trial) -> None:
    """Credentials and people's data leave the house encrypted, to one host."""
    url = trial.adapter.base_url
    if url is None:
        raise NotApplicableError("the adapter does not speak HTTP")
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not (is_safe and parts.hostname) or parts.query or parts.username:
        raise ConformanceError("base_url is no plain https address", "write https://host/path, without user and query")


@check
def no_method_is_misspelt(trial: Trial) -> None:
    """A method with a name of its own is never called: ``find_note`` brings no notes."""
    for name in vars(trial.kind):
        if name.startswith("_") or hasattr(CRMAdapter, name) or not callable(getattr(trial.kind, name)):
            continue
        near = difflib.get_close_matches(name, METHODS, 1, 0.8)
        if near or name.startswith(("find_", "log_", "create_")):
            mend = f"rename it to {near[0]}" if near else "begin the name of a method of your own with _"
            raise ConformanceError(f"{name} is no method of CRMAdapter, so nobody calls it", mend)


@check
def the_signatures_are_the_base_class_s(trial: Trial) -> None:
    """The middleware calls every adapter alike, by position."""
    for name in METHODS:
        own, base = getattr(trial.kind, name), getattr(CRMAdapter, name)
        if own is base:
            continue
        mine, wanted = inspect.signature(own), inspect.signature(base)
        if list(mine.parameters) != list(wanted.parameters):
            raise ConformanceError(
                f"{name}{mine} takes other parameters than the base class's", f"write {name}{wanted}"
            )


@check
def capabilities_belong_together(trial: Trial) -> None:
    """What is of no use alone has its partner; a call that was perhaps written can be looked for."""
    for name, partner in PARTNERS.items():
        if name in trial.methods and partner not in trial.methods:
            raise ConformanceError(f"{name} is offered without {partner}", f"write {partner}, or leave {name} out")
    if "log_call" in trial.methods and "find_logged_call" not in trial.methods:
        mend = "search the CRM for call.key; if it cannot be searched, say so in not_applicable"
        raise ConformanceError("a call whose outcome is unknown cannot be looked for, and is logged twice", mend)


@check
def no_http_library_is_imported(trial: Trial) -> None:
    """HTTP belongs to ``ctx.http``, with its deadline, its limits, its budget and its errors."""
    for name in _imports(_tree(trial)):
        if name.split(".")[0] in HTTP or name.startswith("urllib.request"):
            raise ConformanceError(
                f"the module imports {name}", "send with ctx.http; for credentials see middleware.crm.auth"
            )


@check
def nothing_waits_or_runs_beside(trial: Trial) -> None:
    """An adapter neither sleeps nor starts threads: waiting and running are the middleware's."""
    tree = _tree(trial)
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
    }
    imported = {part for name in _imports(tree) for part in (name.split(".")[0], name.rpartition(".")[2])}
    for name in ("sleep", "Thread", "ThreadPoolExecutor", "subprocess", "asyncio"):
        if name in names | imported:
            raise ConformanceError(
                f"the module uses {name}", "return or raise; the middleware waits, repeats and runs side by side"
            )


@check
def errors_are_not_swallowed_whole(trial: Trial) -> None:
    """``except:`` and ``except Exception:`` hide a CRM that is down, and the author's own mistakes."""
    for node in ast.walk(_tree(trial)):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            if re.search(r"\b(everything|Exception|BaseException|M8CRMError)\b", caught):
                wrong = f"line {node.lineno} catches {caught}"
                raise ConformanceError(wrong, "catch the one error that you expect, or none")


@check
def nothing_is_printed(trial: Trial) -> None:
    """Standard output belongs to commands, and would show customers' data."""
    for node in ast.walk(_tree(trial)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "pprint"):
            raise ConformanceError(
                f"line {node.lineno} prints", "take it out; the trace of a lookup shows what was asked"
            )


@check
def closing_twice_is_fine(trial: Trial) -> None:
    """An adapter whose configuration is replaced is closed, perhaps more than once."""
    trial.adapter.close()
    try:
        trial.adapter.close()
    except Exception as error:
        wrong = f"the second close() raises {type(error).__name__}"
        raise ConformanceError(wrong, "give back what is held, and do nothing when it was") from error
