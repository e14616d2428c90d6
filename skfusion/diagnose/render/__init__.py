"""How a report looks: its tables are described once (``_tables``), and shown in a terminal and on a page."""
