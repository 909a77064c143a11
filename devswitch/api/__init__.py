"""API commands, one file for what they are about (mod_commands.c); they register themselves."""
