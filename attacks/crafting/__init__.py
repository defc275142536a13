"""How triggers are optimised against a classifier. torch lives here."""
