"""Kinds of values that one or two extensions have, by what they are about."""
