"""Running jobs: here, in one-thread processes, or on a Dask cluster; what is done is kept as it comes."""
