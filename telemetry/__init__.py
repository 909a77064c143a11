"""What every process tells of itself: metrics, whether it lives and is ready, and its log."""
