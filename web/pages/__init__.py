"""The pages, one module a theme."""
