"""Two customers with a CRM each, for the first five minutes and for tests."""
