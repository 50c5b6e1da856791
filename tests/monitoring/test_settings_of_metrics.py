"""The settings of metrics and alarms are checked at start."""

from __future__ import annotations

import pytest

from middleware.errors import ConfigError
from middleware.settings import load_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METRICS_TOKEN", "short"),
        ("METRICS_TOKEN", "a token with spaces"),
        ("ALARM_AFTER", "0"),
        ("ALARM_DISK", "-1"),
    ],
)
def test_a_setting_that_protects_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A token that is guessed or fits no header, and limits that mean nothing, are named at start."""
    monkeypatch.setenv(f"M8CRM_{name}", value)
    with pytest.raises(ConfigError, match=name):
        load_settings()


def test_an_empty_token_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable does not open the metrics to everybody."""
    monkeypatch.setenv("M8CRM_METRICS_TOKEN", "")
    assert load_settings().metrics_token is None
