"""The database: tables, threads, migrations, queries."""
