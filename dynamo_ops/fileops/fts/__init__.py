"""FTS 3: the client on its REST interface, its job documents, and what its answers mean."""
