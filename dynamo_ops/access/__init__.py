"""Who somebody is, what they may, and who did what.

Call: ``person`` (a person, their grants and scopes), ``actions`` (``may``: the one table of rights), ``grants`` (who
holds what; members of groups), ``identity`` (whose certificate or JWT it is), ``seen_roles`` (what their last logins
told of their roles elsewhere), ``tokens`` (credentials of programs), ``audit`` (``acting``: the transaction of an act,
which is taken down with its effect), ``once`` (a call that may be sent twice), ``problem`` (errors as documents).
"""
