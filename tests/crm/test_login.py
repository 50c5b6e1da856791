"""A token is fetched once, and once more when it is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from middleware.crm.login import Login
from middleware.crm.settings import Secret
from middleware.errors import CRMAuthError, CRMResponseError, CRMTimeoutError, CRMUnavailableError
from middleware.model.deadline import Deadline

LATER = Deadline.after(timedelta(seconds=60))


class Account:
    """A CRM that gives tokens and takes only the last one."""

    def __init__(self) -> None:
        self.given = 0
        self.asked: list[str] = []

    def fetch(self) -> Secret:
        self.given += 1
        return Secret(f"token-{self.given}")

    def ask(self, token: Secret) -> str:
        self.asked.append(token.reveal())
        if token.reveal() != f"token-{self.given}":
            raise CRMAuthError("refused")
        return token.reveal()


def test_threads_share_one_login() -> None:
    """Twenty lookups at once log in once, and once again when the token has expired."""
    account, login, together = Account(), Login(), Barrier(20)

    def look_up(_: int) -> str:
        together.wait()
        return login.use(account.fetch, account.ask, LATER)

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(look_up, range(20))) == {"token-1"}
        account.given = 6  # the CRM has forgotten what it gave
        assert set(pool.map(look_up, range(20))) == {"token-7"}
    assert account.given == 7


def test_wrong_credentials_are_told_after_one_more_login() -> None:
    """A request that is refused with a new token is refused: nobody logs in for ever."""
    account = Account()

    def refuse(_: Secret) -> None:
        raise CRMAuthError("a right is missing")

    with pytest.raises(CRMAuthError, match="a right is missing"):
        Login().use(account.fetch, refuse, LATER)
    assert account.given == 2


def test_other_errors_pass_at_once() -> None:
    """Only a refusal logs in again: after any other error a write may have happened."""
    account, asked = Account(), []

    def fail(token: Secret) -> None:
        asked.append(token)
        raise CRMUnavailableError("down")

    with pytest.raises(CRMUnavailableError):
        Login().use(account.fetch, fail, LATER)
    assert (account.given, len(asked)) == (1, 1)


def test_a_login_that_cannot_be_read_leaves_the_refusal() -> None:
    """Where the second login answers nonsense, people hear that the credentials were refused."""
    tokens = iter([Secret("expired")])

    def fetch() -> Secret:
        token = next(tokens, None)
        if token is None:
            raise CRMResponseError("no token in it")
        return token

    with pytest.raises(CRMAuthError):
        Login().use(fetch, Account().ask, LATER)


def test_who_waits_for_a_login_keeps_his_deadline() -> None:
    """While another thread logs in, nobody waits longer than he is waited for."""
    login, over = Login(), Deadline.after(timedelta(seconds=-1))

    def fetch() -> Secret:
        with pytest.raises(CRMTimeoutError):
            login.use(lambda: Secret("other"), lambda token: token, over)
        return Secret("mine")

    assert login.use(fetch, lambda token: token.reveal(), LATER) == "mine"
