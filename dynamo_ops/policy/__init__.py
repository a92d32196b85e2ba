"""The policy language: text -> tree (parse) -> checked tree (check) -> Polars (compile) -> decisions (evaluate)."""
