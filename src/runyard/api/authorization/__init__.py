"""Who may do what, as the deployment's own code says: an `Auth` object of LangGraph's SDK, obeyed on every face.

`authority.py` asks its handlers, `filters.py` reads what they give, `guard.py` remembers what a request was let at, and
the rest are the verbs, the storage, the streams and so on as one request may use them. What is in none of them is
refused: a way in that nobody has thought of is closed.
"""
