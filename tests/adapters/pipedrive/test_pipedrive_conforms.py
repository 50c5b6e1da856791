"""The Pipedrive adapter keeps what the middleware promises."""

from typing import ClassVar

from adapters.pipedrive import PipedriveAdapter, PipedriveSettings
from middleware.crm.settings import Secret
from middleware.testing.conformance import Conformance


class TestPipedrive(Conformance):
    """Every check of the kit."""

    adapter = PipedriveAdapter
    settings = PipedriveSettings(token=Secret("t0ken-of-the-test"), company="nordlys")
    exchanges = "exchanges.json"
    not_applicable: ClassVar = {
        "the_record_s_id_is_the_crm_s": "a call has two ids in Pipedrive, and is known here by both",
    }
