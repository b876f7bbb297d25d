"""The provider's models: what they cost, offer and refuse."""
