"""One event: what came, the call that it became, what was written where, and how often that was tried."""

from __future__ import annotations

from flask import abort, current_app, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from middleware.console.guard import needs, note
from middleware.console.pages import calls
from middleware.console.roles import ALL, Role, Viewer
from middleware.console.section import Section
from middleware.console.states import MOVING, REPLAYED, STATES, is_mender, readable
from middleware.delivery.looking import compose_logs, field_errors, flat_errors, spoken
from middleware.delivery.sending import send_edited
from middleware.errors import ConfigError
from middleware.inbox.finding import Finder, Story
from middleware.inbox.store import Body
from middleware.model.phone import mask_number
from middleware.receivers.body import UnreadableBody
from middleware.receivers.fields import FieldErrors

section = Section("events", __name__)
MENDERS = frozenset({Role.HOSTER, Role.CUSTOMER})
_LONGEST = 262_144  # bytes of an edited body


@section.get("/<event_id>")
@needs(ALL)
def page(viewer: Viewer, event_id: str) -> ResponseReturnValue:
    """Show it, its body masked."""
    return _page(viewer, _story(viewer, event_id))


@section.post("/<event_id>/body")
@needs(MENDERS)
def show_body(viewer: Viewer, event_id: str) -> ResponseReturnValue:
    """Show it with what was sent and what was written; that this was asked for is written down first."""
    story = _story(viewer, event_id)
    note("body shown", story.event.tenant_id, event_id)
    return _page(viewer, story, is_shown=True)


@section.post("/<event_id>/replay")
@needs(ALL)
def replay(viewer: Viewer, event_id: str) -> ResponseReturnValue:
    """Deliver its call again."""
    story = _story(viewer, event_id)
    note("replayed", story.event.tenant_id, event_id)
    current_app.extensions["m8crm"].inbox.retry_events([event_id])
    return redirect(url_for(".page", event_id=event_id), 303)


@section.post("/<event_id>/edit")
@needs(MENDERS)
def edit(viewer: Viewer, event_id: str) -> ResponseReturnValue:
    """Send a quarantined event again as it was edited; what came stays beside it."""
    story = _story(viewer, event_id)
    text = request.form.get("body", "")[:_LONGEST]
    note("edited", story.event.tenant_id, event_id)
    try:
        accepted = send_edited(current_app.extensions["m8crm"].inbox, story, text.encode(errors="replace"))
    except (FieldErrors, UnreadableBody, ConfigError) as error:
        wrong = flat_errors(error.errors) if isinstance(error, FieldErrors) else {"body": str(error)}
        note("body shown", story.event.tenant_id, event_id)
        return _page(viewer, story, is_shown=True, draft=text, errors=wrong)
    return redirect(url_for(".page", event_id=accepted.id), 303)


def _story(viewer: Viewer, event_id: str) -> Story:
    story = Finder(current_app.extensions["m8crm"].inbox).story(event_id)
    if story is None or not viewer.may_see(story.event.tenant_id):
        abort(404)
    return story


def _page(
    viewer: Viewer,
    story: Story,
    *,
    is_shown: bool = False,
    draft: str | None = None,
    errors: dict[str, str] | None = None,
) -> ResponseReturnValue:
    logs = compose_logs(story, current_app.extensions["m8crm"].tenants)
    record = logs[0].record if logs else None
    body = story.body
    text = render_template(
        "console/event.html",
        section=calls.section,
        story=story,
        event=story.event,
        states=STATES,
        is_moving=story.event.state in MOVING,
        may_replay=story.event.state in REPLAYED and not viewer.is_reader,
        may_read=is_mender(viewer),
        is_shown=is_shown,
        body=readable(viewer, body.raw, body.content_type, is_asked_for=is_shown),
        bodies=[(b, readable(viewer, b.raw, b.content_type, is_asked_for=is_shown)) for b in _others(story)],
        logs=logs if is_shown else [],
        spoken=spoken(record) if record else None,
        contact=mask_number(str(record.contact_number)) if record else None,
        started_at=record.started_at if record else None,
        draft=draft,
        errors=field_errors(story.event.reason) if errors is None else errors,
        is_wrong=errors is not None,
    )
    return make_response(text, 400 if errors is not None else 200)


def _others(story: Story) -> list[Body]:
    return [body for body in story.call.bodies if body.event_id != story.event.id] if story.call else []
