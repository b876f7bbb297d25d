"""A manifest becomes a plan: checked against the models, priced exactly. Reads local files, sends nothing."""
