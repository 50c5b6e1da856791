"""The Pipedrive adapter keeps what the middleware promises."""

from adapters.pipedrive import PipedriveAdapter, PipedriveSettings
from middleware.crm.settings import Secret
from middleware.testing.conformance import Conformance


class TestPipedrive(Conformance):
    """Every check of the kit."""

    adapter = PipedriveAdapter
    settings = PipedriveSettings(token=Secret("t0ken-of-the-test"), company="nordlys")
    exchanges = "exchanges.json"
