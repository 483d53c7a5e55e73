"""What a run says of itself: progress, logs, traces, where the time goes."""
