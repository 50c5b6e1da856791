"""The Upsales adapter keeps what the middleware promises, in both ways to log a call."""

from typing import ClassVar

from adapters.upsales import UpsalesAdapter, UpsalesSettings
from middleware.crm.settings import Secret
from middleware.testing.conformance import Conformance


class TestUpsales(Conformance):
    """Every check of the kit, with calls that are logged as phone calls."""

    adapter = UpsalesAdapter
    settings = UpsalesSettings(token=Secret("t0ken-of-the-test"), account=7, task_type=5)
    exchanges = "exchanges.json"
    not_applicable: ClassVar = {
        "the_log_has_its_text": "a phone call of Upsales has no text",
        "texts_arrive_as_they_are": "a phone call of Upsales has no text; TestUpsalesWithTexts has",
        "an_update_is_of_the_record": "a phone call of Upsales has no text; test_upsales.py tells what is updated",
    }


class TestUpsalesWithTexts(Conformance):
    """Every check of the kit, with calls that are logged as activities."""

    adapter = UpsalesAdapter
    settings = UpsalesSettings(token=Secret("t0ken-of-the-test"), call_type=9)
    exchanges = "exchanges_with_texts.json"
    not_applicable: ClassVar = {
        "the_log_has_its_direction": "an activity of Upsales has no direction; subject and body tell it",
        "a_missed_call_is_no_answered_one": "an activity of Upsales has no such field; subject and body tell it",
    }
