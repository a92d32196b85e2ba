"""Copy subscriptions become copies: recover → hold → plan batches → submit or copy directly → observe and apply.

One function a task in ``tasks``; ``source_choice`` and ``choice`` say from where, ``limits`` how much, ``hold`` why
something waits, ``recovery`` what killed runs left. Docs: docs/transfers.md.
"""
