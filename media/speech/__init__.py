"""Words that the caller hears: recorded prompts, and speech made by an engine."""
