"""PostgreSQL: tables, migrations, bulk writes, one repository per kind of row, and an embedded server."""
