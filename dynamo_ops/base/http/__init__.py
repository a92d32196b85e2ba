"""The one way out to HTTP, for every protocol and service.

Call: ``session.RemoteSession`` (asks: verified, timed, repeated a little), ``remote`` (which error an answer or a
failure is), ``redirect`` (where a call may be sent on, and what goes with it), ``tls.Credentials`` (who we are, whom we
trust).
"""
