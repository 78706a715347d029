"""The kill campaign: real processes killed at chosen moments of real films, over and over.

    python -m tests.campaign --kills 200 --seed 1 --work DIR

A round renders a small film, kills one of its processes (or several) in the middle of something,
lets the film go on or starts the same command again, and holds the outcome against a film that
nothing disturbed. Rounds stand in a table in DIR, from which an interrupted campaign goes on.
"""
