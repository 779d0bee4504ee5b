"""What ``scripts/reproduce.py`` can repeat, a file each."""
