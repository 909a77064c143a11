"""The configurations that Strowger is compared with."""
