"""A build that somebody asks for, and that a worker does."""

from __future__ import annotations

from tests.index.rolodex import Town, crowd, tenant_with


def test_a_requested_build_reads_everything_though_nothing_is_due(town: Town) -> None:
    """The next worker reads all contacts, also those that no change tells of: who was deleted is gone."""
    crm = crowd(30)
    tenant = tenant_with(crm)
    town.sync(tenant)
    town.sync(tenant)
    assert not town.sync(tenant)
    del crm.contacts["0007"]
    assert town.store.request("acme", "rolodex")
    (state,) = town.store.list_states()
    assert (state.word, state.contacts) == ("waiting for a worker", 30)
    assert town.sync(tenant)
    (state,) = town.store.list_states()
    assert (state.word, state.contacts) == ("ready", 29)


def test_an_index_that_was_never_begun_can_be_requested(town: Town) -> None:
    """Whoever asks for the first build gets all of it."""
    assert town.store.request("acme", "rolodex")
    assert town.store.list_states()[0].word == "waiting for a worker"
    assert town.sync(tenant_with(crowd(5)))
    (state,) = town.store.list_states()
    assert (state.word, state.contacts, state.seen) == ("ready", 5, 5)


def test_an_interrupted_build_goes_on_where_it_was(town: Town) -> None:
    """A request does not throw away what a build has read, and the pause after its failure ends."""
    crm = crowd(300)
    crm.fails_after, crm.error = 280, RuntimeError()
    tenant = tenant_with(crm)
    town.sync(tenant)
    assert not town.sync(tenant)
    crm.fails_after = None
    assert town.store.request("acme", "rolodex")
    assert town.sync(tenant)
    assert crm.asked[-1][1] not in ("", "0")
    assert town.store.list_states()[0].contacts == 300


def test_a_request_changes_nothing_while_a_worker_is_about_it(town: Town) -> None:
    """Who has the index keeps it; the request is refused, and may be made again."""
    tenant = tenant_with(crowd(5))
    lease = town.store.claim(tenant, tenant.sources[0])
    assert lease
    before = town.store.read(lease)
    assert not town.store.request("acme", "rolodex")
    assert town.store.read(lease) == before
