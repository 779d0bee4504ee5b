"""Looking into a verdict: what the page shows beside it. Work aside, never in the traffic's way."""
