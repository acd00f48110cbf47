"""Long and rude proofs of what Runyard promises: kills, broken disks, crowds, hours. `make chaos`."""
