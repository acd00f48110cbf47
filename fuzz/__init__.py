"""The fuzzers: Schemathesis over our own document, and a grammar fuzzer of requests that are almost right."""
