"""Scheduled recordings that can be trusted unattended.

``when`` says when something is due, ``jobs`` what a schedule is made of, ``store`` keeps it in a
database, and ``carry_over`` those of earlier versions. ``daemon`` waits for due times, ``runner``
follows runs to their end; ``child`` starts a recorder, which is ``worker`` in a process of its own,
and reads what came of it, ``repair`` picks up what a killed one has left. ``lock`` sees that there
is one daemon, ``keep`` and ``hooks`` tidy up and report, ``install`` writes what starts the daemon
with the session.
"""
