"""The HubSpot adapter keeps what the middleware promises."""

from typing import ClassVar

from adapters.hubspot import HubSpotAdapter, HubSpotSettings
from middleware.crm.settings import Secret
from middleware.testing.conformance import Conformance


class TestHubSpot(Conformance):
    """Every check of the kit."""

    adapter = HubSpotAdapter
    settings = HubSpotSettings(token=Secret("pat-eu1-of-the-test"), portal="26551111", app="app-eu1")
    exchanges = "exchanges.json"
    not_applicable: ClassVar = {
        "deleted_people_are_left_out": "HubSpot's searches leave archived contacts out themselves",
        "every_exchange_is_asked_for": "test_hubspot.py tries an owner who is named by e-mail with the same file",
    }
