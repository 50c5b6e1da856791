"""The HubSpot adapter keeps what the middleware promises."""

from adapters.hubspot import HubSpotAdapter, HubSpotSettings
from middleware.crm.settings import Secret
from middleware.testing.conformance import Conformance


class TestHubSpot(Conformance):
    """Every check of the kit."""

    adapter = HubSpotAdapter
    settings = HubSpotSettings(token=Secret("pat-eu1-of-the-test"), portal="26551111", app="app-eu1")
    exchanges = "exchanges.json"
