"""The pocket grid: stand-ins for the outside world that speak its real protocols.

An FTS 3 REST server that moves bytes, WebDAV sites (some with tape behind them), a DBS 3 reader, site-status and
access feeds and an SMTP sink, all on loopback. Nothing here imports the program it tests, and the program imports
nothing from here: they meet over the wire only.
"""
