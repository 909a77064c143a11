"""What can be asked of Strowger and done with it, one module a theme: for commands, the HTTP API and the pages.

Functions over the shared state that give rows, dictionaries of what JSON knows, each made in one place. They print
nothing and know no HTTP.
"""
