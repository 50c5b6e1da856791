"""Recordings are fetched before their links die, kept once, and linked for people.

Rule of this room: what a sender names is fetched only from hosts the customer has allowed, from public addresses,
without anybody's credentials; no address, link or content reaches a log.
"""
