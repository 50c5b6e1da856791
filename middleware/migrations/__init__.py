"""The tables' history: each file of ``versions`` makes of one release's tables the next one's, and is never changed."""
