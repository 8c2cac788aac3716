"""A folder a data set: from the raw download to a prepared folder (`agman_lib.data`).

Each is entered by its ``prepare``; `common` holds what several share. It may import
`agman_lib.base` and `agman_lib.data`.
"""
