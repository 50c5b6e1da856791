"""``Secret``: a setting that never shows; ``SettingsError``: settings that an adapter cannot use."""

from __future__ import annotations


class Secret:
    """A text that shows as ``***`` in a repr, a log, a message or a dump; :meth:`reveal` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text; hand it to the library that needs it and to nobody else."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


class SettingsError(ValueError):
    """Settings that an adapter cannot use: ``problems`` are sentences, each beginning with the dotted key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
