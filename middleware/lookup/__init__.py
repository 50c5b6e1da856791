"""From a number to a card, within the deadline; ``service.py`` tells the whole way."""
