"""Control over HTTP at ``/_kvfake/``: `routes` is the table, `handlers` do the work, `app` is the WSGI application."""
