"""An FTS 3 REST server and transfer engine, after the recorded behaviour of fts-rest-flask 3.13 and fts 3.14."""
