"""Scheduled recordings that can be trusted unattended.

``when`` says when something is due, ``jobs`` what a schedule is made of, ``store`` keeps it in a
database, ``child`` starts recorders and reads what came of them, ``repair`` picks up what a killed
one has left, ``runner`` follows runs to their end, ``engine`` rings when something is due,
``daemon`` puts these together and ``lock`` sees that there is one, ``keep`` and ``hooks`` tidy up
and tell, ``install`` writes what starts the daemon with the session.
"""
