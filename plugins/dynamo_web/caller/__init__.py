"""Who calls. ``login`` (who asks, and may they), ``issuers`` (of JWTs that are believed), ``rates`` (how often)."""
