"""What several data sets share: archives, ASEN's split files, how images are split, the account.

It may import `agman_lib.base` and `agman_lib.data`, as all of `data_prep` may.
"""
