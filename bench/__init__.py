"""The benchmark: Runyard beside a bare echo and a bare store, in one run."""
