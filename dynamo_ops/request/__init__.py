"""What people ask for: copies and deletions, from asking to the answer.

Call: ``copy_request`` and ``deletion_request`` (ask), ``cancel``, ``advance`` (close what is done), ``registry``
(look up), ``volume`` (how much is asked for), ``stuck`` (of which nothing moves), ``item`` (what a request names).
``states`` are the legal moves; ``deletable`` says what a deletion request must leave; ``unique_quota`` limits what
groups and users ask for, in bytes of unique data.
"""
