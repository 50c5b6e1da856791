"""A replay of all that match: the page does some at every look, and shows what becomes of them."""

from __future__ import annotations

from flask import abort, current_app, make_response, render_template, request
from flask.typing import ResponseReturnValue

from middleware.console.guard import needs, note
from middleware.console.pages import calls
from middleware.console.roles import ALL, Role, Viewer
from middleware.console.section import Section
from middleware.console.states import REPLAYED, STATES
from middleware.errors import ConfigError
from middleware.inbox.finding import Finder, Wanted
from middleware.inbox.replays import AT_ONCE, Progress, Replays

section = Section("replays", __name__)


@section.post("")
@needs(ALL)
def begin(viewer: Viewer) -> ResponseReturnValue:
    """Begin to deliver again what matches; the first of it at once."""
    form = calls.read_form(request.form, calls.FIELDS)
    wanted = _wanted(viewer, form)
    replay_id = _replays().begin(viewer.name, wanted.tenant_id)
    plain = ", ".join(f"{name} {form[name]}" for name in calls.PLAIN if form[name])
    note("replay begun", wanted.tenant_id, f"{replay_id}: {plain}")
    return _step(_progress(viewer, replay_id), wanted, form)


@section.get("/<replay_id>")
@needs(ALL)
def page(viewer: Viewer, replay_id: str) -> ResponseReturnValue:
    """Show how far it is."""
    return _page(_progress(viewer, replay_id))


@section.post("/<replay_id>")
@needs(ALL)
def step(viewer: Viewer, replay_id: str) -> ResponseReturnValue:
    """Deliver some more of it again; what is looked for comes with every step, since nobody keeps a number."""
    form = calls.read_form(request.form, calls.FIELDS)
    progress, wanted = _progress(viewer, replay_id), _wanted(viewer, form)
    if progress.tenant_id != wanted.tenant_id:
        abort(400, "This replay is another customer's.")
    return _step(progress, wanted, form)


def _wanted(viewer: Viewer, form: dict[str, str]) -> Wanted:
    if form["state"] not in REPLAYED:
        abort(400, f"Choose a state to replay: {', '.join(REPLAYED)}.")
    try:
        return calls.wanted_by(viewer, form)
    except ConfigError as error:
        abort(400, str(error))


def _step(progress: Progress, wanted: Wanted, form: dict[str, str]) -> ResponseReturnValue:
    finder = Finder(current_app.extensions["m8crm"].inbox)
    found = finder.find(wanted, before=calls.before_of(request.form), limit=AT_ONCE)
    _replays().add(progress.id, [event.id for event in found.events])
    return _page(_replays().progress(progress.id) or progress, form, found.before)


def _page(progress: Progress, form: dict[str, str] | None = None, before: int | None = None) -> ResponseReturnValue:
    return make_response(
        render_template(
            "console/replay.html",
            section=calls.section,
            progress=progress,
            states=STATES,
            form=form,
            before=before,
        )
    )


def _progress(viewer: Viewer, replay_id: str) -> Progress:
    progress = _replays().progress(replay_id)
    if progress is None or (viewer.role is Role.CUSTOMER and progress.tenant_id != viewer.customer):
        abort(404)
    return progress


def _replays() -> Replays:
    return Replays(current_app.extensions["m8crm"].inbox)
