"""The engine: submit, poll, copy and settle, one step each, and the driver that runs them in this process."""
