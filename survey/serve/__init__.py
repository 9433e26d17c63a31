"""The survey server.

`job` runs it. For participants, `app` answers requests, which `requests` validates, with `pages`;
the progress of `sessions` is stored in the `database`. None of these imports the key. For the
owner, `owner` uses the key, for the results so far and the exposures of a staircase.
"""
