"""``dynamo request | lock``: what people ask for, and what they keep."""
