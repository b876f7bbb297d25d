"""The provider's HTTP API: what it says (wire), how to reach it (client), what an answer means (verdict)."""
