"""Finds the adapters: the modules of the package ``adapters`` and other people's distributions."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import structlog

from middleware.crm.base import CRMAdapter

ENTRY_POINTS = "m8crm.adapters"

log = structlog.get_logger("m8crm.adapters")


@cache
def _found() -> tuple[dict[str, type[CRMAdapter[Any]]], dict[str, str]]:
    adapters: dict[str, type[CRMAdapter[Any]]] = {}
    broken: dict[str, str] = {}
    package = importlib.import_module("adapters")
    loaders = {f"adapters.{info.name}": f"adapters.{info.name}" for info in pkgutil.iter_modules(package.__path__)}
    loaders |= {f"entry point {point.name}": point.value for point in entry_points(group=ENTRY_POINTS)}
    for where, target in loaders.items():
        try:
            module = importlib.import_module(target.partition(":")[0])
            for adapter in _adapters_in(module):
                if lacking := _lacking(adapter):
                    broken[where] = f"{adapter.__name__} has no {lacking}"
                elif adapters.setdefault(adapter.name, adapter) is not adapter:
                    broken[where] = f"the name {adapter.name!r} is taken by another adapter"
        except Exception as error:  # one broken plugin must not hurt the others
            broken[where] = f"{type(error).__name__}: {error}"
            log.error("adapter_broken", where=where, error=type(error).__name__)
    return adapters, broken


def _adapters_in(module: ModuleType) -> list[type[CRMAdapter[Any]]]:
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, CRMAdapter)
        and value.__module__ == module.__name__
        and _finds_contacts(value)
    ]


def _finds_contacts(kind: type[CRMAdapter[Any]]) -> bool:
    """Whether the class is whole, and not what others have in common."""
    mine, base = (kind.find_contacts, kind.iter_contacts), (CRMAdapter.find_contacts, CRMAdapter.iter_contacts)
    return mine != base and not inspect.isabstract(kind)


def _lacking(kind: type[CRMAdapter[Any]]) -> str:
    """Return in words what every adapter must have and this one has not."""
    for name in ("name", "label"):
        if not isinstance(getattr(kind, name, None), str):
            return f'{name}: write {name} = "…" in it'
    if not is_dataclass(getattr(kind, "settings_type", None)):
        return "settings_type, or it is no dataclass: name the frozen dataclass of the settings"
    return ""


def load_adapters() -> dict[str, type[CRMAdapter[Any]]]:
    """Return every adapter by its name."""
    return dict(_found()[0])


def broken_adapters() -> dict[str, str]:
    """Return what could not be loaded, and why."""
    return dict(_found()[1])
