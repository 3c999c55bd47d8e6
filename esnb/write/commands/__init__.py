"""Commands, and the aggregates that they are decided upon: loaded, decided, appended."""
