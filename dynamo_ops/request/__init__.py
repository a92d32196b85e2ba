"""What people ask for: copies and deletions, from asking to the answer.

Call: ``copy_request`` and ``deletion_request`` (ask), ``cancel``, ``advance`` (close what is done), ``registry``
(look up). ``states`` are the legal moves; ``deletable`` says what a deletion request must leave.
"""
