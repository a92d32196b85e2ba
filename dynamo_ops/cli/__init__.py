"""``dynamo …``: the same functions as the DAGs and the pages call, for a shell. No logic here."""
