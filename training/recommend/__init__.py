"""Recommenders: who touched what, models that rank items, how good the rankings are."""
