"""Replication of what the portal registers: rows of SQLAlchemy models and files of folders (spec 7).

    merge    who wins: pure, and the one place that decides it
    ledger   what this node knows of each row and file, in its own database
    scan     finds what was changed here, past the ORM too
    rows, codec, files, safe_folder     the two kinds of things
    wire     questions to the other server;  serve  its answers
    pull     takes what is newer there;  engine  the thread that does all of it
    conflicts     what lost, kept until somebody has looked
Each node only pulls: what is newer there comes here, and the other way round. So nobody writes into another's database.
"""
