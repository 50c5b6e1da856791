"""The demo's customers, with their console switched on, and people who sign in."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from werkzeug.test import TestResponse

from middleware.app import create_app
from middleware.console.access import Access
from middleware.console.apart import answer_for_others
from middleware.console.roles import Role
from middleware.settings import load_settings
from middleware.tenants.registry import Tenants
from middleware.tenants.tenant import Tenant
from middleware.web.inline import InlineWorker
from tests.conftest import House, furnish
from tests.oauth.provider import Provider, run_provider
from tests.web.serving import served

PASSWORD = "a long enough password"
PEOPLE = {"ada": (Role.HOSTER, None), "cleo": (Role.CARE, None), "nora": (Role.CUSTOMER, "nordlys")}
HOME = "/-/console"

SignIn = Callable[..., "Person"]
OpenPage = Callable[..., Page]


class Person:
    """Somebody with a browser of his own; posts what a form of the page would."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.get = client.get

    def token(self) -> str:
        """Return what the forms of his pages send along."""
        return csrf_of(self.client.get(f"{HOME}/sign-in", follow_redirects=True).text)

    def post(self, path: str, **form: object) -> TestResponse:
        return self.client.post(path, data={"csrf": self.token(), **form})


def csrf_of(text: str) -> str:
    """Return the token of the page's forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', text)
    assert found, text
    return found[1]


@pytest.fixture(autouse=True, scope="package")
def templates_are_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have every test's application take what the first has compiled: that is a third of a test's time."""
    kept = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Flask.jinja_options, "bytecode_cache", kept)
        yield


@pytest.fixture(autouse=True, scope="package")
def passwords_are_hashed_quickly() -> Iterator[None]:
    """Hash with the least that argon2 knows: what makes guessing slow makes tests slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("middleware.console.users._HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy test machine not pass for a slow CRM; those have tests of their own."""
    get = Tenants.get

    def slow(self: Tenants, tenant_id: str) -> Tenant | None:
        tenant = get(self, tenant_id)
        return tenant and replace(tenant, lookup=replace(tenant.lookup, budget=timedelta(seconds=30)))

    monkeypatch.setattr(Tenants, "get", slow)


@pytest.fixture
def console_database() -> str | None:
    """Return the URL of the console's database, ``None`` for the usual one; some modules want both engines."""
    return None


@pytest.fixture
def console(demo_folder: Path, ready_sqlite: Path, tmp_path: Path, console_database: str | None) -> Iterator[House]:
    """Return the house of ``tests.conftest`` with its console on, and an account for each role."""
    folder = tmp_path / "house"
    customers = furnish(folder, demo_folder, ready_sqlite)
    settings = replace(load_settings(folder), console=True)
    settings = replace(settings, database_url=console_database or settings.database_url)
    house = House(folder, create_app(settings), customers)
    for name, (role, customer) in PEOPLE.items():
        access_of(house).users.add(name, role, PASSWORD, customer)
    yield house
    house.parts.close()


@pytest.fixture
def signed_in(console: House) -> SignIn:
    """Return who signs people in."""

    def sign_in(name: str = "ada", password: str = PASSWORD) -> Person:
        person = Person(console.app.test_client())
        answer = person.post(f"{HOME}/sign-in", name=name, password=password)
        assert answer.status_code == 303, answer.text
        return person

    return sign_in


def access_of(house: House) -> Access:
    """Return who decides."""
    access: Access = house.app.extensions["m8crm.console"]
    return access


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium; playwright brings none of its own here."""
    program = shutil.which("chromium")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("chromium is missing: apt-get install chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        # no sandbox of its own: it wants rights that tests do not have; no proxies of the environment
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def apart(console: House) -> Iterator[House]:
    """Return the house as the world reaches it under ``m8crm serve``: another server has the pages."""
    pages = create_app(parts=console.parts)
    answer_for_others(pages, console.parts.key)
    with served(pages, InlineWorker) as (_, (host, port)):
        settings = replace(console.parts.settings, console_url=f"http://{host}:{port}")
        house = House(console.folder, create_app(settings), console.customers)
        yield house
        house.parts.close()


@pytest.fixture
def place(apart: House) -> Iterator[str]:
    """Serve the console, and return where."""
    with served(apart.app, InlineWorker) as (_, (host, port)):
        yield f"http://{host}:{port}"


@pytest.fixture
def open_page(browser: Browser, place: str) -> Iterator[OpenPage]:
    """Return who opens a browser of its own and signs in; nothing may go wrong on its pages, or go elsewhere."""
    wrong: list[str] = []
    own = (place, "data:")

    def listen(said: ConsoleMessage) -> None:
        is_answer = "a status of 4" in said.text and "/static/" not in said.location["url"]  # a form may be refused
        if said.type in ("error", "warning") and not is_answer:
            wrong.append(said.text)

    def opened(name: str = "ada", **options: Any) -> Page:
        context = browser.new_context(base_url=place, **options)
        page = context.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(own) else wrong.append(asked.url))
        page.goto(HOME)
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        return page

    yield opened
    for context in browser.contexts:
        context.close()
    assert not wrong


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Run a CRM that authorises by OAuth2."""
    with run_provider() as provider:
        yield provider
