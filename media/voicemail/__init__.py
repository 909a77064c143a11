"""Mailboxes: messages are left, kept, delivered and heard."""
