"""What a person types: one file for each verb. To add one: copy version.py and name it in main.py."""
