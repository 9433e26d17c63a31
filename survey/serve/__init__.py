"""The survey server.

`job` runs it; `app` answers requests, checked by `requests`, with `pages` for participants and
`results` for the owner; `sessions` are gone through step by step and kept in the `database`.
"""
