"""Customers: their files, their secrets, and the one object that stands for each of them."""
