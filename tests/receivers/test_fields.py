"""What is read quickly is what marshmallow reads."""

from __future__ import annotations

from pprint import pformat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError
from marshmallow.fields import Nested

from middleware.receivers.fields import FieldErrors, load
from middleware.receivers.registry import RECEIVERS
from tests.web.sending import sample

SCHEMAS = {sender: receiver.schema() for sender, receiver in RECEIVERS.items()}
_GONE = object()
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_likely = st.sampled_from(["2026-03-01T12:00:00", "2026-03-01T12:00:00+01:00", "outbound ", "East", "1", "", -1, 7.0])
_values = _likely | st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner)
)


def _changed(document: dict[str, Any], schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Draw the document with some of its fields changed, added or dropped: most are nearly right."""
    names = st.sampled_from([*schema.load_fields, "unknown"])
    changes = st.dictionaries(names, _values, max_size=3)
    dropped = st.sets(names, max_size=1)
    changed = st.builds(
        lambda new, gone: {k: v for k, v in (document | new).items() if k not in gone}, changes, dropped
    )
    inner = {name: field.schema for name, field in schema.load_fields.items() if isinstance(field, Nested)}
    if not inner:
        return changed
    nested = st.fixed_dictionaries({name: _changed(document[name], its) for name, its in inner.items()})
    return st.builds(lambda outer, own: outer | own, changed, nested) | changed


def _read(read: Any) -> object:
    try:
        return pformat(read())  # NaN is not equal to itself
    except (FieldErrors, ValidationError) as error:
        return error.errors if isinstance(error, FieldErrors) else error.messages


@pytest.mark.parametrize("sender", SCHEMAS)
@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_every_document_is_read_as_its_schema_reads_it(sender: str, data: st.DataObject) -> None:
    """The shorter way through the fields gives the values, or else the errors, that marshmallow gives."""
    schema = SCHEMAS[sender]
    document = data.draw(_changed(sample(sender), schema))
    assert _read(lambda: load(schema, document)) == _read(lambda: schema.load(document))
