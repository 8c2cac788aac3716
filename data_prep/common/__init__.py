"""What several data sets share: archives, the files of ASEN's splits, and how images are split.

It may import `agman_lib.base` and `agman_lib.data`, as all of `data_prep` may.
"""
