"""The ``qscrow`` command. ``main.py`` lists the commands; one module per kind of user."""
