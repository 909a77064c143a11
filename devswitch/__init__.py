"""The embedded switch: a small SIP, RTP and ESL switch for machines without FreeSWITCH.

How a call runs through the packages, each of which knows only those below it:

1. ``sip`` reads the INVITE (``endpoint``), replies 100, and makes a leg of it (``incoming``). ``rtp`` carries its
   audio, and ``audio`` makes it. Whoever is above sees a :class:`~devswitch.leg.Leg`, and no SIP.
2. ``switch`` makes a ``channel`` of the leg: state, variables, caller profile, one task (``lifecycle``).
3. That task asks the ``dialplan`` for applications, and executes them (``execute``).
4. ``apps`` has them, by name in the ``registry``. They play into the leg, take its digits, bridge it to others.
5. The application ``socket`` connects the call to a worker (``esl``). What it sends is left for the channel's task.
6. Clients of the event socket, and the dialplan, ask by commands: ``api``. Whatever happens is told by ``events``.
7. A hangup from any side sets the channel's cause. Its task ends applications, leg and connections, and reports.

``python -m devswitch`` starts it; ``catalogue`` names all that it can do.
"""
