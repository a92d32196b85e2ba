"""What there is and where: ``datasets`` (and blocks, files), ``replicas`` (and where files are), ``bad_replicas``,
``sites``, ``site_states`` (what a person says of a site), ``groups`` (and usage), ``quotas``, ``locks``, ``documents``
(injections, invalidations), ``names`` (for a shell that completes them)."""
