"""Where runs, threads, events, checkpoints and items are kept: one contract, a folder per database."""
