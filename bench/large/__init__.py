"""Growth: the same operations on a file with a short history and on one with a very long one."""
