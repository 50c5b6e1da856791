"""The key at the end of a text."""

from __future__ import annotations

import pytest

from middleware.crm.mark import is_marked, mark


@pytest.mark.parametrize("is_html", [True, False])
@pytest.mark.parametrize("key", ["m8-1", "a&b", "m8crm-c0ffee"])
def test_a_marked_text_is_known_again(key: str, is_html: bool) -> None:
    """The text is whole, and has its key, also when the CRM shows HTML as text."""
    text = mark("Hello", key, is_html=is_html)
    assert text.startswith("Hello")
    assert is_marked(text, key)


def test_another_key_is_not_this_one() -> None:
    """A task's key begins with its call's; neither is taken for the other."""
    assert not is_marked(mark("Hello", "m8-1-abc"), "m8-1")
    assert not is_marked(mark("Hello", "m8-1"), "m8-1-abc")
    assert not is_marked(mark("Hello", "m8-12", is_html=True), "m8-1")
    assert not is_marked(mark("Hello", "am8-1"), "m8-1")
    assert not is_marked(None, "m8-1")


def test_a_crm_may_write_blanks_its_own_way() -> None:
    """What an editor makes of the paragraph leaves the key in it."""
    assert is_marked("<div>Hello</div><p>m8crm&nbsp;m8-1<br></p>", "m8-1")
