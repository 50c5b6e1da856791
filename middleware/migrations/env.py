"""What alembic runs: the migrations, in the transaction that ``inbox/schema.py`` has opened."""

from alembic import context

# SQLite cannot change a column in place: alembic then copies the table
context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
