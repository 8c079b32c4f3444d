"""The measuring stick; see README.md in this directory."""
