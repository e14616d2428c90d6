"""The report as text, tables and HTML."""
