"""The Agent Protocol over HTTP: thin handlers between the wire and the verbs.

`app` holds the route table; `wire` says what may be asked, `answers` what is answered; `problems` turns errors into
status codes. Nothing else of Runyard knows about HTTP.
"""
