"""Dailies: the page of a night, and the same as JSON, from the ledger, the films and the plan."""
