"""What leaves for other servers: a contract, the rules about addresses, signatures, and one file of HTTP."""
