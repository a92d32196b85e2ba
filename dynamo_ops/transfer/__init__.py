"""Copy subscriptions become copies: recover → hold → plan batches → submit or copy directly → observe and apply.

One function a task in ``tasks``; ``source_choice`` and ``choice`` say from where, ``limits`` how much, ``hold`` why
something waits, ``batches`` and ``submit`` what goes to FTS, ``servers`` which FTS has it, ``observations`` what its
answers mean, ``observe`` makes them true, ``direct`` and ``direct_copy`` copy without FTS, ``recovery`` what killed
runs left. Docs: docs/transfers.md.
"""
