"""What moves and goes: ``transfers`` (and deletions, subscriptions), ``operate`` (the operator's hands on
subscriptions), ``series`` (by hour)."""
