"""States: of one stream step by step, of all over time, and what differs between two."""
