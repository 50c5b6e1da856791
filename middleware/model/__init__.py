"""The domain: plain frozen data and pure functions.  No I/O, no Flask, no SQL, no clock of its own."""
