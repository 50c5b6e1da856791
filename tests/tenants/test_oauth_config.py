"""``auth = "oauth2"`` in a customer's file: whose client it is, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from middleware.errors import ConfigError
from middleware.tenants import access, config
from middleware.tenants.config import load_tenant, read_tenant
from middleware.tenants.tenant import Source
from tests.oauth.acme import ACCESS, AcmeAdapter, add_customer
from tests.oauth.provider import CLIENT_ID, CLIENT_SECRET

URL = "https://acme.example"


@pytest.fixture(autouse=True)
def acme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "load_adapters", lambda: {"acme": AcmeAdapter})


def source_of(folder: Path, access: str) -> Source:
    add_customer(folder, URL, access)
    (source,) = load_tenant(folder / "customers" / "nova.toml").sources
    return source


def problems(folder: Path, access: str) -> str:
    with pytest.raises(ConfigError) as caught:
        source_of(folder, access)
    return str(caught.value)


def test_a_customer_has_a_client_of_his_own(tmp_path: Path) -> None:
    """Id and secret may stand in the customer's file; the secret never shows."""
    client = source_of(tmp_path, ACCESS).client
    assert client
    assert (client.tenant_id, client.source, client.client_id) == ("nova", "acme", CLIENT_ID)
    assert client.client_secret.reveal() == CLIENT_SECRET
    assert CLIENT_SECRET not in repr(client)


def test_the_installation_has_a_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Id and secret of one app for all customers stand in oauth.toml, and a change there is seen."""
    monkeypatch.setenv("ACME_CLIENT", "from the environment")
    clients = tmp_path / "oauth.toml"
    clients.write_text('[acme]\nclient_id = "one"\nclient_secret = { env = "ACME_CLIENT" }\n')
    client = source_of(tmp_path, 'auth = "oauth2"\n').client
    assert client
    assert (client.client_id, client.client_secret.reveal()) == ("one", "from the environment")
    first, files = read_tenant(tmp_path / "customers" / "nova.toml")
    assert clients in files
    clients.write_text('[acme]\nclient_id = "two"\n')
    second = load_tenant(tmp_path / "customers" / "nova.toml")
    assert second.revision != first.revision


def test_a_public_client_has_no_secret(tmp_path: Path) -> None:
    """Where the CRM gave an app no secret, none is asked for."""
    client = source_of(tmp_path, 'auth = "oauth2"\nclient_id = "public"\n').client
    assert client
    assert client.client_secret.reveal() == ""


def test_a_token_does_without(tmp_path: Path) -> None:
    """With the setting that OAuth2 replaces there is no client."""
    source = source_of(tmp_path, 'token = "t0ken"\n')
    assert source.client is None
    assert source.account.auth is None


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", 'crm entry 1.token: is missing; or write auth = "oauth2"'),
        ('auth = "oauth2"\n', "crm entry 1.client_id: write client_id and client_secret here, or in [acme] of"),
        ('auth = "oauth1"\n', 'crm entry 1.auth: write "oauth2" or nothing'),
        ('token = "t"\n' + ACCESS, "crm entry 1.token: leave it out"),
        ('token = "t"\nclient_id = "x"\n', 'crm entry 1.client_id: is for auth = "oauth2" only'),
        (ACCESS + 'client = "x"\n', "crm entry 1.client: is unknown"),
        ('auth = "oauth2"\nclient_id = { env = "NOT_SET_ANYWHERE" }\n', "set the variable NOT_SET_ANYWHERE"),
        ('auth = "oauth2"\nclient_id = 7\n', "crm entry 1.client_id: write client_id and client_secret here"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(tmp_path: Path, written: str, told: str) -> None:
    """Every fault of the access names its key and what to do."""
    assert told in problems(tmp_path, written)


def test_a_broken_file_of_clients_is_told(tmp_path: Path) -> None:
    """An oauth.toml that cannot be read is named."""
    (tmp_path / "oauth.toml").write_text("[acme\n")
    assert "oauth.toml: cannot be read, or is not TOML" in problems(tmp_path, 'auth = "oauth2"\n')


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without authlib a file that needs it says what to install."""
    monkeypatch.setattr(access, "find_spec", lambda _: None)
    assert "pip install 'm8crm[oauth]'" in problems(tmp_path, ACCESS)
