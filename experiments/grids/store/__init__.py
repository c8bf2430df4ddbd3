"""A run folder: what is done stands in whole files, one for each job, and one process at a time writes there."""
