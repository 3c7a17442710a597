"""The published language (the event types) and the machinery that carries it."""
