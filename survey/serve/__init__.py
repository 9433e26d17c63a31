"""The survey server.

`job` runs it. Participants: `app` answers their requests, checked by `requests`, with `pages`;
`sessions` are gone through step by step and kept in the `database`. None of these imports the key.
The owner: `owner` has the key, the results so far, and the exposures of a staircase.
"""
