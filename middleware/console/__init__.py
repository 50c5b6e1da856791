"""Pages for people: why a caller was not recognised, where a call is, and what to do about it (docs/console.rst).

A page is a module in ``pages/`` with its ``Section``, a template, and a line in ``mount.py``.
"""
