"""One file a step, numbered; each can be undone."""
