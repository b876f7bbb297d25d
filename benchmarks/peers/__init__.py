"""What users would pick instead, each written as its documentation says, for the environment of `make bench`."""
