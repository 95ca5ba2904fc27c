"""One file for each table or figure, each made by one command."""
