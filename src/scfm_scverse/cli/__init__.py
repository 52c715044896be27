"""The command line: files and arguments in, files and short tables out."""
