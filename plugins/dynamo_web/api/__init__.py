"""The resources of version 1, a router each: parse, ask whether they may, call dynamo_ops, shape.

Read: ``me``, ``datasets`` (and blocks, files), ``replicas`` (and where files are), ``sites``, ``groups`` (and usage),
``requested``, ``plans``, ``policies``, ``transfers`` (and deletions, subscriptions), ``series``, ``checks`` (of
storages, gates, sources), ``audit``, ``digest``.
Written too: ``locks``, ``asking`` (requests), ``quotas``, ``site_states``, ``pauses``, ``access`` (grants, members,
tokens), ``operations`` (on subscriptions), ``documents`` (injections, invalidations), ``decisions`` (about plans).
"""
