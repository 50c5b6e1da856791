"""One module a page, each with its ``section`` (docs/console.rst, For developers)."""
