"""The customers' files of the demo; a hoster may copy them."""

from __future__ import annotations

SWEDISH = '''\
# A customer: this file's name is the id in his URLs.  A change is in force within a second.
name = "Nordlys AB"
region = "SE"                          # reads numbers without a country code
timezone = "Europe/Stockholm"
own_numbers = ["+46846500400"]         # never looked up: the other side of the call is the contact

[secrets]
insights = [{ file = "../secrets/nordlys.insights" }]   # or "sha256:…" or { env = "…" }; several are valid together
recording = [{ file = "../secrets/nordlys.recording" }] # every receiver has a secret of its own
pbx = [{ file = "../secrets/nordlys.pbx" }]
cdr = [{ file = "../secrets/nordlys.cdr" }]
postcall = [{ file = "../secrets/nordlys.postcall" }]

[lookup]
budget = "2.6s"                        # of M8Com's 3 s
miss = "404"

[[crm]]
adapter = "sql"
url = "sqlite:///%(database)s"

[crm.create_links]
"Ny anteckning" = "https://crm.example/person/{id}/note/new"
"Ny uppgift" = "https://crm.example/person/{id}/todo/new"

[crm.queries]
# Ask broadly: only contacts that really have the number are shown.
find_contacts = """
SELECT p.id, p.name AS display_name, p.company, p.title, p.email, p.changed AS updated_at, phone.number, phone.label AS number_comment,
       'https://crm.example/person/' || p.id AS url
FROM person p JOIN phone ON phone.person = p.id
WHERE p.id IN (SELECT person FROM phone WHERE replace(replace(replace(replace(replace(
    number, ' ', ''), '-', ''), '(', ''), ')', ''), '.', '') LIKE '%%' || :suffix || '%%')"""
find_contact_by_id = """
SELECT p.id, p.name AS display_name, p.company, 'https://crm.example/person/' || p.id AS url
FROM person p JOIN phone ON phone.person = p.id WHERE phone.number = :id"""
find_notes = """
SELECT header, text AS body, author AS associated_user, written AS timestamp, is_markdown AS markdown, 'https://crm.example/note/' || rowid AS link
FROM note WHERE person = :contact_id ORDER BY written DESC LIMIT 20"""
find_tasks = """
SELECT header, text AS body, state AS status, done, owner AS assigned_user, made AS timestamp, due AS due_date
FROM todo WHERE person = :contact_id ORDER BY made DESC LIMIT 20"""
find_tickets = """
SELECT header, text AS body, priority, board AS pipeline, stage AS pipeline_stage, made AS timestamp, made AS created_date
FROM ticket WHERE person = :contact_id ORDER BY made DESC LIMIT 20"""
find_deals = """
SELECT header, text AS body, value AS amount, currency, 'Affär' AS pipeline, stage AS pipeline_stage, won AS done, made AS timestamp,
       closes AS close_date FROM deal WHERE person = :contact_id ORDER BY made DESC LIMIT 20"""
find_appointments = """
SELECT header, text AS body, place AS venue, begins AS timestamp, begins AS start_date, ends AS end_date, status
FROM meeting WHERE person = :contact_id ORDER BY begins DESC LIMIT 20"""
find_calls = """
SELECT text AS body, began AS timestamp, began AS start_time, seconds AS duration,
       CASE direction WHEN 'inbound' THEN number ELSE own END AS from_number,
       CASE direction WHEN 'inbound' THEN own ELSE number END AS to_number
FROM call_log WHERE person = :contact_id ORDER BY began DESC LIMIT 20"""
log_call = """
INSERT INTO call_log (call_key, person, direction, number, own, began, seconds, subject, text, agent, outcome, owner, recording)
VALUES (:key, :contact_id, :direction, :contact_number, :own_number, :started_at, :duration_seconds, :subject, :body, :agent,
        :outcome, :owner, :recording)
ON CONFLICT (call_key) DO NOTHING"""
find_logged_call = "SELECT id, 'https://crm.example/call/' || id AS url FROM call_log WHERE call_key = :key"
update_call = """
UPDATE call_log SET text = :body, subject = :subject, agent = :agent, seconds = :duration_seconds, outcome = :outcome, owner = :owner,
       recording = :recording WHERE id = :external_id"""
'''

BRITISH = '''\
name = "Harbour Ltd"
region = "GB"
timezone = "Europe/London"
own_numbers = ["+442079460100"]

[secrets]
# one for each receiver; m8crm tenant secret makes them
%(secrets)s

[lookup]
several = "all"                        # contacts that share the number are named on the card

[[crm]]
adapter = "sql"
url = "sqlite:///%(database)s"

[crm.create_links]
"New note" = "https://crm.example/contacts/{id}/note"

[crm.queries]
find_contacts = """
SELECT id, full_name AS display_name, org AS company, job AS title, email, phone1 AS number, phone2 AS number_2,
       account_manager AS field_account_manager, touched AS updated_at, 'https://crm.example/contacts/' || id AS url
FROM contacts
WHERE replace(replace(replace(replace(replace(coalesce(phone1, '') || ' ' || coalesce(phone2, ''),
    ' ', ''), '-', ''), '(', ''), ')', ''), '.', '') LIKE '%%' || :suffix || '%%'"""
find_notes = "SELECT title AS header, details AS body, at AS timestamp, extra AS associated_user FROM activities WHERE contact = :contact_id AND kind = 'note'"
find_tasks = "SELECT title AS header, details AS body, at AS timestamp, until AS due_date, status, extra AS assigned_user FROM activities WHERE contact = :contact_id AND kind = 'task'"
find_tickets = "SELECT title AS header, details AS body, at AS timestamp, extra AS priority, 'Stage' AS pipeline, status AS pipeline_stage FROM activities WHERE contact = :contact_id AND kind = 'ticket'"
find_deals = "SELECT title AS header, details AS body, at AS timestamp, until AS close_date, extra AS currency, amount, status = 'Won' AS done FROM activities WHERE contact = :contact_id AND kind = 'deal'"
find_appointments = "SELECT title AS header, details AS body, at AS timestamp, at AS start_date, until AS end_date, status, extra AS venue FROM activities WHERE contact = :contact_id AND kind = 'meeting'"
find_calls = "SELECT summary AS body, at AS timestamp, secs AS duration, caller AS from_number, callee AS to_number FROM calls WHERE contact = :contact_id ORDER BY at DESC LIMIT 20"
log_call = """
INSERT INTO calls (ref, contact, caller, callee, at, secs, summary)
VALUES (:key, :contact_id,
        CASE :direction WHEN 'inbound' THEN :contact_number ELSE :own_number END,
        CASE :direction WHEN 'inbound' THEN :own_number ELSE :contact_number END,
        CAST(strftime('%%s', :started_at) AS INTEGER), :duration_seconds, :body)
ON CONFLICT (ref) DO NOTHING"""
find_logged_call = "SELECT id FROM calls WHERE ref = :key"
create_contact = "INSERT INTO contacts (full_name, phone1) VALUES (:display_name, :e164) RETURNING id"
create_task = """
INSERT INTO activities (contact, kind, title, at, status, ref)
VALUES (:contact_id, 'task', :text, CAST(strftime('%%s', :started_at) AS INTEGER), 'Open', :task_key)
ON CONFLICT (ref) DO NOTHING"""
'''
