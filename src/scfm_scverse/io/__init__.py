"""Bytes and blocks: finding the values to read, reading them block by block, files that stay whole."""
