"""From an accepted event to one record in the customer's CRM."""
