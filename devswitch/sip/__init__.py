"""SIP over UDP (RFC 3261): messages, transactions, dialogs, and SDP (RFC 4566, RFC 3264); a file for each layer.

These are pure: bytes in, messages out. ``endpoint`` has the socket (``udp``), and calls of both directions
(``incoming``, ``outgoing``; what they share is in ``call``) with their RTP. It knows nothing of channels.

Errors::

    SipError
    ├── MessageError     what was received is no SIP message, or no usable one
    ├── SdpError         a session description that cannot be read
    └── NegotiationError the two sides have no codec in common, or no audio
"""
