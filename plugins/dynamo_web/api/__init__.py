"""The resources of version 1, a router each: parse, ask whether they may, call dynamo_ops, shape.

``inventory`` (what there is and where), ``decision`` (requests, plans, policies), ``movement`` (subscriptions, copies,
deletions), ``record`` (checks, the audit, the digest), ``people`` (rights, tokens, pauses).
"""
