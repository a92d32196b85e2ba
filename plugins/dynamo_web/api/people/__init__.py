"""Who may what: ``me``, ``access`` (grants, members, tokens), ``pauses`` (what a person lets stand still)."""
