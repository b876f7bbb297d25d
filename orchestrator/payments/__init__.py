"""Billing: what proves to the provider who pays. Key material is read nowhere else."""
