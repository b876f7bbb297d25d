"""The chains, as RPC endpoints tell of them: what a payment needs to be signed, and what has become of one."""
