"""`make chaos`: real processes under random kills, pauses and faults, with a seed, for as long as asked."""
