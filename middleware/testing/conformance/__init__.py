"""The conformance kit: an author writes one class, and some seventy checks say what is wrong with the adapter.

::

    class TestAcme(Conformance):
        adapter = AcmeAdapter
        settings = AcmeSettings(token=Secret("t0ken"))
        exchanges = [Exchange(request="GET /people?phone=01740605", answer=[{"id": 7, …}])]

``docs/adapter-author.rst`` is the guide.
"""

from middleware.testing.conformance.author import Conformance
from middleware.testing.conformance.exchanges import Exchange

__all__ = ["Conformance", "Exchange"]
