"""Texts that nobody types: on either database they are refused in words, and break nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from middleware.app import create_app
from middleware.console.roles import Role
from middleware.settings import load_settings
from tests.conftest import House
from tests.console.conftest import HOME, PASSWORD, Person, access_of


@pytest.fixture
def either(database_url: str, demo_folder: Path, tmp_path: Path) -> Iterator[House]:
    """Return a house with its console on, whose inbox is in either kind of database."""
    folder = tmp_path / "house"
    shutil.copytree(demo_folder, folder)
    settings = replace(load_settings(folder), console=True, database_url=database_url)
    house = House(folder, create_app(settings), {})
    access_of(house).users.add("ada", Role.HOSTER, PASSWORD)
    yield house
    house.parts.close()


def test_a_nul_is_a_fault_of_who_sends_it(either: House) -> None:
    """A NUL in an address or a form is a refused request, and not a database that is said to be away."""
    person = Person(either.app.test_client())
    assert person.post(f"{HOME}/sign-in", name="a\0", password="x").status_code == 400
    person.post(f"{HOME}/sign-in", name="ada", password=PASSWORD)
    for path in ("/events/a%00b", "/replays/a%00b", "/traces/%00", "/audit?customer=%00", "/calls?call=%00"):
        answer = person.get(HOME + path)
        assert (answer.status_code, "A NUL is in what was sent." in answer.text) == (400, True), path
    assert person.post(f"{HOME}/customer/nordlys/secret", receiver="\0").status_code == 400
    assert person.get(f"{HOME}/audit").status_code == 200
