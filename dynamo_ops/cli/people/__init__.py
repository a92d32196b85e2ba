"""``dynamo request | lock | access | token | audit``: what people ask for and keep, may do, and did."""
