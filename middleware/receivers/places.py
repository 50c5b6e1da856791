"""What is registered with each sender for a customer: the URL, and where the secret goes."""

from __future__ import annotations

from dataclasses import dataclass

from middleware.receivers.registry import RECEIVERS, Credential

_IN_URL = (Credential.URL, Credential.URL_OR_DATA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sender sends to; ``receiver`` is the key in the customer's ``[secrets]``."""

    sender: str
    url: str
    receiver: str
    credential: str


def list_places(public_url: str, tenant_id: str, secret: str) -> list[Place]:
    """Return the place of every sender; ``secret`` stands in the URLs of those that send it there."""
    base = f"{public_url.rstrip('/')}/{tenant_id}"
    return [
        Place(
            sender=sender,
            url=f"{base}/{sender}" + (f"?token={secret}" if receiver.credential in _IN_URL else ""),
            receiver=receiver.secret,
            credential=receiver.credential.value,
        )
        for sender, receiver in RECEIVERS.items()
    ]


def registration(public_url: str, tenant_id: str, receiver: str, secret: str) -> list[str]:
    """Return the lines that a person is given who registers the customer: what it is for, then each value."""
    values = {"Secret": secret}
    if receiver == "insights":
        heading = "For Customer Care: Organisation Settings / Insights, add a Webhook integration (Superadmin)"
        base = f"{public_url.rstrip('/')}/{tenant_id}"
        values = {"Number lookup URL": f"{base}/lookup", "Automatic call logging URL": f"{base}/calllog", **values}
    else:
        place = next(place for place in list_places(public_url, tenant_id, secret) if place.receiver == receiver)
        heading = f"For Customer Care: register this URL with the sender ({place.credential})"
        values = {"URL": place.url, **values}
    return [heading, *(f"  {name:<28} {value}" for name, value in values.items())]
