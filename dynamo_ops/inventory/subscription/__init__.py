"""Subscriptions: this file shall be at (copy), or vanish from (delete), this site. The only room that makes or ends
them for a reason of its own; executors move them along by ``inventory.states``.

Call: ``subscribe`` (make them; what is opposite is cancelled), ``let_go`` (replicas that are to be deleted),
``give_back`` (replicas that must not be after all), ``operate`` (hold, release, retry, cancel by a person),
``selection`` (which ones a person means), ``backoff`` (how long a failed one waits: the one formula, for queues and for
``why``), ``under_way`` (what is in an executor's hands), ``hours`` (sums of what ended),
``blame`` (whose fault a copy was that failed: the one table), ``illness`` (sites and links at which nearly all fail).
"""
