"""Scheduled recordings that can be trusted unattended.

``when`` computes due times, ``jobs`` has the values of a schedule, ``store`` its database, and
``carry_over`` converts those of earlier versions. ``daemon`` waits for due times, ``runner``
follows runs to their end; ``child`` starts a recorder, which is ``worker`` in a process of its own,
and reads its outcome; ``repair`` recovers the files of a killed one. ``lock`` makes sure that there
is one daemon, ``retention`` deletes old recordings, ``hooks`` reports ends, ``install`` writes the
files that start the daemon with the session.
"""
