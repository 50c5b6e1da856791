"""The Freshdesk adapter keeps what the middleware promises."""

from typing import ClassVar

from adapters.freshdesk import FreshdeskAdapter, FreshdeskSettings
from middleware.crm.settings import Secret
from middleware.testing.conformance import Conformance


class TestFreshdesk(Conformance):
    """Every check of the kit."""

    adapter = FreshdeskAdapter
    settings = FreshdeskSettings(token=Secret("t0ken-of-the-test"), domain="nordlys")
    exchanges = "exchanges.json"
    not_applicable: ClassVar = {
        "the_log_has_its_moment": "a ticket of Freshdesk begins when it is created; its text tells when the call was",
    }
