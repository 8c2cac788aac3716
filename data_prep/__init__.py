"""One module per data set: from the raw download to a prepared folder (`agman_lib.dataset`)."""
