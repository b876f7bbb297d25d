"""Notifications on their way out: how they are worded, signed and sent."""
