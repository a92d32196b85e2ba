"""``dynamo request | lock | access | token | audit | event``: what people ask for and keep, may do, did, are told."""
