"""The event socket (mod_event_socket.c): connections, commands, subscriptions."""
