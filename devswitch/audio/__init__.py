"""Samples: tones, files, speech, recordings, G.711. It knows of no call."""
