"""Copy subscriptions become copies: recover → hold → plan batches → submit or copy directly → observe and apply.

One function a task in ``tasks``; ``source_choice`` and ``choice`` say from where, ``hold`` why something waits,
``batches`` and the room ``submission`` what goes to FTS, and how much, the room ``server`` to which of its servers,
the room ``verification`` how copies are verified, ``observations`` what FTS's answers mean, ``observe`` makes them
true, ``leftover`` looks at what ended copies left, ``direct`` and ``direct_copy`` copy without FTS, ``recovery`` finds
what killed runs left. Docs: docs/transfers.md.
"""
