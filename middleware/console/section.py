"""``Section``: a part of the console, with its place in the navigation."""

from __future__ import annotations

from flask import Blueprint

from middleware.console.roles import Role


class Section(Blueprint):
    """Views below ``/-/console/<name>``, each with ``@needs``; ``page`` is the one that the navigation shows.

    ``title`` is its name in the navigation, which shows it to ``roles``; without roles it is not there.
    Views of a section ``at_root`` stand below ``/-/console`` itself.
    """

    def __init__(
        self,
        name: str,
        import_name: str,
        *,
        title: str = "",
        roles: frozenset[Role] = frozenset(),
        at_root: bool = False,
    ) -> None:
        super().__init__(name, import_name, url_prefix=None if at_root else f"/{name}")
        self.title = title
        self.roles = roles

    @property
    def page(self) -> str:
        """The endpoint of its page, for ``url_for``."""
        return f"console.{self.name}.page"
