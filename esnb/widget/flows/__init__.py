"""How cases went: the map of their ways, and the ways one by one."""
