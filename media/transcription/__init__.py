"""Speech written down, by an engine in a process of its own."""
